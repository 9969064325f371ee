"""``share``: a group's access to a folder, instead of ``chmod -R 777``. What to change, and the way back.

Nobody else gets in: others lose every right. Folders get the set-group-ID bit, so that what is added later
belongs to the group too. Links are never followed, and one that leads out of the folder stops the whole.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.errors import UsageError, VerificationError

VERSION = 1
_FOLDER_RIGHTS = stat.S_ISGID | stat.S_IRGRP | stat.S_IWGRP | stat.S_IXGRP
_FILE_RIGHTS = stat.S_IRGRP | stat.S_IWGRP


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One entry: what it was and what it becomes. ``path`` is below the folder, ``"."`` for itself."""

    path: str
    inode: int
    device: int
    old_mode: int
    old_group: int
    new_mode: int
    new_group: int

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return (self.old_mode, self.old_group) != (self.new_mode, self.new_group)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePlan:
    """Every entry of a folder, in an order in which each can still be reached."""

    folder: Path
    group: int
    rights: tuple[Right, ...]

    def to_json(self) -> bytes:
        """Return the journal form."""
        return json.dumps(
            {
                "format": "ecogsafe share",
                "version": VERSION,
                "folder": str(self.folder),
                "group": self.group,
                "rights": [[r.path, r.inode, r.device, r.old_mode, r.old_group, r.new_mode] for r in self.rights],
            }
        ).encode("utf-8", "surrogateescape")

    @classmethod
    def from_json(cls, data: bytes) -> SharePlan:
        """Return the plan whose journal form is ``data``.

        Raises
        ------
        VerificationError
            It is not one, or a newer version wrote it.
        """
        try:
            record = json.loads(data.decode("utf-8", "surrogateescape"))
            if record["format"] != "ecogsafe share" or record["version"] != VERSION:
                raise ValueError
            group = int(record["group"])
            rights = tuple(
                Right(
                    path=path,
                    inode=inode,
                    device=device,
                    old_mode=old_mode,
                    old_group=old_group,
                    new_mode=new_mode,
                    new_group=group,
                )
                for path, inode, device, old_mode, old_group, new_mode in record["rights"]
            )
            return cls(folder=Path(record["folder"]), group=group, rights=rights)
        except (ValueError, KeyError, TypeError):
            raise VerificationError("the share journal", "is damaged, or of a newer version") from None


def plan_share(folder: Path, group: int, *, home: Path) -> SharePlan:
    """Return what sharing ``folder`` with ``group`` changes.

    Raises
    ------
    UsageError
        The folder is ``/``, a mount point, somebody's home, holds one of these or the keys, is a link, a
        link in it leads out of it or nowhere, or something in it cannot be looked at.
    """
    absolute = _refuse_dangerous(folder, home)
    try:
        rights = tuple(_entries(absolute, absolute, group))
    except OSError as error:
        # "from None": the cause carries the path
        raise UsageError(
            "DIR",
            f"something in it cannot be looked at ({os.strerror(error.errno or 0)})",
            safe="No permission was changed",
            next="share it as the user who owns all of it",
        ) from None
    return SharePlan(folder=absolute, group=group, rights=rights)


def _refuse_dangerous(folder: Path, home: Path) -> Path:
    def refuse(problem: str) -> UsageError:
        return UsageError("DIR", problem, safe="No permission was changed", next="name the folder of the data itself")

    if folder.is_symlink():
        raise refuse("is a symbolic link")
    if not folder.is_dir():
        raise refuse("is not a folder")
    absolute = folder.resolve()
    if absolute == Path("/"):
        raise refuse("is the whole computer")
    if absolute.is_mount():
        raise refuse("is the top of a disk (a mount point)")
    if len(absolute.parts) < 3 or absolute.parts[1] in _SYSTEM:
        raise refuse("is a system folder")
    homes = {Path("/root"), Path.home().resolve(), *_homes()}
    if any(h == absolute or h.is_relative_to(absolute) for h in homes):
        raise refuse("is a home folder, or holds one")
    keys = home.resolve()
    if keys == absolute or keys.is_relative_to(absolute) or absolute.is_relative_to(keys):
        raise refuse("holds the keys and the catalogue of ecogsafe")
    return absolute


_SYSTEM = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr", "System", "Library"}
)


def _homes() -> Iterator[Path]:
    import pwd

    for entry in pwd.getpwall():
        if entry.pw_uid >= 1000 and entry.pw_dir not in ("/", "", "/nonexistent"):
            yield Path(entry.pw_dir)


def _entries(path: Path, root: Path, group: int) -> Iterator[Right]:
    state = path.lstat()
    relative = path.relative_to(root).as_posix()
    if stat.S_ISLNK(state.st_mode):
        # not Path.resolve, which raises for a link that leads to itself, in some versions of Python
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(root) or target.is_symlink():
            raise UsageError(
                "DIR",
                "a symbolic link in it leads out of it, or to itself",
                safe="No permission was changed",
                next="remove the link, or share the folder that holds both",
            )
        return
    if path != root and stat.S_ISDIR(state.st_mode) and path.is_mount():
        raise UsageError("DIR", "another disk is mounted in it", safe="No permission was changed")
    if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
        mode = stat.S_IMODE(state.st_mode)
        added = _FOLDER_RIGHTS if stat.S_ISDIR(state.st_mode) else _FILE_RIGHTS
        yield Right(
            path=relative,
            inode=state.st_ino,
            device=state.st_dev,
            old_mode=mode,
            old_group=state.st_gid,
            new_mode=(mode | added) & ~stat.S_IRWXO,
            new_group=group,
        )
    if stat.S_ISDIR(state.st_mode):
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            yield from _entries(Path(entry.path), root, group)


def set_rights(folder: Path, right: Right, *, back: bool) -> bool:
    """Give one entry its new rights, or its old ones ``back``; False if it is no longer the same entry.

    Raises
    ------
    OSError
        The disk refuses: not the owner, or not a member of the group.
    """
    path = folder if right.path == "." else folder / right.path
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return False
    try:
        state = os.fstat(descriptor)
        if (state.st_dev, state.st_ino) != (right.device, right.inode):
            return False
        here = (stat.S_IMODE(state.st_mode), state.st_gid)
        old, new = (right.old_mode, right.old_group), (right.new_mode, right.new_group)
        wanted = old if back else new
        if here == wanted:
            return True
        if back and here != new:
            return False
        # the group first: a change of owner clears the set-group-ID bit
        if state.st_gid != wanted[1]:
            os.fchown(descriptor, -1, wanted[1])
        os.fchmod(descriptor, wanted[0])
        return True
    finally:
        os.close(descriptor)
