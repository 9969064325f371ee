"""What an archive run will send: which files are archived already, which volumes go on, which are new."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field

from ecogsafe.catalog import archives, files
from ecogsafe.catalog.archives import ArchiveKind, MemberRow, VolumeRow
from ecogsafe.catalog.files import Tree
from ecogsafe.core.errors import EcogsafeError, SourceChangedError
from ecogsafe.core.events import Item
from ecogsafe.formats.kinds import CLIP_KINDS
from ecogsafe.service.connections import Connection
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.service.running import Run
from ecogsafe.transfer.archive.compress_choice import SAMPLE_BYTES, is_stored, measured_ratio
from ecogsafe.transfer.archive.indexing import NS_PER_S
from ecogsafe.transfer.archive.members import MemberSource
from ecogsafe.transfer.archive.tar_stream import Entry
from ecogsafe.transfer.archive.volumes import VolumeName, parse_volume_key, share_out
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.source import FileSource, source_stat

_Path = tuple[Tree, str]


@dataclass(frozen=True, slots=True)
class FileToArchive:
    """One file of the right form, and the descriptor of the DIR that it was found below."""

    file: OutgoingFile
    root: int

    @property
    def where(self) -> _Path:
        """Tree and path."""
        return self.file.tree, self.file.path

    def open(self) -> FileSource:
        """Open it, no link followed."""
        return FileOrder(self.root, str(self.file.relative), self.file.shown).open()

    def is_as(self, member: MemberRow) -> bool:
        """Return whether it still is what was noted of the member."""
        return source_stat(self.file.status) == member.source


def in_order(files: Iterable[FileToArchive]) -> dict[str, list[FileToArchive]]:
    """Return the files by subject, in the order in which they go into volumes."""
    by_subject: dict[str, list[FileToArchive]] = {}
    for one in sorted(files, key=lambda f: (f.file.tree, f.file.parts.number or 0, f.file.path)):
        by_subject.setdefault(one.file.parts.code, []).append(one)
    return dict(sorted(by_subject.items()))


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """A file that goes into a volume."""

    source: MemberSource
    #: compressed size over size, measured; 1 for one that is stored
    ratio: float

    @property
    def packed(self) -> int:
        """Bytes that it will have, about."""
        return round(self.source.entry.size * self.ratio)


@dataclass(frozen=True, slots=True)
class PlannedVolume:
    """One volume."""

    name: VolumeName
    members: tuple[PlannedMember, ...]
    #: an earlier run began it with exactly these members
    row: VolumeRow | None = None

    @property
    def bytes(self) -> int:
        """Source bytes."""
        return sum(member.source.entry.size for member in self.members)

    @property
    def packed(self) -> int:
        """Bytes of the object, about."""
        return sum(member.packed for member in self.members)


@dataclass(slots=True)
class ArchivePlan:
    """What will be sent."""

    volumes: list[PlannedVolume] = field(default_factory=list)
    #: stored volumes of these subjects that were met there
    standing: list[VolumeRow] = field(default_factory=list)

    @property
    def bytes_total(self) -> int:
        """Source bytes to be sent."""
        return sum(volume.bytes for volume in self.volumes)

    @property
    def files_total(self) -> int:
        """Files to be sent."""
        return sum(len(volume.members) for volume in self.volumes)


#: a file of at least so many bytes is measured although it is to be read once only: that takes less than 1 % of it
_MEASURED_FROM = 128 * 3 * SAMPLE_BYTES


class ArchivePlanner:
    """Plans the volumes of one store, subject after subject.

    Parameters
    ----------
    reads_once
        Whether the files are to be read once only. What it is worth to compress them is then told by their kind,
        and found out where a frame of them is made.
    numbers
        The highest number of a subject's volumes planned by now; the planners of several stores share it.
    """

    def __init__(
        self,
        run: Run,
        connection: Connection,
        kind: ArchiveKind,
        *,
        reads_once: bool = False,
        numbers: MutableMapping[tuple[str, ArchiveKind], int] | None = None,
    ) -> None:
        self._reads_once = reads_once
        self._numbers: MutableMapping[tuple[str, ArchiveKind], int] = {} if numbers is None else numbers
        self._run = run
        self._connection = connection
        self._kind = kind
        self.plan = ArchivePlan()

    def add(self, code: str, wanted: Sequence[FileToArchive]) -> None:
        """Plan the volumes of the subject ``code``."""
        sizes = {info.key: info.size for info in self._connection.store.list(f"{code}/{code}_{self._kind}_")}
        with self._run.catalog.read() as tx:
            rows = archives.volumes_of(tx, subject=code, kind=self._kind, store_id=self._connection.store_id)
            standing = [row for row in rows if archives.stands(tx, row) and sizes.get(row.key) == row.object_size]
            archived = {(m.tree, m.path): m for row in standing for m in archives.members_of(tx, row.volume_id)}
            begun = [(row, archives.members_of(tx, row.volume_id)) for row in rows if row.state == "sending"]
            highest = archives.highest_number(tx, code, self._kind)
            adopted = [f"{file.path}.age" for file in files.files_of(tx, code, "archive")]
        self.plan.standing += standing
        for row in rows:
            if row.state == "stored" and row not in standing:
                note = "this volume is no longer there, or bad: its files are archived again in a further one"
                self._tell("note", note, key=row.key)
        left = {file.where: file for file in wanted if not self._is_archived(file, archived.get(file.where))}
        free: list[int] = []
        for row, members in begun:
            if row.key in sizes:
                continue  # what stands there is not ours: its number is not used again
            if members and not any((m.tree, m.path) in left for m in members):
                continue  # it is of other folders than those given now
            if members and all((file := left.get((m.tree, m.path))) and file.is_as(m) for m in members):
                chosen = [left.pop((member.tree, member.path)) for member in members]
                planned = self._members(chosen, [member.stored for member in members])
                if len(planned) == len(members):
                    self.plan.volumes.append(PlannedVolume(self._name(code, row.number), planned, row))
                    continue
            self._tell("note", "its files changed since it was begun: it starts over under a new key", key=row.key)
            free.append(row.number)
        self._tell_unknown(code, sizes.keys() - {row.key for row in rows})
        names = [name for key in (*sizes, *adopted) if (name := parse_volume_key(key)) is not None]
        taken = [name.number for name in names if name.kind == self._kind]
        elsewhere = self._numbers.get((code, self._kind), 0)
        self._share_out(code, list(left.values()), free, max([highest, elsewhere, *taken]))

    def _tell_unknown(self, code: str, keys: Iterable[str]) -> None:
        """Say that volumes stand there that this catalogue does not know: files in them may be sent twice."""
        unknown = [key for key in keys if (name := parse_volume_key(key)) is not None and not name.is_index]
        if unknown:
            message = (
                f"{code}: {len(unknown)} volumes there are not in this catalogue; their files count as not archived"
            )
            self._tell("note", message)

    def _name(self, code: str, number: int) -> VolumeName:
        return VolumeName(code, self._kind, number, is_index=False)

    def _share_out(self, code: str, files: Sequence[FileToArchive], free: list[int], highest: int) -> None:
        members = self._members(files, [None] * len(files))
        for number, group in enumerate(share_out(members, lambda member: member.source.entry.size)):
            chosen = free[number] if number < len(free) else highest + number - len(free) + 1
            self._numbers[code, self._kind] = max(highest, chosen)
            self.plan.volumes.append(PlannedVolume(self._name(code, chosen), tuple(group)))

    def _is_archived(self, file: FileToArchive, member: MemberRow | None) -> bool:
        status = file.file.status
        if member is None or member.sha256 is None or member.source.size != status.st_size:
            is_there = False
        else:
            is_there = member.source.mtime_ns == status.st_mtime_ns or self._digest_of(file) == member.sha256
        if is_there:
            self._run.tally.present += 1
            self._tell("present", "already archived", file=file.file)
        elif member is not None:
            message = "changed since it was archived: it goes into a further volume, the earlier state stays"
            self._tell("note", message, file=file.file)
        return is_there

    def _digest_of(self, file: FileToArchive) -> str | None:
        digest = hashlib.sha256()
        try:
            with file.open() as source:
                for piece in source.pieces():
                    self._run.check_stop(safe="Nothing was sent")
                    digest.update(piece)
                source.check_unchanged()
        except SourceChangedError:
            return None
        except EcogsafeError as error:
            self._run.fail(error)
            return None
        return digest.hexdigest()

    def _members(self, files: Sequence[FileToArchive], stored: Iterable[bool | None]) -> tuple[PlannedMember, ...]:
        """Return the members; a file that cannot be opened is told as failed and left out."""
        members: list[PlannedMember] = []
        for file, known in zip(files, stored, strict=True):
            self._run.check_stop(safe="Nothing was sent")
            try:
                members.append(self._member(file, known))
            except EcogsafeError as error:
                self._run.fail(error)
        return tuple(members)

    def _member(self, file: FileToArchive, known: bool | None) -> PlannedMember:  # noqa: FBT001  as catalogued
        with file.open() as source:
            stat = source.stat
            if self._reads_once and stat.size < _MEASURED_FROM:
                # a clip is as small as it gets; what else shrinks to nobody knows before it is read
                stored, ratio = file.file.kind in CLIP_KINDS, 1.0
            else:
                ratio = measured_ratio(stat.size, source.read_at)
                stored = is_stored(ratio)
        stored = stored if known is None else known
        entry = Entry(file.file.path, stat.size, stat.mtime_ns // NS_PER_S)
        member = MemberSource(
            entry=entry, tree=file.file.tree, segment=file.file.parts.number, stat=stat, stored=stored, open=file.open
        )
        return PlannedMember(member, 1.0 if stored else ratio)

    def _tell(self, status: str, message: str, *, key: str | None = None, file: OutgoingFile | None = None) -> None:
        self._run.tell(
            Item(
                action="archive",
                status=status,
                subject=file.parts.code if file else None,
                segment=file.parts.number if file else None,
                path=file.shown if file else None,
                key=key,
                store=self._connection.store.name,
                bytes=file.status.st_size if file else None,
                message=message,
            )
        )
