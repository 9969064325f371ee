"""A store that tries again: with growing, random pauses, and never blindly where that could do harm.

Reading, listing, parts and aborting may be repeated freely. A `put` or `finish_upload` whose answer was
lost may have happened: before it is repeated the store is asked what it holds. What holds our token (where
the store keeps tokens), size and checksum is ours and counts as done. Every pause is told to whoever listens,
and ends when the run is to stop.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    InterruptedRunError,
    ObjectExistsError,
    StoreBusyError,
    StoreError,
    StoreRefusedError,
    UploadGoneError,
)
from ecogsafe.stores.bodies import body_size
from ecogsafe.stores.forwarding import Forwarding
from ecogsafe.stores.protocol import Body, Buffer, ObjectInfo, OpenUpload, Store, UploadedPart
from ecogsafe.stores.thawing import Tier, thawing_store

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: a body that arrives damaged this often is not damaged by chance
MAX_CHECKSUM_REFUSALS = 3
#: stores tell when an upload was begun in whole seconds, and another node of one may have another clock
_SECONDS_ARE_WHOLE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait and how often to try."""

    attempts: int = 8
    #: the longest first pause in seconds; each further one may be twice as long
    first_s: float = 0.5
    longest_s: float = 30.0

    def pause_s(self, failures: int, chance: float) -> float:
        """Return the pause after so many failures in a row, for ``chance`` in [0, 1).

        Anything up to the limit ("full jitter"), so that many workers do not come back together.
        """
        return chance * min(self.longest_s, self.first_s * 2.0 ** (failures - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A pause before another attempt."""

    #: the store's name
    store: str
    #: why, such as ``is busy (SlowDown)``
    problem: str
    #: the code of the error: ``store-busy``, ``store-unreachable``, ``checksum-refused``
    code: str
    #: attempts that failed in a row
    failures: int
    pause_s: float

    @property
    def text(self) -> str:
        """Return the line for a person."""
        return f"{self.store}: {self.problem}; trying again in {max(1, round(self.pause_s))} s"


class Retrying(Forwarding):
    """`ecogsafe.stores.protocol.Store` around another one.

    Parameters
    ----------
    stop
        Ends every pause when it is set; what was tried then raises `InterruptedRunError`.
    on_wait
        Is told of every pause, before it, on the thread that pauses.
    pause
        Waits for so many seconds in the place of ``stop``; one that raises ends the trying.
    chance
        Gives numbers in [0, 1).
    """

    def __init__(
        self,
        inner: Store,
        *,
        backoff: Backoff | None = None,
        stop: threading.Event | None = None,
        on_wait: Callable[[Wait], None] | None = None,
        pause: Callable[[float], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner)
        self._backoff = backoff or Backoff()
        self._stop = stop or threading.Event()
        self._listeners = [on_wait] if on_wait is not None else []
        self._pause = pause or self._pause_unless_stopped
        self._chance = chance
        self._busy = 0
        self._counting = threading.Lock()

    @property
    def busy_answers(self) -> int:
        """How often the store asked for fewer requests; it only grows."""
        return self._busy

    @contextmanager
    def telling(self, on_wait: Callable[[Wait], None]) -> Iterator[None]:
        """Tell ``on_wait``, too, of every pause during the block."""
        self._listeners.append(on_wait)
        try:
            yield
        finally:
            self._listeners.remove(on_wait)

    def _pause_unless_stopped(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise InterruptedRunError(
                self.name,
                "was not asked again, the run was interrupted",
                safe="What was done until then is kept",
                next="run the same command again to continue",
            )

    def _wait(self, error: StoreError, failures: int) -> None:
        """Pause before another attempt, or raise ``error`` where none is left or none can help."""
        if isinstance(error, StoreBusyError):
            with self._counting:
                self._busy += 1
        limit = MAX_CHECKSUM_REFUSALS if isinstance(error, ChecksumRefusedError) else self._backoff.attempts
        if not error.retry or failures >= limit:
            raise error
        pause_s = self._backoff.pause_s(failures, self._chance())
        _log.info(
            "store asks again store=%s code=%s failures=%d pause_s=%.2f", self.name, error.code, failures, pause_s
        )
        wait = Wait(store=self.name, problem=error.problem, code=error.code, failures=failures, pause_s=pause_s)
        for listener in tuple(self._listeners):
            listener(wait)
        self._pause(pause_s)

    def _repeat(self, call: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return call()
            except StoreError as error:
                failures += 1
                self._wait(error, failures)

    def _ours(self, key: str, size: int, crc64: int, token: str) -> ObjectInfo | None:
        """Return the object under ``key`` if it is the one that was to be written."""
        info = self._repeat(lambda: self.inner.head(key, checksum=True))
        if info is None or info.size != size or info.crc64 not in (crc64, None):
            return None
        if self.capabilities.keeps_token:
            return info if info.token == token else None
        return info if info.crc64 == crc64 else None

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`."""
        return self._repeat(lambda: self.inner.head(key, checksum=checksum))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`; a listing that broke begins again and leaves out what was already given."""
        given: set[str] = set()
        failures = 0
        while True:
            try:
                for info in self.inner.list(prefix):
                    if info.key not in given:
                        given.add(info.key)
                        failures = 0
                        yield info
            except StoreError as error:
                failures += 1
                self._wait(error, failures)
            else:
                return

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        etag: str | None = None,
        into: memoryview | None = None,
    ) -> Iterator[Buffer]:
        """See `Store.read`; a broken connection goes on at the byte reached."""
        position = start
        failures = 0
        while True:
            try:
                for data in self.inner.read(key, position, stop, etag=etag, into=into):
                    position += len(data)
                    failures = 0
                    yield data
            except StoreError as error:
                failures += 1
                self._wait(error, failures)
            else:
                return

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
        size = body_size(body)
        failures = 0
        while True:
            try:
                return self.inner.put(
                    key, body, crc64=crc64, token=token, storage_class=storage_class, if_absent=if_absent
                )
            except ObjectExistsError:
                # The first attempt says the truth; after a doubtful one it may be our own object.
                ours = self._ours(key, size, crc64, token) if failures else None
                if ours is None:
                    raise
                return ours
            except StoreError as error:
                failures += 1
                self._wait(error, failures)
                if not isinstance(error, ChecksumRefusedError):
                    ours = self._ours(key, size, crc64, token)
                    if ours is not None:
                        return ours

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`.

        An attempt whose answer was lost may have left an empty upload open: it is looked for and aborted.
        """
        began = monotonic()
        failures = 0
        while True:
            try:
                upload_id = self.inner.begin_upload(key, token=token, size=size, storage_class=storage_class)
                break
            except StoreError as error:
                failures += 1
                self._wait(error, failures)
        if failures:
            self._abort_lost(key, upload_id, monotonic() - began + _SECONDS_ARE_WHOLE_S)
        return upload_id

    def _abort_lost(self, key: str, upload_id: str, within_s: float) -> None:
        """Abort the empty uploads of ``key`` begun at most so long before ``upload_id``, by the store's own clock."""
        try:
            begun = [upload for upload in self.list_uploads(key) if upload.key == key and upload.started is not None]
        except StoreRefusedError:
            # without the permission to look, the store's own clean-up of empty uploads must do
            return
        ours = next((upload.started for upload in begun if upload.upload_id == upload_id), None)
        for upload in begun:
            if ours is None or upload.started is None or upload.upload_id == upload_id:
                continue
            if abs((ours - upload.started).total_seconds()) > within_s:
                continue
            try:
                if self.capabilities.lists_parts and not self.list_parts(key, upload.upload_id):
                    self.abort_upload(key, upload.upload_id)
            except UploadGoneError:
                continue

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        return self._repeat(lambda: self.inner.put_part(key, upload_id, number, body, offset=offset, crc64=crc64))

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        return self._repeat(lambda: self.inner.list_parts(key, upload_id))

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`.

        After a lost answer the store is asked for the object; only when it is not there, and the upload
        is still open, the same upload is finished again. A wrong checksum of the whole is not repeated:
        the same parts would give the same answer.
        """
        failures = 0
        while True:
            try:
                return self.inner.finish_upload(key, upload_id, parts, crc64=crc64, size=size, token=token)
            except ChecksumRefusedError:
                raise
            except (ObjectExistsError, UploadGoneError):
                ours = self._ours(key, size, crc64, token) if failures else None
                if ours is None:
                    raise
                return ours
            except StoreError as error:
                failures += 1
                self._wait(error, failures)
                ours = self._ours(key, size, crc64, token)
                if ours is not None:
                    return ours

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        self._repeat(lambda: self.inner.abort_upload(key, upload_id))

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        yield from self._repeat(lambda: tuple(self.inner.list_uploads(prefix)))

    def request_thaw(self, key: str, *, tier: Tier, days: int) -> None:
        """See `ecogsafe.stores.thawing.ThawingStore`; asking twice is asking once."""
        inner = thawing_store(self.inner)
        if inner is None:
            raise StoreRefusedError(self.name, "keeps nothing cold, so nothing there can be thawed")
        self._repeat(lambda: inner.request_thaw(key, tier=tier, days=days))
