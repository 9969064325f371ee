"""Whom a recording is about: names, record number, date of birth, and whatever else points to the person.

All of it is private: it prints as a mask, and it lives only in the linking key and in journals (DESIGN 5.2).
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from ecogsafe.core.errors import UsageError
from ecogsafe.core.private import mask
from ecogsafe.deid.birth_dates import possible_dates, tidy_date
from ecogsafe.deid.name_keys import name_key, name_keys, same_name
from ecogsafe.deid.words import is_placeholder
from ecogsafe.formats.found import PersonHints

#: A file of identifiers is a few lines; more than this is something else.
_MOST_BYTES = 1 << 20
_ITEM = "the identifiers"
_FIX = 'last_name = "…", first_name = "…", mrn = "…", birth_date = "1970-02-02", also = ["…"]'
_SINGLE = ("last_name", "first_name", "middle_name", "mrn", "birth_date")


class Likeness(Enum):
    """How much two sets of identifiers speak of one person."""

    SAME = "same"
    #: the name is the same, and nothing else confirms it: a person must decide
    SAME_NAME_ONLY = "same name only"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identifiers:
    """The identifiers of one person; every field private, any may be empty."""

    last_name: str = ""
    first_name: str = ""
    middle_name: str = ""
    mrn: str = ""
    #: ISO ``1970-02-02`` where it can be read in one way, else as it was written
    birth_date: str = ""
    #: further terms: other names, telephone, study GUIDs, host names …
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _SINGLE:
            object.__setattr__(self, name, _tidy(getattr(self, name)))
        object.__setattr__(self, "birth_date", tidy_date(self.birth_date))
        kept = dict.fromkeys(t for t in map(_tidy, self.also) if t)
        object.__setattr__(self, "also", tuple(kept))

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={mask(getattr(self, n))!r}" for n in _SINGLE if getattr(self, n))
        return f"Identifiers({shown}{', ' if shown else ''}also={len(self.also)})"

    __str__ = __repr__

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is known."""
        return not any(getattr(self, f.name) for f in fields(self))

    @classmethod
    def from_toml(cls, text: str) -> Identifiers:
        """Return the identifiers that ``text`` holds (DESIGN 5.2).

        Raises
        ------
        UsageError
            Not TOML, an unknown key, a value that is not text, or nothing in it. The message never
            repeats a value.
        """
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            # "from None": the cause carries the text itself
            raise UsageError(_ITEM, "are not TOML", next=f"write them as {_FIX}") from None
        found = cls(**dict(_toml_value(key, value) for key, value in raw.items()))
        if found.is_empty:
            raise UsageError(_ITEM, "are empty", next=f"write them as {_FIX}")
        return found

    @classmethod
    def from_hints(cls, hints: Iterable[PersonHints]) -> Identifiers:
        """Return all that ``hints`` tell of one person; placeholders such as ``X`` count as unknown.

        What contradicts an earlier hint is kept under ``also``, so that it is searched too.
        """
        merged = cls()
        for hint in hints:
            values = {n: "" if is_placeholder(v := getattr(hint, n)) else v for n in _SINGLE}
            merged = merged.merge(cls(**values, also=tuple(t for t in hint.also if not is_placeholder(t))))
        return merged

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Identifiers:
        """Return the identifiers of the linking key's JSON ``record``; unknown fields are an error.

        Raises
        ------
        TypeError
            A field is unknown or not text.
        """
        also = record.get("also", [])
        values = {k: v for k, v in record.items() if k != "also"}
        if not all(isinstance(v, str) for v in (*values.values(), *also)):
            raise TypeError
        return cls(**values, also=tuple(also))

    def as_record(self) -> dict[str, Any]:
        """Return the fields as JSON values; for the linking key only."""
        return {**{n: getattr(self, n) for n in _SINGLE}, "also": list(self.also)}

    def merge(self, other: Identifiers) -> Identifiers:
        """Return these identifiers and ``other``'s: empty fields are filled, other values go to ``also``."""
        changes: dict[str, Any] = {}
        also = list(self.also)
        for name in _SINGLE:
            mine, theirs = getattr(self, name), getattr(other, name)
            if not mine:
                changes[name] = theirs
            elif theirs and not _same_value(name, mine, theirs):
                also.append(theirs)
        known = {_letters(t) for n in _SINGLE for t in (getattr(self, n), changes.get(n, "")) if t}
        for term in other.also:
            if _letters(term) not in known or not _letters(term):
                also.append(term)
        seen: dict[str, str] = {}
        for term in also:
            seen.setdefault(term.casefold(), term)
        return replace(self, **changes, also=tuple(seen.values()))


def _tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).replace("\0", " ").split())


def _toml_value(key: str, value: object) -> tuple[str, Any]:
    names = [f.name for f in fields(Identifiers)]
    if key not in names:
        near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
        raise UsageError(_ITEM, "have a key that is not known", next=f"is it {near}? Write them as {_FIX}")
    if key == "also" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return key, tuple(value)
    if key == "birth_date" and isinstance(value, date):
        # a TOML date-time is a date as well; its time of day says nothing here
        return key, date(value.year, value.month, value.day).isoformat()
    if key != "also" and isinstance(value, str):
        return key, value
    wanted = "a list of texts" if key == "also" else "a text in quotes"
    raise UsageError(_ITEM, f"need {wanted} for {key}", next=f"write them as {_FIX}")


def read_identifiers_file(path: Path) -> Identifiers:
    """Return the identifiers of the TOML file ``path``, which only its owner may read.

    Raises
    ------
    UsageError
        It cannot be read, is a link or no plain file, others may read it, or as `Identifiers.from_toml`.
    """
    item = "the file of --identifiers"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise UsageError(item, "cannot be opened", next="check that it is there, yours, and no link") from None
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise UsageError(item, "is not a plain file", next="give a TOML file, or - to type it in")
        if state.st_mode & 0o077:
            raise UsageError(item, "can be read by others", next="chmod 600 it, then run again")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(_MOST_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > _MOST_BYTES:
        raise UsageError(item, "is too large to be a list of identifiers", next=f"write it as {_FIX}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(item, "is not UTF-8 text", next="save it as UTF-8, then run again") from None
    return Identifiers.from_toml(text)


def _letters(term: str) -> str:
    """Return letters and digits of ``term`` without marks; ``ø`` and the like stay, whose digraphs are searched too."""
    plain = unicodedata.normalize("NFKD", term.casefold())
    return "".join(c for c in plain if c.isalnum())


def mrn_key(mrn: str) -> str:
    """Return what is left of ``mrn`` when separators, case and leading zeros do not count."""
    return "".join(c for c in mrn.casefold() if c.isalnum()).lstrip("0")


def _same_value(field: str, mine: str, theirs: str) -> bool:
    if field == "mrn":
        return mrn_key(mine) == mrn_key(theirs)
    if field == "birth_date":
        return mine == theirs
    # "Müller" and "Muller" are one name, but two spellings to search for
    return mine.casefold() == theirs.casefold()


def _last_names_agree(a: Identifiers, b: Identifiers) -> bool:
    def known_as(person: Identifiers) -> Iterator[str]:
        yield from (person.last_name, *person.also)

    return any(same_name(a.last_name, name) for name in known_as(b)) or any(
        same_name(b.last_name, name) for name in known_as(a)
    )


def _first_tokens(name: str) -> list[str]:
    return [t for t in re.split(r"[\s_.]+", name) if name_key(t)]


def _first_names_agree(a: str, b: str) -> bool | None:
    """Return whether two first names agree; None where one is absent or an initial only."""
    ours, theirs = _first_tokens(a), _first_tokens(b)
    if not ours or not theirs:
        return None
    if same_name(a, b):
        return True
    if min(sum(map(str.isalnum, name)) for name in (ours[0], theirs[0])) == 1:
        return None if any(x[0] == y[0] for x in name_keys(ours[0]) for y in name_keys(theirs[0])) else False
    return all(same_name(x, y) for x, y in zip(ours, theirs, strict=False))


def same_person(a: Identifiers, b: Identifiers) -> Likeness:
    """Return whether ``a`` and ``b`` speak of one person.

    An equal record number decides, unless both name and date of birth contradict it. Otherwise full name
    and date of birth together decide. A name that nothing confirms (or that different record numbers
    question) is `Likeness.SAME_NAME_ONLY`. Spellings of one name are one (`same_name`). Last names under
    ``also`` (a name before marriage) count.
    """
    both_have_last = bool(name_key(a.last_name) and name_key(b.last_name))
    last = both_have_last and _last_names_agree(a, b)
    first = _first_names_agree(a.first_name, b.first_name)
    days_a, days_b = possible_dates(a.birth_date), possible_dates(b.birth_date)
    born = bool(set(days_a) & set(days_b)) if days_a and days_b else None
    mrn = mrn_key(a.mrn) == mrn_key(b.mrn) if mrn_key(a.mrn) and mrn_key(b.mrn) else None
    if mrn:
        contradicted = born is False and both_have_last and not last
        return Likeness.DIFFERENT if contradicted else Likeness.SAME
    if not last or first is False or born is False:
        return Likeness.DIFFERENT
    if first and born and mrn is None:
        return Likeness.SAME
    return Likeness.SAME_NAME_ONLY if mrn is None or born else Likeness.DIFFERENT
