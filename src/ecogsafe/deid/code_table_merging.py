"""A table of codes put together with the linking key: what each row would do, decided row by row. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ecogsafe.deid.code_table import CodeRow
from ecogsafe.deid.identifiers import Identifiers, Likeness, mrn_key, same_person
from ecogsafe.deid.linking_key import HistoryEntry, LinkingKey, Person
from ecogsafe.deid.name_keys import name_keys


class Fate(StrEnum):
    """What becomes of a row."""

    NEW = "new"
    #: the person is known under this code, and something is learnt
    MERGED = "merged"
    #: all of it is known
    KNOWN = "known"
    #: it contradicts the linking key or another row: the table is not taken
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFate:
    """What becomes of one row, in words that hold codes and row numbers only."""

    number: int
    code: str
    fate: Fate
    #: why it cannot be taken
    reason: str = ""
    #: what a person must confirm
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """The linking key with every row that fits, and what became of each."""

    key: LinkingKey
    fates: tuple[RowFate, ...]

    def of(self, fate: Fate) -> list[RowFate]:
        """Return the rows that came to ``fate``."""
        return [f for f in self.fates if f.fate is fate]

    @property
    def doubts(self) -> list[RowFate]:
        """The rows that a person must confirm."""
        return [f for f in self.fates if f.doubt]


def merge_table(key: LinkingKey, rows: Iterable[CodeRow], *, now: str) -> Merged:
    """Return ``key`` with ``rows`` put in; each row is judged against the key and the rows before it.

    An entry is only ever added to when the row is the same person. A name that nothing confirms, under the
    same code or another one, is a doubt.
    """
    fates: list[RowFate] = []
    row_of: dict[str, int] = {}
    names = _Names(key.persons)
    for row in rows:
        key, fate = _put(key, row, names, row_of, now)
        row_of.setdefault(row.code, row.number)
        fates.append(fate)
    return Merged(key, tuple(fates))


class _Names:
    """Who has a last name or record number, so that a table of thousands is not compared all with all.

    Somebody who shares neither is, by `same_person`, somebody else.
    """

    def __init__(self, persons: Iterable[Person]) -> None:
        self._codes: dict[str, set[str]] = {}
        for person in persons:
            self.add(person.code, person.identifiers)

    def add(self, code: str, identifiers: Identifiers) -> None:
        for key in self._keys(identifiers):
            self._codes.setdefault(key, set()).add(code)

    def near(self, identifiers: Identifiers) -> set[str]:
        return {code for key in self._keys(identifiers) for code in self._codes.get(key, ())}

    @staticmethod
    def _keys(identifiers: Identifiers) -> Iterator[str]:
        yield from (f"name {key}" for term in (identifiers.last_name, *identifiers.also) for key in name_keys(term))
        if key := mrn_key(identifiers.mrn):
            yield f"mrn {key}"


def _put(key: LinkingKey, row: CodeRow, names: _Names, row_of: dict[str, int], now: str) -> tuple[LinkingKey, RowFate]:
    def fate(what: Fate, **words: str) -> RowFate:
        return RowFate(number=row.number, code=row.code, fate=what, **words)

    def named(codes: Iterable[str]) -> str:
        return ", ".join(f"{c} (row {row_of[c]})" if c in row_of else c for c in codes)

    near = names.near(row.identifiers) - {row.code}
    found = [(p.code, likeness) for p, likeness in _among(key, near).find(row.identifiers)]
    same = [code for code, likeness in found if likeness is Likeness.SAME]
    if same:
        return key, fate(Fate.CONFLICT, reason=f"this person has another code already: {named(same)}")
    known = key.person(row.code)
    names.add(row.code, row.identifiers)
    if known is None:
        alike = [code for code, _ in found]
        history = (HistoryEntry(now, "imported with a code given before"),)
        person = Person(code=row.code, created=now, identifiers=row.identifiers, history=history)
        doubt = f"has the name of {named(alike)}: a different person?" if alike else ""
        return key.with_person(person), fate(Fate.NEW, doubt=doubt)
    more = key.with_identifiers(row.code, row.identifiers, now=now)
    if more == key:
        return key, fate(Fate.KNOWN)
    likeness = same_person(known.identifiers, row.identifiers)
    if likeness is Likeness.DIFFERENT:
        return key, fate(Fate.CONFLICT, reason=f"{named([row.code])} is, by its identifiers, another person")
    doubt = f"only the name says that this is {named([row.code])}: the same person?"
    return more, fate(Fate.MERGED, doubt="" if likeness is Likeness.SAME else doubt)


def _among(key: LinkingKey, codes: set[str]) -> LinkingKey:
    return LinkingKey(tuple(p for p in key.persons if p.code in codes))
