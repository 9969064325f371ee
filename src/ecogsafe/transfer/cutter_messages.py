"""What a run and the processes that cut large files say to each other: plain data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import EcogsafeError
from ecogsafe.stores.protocol import UploadedPart
from ecogsafe.transfer.cutting import Form
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.store_order import StoreOrder
from ecogsafe.transfer.worker_errors import WorkerBugError


class BeginCutting(NamedTuple):
    """The first word to a cutter."""

    #: by id
    stores: Mapping[str, StoreOrder]
    #: requests in flight for each store
    per_store: int


class LaneOrder(NamedTuple):
    """One making of the file's object."""

    form: Form
    #: bytes
    part_size: int


class CutOrder(NamedTuple):
    """Read this file once and make the parts of all lanes."""

    #: of the file, in all that is said of it
    number: int
    file: FileOrder
    #: of the file when it was opened to be sent
    stat: SourceStat
    lanes: Sequence[LaneOrder]


class Room(NamedTuple):
    """Make the next part of a lane, and keep it under this number."""

    file: int
    lane: int
    part: int
    #: bytes of memory that may stay set aside for later parts
    spare: int


class NoRoom(NamedTuple):
    """Nobody wants the next part of a lane."""

    file: int
    lane: int


class Halt(NamedTuple):
    """Nobody wants anything more of this file."""

    file: int


class Put(NamedTuple):
    """The row of this part is durable: put it."""

    #: of the request
    number: int
    part: int
    store_id: str
    key: str
    upload_id: str
    #: of the part in its object, and where it begins there
    part_number: int
    offset: int
    crc64: int


class Forget(NamedTuple):
    """Nobody needs this part any more."""

    part: int
    #: a request that hangs may still send it, so its memory is not used again
    may_be_read: bool


class StopWaiting(NamedTuple):
    """Wait for no store any more."""


class EndCutting(NamedTuple):
    """Nothing is under way: end."""


Leave: TypeAlias = Room | NoRoom | Halt
ToCutter: TypeAlias = BeginCutting | CutOrder | Leave | Put | Forget | StopWaiting | EndCutting


class CannotBegin(NamedTuple):
    """A store could not be opened; the cutter ends."""

    error: EcogsafeError


class Cut(NamedTuple):
    """A part is whole; the next one of its lane is begun when there is leave."""

    lane: int
    number: int
    #: CRC64NVME of its bytes; 0 where there was no room
    crc64: int
    #: SHA-256 of the source up to the last byte that it is made of
    digest: bytes


class WasRead(NamedTuple):
    """The file is through, unchanged."""

    #: None after a `Halt`
    sha256: str | None


class CutFailed(NamedTuple):
    """The file could not be read to its end."""

    error: EcogsafeError | WorkerBugError


class WasPut(NamedTuple):
    """What came of a `Put`."""

    number: int
    result: UploadedPart | EcogsafeError | WorkerBugError


class StoreWaits(NamedTuple):
    """A store is in trouble and asked again."""

    store_id: str
    #: what messages call it
    store: str
    #: of the error
    code: str
    #: "" where nobody need be told, but that it was asked again
    message: str


#: of the file that is being cut
OfFile: TypeAlias = Cut | WasRead | CutFailed
FromCutter: TypeAlias = OfFile | WasPut | StoreWaits | CannotBegin
