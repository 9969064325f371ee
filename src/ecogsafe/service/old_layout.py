"""Which file of today's layout an old file is, whatever folders the old scripts packed it below."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.deid.layout import CODE, TargetParts, Tree, parse_target
from ecogsafe.service.expanding import ExpandedFile
from ecogsafe.service.shown_names import shown_path
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.landing_names import folder_for
from ecogsafe.transfer.received import digest_of_file

#: what the old upload scripts put at the end of every name
LOCKED_END = ".enc"
_ARCHIVE = re.compile(
    rf"(?P<code>{CODE})(?:_(?:vid|edf|video|vtc|snc|text))*\.(?:tar\.gz|tgz|tar)", re.ASCII | re.IGNORECASE
)


def place_of(path: str) -> TargetParts | None:
    """Return what an old path says: the longest end of it that is of today's form, extensions in lower case.

    ``tar`` keeps the folders that were named on its command line: ``data/to_upload/a1b2c3d4/a1b2c3d4_1/…``.
    """
    stem, dot, extension = path.rpartition(".")
    parts = f"{stem}{dot}{extension.lower()}".split("/")
    for start in range(len(parts)):
        below = "/".join(parts[start:])
        for tree in Tree:
            if (found := parse_target(tree, below)) is not None:
                return found
    return None


def code_of_archive(name: str) -> str | None:
    """Return the code of an archive of the old script, by its name without ``.enc``; None for other names."""
    match = _ARCHIVE.fullmatch(name)
    return match["code"].lower() if match else None


@dataclass(frozen=True, slots=True)
class OldObject:
    """An object that the old scripts stored."""

    info: ObjectInfo
    code: str
    #: what it becomes, below a tree; None for an archive, which becomes several
    place: TargetParts | None

    @property
    def shown(self) -> str:
        """What messages and the audit record call it: the old scripts took any folder into a key, also a name."""
        return shown_path(self.info.key)

    @property
    def target(self) -> str:
        """What ``-f`` is compared with: the path, or the name of the archive inside the lock."""
        return self.place.relpath if self.place else self.info.key.removesuffix(LOCKED_END)


def old_object(info: ObjectInfo) -> OldObject | None:
    """Return what ``info`` is by its key; None where the old scripts gave no such name."""
    if not info.key.endswith(LOCKED_END):
        return None
    inside = info.key.removesuffix(LOCKED_END)
    if (place := place_of(inside)) is not None:
        return OldObject(info, place.code, place)
    code = code_of_archive(inside.rpartition("/")[2])
    return OldObject(info, code, None) if code is not None else None


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of one file of an archive: done, present, different or left_behind."""

    status: str
    file: ExpandedFile
    place: TargetParts | None
    message: str


def place_all(
    files: list[ExpandedFile], hidden: Path, folder: Path, *, code: str | None, with_trees: bool
) -> Iterator[Placed]:
    """Move the unpacked ``files`` from ``hidden`` to where they belong below ``folder``; never over another one.

    Parameters
    ----------
    code
        The subject that the archive is of; files of others stay. None where its name does not say.
    with_trees
        Below ``folder/video``, ``folder/edf``, ``folder/text``, as in OUT; else without, as `download` has them.
    """
    for file in files:
        place = place_of(file.path.reveal())
        if place is None:
            yield Placed("left_behind", file, None, "is not a name that ecogsafe gives; it stays in the old copy")
        elif code is not None and place.code != code:
            yield Placed("left_behind", file, None, "is another subject's; it stays in the old copy")
        else:
            yield _placed(file, place, hidden, folder, path_of(place, with_trees=with_trees))


def path_of(place: TargetParts, *, with_trees: bool) -> PurePosixPath:
    """Return the path of ``place`` below OUT, or below a tree."""
    return PurePosixPath(place.tree.value, place.relpath) if with_trees else PurePosixPath(place.relpath)


def _placed(file: ExpandedFile, place: TargetParts, hidden: Path, folder: Path, relative: PurePosixPath) -> Placed:
    target = folder / relative
    parent = folder_for(folder, relative)
    try:
        rename_noreplace(file.below(hidden), target)
    except FileExistsError:
        return compared(file, place, target)
    fsync_directory(parent)
    return Placed("done", file, place, "")


def compared(file: ExpandedFile, place: TargetParts, target: Path) -> Placed:
    """Return whether what stands at ``target`` is ``file``."""
    try:
        is_same = target.lstat().st_size == file.size and digest_of_file(target) == file.sha256
    except OSError:
        is_same = False
    if is_same:
        return Placed("present", file, place, "already here, digest equal")
    return Placed("different", file, place, "another content stands under this name; it is never replaced")
