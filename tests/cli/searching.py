"""A search for planted identifiers that does not cry wolf: ciphertext, digests and times hold short terms by chance."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ecogsafe.synthetic.ledger import search

#: shorter terms turn up in ciphertext by chance
_LONG = 7


def residue(folder: Path, terms: Iterable[str], scratch: Path) -> list[str]:
    """Return where each of ``terms`` stands in the names and bytes of a folder, as ``file: term``.

    Short terms are not searched in ciphertext, and a short number counts only as a number of its own: times and
    digests hold every six digits sooner or later.

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
        if not is_sealed:
            os.link(path, scratch / f"{number}.bytes")
    found += [f"{r.path}: {r.term}" for r in search(scratch, [term for term in short if not term.isdecimal()])]
    for path in scratch.iterdir():
        found += [f"{path.name}: {term}" for term in short if term.isdecimal() and _stands_alone(term, path)]
    return found


def _sealed_apart(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield each file with whether it is ciphertext, or random."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes().startswith(b"age-encryption.org/v1\n") or path.name == "resume.key"


def _stands_alone(term: str, path: Path) -> bool:
    data = path.read_bytes()
    needles = {term.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")}
    return any(re.search(rb"(?<![0-9A-Za-z])" + needle + rb"(?![0-9A-Za-z])", data) for needle in needles)
