"""A store that fails when told to: for fault tests, and to see how a run behaves when a store does not.

A script says, for each method by name, what becomes of its first, second, … call: a `Fault`, or None for
a call that works. Calls after the end of the script work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.stores.forwarding import Forwarding
from ecogsafe.stores.protocol import Body, Buffer, ObjectInfo, OpenUpload, Store, UploadedPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failing call."""

    error: EcogsafeError
    #: "before": nothing happens at the store; "after": it happens, and its answer is lost
    when: Literal["before", "after"] = "before"
    #: `read` gives so many bytes first, `list` and `list_uploads` so many entries; ``when`` does not count then
    after: int = 0


Script = Mapping[str, Iterable[Fault | None]]


class Faulty(Forwarding):
    """`ecogsafe.stores.protocol.Store` around another one.

    Attributes
    ----------
    calls : list of (method, key or prefix)
        Every call in its order, failed ones too.
    """

    def __init__(self, inner: Store, script: Script | None = None) -> None:
        super().__init__(inner)
        self.calls: list[tuple[str, str]] = []
        self._script = {method: deque(faults) for method, faults in (script or {}).items()}
        self._lock = threading.Lock()

    def count(self, method: str) -> int:
        """Return how often ``method`` was called."""
        with self._lock:
            return sum(called == method for called, _ in self.calls)

    def _begin(self, method: str, key: str) -> Fault | None:
        """Note a call; raise its fault at once where nothing shall happen, else return it."""
        with self._lock:
            self.calls.append((method, key))
            waiting = self._script.get(method)
            fault = waiting.popleft() if waiting else None
        if fault is not None and fault.when == "before" and not fault.after:
            raise fault.error
        return fault

    def _end(self, fault: Fault | None) -> None:
        if fault is not None:
            raise fault.error

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`."""
        fault = self._begin("head", key)
        info = self.inner.head(key, checksum=checksum)
        self._end(fault)
        return info

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        fault = self._begin("list", prefix)
        for given, info in enumerate(self.inner.list(prefix)):
            if fault is not None and given == fault.after:
                raise fault.error
            yield info
        self._end(fault)

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        etag: str | None = None,
        into: memoryview | None = None,
    ) -> Iterator[Buffer]:
        """See `Store.read`."""
        fault = self._begin("read", key)
        left = None if fault is None or not fault.after else fault.after
        for data in self.inner.read(key, start, stop, etag=etag, into=into):
            if left is None:
                yield data
                continue
            if left < len(data):
                yield data[:left]
                break
            left -= len(data)
            yield data
        self._end(fault)

    def put(
        self,
        key: str,
        body: Body,
        *,
        crc64: int,
        token: str,
        storage_class: str | None = None,
        if_absent: bool = True,
    ) -> ObjectInfo:
        """See `Store.put`."""
        fault = self._begin("put", key)
        info = self.inner.put(key, body, crc64=crc64, token=token, storage_class=storage_class, if_absent=if_absent)
        self._end(fault)
        return info

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`."""
        fault = self._begin("begin_upload", key)
        upload_id = self.inner.begin_upload(key, token=token, size=size, storage_class=storage_class)
        self._end(fault)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        fault = self._begin("put_part", key)
        part = self.inner.put_part(key, upload_id, number, body, offset=offset, crc64=crc64)
        self._end(fault)
        return part

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        fault = self._begin("list_parts", key)
        parts = self.inner.list_parts(key, upload_id)
        self._end(fault)
        return parts

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`."""
        fault = self._begin("finish_upload", key)
        info = self.inner.finish_upload(key, upload_id, parts, crc64=crc64, size=size, token=token)
        self._end(fault)
        return info

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        fault = self._begin("abort_upload", key)
        self.inner.abort_upload(key, upload_id)
        self._end(fault)

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        fault = self._begin("list_uploads", prefix)
        for given, upload in enumerate(self.inner.list_uploads(prefix)):
            if fault is not None and given == fault.after:
                raise fault.error
            yield upload
        self._end(fault)
