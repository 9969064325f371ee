"""One copy judged against what the catalogue knows of it: by what the store says, or by reading all of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ecogsafe.catalog.adoptions import NO_TOKEN
from ecogsafe.catalog.copies import CopyRow, Level
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.errors import VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.errors import NoMatchError
from ecogsafe.service.connections import Connection
from ecogsafe.service.evidence import CONTENT
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.received import Received
from ecogsafe.transfer.receivers import digest_object
from ecogsafe.transfer.receiving import Reception

#: of a copy that is no longer there
MISSING = "it is missing from the store"


#: of one that a store without checksums shows with another ETag: it was written once more, by whom nobody knows
REPLACED = "it was replaced since it was stored; only a full read (--deep) tells what it is"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one copy turned out to be; ``bad`` is the reason, None for a good one."""

    level: Level
    bad: str | None = None
    #: what the store said of it
    info: ObjectInfo | None = None
    #: what it held, if it was read
    content: Received | None = None


class CopyCheck:
    """Judges the copies of one store; several threads may.

    Parameters
    ----------
    identities
        Keys that open sealed copies; needed for ``deep`` only.
    deep
        Fetch, open and compare digests.
    """

    def __init__(
        self,
        connection: Connection,
        identities: Sequence[Identity] | None,
        meter: Meter,
        *,
        stop: threading.Event,
        deep: bool,
    ) -> None:
        self._store = connection.store
        self._identities = identities
        self._meter = meter
        self._stop = stop
        self._deep = deep

    def judge(self, copy: CopyRow, file: FileRow) -> Verdict:
        """Return what ``copy`` is now.

        Raises
        ------
        EcogsafeError
            It could not be judged: the store does not answer, it is cold, or the key does not fit.
        """
        # who reads all of it needs no store that reads all of it first
        info = self._store.head(copy.key, checksum=not self._deep)
        if info is None:
            return Verdict("stored", MISSING)
        if info.size != copy.size:
            return Verdict("stored", f"it has {info.size:,} bytes instead of {copy.size:,}")
        comparable = info.crc64 is not None and copy.crc64 is not None
        if comparable and info.crc64 != copy.crc64:
            return Verdict("stored", "the store's checksum is not the one recorded when it was sent")
        if not comparable and self._is_other(copy, info):
            return Verdict("stored", "another object stands in its place")
        if self._deep:
            return self._read(copy, file, info)
        if not comparable and None not in (info.etag, copy.etag) and info.etag != copy.etag:
            return Verdict("stored", REPLACED)
        self._meter.bytes_moved(copy.size, over_the_wire=False)
        return Verdict("checksum" if comparable else "stored", info=info)

    @staticmethod
    def _is_other(copy: CopyRow, info: ObjectInfo) -> bool:
        if copy.token == NO_TOKEN:
            return None not in (info.etag, copy.etag) and info.etag != copy.etag
        return info.token is not None and info.token != copy.token

    def _read(self, copy: CopyRow, file: FileRow, info: ObjectInfo) -> Verdict:
        try:
            received = self._opened(copy, info)
        except VerificationError as error:
            return Verdict("stored", f"{CONTENT} {error.problem}")
        if file.sha256 is not None and received.sha256 != file.sha256:
            return Verdict("stored", f"{CONTENT} is not the file that was sent")
        if copy.crc64 is not None and received.crc64 != copy.crc64:
            return Verdict("stored", f"{CONTENT} is not the object that was sent")
        return Verdict("restored", info=info, content=received)

    def _opened(self, copy: CopyRow, info: ObjectInfo) -> Received:
        try:
            return digest_object(self._reception(copy, info, self._identities if copy.sealed else None))
        except NoMatchError:
            as_it_is = digest_object(self._reception(copy, info, None))
            if as_it_is.crc64 == copy.crc64:
                raise  # it is what we sent: the key is another one
            return as_it_is

    def _reception(self, copy: CopyRow, info: ObjectInfo, identities: Sequence[Identity] | None) -> Reception:
        return Reception(
            self._store,
            info,
            identities=identities,
            on_bytes=lambda count: self._meter.bytes_moved(count, current=copy.key),
            stop=self._stop,
        )
