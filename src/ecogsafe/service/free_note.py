"""``WHERE-THE-DATA-WENT.txt``: what `free` leaves in a folder, for whoever looks for the data there."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import UsageError
from ecogsafe.service.outgoing import NOTE_NAME, OutgoingFile

_HEAD = "Where the data of this folder went\n"
_EXPLAINED = (
    "ecogsafe free deleted files here, each only after its copies elsewhere were proven at that moment.\n"
    "Nothing was deleted in any store. The commands bring the files back to where they were, if run in this folder.\n"
)
#: a note larger than this is none of ours
_MOST_BYTES = 4 * 1024**2


@dataclass(slots=True)
class Gone:
    """What was freed of one subject in one tree."""

    files: int = 0
    bytes: int = 0
    #: URLs of the stores whose copies were proven
    stores: set[str] = field(default_factory=set)
    #: of those that hold them within archives
    archives: set[str] = field(default_factory=set)
    #: names of folders below the tree
    folders: set[str] = field(default_factory=set)
    #: the tree's folder, from the folder of the note
    base: str = "."

    def add(self, file: OutgoingFile, size: int, stores: Collection[str], archives: Collection[str]) -> None:
        """Count one file; the stores by URL, those that hold it by itself and those that hold it in a volume."""
        self.files += 1
        self.bytes += size
        self.stores |= set(stores)
        self.archives |= set(archives)
        self.folders.add(PurePosixPath(file.path).parts[0])
        self.base = base_of(file)

    def take_back(self, size: int) -> None:
        """Count one file less: it stayed after all."""
        self.files -= 1
        self.bytes -= size


def base_of(file: OutgoingFile) -> str:
    """Return the folder of the file's tree, seen from DIR: where `download` must put what it brings back."""
    relative, path = file.relative.parts, PurePosixPath(file.path).parts
    if len(relative) >= len(path):
        return "/".join(relative[: len(relative) - len(path)]) or "."
    return "/".join([".."] * (len(path) - len(relative)))


class Note:
    """The note of one folder: what earlier runs wrote stays, this run adds a paragraph.

    Raises
    ------
    UsageError
        Something else stands under its name.
    """

    def __init__(self, folder: Path, *, version: str) -> None:
        self._path = folder / NOTE_NAME
        self._earlier = self._read()
        self._began = utc_stamp()[:16].replace("T", " ")
        self._version = version

    def _read(self) -> str:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _not_ours() from error
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(_MOST_BYTES) if stat.S_ISREG(status.st_mode) and status.st_size < _MOST_BYTES else b""
        if not text.startswith(_HEAD.encode()):
            raise _not_ours()
        return text.decode("utf-8", errors="replace").removeprefix(_HEAD).removeprefix(_EXPLAINED)

    def write(self, gone: Mapping[tuple[str, str], Gone], *, ended: bool) -> None:
        """Write it, whole or not at all; ``gone`` by subject and tree."""
        state = "" if ended else " (at work, or stopped; ecogsafe status tells the state)"
        lines = [f"\n{self._began} UTC, ecogsafe {self._version}{state}\n"]
        for (subject, tree), what in sorted(gone.items()):
            if not what.files:
                continue
            stores = ", ".join(sorted(what.stores | what.archives))
            lines.append(f"  {subject} {tree}: {what.files:,} files, {what.bytes:,} bytes; proven at {stores}\n")
            lines += [f"    {command}\n" for command in _commands(subject, what)]
        text = _HEAD + _EXPLAINED + self._earlier + "".join(lines)
        try:
            write_atomically(self._path, text.encode(), mode=0o644)
        except OSError as error:
            raise UsageError(
                NOTE_NAME,
                f"cannot be written into DIR ({os.strerror(error.errno or 0)})",
                safe="What was deleted before is noted; nothing more was",
                next="make DIR writable for you, then run the same command again",
            ) from error


def _commands(subject: str, what: Gone) -> list[str]:
    globs = " ".join(f"-f {shlex.quote(f'{folder}/*')}" for folder in sorted(what.folders))
    where = f"-d {what.base}"
    return [
        *(f"ecogsafe download --from {shlex.quote(url)} {where} -s {subject} {globs}" for url in sorted(what.stores)),
        *(f"ecogsafe restore {subject} --from {shlex.quote(url)} {where} {globs}" for url in sorted(what.archives)),
    ]


def _not_ours() -> UsageError:
    return UsageError(
        NOTE_NAME,
        "is a name that ecogsafe needs in DIR, and something else stands there",
        safe="Nothing was deleted",
        next="move that file away, then run the same command again",
    )
