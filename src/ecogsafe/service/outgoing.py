"""What lies below DIR and may be sent: the walk, and the first half of the gate (DESIGN 5.5.1, form)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ecogsafe.catalog.files import Tree as TreeName
from ecogsafe.core.errors import SourceUnreadableError, UsageError
from ecogsafe.core.private import Private
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.layout import TargetParts, Tree, parse_target
from ecogsafe.formats.kinds import Kind

#: files of our own that are never sent
_OURS = ".ecogsafe-"
#: what `free` leaves in a folder
NOTE_NAME = "WHERE-THE-DATA-WENT.txt"
NOTHING_LEFT = f"nothing waits here: ecogsafe free deleted what stood here ({NOTE_NAME})"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """One file of the right form."""

    tree: TreeName
    #: below the tree, as in the object key
    path: str
    parts: TargetParts
    #: below DIR; a text, for they come by the ten thousand
    below_dir: str
    status: os.stat_result

    @property
    def relative(self) -> PurePosixPath:
        """Where it is below DIR."""
        return PurePosixPath(self.below_dir)

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
    #: folders and files that could not even be looked at
    unreadable: list[SourceUnreadableError] = field(default_factory=list)
    #: `free` has deleted files here: that nothing stands there any more is as it should be
    was_freed: bool = False

    @property
    def is_rightly_empty(self) -> bool:
        """Whether there is nothing, and that is because of `free`."""
        return self.was_freed and not (self.files or self.left or self.unreadable)

    def subjects(self) -> list[str]:
        """Return the codes found, sorted."""
        return sorted({file.parts.code for file in self.files})


def _trees_of(data_type: str) -> tuple[Tree, ...]:
    return (Tree.VIDEO, Tree.TEXT) if data_type == "v" else (Tree.EDF,)


def find_outgoing(folder: Path, data_type: str) -> Outgoing:
    """Return what ``folder`` holds for ``-t v`` (video and text) or ``-t e`` (EDF and BDF).

    ``folder`` may be OUT, a tree of it (``OUT/video``), or one subject's folder in a tree; it may be given
    as a link. Files of the form of the other type are passed over.

    Raises
    ------
    UsageError
        The folder does not exist or cannot be read.
    """
    entries = _folders_in(folder)
    wanted = _trees_of(data_type)
    found = Outgoing(folder, was_freed=_was_freed(folder, wanted))
    subject = next((n for n in _names_of(folder) if any(_is_subject_folder(n, t) for t in Tree)), None)
    is_tree = subject is not None or any(_is_subject_folder(n, t) for n in entries for t in Tree)
    if not is_tree and any(tree.value in entries for tree in Tree):
        for tree in wanted:
            if (folder / tree.value).is_symlink():
                found.left.append((tree.value, "is a link, which is never followed; name what it points to with -d"))
            elif tree.value in entries:
                _walk(found, folder / tree.value, _Names((tree,), None), f"{tree.value}/")
    else:
        _walk(found, folder, _Names(wanted, subject), "")
    found.files.sort(key=lambda f: (f.parts.code, f.tree, f.parts.number, f.path))
    return found


def _was_freed(folder: Path, trees: tuple[Tree, ...]) -> bool:
    """Return whether a note of `free` lies in DIR, above it up to where an OUT could be, or in a tree below it."""
    places = (*_marker_folders(folder), *(folder / tree.value for tree in trees))
    return any((place / NOTE_NAME).is_file() for place in places)


def _folders_in(folder: Path) -> set[str]:
    """Return the names of what looks like folders in DIR; a link to one is told from it later, by the walk."""
    try:
        return {entry.name for entry in os.scandir(folder) if entry.is_dir()}
    except NotADirectoryError as error:
        raise UsageError("DIR", "is not a folder", next="check the path") from error
    except FileNotFoundError as error:
        raise UsageError("DIR", "there is no such folder", next="check the path") from error
    except OSError as error:
        raise UsageError(
            "DIR", f"cannot be read ({os.strerror(error.errno or 0)})", next="check its permissions"
        ) from error


def _names_of(folder: Path) -> tuple[str, str]:
    """Return what DIR is called: where it really is, and as it was given (either may be a link's name)."""
    return folder.resolve().name, folder.absolute().name


def _is_subject_folder(name: str, tree: Tree) -> bool:
    suffixes = {Tree.VIDEO: ("",), Tree.EDF: ("_edf",), Tree.TEXT: ("_vtc", "_snc")}[tree]
    return any(name.endswith(s) and is_code(name.removesuffix(s)) for s in suffixes)


def marked_subjects(folder: Path) -> set[str]:
    """Return the codes whose de-identification is unfinished, by the markers in and above ``folder``."""
    return {code for place in _marker_folders(folder) for code in _unfinished_in(place)}


def _marker_folders(folder: Path) -> set[Path]:
    """Return where a marker of an unfinished apply could lie: DIR and the two folders above it."""
    places = (folder.resolve(), folder.absolute())
    return {place for start in places for place in (start, *list(start.parents)[:2])}


def _unfinished_in(folder: Path) -> set[str]:
    try:
        names = [entry.name for entry in os.scandir(folder)]
    except OSError:
        return set()
    marker = f"{_OURS}open-"
    return {name.removeprefix(marker) for name in names if name.startswith(marker)}


@dataclass(frozen=True, slots=True)
class _Names:
    """How names below a folder are understood."""

    wanted: tuple[Tree, ...]
    #: the folder is this subject's own folder in a tree; None: a tree
    subject: str | None

    def path(self, tree: Tree, relative: str) -> str:
        """Return the path below ``tree``."""
        own = self.subject is not None and _is_subject_folder(self.subject, tree)
        return f"{self.subject}/{relative}" if own else relative

    def place(self, relative: str) -> tuple[Tree, str, TargetParts | None]:
        """Return tree, path below it and what the path says; no parts for what is not of the form."""
        for tree in (*self.wanted, *Tree):
            path = self.path(tree, relative)
            if (parts := parse_target(tree, path)) is not None:
                return tree, path, parts
        return self.wanted[0], self.path(self.wanted[0], relative), None


def _walk(found: Outgoing, base: Path, names: _Names, above: str) -> None:
    """Sort every entry below ``base`` into files of the form of one of the wanted trees, and the rest.

    Parameters
    ----------
    above
        What stands before the paths below ``base`` in those below DIR.
    """
    for relative, status in _entries(str(base), ""):
        name = relative.rpartition("/")[2]
        if name.startswith(_OURS) or name == NOTE_NAME:
            continue
        tree, path, parts = names.place(relative)
        if isinstance(status, OSError):
            reason = f"cannot be read ({os.strerror(status.errno or 0)})"
            found.unreadable.append(SourceUnreadableError(_masked(tree, path), reason, next="check its permissions"))
        elif parts is not None and tree not in names.wanted:
            continue
        elif not stat.S_ISREG(status.st_mode):
            reason = "is not a regular file: links, FIFOs and devices are never followed"
            found.left.append((_masked(tree, path), reason))
        elif parts is None:
            found.left.append((_masked(tree, path), f"is not a name that ecogsafe gives below {tree.value}"))
        else:
            found.files.append(
                OutgoingFile(tree=tree.value, path=path, parts=parts, below_dir=above + relative, status=status)
            )


def _entries(folder: str, below: str) -> Iterator[tuple[str, os.stat_result | OSError]]:
    """Yield what lies below ``folder``, folders themselves only where they cannot be entered.

    Paths are texts here: they come by the ten thousand.

    Parameters
    ----------
    below
        What stands before the names in it: empty, or the path so far and a slash.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        yield below.removesuffix("/") or ".", error
        return
    for name in names:
        try:
            status = os.lstat(f"{folder}/{name}")
        except FileNotFoundError:
            continue  # went away meanwhile
        except OSError as error:
            yield below + name, error
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _entries(f"{folder}/{name}", f"{below}{name}/")
        else:
            yield below + name, status


def _masked(tree: Tree, path: str) -> str:
    """Return a path that may carry a name: the leading code is shown, the rest masked."""
    if path == ".":
        return tree.value
    first, _, rest = path.partition("/")
    code = first.removesuffix("_edf").removesuffix("_vtc").removesuffix("_snc")
    shown = first if is_code(code) else str(Private(first))
    return f"{tree.value}/{shown}/{Private(rest)}" if rest else f"{tree.value}/{shown}"
