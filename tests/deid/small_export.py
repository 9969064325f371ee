"""A small export without real formats: files that say SECRET where a name would stand, and what cleans them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from ecogsafe.core.events import Event
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.layout import subject_folders
from ecogsafe.deid.plan import plan_deid
from ecogsafe.deid.planned import DeidPlan
from ecogsafe.formats.found import Discovery, FoundFile, LooseRecording, PersonHints, StudyFolder, TextOutput
from ecogsafe.formats.kinds import Kind, kind_of_name
from ecogsafe.formats.regions import Patch

CODE = "abcd1234"
SECRET = b"SECRET"
START = datetime(2024, 3, 5, 8, 0, 0, tzinfo=UTC)
OLD_NS = 1_700_000_000_123_456_700
PERSON = PersonHints(last_name="Quxley", first_name="Zed", mrn="0099")


def seal(plain: bytes) -> bytes:
    """Stands for encryption: nothing readable is left, and it is no identity."""
    return b"sealed:" + bytes(b ^ 0x5A for b in plain)


def open_sealed(data: bytes) -> bytes:
    assert data.startswith(b"sealed:")
    return bytes(b ^ 0x5A for b in data[7:])


def clean(kind: Kind, file: BinaryIO, stem: str) -> Iterator[Patch]:
    file.seek(0)
    for match in re.finditer(SECRET, file.read()):
        yield Patch(match.start(), SECRET, stem[:6].encode("ascii"))


def body(index: int, secrets: int = 2, size: int = 400) -> bytes:
    filler = bytes((index * 7 + i) % 251 for i in range(size))
    return b"".join(SECRET + filler[i :: secrets + 1] for i in range(secrets)) + filler


def write(path: Path, data: bytes, mode: int = 0o644, when_ns: int = OLD_NS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(when_ns - 5_000_000_000, when_ns))
    return path


def found(path: Path, kind: Kind | None = None) -> FoundFile:
    s = path.lstat()
    return FoundFile(
        path=path,
        kind=kind or kind_of_name(path.name),
        device=s.st_dev,
        inode=s.st_ino,
        size=s.st_size,
        mtime_ns=s.st_mtime_ns,
        ctime_ns=s.st_ctime_ns,
        atime_ns=s.st_atime_ns,
        mode=s.st_mode & 0o7777,
        links=s.st_nlink,
    )


def taken_places(out: Path, code: str) -> list[str]:
    """Every path that stands in a folder of the subject."""
    folders = [out / name for name in subject_folders(code)]
    return [p.relative_to(out).as_posix() for f in folders if f.is_dir() for p in f.rglob("*")]


def moment(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@dataclass
class SmallExport:
    """Builds studies and recordings under ``root``; `discovery` looks at what stands there now."""

    root: Path
    hours: dict[str, float] = field(default_factory=dict)
    person: PersonHints = PERSON

    def study(self, stem: str, at: float, files: Iterable[str] = (), secrets: int = 2) -> Path:
        folder = self.root / stem
        names = list(files) or [f"{stem}.eeg", f"{stem}.erd", f"{stem}_001.erd", f"{stem}_0000.avi"]
        for i, name in enumerate(names):
            write(folder / name, body(i, secrets))
        self.hours[stem] = at
        os.utime(folder, ns=(OLD_NS, OLD_NS - 77))
        return folder

    def recording(self, name: str, at: float, size: int = 400) -> Path:
        self.hours[name] = at
        return write(self.root / name, body(3, size=size))

    def discovery(self) -> Discovery:
        studies, recordings, texts = [], [], []
        for path in sorted(self.root.iterdir()):
            if path.is_dir():
                inside = [found(p) for p in sorted(path.iterdir()) if p.is_file()]
                deeper = [found(p) for p in sorted(path.glob("Decimated/*"))]
                if inside or deeper:
                    start = moment(self.hours[path.name])
                    studies.append(
                        StudyFolder(
                            path=path,
                            stem=path.name,
                            files=tuple(inside),
                            decimated=tuple(deeper),
                            start_utc=start,
                            end_utc=start + timedelta(hours=1),
                            person=self.person,
                        )
                    )
            elif path.suffix == ".txt":
                texts.append(
                    TextOutput(
                        file=found(path, Kind.VTC_TEXT),
                        start_utc=moment(self.hours[path.name]),
                        person=self.person,
                    )
                )
            else:
                recordings.append(
                    LooseRecording(
                        file=found(path),
                        stem=path.stem,
                        start_local=moment(self.hours[path.name]),
                        duration_s=3600.0,
                        person=self.person,
                    )
                )
        return Discovery(
            root=self.root,
            studies=tuple(studies),
            recordings=tuple(recordings),
            texts=tuple(texts),
            others=(),
        )

    def plan(self, out: Path, **more: Any) -> DeidPlan:
        more.setdefault("belongs", lambda hints, stem: True)
        return plan_deid(self.discovery(), code=CODE, taken=taken_places(out, CODE), **more)


def journal_folder(path: Path) -> JournalFolder:
    path.mkdir(exist_ok=True)
    return JournalFolder(path, seal, open_sealed)


@dataclass
class Heard:
    """Collects events."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def text(self) -> str:
        return "\n".join(map(str, self.events))


Snapshot = dict[str, tuple[bytes, int, int]]


def snapshot(folder: Path, *, ignore_marker: bool = False) -> Snapshot:
    """Every file below ``folder``: bytes, mode, mtime."""
    result = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not (ignore_marker and path.name.startswith(".ecogsafe-open")):
            s = path.lstat()
            result[str(path.relative_to(folder))] = (path.read_bytes(), s.st_mode & 0o7777, s.st_mtime_ns)
    return result


def uncleaned(out: Path) -> list[str]:
    return [name for name, (data, _, _) in snapshot(out).items() if SECRET in data]
