"""What ``restore`` was asked for, and what it is going to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeAlias

from ecogsafe.catalog.archives import MemberRow, VolumeRow
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.core.errors import UsageError, VerificationError
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.layout import Tree, parse_target
from ecogsafe.service.download_planning import DEFAULT_JOBS, Wanted
from ecogsafe.service.target_folder import check_target
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.stores.thawing import COLD_CLASSES, Tier
from ecogsafe.transfer.archive.index import VolumeIndex
from ecogsafe.transfer.archive.unpacked import Wish

#: how fast cold objects are thawed
TierName: TypeAlias = Tier
#: how long thawed copies stay, unless the user says; they cost STANDARD rates meanwhile
DEFAULT_DAYS = 7
_MOST_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """What the user asked for."""

    subject: str
    url: str
    folder: Path
    globs: tuple[str, ...] = ()
    #: None: the cheapest one
    tier: Tier | None = None
    days: int = DEFAULT_DAYS
    #: stay until everything is thawed
    wait: bool = False
    jobs: int = DEFAULT_JOBS

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        if not is_code(self.subject):
            raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
        if not 1 <= self.days <= _MOST_DAYS:
            raise UsageError("--days", f"is a number from 1 to {_MOST_DAYS}", next="correct it and run again")
        check_target(self.folder)

    def selects(self, path: str) -> bool:
        """Return whether a file of the subject is wished for."""
        return not self.globs or any(fnmatch(path, glob) for glob in self.globs)

    def is_ours(self, path: str) -> bool:
        """Return whether ``path`` is one that files of this subject have; a volume can hold any name."""
        return any((p := parse_target(tree, path)) is not None and p.code == self.subject for tree in Tree)


@dataclass(kw_only=True)
class Volume:
    """One archive volume and what is wanted of it."""

    info: ObjectInfo
    copy: CopyRow | None
    row: VolumeRow | None
    #: as the catalogue knows them, by path
    members: Mapping[str, MemberRow] = field(default_factory=dict)
    #: None: it is read from its beginning
    index: VolumeIndex | None = None
    #: what is in it, as far as is known before it is opened; None: nobody knows
    contents: Sequence[Wish] | None = None
    #: of them what is to be fetched
    wishes: list[Wish] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Its object key."""
        return self.info.key

    @property
    def is_needed(self) -> bool:
        """Whether anything of it must be fetched."""
        return bool(self.wishes) or self.contents is None

    @property
    def crc64(self) -> int | None:
        """The checksum that the object must have."""
        return self.copy.crc64 if self.copy is not None and self.copy.crc64 is not None else self.info.crc64

    @property
    def fetched_bytes(self) -> int:
        """Bytes that leave the store for what is wanted."""
        index = self.index
        if index is None:
            return self.info.size
        members = {member.path: member for member in index.members}
        frames = {frame for wish in self.wishes for frame in index.frames_for(members[wish.path])}
        return sum(frame.zstd_stop - frame.zstd_start for frame in frames)


@dataclass(kw_only=True)
class RestorePlan:
    """Everything that is to be fetched."""

    volumes: list[Volume]
    #: objects that are one file each
    singles: list[Wanted]
    #: archives of the lab's old script; they come back as they are
    old: list[Wanted]
    #: what the catalogue knows and the store does not have
    missing: list[VerificationError]

    @property
    def fetched(self) -> dict[str, tuple[ObjectInfo, int]]:
        """Every object that is needed and the bytes of it that leave the store, by key."""
        found = {v.key: (v.info, v.fetched_bytes) for v in self.volumes if v.is_needed}
        return found | {w.info.key: (w.info, w.info.size) for w in (*self.singles, *self.old)}


def may_be_cold(info: ObjectInfo) -> bool:
    """Return whether the object is of a class that must be thawed."""
    return info.storage_class in COLD_CLASSES
