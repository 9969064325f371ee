"""The making of one volume: continued where an earlier run stopped if that is certainly safe, else begun anew."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecogsafe.catalog import archives, sealings
from ecogsafe.catalog.archives import FrameRow, VolumeRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, LabKeyError, LockedError, StoreError
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.age_stream import ChunkSealer
from ecogsafe.crypt.file_key import FileKey, unwrap_file_key, wrap_file_key
from ecogsafe.crypt.sealed_layout import PAYLOAD_NONCE_BYTES
from ecogsafe.transfer.archive.frames import ZSTD_VERSION, FrameSpan, frame_spans
from ecogsafe.transfer.archive.members import MemberSource
from ecogsafe.transfer.archive.tar_stream import TarPlan
from ecogsafe.transfer.archive.volumes import most_object_bytes
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.in_parts import PartUpload, begin, take_over
from ecogsafe.transfer.lane import abandon_sealing
from ecogsafe.transfer.unfinished import Standing, clear_doubtful_begin, confirm, unfinished
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeWork:
    """One volume that is to be sent to its store."""

    row: VolumeRow
    #: tree ``archive``, one place
    shipment: Shipment
    members: Sequence[MemberSource]
    plan: TarPlan

    @property
    def place(self) -> Place:
        """Where it goes."""
        (place,) = self.shipment.places
        return place

    def spans(self) -> list[FrameSpan]:
        """Return its frames."""
        return list(frame_spans(self.plan, [member.stored for member in self.members]))


@dataclass(slots=True, kw_only=True)
class Making:
    """One making of a volume under one key."""

    upload: PartUpload
    sealing: SealingRow
    sealer: ChunkSealer
    #: what compresses, or compressed, its frames
    zstd_version: str
    #: what may have left before, by part number
    rows: dict[int, PartRow]
    frames: Mapping[int, Sequence[FrameRow]]
    #: digests of members that were read to their ends, by position
    digests: Mapping[int, str]

    @property
    def prefix(self) -> bytes:
        """What the object begins with."""
        return self.sealing.header + self.sealing.payload_nonce

    def abandon(self) -> None:
        """Erase the key and abort the upload: these bytes are never continued."""
        if self.upload.is_ours():
            abandon_sealing(self.upload.context, self.sealing.id)
        self.upload.abandon_if_possible()


def open_making(crew: Crew, work: VolumeWork) -> Making | Outcome:
    """Return the making that goes on, or how it ended before it began."""
    kept: Making | None = None
    for left in unfinished(crew.context, work.shipment).values():
        for place, row in left:
            try:
                owned = take_over(crew, place, row)
                making, reason = _again(crew, work, owned)
            except LockedError as error:
                return _failed(work, error)
            except StoreError as error:
                owned.release()
                return _failed(work, error)
            if making is not None and kept is None:
                kept = making
            else:
                _give_up(crew, owned, row, reason)
    return kept or _begin(crew, work)


def _failed(work: VolumeWork, error: EcogsafeError) -> Outcome:
    return Outcome(shipment=work.shipment, place=work.place, status=Status.FAILED, error=error)


def _again(crew: Crew, work: VolumeWork, upload: PartUpload) -> tuple[Making | None, str]:
    """Return the earlier making behind ``upload``, or None and why it cannot go on."""
    context = crew.context

    def read(tx: Transaction) -> tuple[VolumeRow | None, SealingRow | None]:
        return archives.volume(tx, work.row.volume_id), sealings.sealing(tx, upload.row.sealing_id)

    volume, sealing = context.ledger.read(read)
    if volume is None or sealing is None or sealing.state != "open" or sealing.id != volume.sealing_id:
        return None, ""
    if volume.tar_size != work.plan.size or sealing.source.size != work.plan.size:
        return None, "what goes into it is no longer the same"
    if upload.row.upload_id is None:
        clear_doubtful_begin(context, upload.place.store, upload.row)
        return None, ""
    try:
        file_key = unwrap_file_key(sealing.wrapped_key or b"", context.resume_key)
    except LabKeyError:
        return None, "its file key cannot be opened here (resume.key is another one)"
    rows = context.ledger.read(lambda tx: sealings.parts_of(tx, sealing.id))
    journal = context.ledger.read(lambda tx: archives.frames_of(tx, volume.volume_id))
    frames: dict[int, list[FrameRow]] = {}
    for frame in journal:
        frames.setdefault(frame.part, []).append(frame)
    if set(rows) != set(range(1, len(rows) + 1)) or set(rows) != set(frames):
        return None, "the catalogue lost what it knew of a part in between"
    standing = confirm(context, upload, rows)
    if standing is Standing.AHEAD:
        return None, "the store has more of it than the catalogue knows (was an older one put back?)"
    if standing is Standing.GONE:
        return None, "the store no longer has what was sent"
    digests = archives.digests_of(context.ledger.read(lambda tx: archives.members_of(tx, volume.volume_id)))
    making = Making(
        upload=upload,
        sealing=sealing,
        sealer=ChunkSealer(file_key, sealing.payload_nonce),
        zstd_version=volume.zstd_version,
        rows=rows,
        frames=frames,
        digests=digests,
    )
    return making, ""


def _give_up(crew: Crew, upload: PartUpload, row: UploadRow, reason: str) -> None:
    context = crew.context
    if reason:
        message = f"the volume starts over under a new key: {reason}"
        context.tell("archive", message, key=upload.key, store=upload.place.store.name)
    abandon_sealing(context, row.sealing_id)
    upload.abandon_if_possible()
    upload.release()


def _begin(crew: Crew, work: VolumeWork) -> Making | Outcome:
    context = crew.context
    file_key = FileKey.new()
    header = seal_header(file_key, context.recipients)
    nonce = secrets.token_bytes(PAYLOAD_NONCE_BYTES)
    part_size = work.row.part_size
    sealing = SealingRow(
        id=secrets.token_hex(16),
        file_id=work.row.volume_id,
        # there is no file: what goes in is journalled member by member
        source=SourceStat(size=work.plan.size, mtime_ns=0, ctime_ns=0, inode=0, device=0),
        sealed=True,
        header=header,
        payload_nonce=nonce,
        wrapped_key=wrap_file_key(file_key, context.resume_key),
        part_size=part_size,
        object_size=most_object_bytes(work.spans(), part_size, prefix=len(header) + len(nonce)),
        created_at=utc_stamp(),
        state="open",
    )
    context.ledger.record(
        lambda tx: archives.begin_making(
            tx, work.row.volume_id, sealing.id, zstd_version=ZSTD_VERSION, created_at=sealing.created_at
        )
    )
    upload = begin(crew, work.place, sealing)
    if upload.error is not None:
        # where it is in doubt whether the store began it, the row stays, for a later run to look for it
        if not (isinstance(upload.error, StoreError) and upload.error.retry):
            upload.abandon()
        upload.release()
        return _failed(work, upload.error)
    return Making(
        upload=upload,
        sealing=sealing,
        sealer=ChunkSealer(file_key, nonce),
        zstd_version=ZSTD_VERSION,
        rows={},
        frames={},
        digests={},
    )


def whole(sealing: SealingRow, object_size: int) -> SealingRow:
    """Return the sealing with the size that its object came to have."""
    return replace(sealing, object_size=object_size)
