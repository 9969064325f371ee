"""A volume before it is sent: its rows in the catalogue, durable before a byte of it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ecogsafe.catalog import archives, files
from ecogsafe.catalog.archives import MemberRow, VolumeRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import SeenFile
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import SourceUnreadableError
from ecogsafe.transfer.archive.frames import ZSTD_VERSION, frame_spans
from ecogsafe.transfer.archive.making import VolumeWork
from ecogsafe.transfer.archive.members import MemberSource, seen_member
from ecogsafe.transfer.archive.tar_stream import TarPlan, plan_tar
from ecogsafe.transfer.archive.volumes import PART_BYTES, VolumeName, part_size_of
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Place, Shipment


def plan_volume(
    ledger: Ledger, name: VolumeName, place: Place, members: Sequence[MemberSource], *, least_part: int = PART_BYTES
) -> VolumeWork:
    """Return the volume ``name`` with ``members``, new or begun again, noted durably with all of them."""
    plan = plan_tar(member.entry for member in members)
    part_size = part_size_of(frame_spans(plan, [member.stored for member in members]), least=least_part)
    row = VolumeRow(
        volume_id=0,
        subject=name.subject,
        kind=name.kind,
        number=name.number,
        store_id=place.store_id,
        key=name.key,
        storage_class=place.storage_class,
        state="sending",
        sealing_id="",
        tar_size=plan.size,
        part_size=part_size,
        zstd_version=ZSTD_VERSION,
        created_at=utc_stamp(),
    )
    work = _work(row, place, members, plan)

    def write(tx: Transaction) -> VolumeRow:
        known = archives.volume_named(tx, row.subject, row.kind, row.number)
        if known is None:
            noted = replace(row, volume_id=files.upsert_file(tx, _seen_volume(row)))
            archives.add_volume(tx, noted)
        else:
            noted = replace(row, volume_id=known.volume_id)
            files.set_size(tx, known.volume_id, row.tar_size)
        ids = files.upsert_files(tx, [seen_member(row.subject, member, None) for member in members])
        rows = [
            _member_row(noted, position, file_id, member, plan)
            for position, (file_id, member) in enumerate(zip(ids, members, strict=True))
        ]
        archives.begin_again(tx, noted, rows)
        return noted

    return replace(work, row=ledger.record(write))


def plan_again(row: VolumeRow, place: Place, members: Sequence[MemberSource]) -> VolumeWork:
    """Return a volume that is noted already, with its members as they were noted, in their order."""
    return _work(row, place, members, plan_tar(member.entry for member in members))


def _work(row: VolumeRow, place: Place, members: Sequence[MemberSource], plan: TarPlan) -> VolumeWork:
    shipment = Shipment(
        tree="archive",
        path=row.path,
        subject=row.subject,
        segment=None,
        size=plan.size,
        keys={True: row.key},
        places=(place,),
        open_source=_no_file(row.key),
        # what the store forgot is begun again by `send_volume`, not by the pipeline
        again=True,
    )
    return VolumeWork(row=row, shipment=shipment, members=members, plan=plan)


def _no_file(key: str) -> Callable[[], Source]:
    def open_source() -> Source:
        raise SourceUnreadableError(key, "is made while it is sent: there is no such file", next="ecogsafe archive")

    return open_source


def _seen_volume(row: VolumeRow) -> SeenFile:
    return SeenFile(
        tree="archive",
        path=row.path,
        subject=row.subject,
        segment=None,
        size=row.tar_size,
        mtime_ns=0,
        inode=0,
        device=0,
    )


def _member_row(row: VolumeRow, position: int, file_id: int, member: MemberSource, plan: TarPlan) -> MemberRow:
    return MemberRow(
        volume_id=row.volume_id,
        position=position,
        file_id=file_id,
        tree=member.tree,
        path=member.entry.path,
        source=member.stat,
        stored=member.stored,
        data_offset=plan.members[position].data_offset,
    )
