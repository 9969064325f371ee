"""What lies below DIR and may be sent: the walk, and the first half of the gate (DESIGN 5.5.1, form)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ecogsafe.catalog.files import Tree as TreeName
from ecogsafe.core.errors import UsageError
from ecogsafe.core.private import Private
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.layout import TargetParts, Tree, parse_target
from ecogsafe.formats.kinds import Kind

#: files of our own that are never sent
_OURS = ".ecogsafe-"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """One file of the right form."""

    tree: TreeName
    #: below the tree, as in the object key
    path: str
    parts: TargetParts
    #: below DIR
    relative: PurePosixPath
    status: os.stat_result

    @property
    def kind(self) -> Kind:
        """The kind its name says."""
        return self.parts.kind

    @property
    def shown(self) -> str:
        """What messages call it."""
        return f"{self.tree}/{self.path}"


@dataclass(slots=True)
class Outgoing:
    """Everything found below DIR."""

    root: Path
    files: list[OutgoingFile] = field(default_factory=list)
    #: (masked path, why) of what is not of the form and stays
    left: list[tuple[str, str]] = field(default_factory=list)
    #: an own file tells that a de-identification of these subjects is unfinished
    unfinished: set[str] = field(default_factory=set)

    def subjects(self) -> list[str]:
        """Return the codes found, sorted."""
        return sorted({file.parts.code for file in self.files})


def _trees_of(data_type: str) -> tuple[Tree, ...]:
    return (Tree.VIDEO, Tree.TEXT) if data_type == "v" else (Tree.EDF,)


def find_outgoing(folder: Path, data_type: str) -> Outgoing:
    """Return what ``folder`` holds for ``-t v`` (video and text) or ``-t e`` (EDF and BDF).

    ``folder`` may be OUT, a tree of it (``OUT/video``), or one subject's folder in a tree.

    Raises
    ------
    UsageError
        The folder does not exist or cannot be read.
    """
    if not folder.is_dir():
        raise UsageError("DIR", "there is no such folder", next="check the path given with -d")
    found = Outgoing(folder)
    wanted = _trees_of(data_type)
    found.unfinished = marked_subjects(folder)
    has_trees = any((folder / tree.value).is_dir() for tree in Tree)
    if has_trees:
        for tree in wanted:
            if (folder / tree.value).is_dir():
                _walk(found, folder / tree.value, [(tree, PurePosixPath())], PurePosixPath(tree.value))
    else:
        name = PurePosixPath(folder.absolute().name)
        candidates = [(t, name if _is_subject_folder(name.name, t) else PurePosixPath()) for t in wanted]
        _walk(found, folder, candidates, PurePosixPath())
    found.files.sort(key=lambda f: (f.parts.code, f.tree, f.parts.number, f.path))
    return found


def _is_subject_folder(name: str, tree: Tree) -> bool:
    suffixes = {Tree.VIDEO: ("",), Tree.EDF: ("_edf",), Tree.TEXT: ("_vtc", "_snc")}[tree]
    return any(name.endswith(s) and is_code(name.removesuffix(s)) for s in suffixes)


def marked_subjects(folder: Path) -> set[str]:
    """Return the codes whose de-identification is unfinished, by the markers in and above ``folder``."""
    return {code for place in _marker_folders(folder) for code in _unfinished_in(place)}


def _marker_folders(folder: Path) -> list[Path]:
    """Return where a marker of an unfinished apply could lie: DIR and the two folders above it."""
    absolute = folder.absolute()
    return [absolute, *list(absolute.parents)[:2]]


def _unfinished_in(folder: Path) -> set[str]:
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return set()
    marker = f"{_OURS}open-"
    return {name.removeprefix(marker) for name in names if name.startswith(marker)}


def _walk(found: Outgoing, base: Path, candidates: list[tuple[Tree, PurePosixPath]], below_dir: PurePosixPath) -> None:
    """Sort every entry below ``base`` into files of the form of one of the candidate trees, and the rest."""
    for relative, status in _entries(base, PurePosixPath()):
        if relative.name.startswith(_OURS):
            continue
        tree, path, parts = _place(candidates, relative)
        if parts is None:
            found.left.append((_masked(tree, path), f"is not a name that ecogsafe gives below {tree.value}"))
        elif not stat.S_ISREG(status.st_mode):
            reason = "is not a regular file: links, FIFOs and devices are never followed"
            found.left.append((_masked(tree, path), reason))
        else:
            found.files.append(
                OutgoingFile(tree=tree.value, path=path, parts=parts, relative=below_dir / relative, status=status)
            )


def _place(
    candidates: list[tuple[Tree, PurePosixPath]], relative: PurePosixPath
) -> tuple[Tree, str, TargetParts | None]:
    for tree, prefix in candidates:
        path = (prefix / relative).as_posix()
        if (parts := parse_target(tree, path)) is not None:
            return tree, path, parts
    tree, prefix = candidates[0]
    return tree, (prefix / relative).as_posix(), None


def _entries(folder: Path, relative: PurePosixPath) -> Iterator[tuple[PurePosixPath, os.stat_result]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        raise UsageError(
            "DIR", f"a folder in it cannot be read ({os.strerror(error.errno or 0)})", next="check its permissions"
        ) from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path), relative / entry.name)
        else:
            yield relative / entry.name, entry.stat(follow_symlinks=False)


def _masked(tree: Tree, path: str) -> str:
    """Return a path that may carry a name: the leading code is shown, the rest masked."""
    first, _, rest = path.partition("/")
    code = first.removesuffix("_edf").removesuffix("_vtc").removesuffix("_snc")
    shown = first if is_code(code) else str(Private(first))
    return f"{tree.value}/{shown}/{Private(rest)}" if rest else f"{tree.value}/{shown}"
