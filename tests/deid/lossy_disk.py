"""A disk that forgets, when the power goes, what was not made durable: names, and bytes.

A name made, moved or removed is safe once its folder was synced; bytes are safe once their file was. Of the rest any
part may be lost, as long as no name is left in a folder that is lost.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.deid.faulty_disk import Power, PoweredDisk


@dataclass
class Change:
    """Something that was done and is not durable yet."""

    what: str
    #: a folder whose sync makes it durable; for bytes the inode
    keeper: Path | int
    take_back: Callable[[], None]


class LossyDisk(PoweredDisk):
    """A `PoweredDisk` below ``base`` that can lose what is not durable; ``lies`` about these kinds of sync."""

    def __init__(self, power: Power, base: Path, *, foreign: Path | None = None, lies: tuple[str, ...] = ()) -> None:
        super().__init__(power, foreign=foreign)
        self.base = base
        self.lies = lies
        self.volatile: list[Change] = []
        self._graveyard = base / f"graveyard-{secrets.token_hex(4)}"
        self._numbers = count()

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._note(f"rename to {target.name}", target.parent, lambda: _move(target, source))

    def create(self, path: Path, mode: int = 0o600) -> int:
        fd: int = super().create(path, mode)
        self._note(f"create {path.name}", path.parent, path.unlink)
        return fd

    def unlink(self, path: Path) -> None:
        self._graveyard.mkdir(exist_ok=True)
        kept = self._graveyard / str(next(self._numbers))
        os.link(path, kept)
        try:
            super().unlink(path)
        except BaseException:
            kept.unlink()
            raise
        self._note(f"unlink {path.name}", path.parent, lambda: _move(kept, path))

    def make_folder(self, path: Path, mode: int) -> None:
        super().make_folder(path, mode)
        self._note(f"make folder {path.name}", path.parent, path.rmdir)

    def remove_folder(self, path: Path) -> bool:
        state = self.lstat(path)
        removed: bool = super().remove_folder(path)
        if removed and state is not None:
            self._note(f"remove folder {path.name}", path.parent, lambda: path.mkdir(state.st_mode & 0o7777))
        return removed

    def write_at(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        state = os.fstat(fd)
        old = os.pread(fd, len(data), offset)

        def take_back() -> None:
            for path in self._names_of(state.st_ino):
                with path.open("r+b") as file:
                    os.pwrite(file.fileno(), old, offset)
                    os.truncate(file.fileno(), state.st_size)
                # the times go with the bytes: one sync is for both
                os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

        # noted before it is done: it can be done by half
        self._note("bytes", state.st_ino, take_back)
        super().write_at(fd, data, offset)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        if "sync" not in self.lies:
            inode = os.fstat(fd).st_ino
            self.volatile = [change for change in self.volatile if change.keeper != inode]

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        if "sync_folder" not in self.lies:
            self.volatile = [change for change in self.volatile if change.keeper != path]

    def lose(self, chance: random.Random, share: float) -> list[str]:
        """Lose each change that is not durable with the probability ``share``, newest first; return what was lost."""
        lost = []
        for change in reversed(self.volatile):
            if chance.random() < share:
                # what a later change that is kept rests on cannot be lost
                with suppress(OSError):
                    change.take_back()
                    lost.append(change.what)
        self.volatile = []
        return lost

    def _note(self, what: str, keeper: Path | int, take_back: Callable[[], None]) -> None:
        self.volatile.append(Change(what, keeper, take_back))

    def _names_of(self, inode: int) -> Iterator[Path]:
        for path in list(self.base.rglob("*")):
            if path.is_file() and path.lstat().st_ino == inode:
                yield path


def _move(source: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError(target)
    source.rename(target)
