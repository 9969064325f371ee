"""The folder of journals: sealed files that are proved readable before anything begins, and plain marks.

``<id>.age`` is a sealed journal, never changed and never removed. ``<id>.marks`` beside it holds numbers of
entries and fixed words only, so that how far a run came can be seen without a key. Marks are hints: what
is true is on the disk.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import NoSpaceError, UsageError, VerificationError
from ecogsafe.deid.journal import Journal, from_json, to_json
from ecogsafe.deid.layout import CODE, DECIMATED, Tree

_ID = re.compile(rf"(?P<code>{CODE})-(?P<number>\d{{4,}})-[0-9a-f]{{8}}")
_MARK = re.compile(r"(?P<index>\d+)(?P<what> left| begun)?")
_END = "end"


@dataclass(frozen=True, slots=True)
class Marks:
    """How far a journal came, as it was noted."""

    #: entries that were carried out
    done: frozenset[int] = frozenset()
    #: entries that were given up and put back
    left: frozenset[int] = frozenset()
    #: entries that a run was about to change where they lie
    begun: frozenset[int] = frozenset()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class JournalFolder:
    """``journals/`` of the home."""

    folder: Path
    #: plaintext to ciphertext for every recipient
    seal: Callable[[bytes], bytes] = field(repr=False)
    #: ciphertext to plaintext; raises where no key fits
    open_sealed: Callable[[bytes], bytes] = field(repr=False)

    def ids(self, code: str) -> list[str]:
        """Return the ids of the subject's journals, oldest first. Counts decide, not clocks."""
        found = []
        for path in self.folder.glob(f"{code}-*.age"):
            match = _ID.fullmatch(path.stem)
            if match and match["code"] == code:
                found.append((int(match["number"]), path.stem))
        return [name for _, name in sorted(found)]

    def new_id(self, code: str) -> str:
        """Return an id that sorts after every journal of the subject."""
        last = self.ids(code)[-1:]
        number = int(last[0].split("-")[1]) + 1 if last else 1
        return f"{code}-{number:04d}-{secrets.token_hex(4)}"

    def open_id(self, code: str) -> str | None:
        """Return the newest journal of the subject that has not ended, None if all have. Needs no key."""
        return next((name for name in reversed(self.ids(code)) if not self.marks(name).ended), None)

    def write(self, journal: Journal) -> None:
        """Seal ``journal``, make it durable, and read it back before it counts.

        Raises
        ------
        VerificationError
            What was read back is not what was written; nothing was kept.
        NoSpaceError
            The disk of the home is full.
        """
        plain = to_json(journal)
        sealed = self.seal(plain)
        temporary = self.folder / f".{journal.id}.tmp"
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "w+b") as file:
                    file.write(sealed)
                    file.flush()
                    os.fsync(file.fileno())
                    _drop_cache(file.fileno())
                    file.seek(0)
                    again = file.read()
                if self.open_sealed(again) != plain or from_json(plain) != journal:
                    raise VerificationError(
                        "the journal",
                        "cannot be read back as it was written",
                        next="check the disk of the home and run again",
                    )
                rename_noreplace(temporary, self.path(journal.id))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            fsync_directory(self.folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError("the home", "has no room for the journal") from error
            raise

    def path(self, name: str) -> Path:
        """Return the sealed file of the journal ``name``."""
        return self.folder / f"{name}.age"

    def read(self, name: str) -> Journal:
        """Return the journal ``name``.

        Raises
        ------
        UsageError
            There is no such journal, or a newer version wrote it.
        VerificationError
            It is damaged.
        LabKeyError
            No key opens it.
        """
        if not _ID.fullmatch(name):
            raise UsageError("the journal", "has an id of another form", next="ecogsafe subjects show CODE")
        try:
            sealed = self.path(name).read_bytes()
        except FileNotFoundError:
            raise UsageError(name, "there is no such journal", next="ecogsafe subjects show CODE") from None
        journal = from_json(self.open_sealed(sealed))
        if journal.id != name:
            raise VerificationError(
                name,
                "holds another journal",
                safe="No file was touched",
                next="take the copy of journals/ from a key_backup place",
            )
        return journal

    def study_folders(self, code: str) -> dict[int, frozenset[Path]]:
        """Return the source folders of the subject's studies by segment number (private), for `ExistingSegment`.

        What a run left in one of them belongs to that number when it can move at last.
        """
        found: dict[int, frozenset[Path]] = {}
        for name in self.ids(code):
            for entry in self.read(name).entries:
                if entry.tree is Tree.VIDEO:
                    deeper = f"/{DECIMATED}/" in entry.target
                    folder = entry.source.parent.parent if deeper else entry.source.parent
                    found[entry.segment] = found.get(entry.segment, frozenset()) | {folder}
        return found

    def marks(self, name: str) -> Marks:
        """Return what was noted of the journal ``name``; a torn last line counts as absent."""
        try:
            data = self._marks_path(name).read_bytes()
        except FileNotFoundError:
            return Marks()
        done: set[int] = set()
        left: set[int] = set()
        begun: set[int] = set()
        ended = False
        # what follows the last line feed is a line the crash cut
        for line in data.decode("ascii", "replace").split("\n")[:-1]:
            match = _MARK.fullmatch(line)
            if match:
                {" left": left, " begun": begun}.get(match["what"], done).add(int(match["index"]))
            ended = ended or line == _END
        return Marks(frozenset(done), frozenset(left), frozenset(begun), ended)

    def mark(self, name: str, *, done: Iterable[int] = (), left: Iterable[int] = (), begun: Iterable[int] = ()) -> None:
        """Note entries of the journal ``name`` durably."""
        self._append(name, [*map(str, done), *(f"{i} left" for i in left), *(f"{i} begun" for i in begun)])

    def end(self, name: str) -> None:
        """Note durably that the journal ``name`` is finished; may be called again."""
        if not self.marks(name).ended:
            self._append(name, [_END])

    def _marks_path(self, name: str) -> Path:
        return self.folder / f"{name}.marks"

    def _append(self, name: str, lines: list[str]) -> None:
        if not lines:
            return
        path = self._marks_path(name)
        is_new = not path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        with os.fdopen(fd, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            # a line that a crash cut must not become another number when it is closed
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            file.write(((" torn\n" if torn else "") + "\n".join(lines) + "\n").encode("ascii"))
            file.flush()
            os.fsync(fd)
        if is_new:
            fsync_directory(self.folder)


def _drop_cache(fd: int) -> None:
    """Ask the kernel to read from the disk next time, where it can be asked (macOS has no such call)."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
