"""Archives: volumes, the files in them, and the journal of the frames they are made of (DESIGN 5.9).

A volume is also a row of ``files`` (tree ``archive``, its path is its key without ``.age``): what is known
of its sealing, upload and copies stands where it stands for every file. The copies of a volume are copies
of its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import and_, delete, exists, func, insert, or_, select, update

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import Tree
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import archive_frames, archive_members, archive_volumes, copies
from ecogsafe.catalog.source_stat import SourceStat

#: what a volume holds: ``vid`` is everything under video and text, ``edf`` EDF and BDF
ArchiveKind = Literal["vid", "edf"]
VolumeState = Literal["sending", "stored", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    """One volume: the object ``key`` in one store; sizes in bytes."""

    #: its row of ``files``
    volume_id: int
    subject: str
    kind: ArchiveKind
    #: from 1, one row of numbers for all stores, so that no key ever means two things
    number: int
    store_id: str
    key: str
    storage_class: str | None
    state: VolumeState
    #: of the present making; empty before it begins
    sealing_id: str
    tar_size: int
    part_size: int
    #: what compressed it
    zstd_version: str
    created_at: str
    #: the next are known from shortly before it is completed
    zstd_size: int | None = None
    header_bytes: int | None = None
    object_size: int | None = None
    manifest_sha256: str | None = None
    #: where its index was put; None: nowhere yet
    index_store_id: str | None = None
    index_key: str | None = None

    @property
    def path(self) -> str:
        """Return its path in the tree ``archive``."""
        return self.key.removesuffix(".age")

    @property
    def index_path(self) -> str:
        """Return the path of its index in the tree ``archive``; the key has ``.age`` behind it."""
        return self.key.removesuffix(".tar.zst.age") + ".index"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRow:
    """One file in a volume."""

    volume_id: int
    #: from 0
    position: int
    file_id: int
    tree: Tree
    #: below the tree
    path: str
    source: SourceStat
    #: in frames of raw blocks
    stored: bool
    #: where its bytes begin in the tar stream
    data_offset: int
    #: None until it was read to its end
    sha256: str | None = None
    #: when it was fetched from this volume and its digest was equal
    restored_at: str | None = None


@dataclass(frozen=True, slots=True)
class FrameRow:
    """One zstd frame that may have left, numbers from 0; 0-based bytes, ends excluded."""

    volume_id: int
    number: int
    #: the upload part that it is in, from 1
    part: int
    tar_start: int
    tar_stop: int
    zstd_start: int
    zstd_stop: int
    #: of its bytes of the tar stream
    sha256: bytes


_VOLUME = columns_of(VolumeRow, archive_volumes)
_FRAME = columns_of(FrameRow, archive_frames)
_STAT = columns_of(SourceStat, archive_members)
_MEMBER_NAMES = ("volume_id", "position", "file_id", "tree", "path")
_MEMBER_REST = ("stored", "data_offset", "sha256", "restored_at")
_MEMBER = [archive_members.c[name] for name in (*_MEMBER_NAMES, *_MEMBER_REST)]


def add_volume(tx: Transaction, row: VolumeRow) -> None:
    """Keep a new volume; durable before its upload begins."""
    tx.execute(insert(archive_volumes).values(values_of(row)))


def begin_again(tx: Transaction, row: VolumeRow, members: Sequence[MemberRow]) -> None:
    """Let the volume of ``row`` hold ``members`` and forget every frame of an earlier making."""
    for table in (archive_frames, archive_members):
        tx.execute(delete(table).where(table.c.volume_id == row.volume_id))
    values = values_of(row)
    tx.execute(update(archive_volumes).where(archive_volumes.c.volume_id == values.pop("volume_id")).values(values))
    if members:
        tx.execute(insert(archive_members), [_member_values(member) for member in members])


def begin_making(tx: Transaction, volume_id: int, sealing_id: str, *, zstd_version: str, created_at: str) -> None:
    """Note that the volume is made anew as this sealing; frames and digests of an earlier one are forgotten."""
    tx.execute(delete(archive_frames).where(archive_frames.c.volume_id == volume_id))
    tx.execute(update(archive_members).where(archive_members.c.volume_id == volume_id).values(sha256=None))
    unknown = dict.fromkeys(("zstd_size", "header_bytes", "object_size", "manifest_sha256"))
    _change(tx, volume_id, sealing_id=sealing_id, zstd_version=zstd_version, created_at=created_at, **unknown)


def add_frames(tx: Transaction, rows: Sequence[FrameRow]) -> None:
    """Keep the frames of a part; in the commit of the part's row, before its first byte leaves."""
    tx.execute(insert(archive_frames), [values_of(row) for row in rows])


def set_digest(tx: Transaction, volume_id: int, position: int, *, sha256: str, file_id: int) -> None:
    """Note what a member was when it was read to its end."""
    here = and_(archive_members.c.volume_id == volume_id, archive_members.c.position == position)
    tx.execute(update(archive_members).where(here).values(sha256=sha256, file_id=file_id))


def set_announced(
    tx: Transaction, volume_id: int, *, zstd_size: int, header_bytes: int, object_size: int, manifest_sha256: str
) -> None:
    """Note what the volume will be; durable before its upload is completed."""
    _change(
        tx,
        volume_id,
        zstd_size=zstd_size,
        header_bytes=header_bytes,
        object_size=object_size,
        manifest_sha256=manifest_sha256,
    )


def set_state(tx: Transaction, volume_id: int, state: VolumeState) -> None:
    """Note the state of the volume."""
    _change(tx, volume_id, state=state)


def set_index(tx: Transaction, volume_id: int, store_id: str, key: str) -> None:
    """Note where the index of the volume stands."""
    _change(tx, volume_id, index_store_id=store_id, index_key=key)


def mark_restored(tx: Transaction, volume_id: int, positions: Sequence[int], at: str) -> None:
    """Note that these members were fetched from the volume and had the digests they must have."""
    of_volume = archive_members.c.volume_id == volume_id
    for start in range(0, len(positions), 500):
        here = and_(of_volume, archive_members.c.position.in_(positions[start : start + 500]))
        tx.execute(update(archive_members).where(here).values(restored_at=at))


def _change(tx: Transaction, volume_id: int, **values: Any) -> None:
    tx.execute(update(archive_volumes).where(archive_volumes.c.volume_id == volume_id).values(values))


def volume(tx: Transaction, volume_id: int) -> VolumeRow | None:
    """Return the volume ``volume_id``."""
    return next(iter(_volumes(tx, archive_volumes.c.volume_id == volume_id)), None)


def volume_named(tx: Transaction, subject: str, kind: ArchiveKind, number: int) -> VolumeRow | None:
    """Return the volume of this name; there is one at most."""
    named = (archive_volumes.c.subject == subject, archive_volumes.c.kind == kind, archive_volumes.c.number == number)
    return next(iter(_volumes(tx, *named)), None)


def volumes_of(
    tx: Transaction,
    *,
    subject: str | None = None,
    store_id: str | None = None,
    kind: ArchiveKind | None = None,
    state: VolumeState | None = None,
) -> list[VolumeRow]:
    """Return the volumes that fit, by subject, kind and number."""
    wanted = {"subject": subject, "store_id": store_id, "kind": kind, "state": state}
    return _volumes(tx, *(archive_volumes.c[name] == value for name, value in wanted.items() if value is not None))


def _volumes(tx: Transaction, *conditions: Any) -> list[VolumeRow]:
    order = (archive_volumes.c.subject, archive_volumes.c.kind, archive_volumes.c.number)
    names = [column.name for column in _VOLUME]
    rows = tx.execute(select(*_VOLUME).where(*conditions).order_by(*order))
    return [VolumeRow(**dict(zip(names, row, strict=True))) for row in rows]


def highest_number(tx: Transaction, subject: str, kind: ArchiveKind) -> int:
    """Return the highest number that a volume of ``subject`` ever had; 0 where there is none."""
    here = (archive_volumes.c.subject == subject, archive_volumes.c.kind == kind)
    return int(tx.execute(select(func.coalesce(func.max(archive_volumes.c.number), 0)).where(*here)).scalar_one())


def members_of(tx: Transaction, volume_id: int) -> list[MemberRow]:
    """Return the members of a volume by position."""
    return _members(tx, archive_members.c.volume_id == volume_id)


def volumes_holding(tx: Transaction, file_ids: Sequence[int]) -> list[tuple[MemberRow, VolumeRow]]:
    """Return the members that are these files, with their volumes, whatever state those are in."""
    found: list[MemberRow] = []
    for start in range(0, len(file_ids), 500):
        found += _members(tx, archive_members.c.file_id.in_(file_ids[start : start + 500]))
    known = {volume_id: volume(tx, volume_id) for volume_id in {member.volume_id for member in found}}
    return [(member, row) for member in found if (row := known[member.volume_id]) is not None]


def _members(tx: Transaction, condition: Any) -> list[MemberRow]:
    order = (archive_members.c.volume_id, archive_members.c.position)
    rows = tx.execute(select(*_MEMBER, *_STAT).where(condition).order_by(*order))
    names = [column.name for column in _MEMBER]
    return [
        MemberRow(**dict(zip(names, row[: len(names)], strict=True)), source=SourceStat(*row[len(names) :]))
        for row in rows
    ]


def _member_values(row: MemberRow) -> dict[str, Any]:
    values = values_of(row)
    return values | values_of(values.pop("source"))


def frames_of(tx: Transaction, volume_id: int) -> list[FrameRow]:
    """Return the frames of a volume in order."""
    query = select(*_FRAME).where(archive_frames.c.volume_id == volume_id).order_by(archive_frames.c.number)
    return [FrameRow(*row) for row in tx.execute(query)]


def stands(tx: Transaction, row: VolumeRow) -> bool:
    """Return whether a good copy of the volume is recorded in its store."""
    here = and_(copies.c.store_id == row.store_id, copies.c.key == row.key, copies.c.bad_at.is_(None))
    return tx.execute(select(copies.c.id).where(here)).first() is not None


def count_elsewhere(tx: Transaction, volume_id: int) -> tuple[int, int]:
    """Return how many files a volume holds, and of how many a good copy stands outside it."""
    beside, other = copies.alias(), archive_members.alias()
    alone = exists().where(beside.c.file_id == archive_members.c.file_id, beside.c.bad_at.is_(None))
    within = (
        select(other.c.file_id)
        .join(beside, beside.c.file_id == other.c.volume_id)
        .where(other.c.file_id == archive_members.c.file_id, other.c.volume_id != volume_id, beside.c.bad_at.is_(None))
        .exists()
    )
    here = select(func.count()).select_from(archive_members).where(archive_members.c.volume_id == volume_id)
    return tx.execute(here).scalar_one(), tx.execute(here.where(or_(alone, within))).scalar_one()


def digests_of(members: Sequence[MemberRow]) -> Mapping[int, str]:
    """Return the digests that are known, by position."""
    return {member.position: member.sha256 for member in members if member.sha256 is not None}
