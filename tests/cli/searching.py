"""A search for planted identifiers that does not cry wolf: ciphertext, digests and times hold short terms by chance."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from ecogsafe.synthetic.ledger import search

#: shorter terms turn up in ciphertext by chance
_LONG = 7
_SQLITE = b"SQLite format 3\0"


def residue(folder: Path, terms: Iterable[str], scratch: Path) -> list[str]:
    """Return where each of ``terms`` stands in the names and bytes of a folder, as ``file: term``.

    Short terms are not searched in ciphertext, and of a database only in the text of its rows; a short number counts
    only as a number of its own: times and digests hold every six digits sooner or later.

    Parameters
    ----------
    scratch
        A folder to be made, on the same disk.
    """
    short = [term for term in terms if len(term) < _LONG]
    found = [f"{r.path}: {r.term}" for r in search(folder, [term for term in terms if len(term) >= _LONG])]
    scratch.mkdir()
    for number, (path, is_sealed) in enumerate(_sealed_apart(folder)):
        (scratch / f"{number}").write_bytes(os.fsencode(path.relative_to(folder)))
        if _begins(path, _SQLITE):
            (scratch / f"{number}.bytes").write_bytes(_text_of_rows(path))
        elif not is_sealed:
            os.link(path, scratch / f"{number}.bytes")
    found += [f"{r.path}: {r.term}" for r in search(scratch, [term for term in short if not term.isdecimal()])]
    for path in scratch.iterdir():
        found += [f"{path.name}: {term}" for term in short if term.isdecimal() and _stands_alone(term, path)]
    return found


def _sealed_apart(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each file with whether it is ciphertext, or random, or what a database has yet to take in."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, _begins(path, b"age-encryption.org/v1\n") or path.name.endswith(("resume.key", "-wal", "-shm"))


def _begins(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _text_of_rows(path: Path) -> bytes:
    """Return every text of a database, a line each: in its bytes the length of one touches the next, as if one word."""
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.glob(f"{path.name}*"):
            shutil.copy(part, folder)
        with closing(sqlite3.connect(Path(folder, path.name))) as copy:
            tables = [name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = [row for table in ("sqlite_master", *tables) for row in copy.execute(f'SELECT * FROM "{table}"')]
    return "\n".join(str(value) for row in rows for value in row if not isinstance(value, bytes)).encode()


def _stands_alone(term: str, path: Path) -> bool:
    data = path.read_bytes()
    needles = {term.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")}
    return any(re.search(rb"(?<![0-9A-Za-z])" + needle + rb"(?![0-9A-Za-z])", data) for needle in needles)
