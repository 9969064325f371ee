"""Disks that lose power at a chosen step, refuse a step, or only write down what was asked."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Journal
from ecogsafe.deid.journal_files import JournalFolder
from tests.deid.small_export import open_sealed, seal

#: Before a step is the same disk as after the one before it.
When = Literal["before", "torn", "touched"]
#: Every method of `Disk` that changes something.
CHANGES = (
    *("create", "write_at", "set_mode", "set_times", "sync", "rename", "unlink"),
    *("make_folder", "remove_folder", "restore_folder", "sync_folder"),
)


class Crash(BaseException):
    """The power is gone: nobody catches this."""


@dataclass
class Power:
    """Counts steps of disk and journals together, and goes at the chosen one (counted from 0)."""

    at: int | None = None
    when: When = "before"
    count: int = 0
    trace: list[tuple[Any, ...]] = field(default_factory=list)
    #: steps that can be done by half
    tearable: list[int] = field(default_factory=list)
    #: steps of which a kill can leave nothing but a new time
    touching: list[int] = field(default_factory=list)

    def step(
        self,
        what: tuple[Any, ...],
        do: Callable[[], Any],
        half: Callable[[], Any] | None = None,
        touch: Callable[[], Any] | None = None,
    ) -> Any:
        due = self.count == self.at
        if half is not None:
            self.tearable.append(self.count)
        if touch is not None:
            self.touching.append(self.count)
        self.count += 1
        self.trace.append(what)
        if due:
            if self.when == "torn" and half is not None:
                half()
            if self.when == "touched" and touch is not None:
                touch()
            raise Crash
        return do()


class PoweredDisk(Disk):
    """A disk that goes with `Power`; ``foreign`` makes OUT another file system, ``links`` has no atomic rename."""

    def __init__(self, power: Power, *, foreign: Path | None = None, links: bool = False) -> None:
        self.power = power
        self.foreign = foreign
        self.links = links

    def rename(self, source: Path, target: Path) -> None:
        if self.links:
            self.power.step(("link", str(source), str(target)), lambda: os.link(source, target))
            self.power.step(("unlink", str(source)), source.unlink)
        else:
            whole = super().rename
            self.power.step(("rename", str(source), str(target)), lambda: whole(source, target))

    def mount_of(self, folder: Path) -> tuple[int, str]:
        return (2, "") if self.foreign and folder.is_relative_to(self.foreign) else (1, "")

    def write_at(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        whole, half = super().write_at, bytes(data[: len(data) // 2])
        name = os.readlink(f"/proc/self/fd/{fd}")
        # the kernel changes the time before it copies the first byte: 3 of 137 real kills left just that
        steps = (lambda: whole(fd, data, offset), lambda: whole(fd, half, offset), lambda: os.utime(fd))
        self.power.step(("write_at", name), *steps)


def _powered(name: str) -> Callable[..., Any]:
    real = getattr(Disk, name)

    def method(self: PoweredDisk, *arguments: Any, **more: Any) -> Any:
        shown = [
            os.readlink(f"/proc/self/fd/{a}") if name not in ("create",) and i == 0 and isinstance(a, int) else str(a)
            for i, a in enumerate(arguments)
        ]
        return self.power.step((name, *shown), lambda: real(self, *arguments, **more))

    return method


for _name in CHANGES:
    if _name not in ("write_at", "rename"):
        setattr(PoweredDisk, _name, _powered(_name))


@dataclass(frozen=True)
class PoweredJournals(JournalFolder):
    """Journals whose writing is a step as well."""

    power: Power = field(default_factory=Power)

    @classmethod
    def at(cls, folder: Path, power: Power) -> PoweredJournals:
        folder.mkdir(exist_ok=True)
        return cls(folder, seal, open_sealed, power)

    def write(self, journal: Journal) -> None:
        self.power.step(("journal",), lambda: super(PoweredJournals, self).write(journal))

    def _append(self, name: str, lines: list[str]) -> None:
        def torn() -> None:
            path = self.folder / f"{name}.marks"
            with path.open("ab") as file:
                file.write("\n".join(lines).encode()[:-1])

        self.power.step(("mark",), lambda: super(PoweredJournals, self)._append(name, lines), torn)


class RefusingDisk(Disk):
    """Refuses a method for paths that ``match``, before or after having done it (a reply that got lost)."""

    def __init__(
        self, method: str, match: Callable[[str], bool], *, number: int = errno.EIO, done: bool = False, times: int = 99
    ) -> None:
        self.left = times
        real = getattr(self, method)

        def refuse(*arguments: Any, **more: Any) -> Any:
            first = arguments[0]
            name = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            if self.left > 0 and match(name):
                self.left -= 1
                if done:
                    real(*arguments, **more)
                raise OSError(number, os.strerror(number), name)
            return real(*arguments, **more)

        setattr(self, method, refuse)
