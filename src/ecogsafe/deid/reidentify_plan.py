"""Before `reidentify` begins: which files are to be made, under which names, and whether DIR may hold them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.journal import Entry, Journal, JournalKind
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.layout import collision_key
from ecogsafe.deid.work import reason_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One file to be made again; ``relative`` (private) is where it stood in its export."""

    journal: Journal
    entry: Entry
    relative: Path


@dataclass(frozen=True, slots=True)
class Refused:
    """A folder in which names must never stand, and how messages call it."""

    folder: Path
    word: str


def standing(code: str, *, journals: JournalFolder) -> list[tuple[Journal, Entry]]:
    """Return what the applies of the subject carried out and no undo took back, the oldest first."""
    found: dict[tuple[Path, str], tuple[Journal, Entry]] = {}
    for name in journals.ids(code):
        journal, marks = journals.read(name), journals.marks(name)
        for index, entry in enumerate(journal.entries):
            if journal.kind is JournalKind.APPLY and index not in marks.left:
                found[journal.out_root, entry.place] = (journal, entry)
            elif journal.kind is JournalKind.UNDO and index in marks.done:
                found.pop((journal.out_root, entry.place), None)
    return list(found.values())


def wanted_files(pairs: Iterable[tuple[Journal, Entry]]) -> list[Wanted]:
    """Return what is to be made where below DIR.

    The places are those of the export. Where two exports had a file of one name, all of the later export
    stands in a folder ``apply-<number of its journal>``.
    """
    by_journal: dict[str, list[Wanted]] = {}
    for journal, entry in pairs:
        inside = entry.source.is_relative_to(journal.export_root)
        relative = entry.source.relative_to(journal.export_root) if inside else Path(entry.source.name)
        by_journal.setdefault(journal.id, []).append(Wanted(journal=journal, entry=entry, relative=relative))
    taken: set[str] = set()
    result: list[Wanted] = []
    for name, files in by_journal.items():
        if not taken.isdisjoint(_keys(files)):
            folder = f"apply-{name.split('-')[1]}"
            files = [replace(f, relative=folder / f.relative) for f in files]  # noqa: PLW2901
        taken.update(_keys(files))
        result += files
    return result


def _keys(files: Iterable[Wanted]) -> Iterator[str]:
    return (collision_key(str(file.relative)) for file in files)


def marker(folder: Path, code: str) -> Path:
    """Return the file that says that DIR is being filled with the files of ``code``."""
    return folder / f".ecogsafe-reidentify-{code}"


def check_folder(folder: Path, code: str, refused: Sequence[Refused]) -> Path:
    """Return DIR, resolved, if names may stand there.

    Raises
    ------
    UsageError
        It lies in a folder of ``refused``, in a git repository or in a store; holds something (other than
        what an interrupted run of the same command left); or cannot be made.
    """
    path = folder.resolve()
    above = [path, *path.parents]
    ids = {(s.st_dev, s.st_ino) for p in above if (s := _state(p)) is not None}
    for place in refused:
        state = _state(place.folder)
        # the same folder may have two paths: a bind mount, a link
        if path.is_relative_to(place.folder.resolve()) or (state and (state.st_dev, state.st_ino) in ids):
            raise _refusal(f"lies inside {place.word}, and names must not stand there")
    if any(os.path.lexists(p / ".git") for p in above):
        raise _refusal("lies inside a git repository, and names must not stand there")
    if any(os.path.lexists(p / "_ecogsafe" / "store.json") for p in above):
        raise _refusal("lies inside a store, and names must not stand there")
    try:
        if path.is_dir():
            if any(path.iterdir()) and not marker(path, code).is_file():
                raise _refusal("is not empty")
        elif os.path.lexists(path) or not path.parent.is_dir():
            raise _refusal("is not a folder, or the folder above it is not there")
    except OSError as error:
        raise _refusal(f"cannot be looked into ({reason_of(error)})") from None
    return path


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _refusal(problem: str) -> UsageError:
    return UsageError("DIR", problem, safe="Nothing was written", next="name a new folder on a disk only you can read")
