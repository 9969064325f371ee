"""What discovery reports of an export: files, study folders, loose recordings, text outputs. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ecogsafe.formats.clock import StudyClock
from ecogsafe.formats.kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """One directory entry, as ``lstat`` saw it. ``path`` is private."""

    path: Path
    kind: Kind
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    atime_ns: int
    mode: int
    links: int
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonHints:
    """Whom a file says it is about; every field private, any may be empty."""

    last_name: str = ""
    first_name: str = ""
    middle_name: str = ""
    mrn: str = ""
    #: as written: ISO ``1970-02-02`` where it could be understood
    birth_date: str = ""
    #: further identifiers seen (study GUID, free-text legacy fields, host, login, telephone …)
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFolder:
    """One Natus study: its folder, files and first moment."""

    path: Path
    stem: str
    files: tuple[FoundFile, ...]
    #: files of ``Decimated/``, one level down
    decimated: tuple[FoundFile, ...] = ()
    #: UTC, from the SNC or VTC; None where neither could be read
    start_utc: datetime | None = None
    end_utc: datetime | None = None
    person: PersonHints = field(default_factory=PersonHints)
    #: how samples and clips keep time; None where the .snc does not tell
    clock: StudyClock | None = None
    #: why something in it could not be understood, by file
    problems: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseRecording:
    """One EDF or BDF file. ``start_local`` is the site's wall clock, sub-seconds included."""

    file: FoundFile
    stem: str
    start_local: datetime | None
    duration_s: float | None
    person: PersonHints = field(default_factory=PersonHints)
    #: why it could not be understood, empty if it was
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOutput:
    """One ReadVTC or Snc2Txt file, with its first moment in UTC."""

    file: FoundFile
    start_utc: datetime | None
    person: PersonHints = field(default_factory=PersonHints)
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEntry:
    """What stays where it is, and why: ``report``, ``unknown kind``, ``symbolic link``, ``FIFO``, ``empty`` …"""

    file: FoundFile
    reason: str
    #: True where the entry is left behind by rule; False where it should have been understood (exit 21)
    by_rule: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The whole export."""

    root: Path
    studies: tuple[StudyFolder, ...]
    recordings: tuple[LooseRecording, ...]
    texts: tuple[TextOutput, ...]
    others: tuple[OtherEntry, ...]
