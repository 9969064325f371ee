"""The linking key: which person has which code. The one file that must never be lost (DESIGN 5.7).

Here the model, immutable, and its JSON form (version 1); `ecogsafe.deid.linking_key_file` keeps it on disk.
The form, sealed to all recipients::

    {"format": "ecogsafe linking key", "version": 1, "persons": [
      {"code": "abcd1234", "created": "2026-01-02T03:04:05.678901Z", "revision": 1,
       "date_shift_days": null, "identifiers": {"last_name": …, "first_name": …, "middle_name": …,
       "mrn": …, "birth_date": …, "also": […]}, "history": [{"at": "…", "what": "created"}]}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ecogsafe.core.errors import LabKeyError, VerificationError
from ecogsafe.deid.codes import is_code, new_code
from ecogsafe.deid.identifiers import Identifiers, Likeness, same_person

FORMAT = "ecogsafe linking key"
VERSION = 1
_ITEM = "linking-key.age"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What happened to a person's entry: ``at`` in UTC, ``what`` in words that name no value."""

    at: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One person and their code."""

    code: str
    #: UTC, ``2026-01-02T03:04:05.678901Z``
    created: str
    identifiers: Identifiers
    #: raised whenever an identifier is added: clearances of an older revision are then void
    revision: int = 1
    #: whole days by which all dates of the person are moved; None: true dates
    date_shift_days: int | None = None
    history: tuple[HistoryEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkingKey:
    """Every person with a code; changed only by making another."""

    persons: tuple[Person, ...] = ()

    @property
    def codes(self) -> frozenset[str]:
        """Every code that is taken."""
        return frozenset(p.code for p in self.persons)

    def person(self, code: str) -> Person | None:
        """Return the person with ``code``; None if there is none."""
        return next((p for p in self.persons if p.code == code), None)

    def others(self, code: str) -> dict[str, Identifiers]:
        """Return the identifiers of everybody but ``code``, by code: what a scan must not find either."""
        return {p.code: p.identifiers for p in self.persons if p.code != code}

    def find(self, identifiers: Identifiers) -> list[tuple[Person, Likeness]]:
        """Return the persons whom ``identifiers`` may mean, the surest first; nobody who is different."""
        judged = [(p, same_person(p.identifiers, identifiers)) for p in self.persons]
        near = [(p, likeness) for p, likeness in judged if likeness is not Likeness.DIFFERENT]
        return sorted(near, key=lambda found: found[1] is not Likeness.SAME)

    def new_person(self, identifiers: Identifiers, *, now: str, date_shift_days: int | None = None) -> Person:
        """Return a person with a code nobody has, not yet part of the key."""
        return Person(
            code=new_code(self.codes),
            created=now,
            identifiers=identifiers,
            date_shift_days=date_shift_days,
            history=(HistoryEntry(now, "created"),),
        )

    def with_person(self, person: Person) -> LinkingKey:
        """Return the key with ``person`` added.

        Raises
        ------
        ValueError
            The code is no code, or is taken.
        """
        if not is_code(person.code) or person.code in self.codes:
            raise ValueError("a person needs a code of their own")
        return replace(self, persons=(*self.persons, person))

    def with_identifiers(self, code: str, more: Identifiers, *, now: str) -> LinkingKey:
        """Return the key with ``more`` known of ``code``; raises the revision if any of it is new.

        Raises
        ------
        KeyError
            Nobody has that code.
        """
        person = self._known(code)
        merged = person.identifiers.merge(more)
        if merged == person.identifiers:
            return self
        before, after = person.identifiers.as_record(), merged.as_record()
        changed = ", ".join(name for name in after if after[name] != before[name])
        entry = HistoryEntry(now, f"identifiers added: {changed}")
        return self._with(
            replace(
                person,
                identifiers=merged,
                revision=person.revision + 1,
                history=(*person.history, entry),
            )
        )

    def with_date_shift(self, code: str, days: int, *, now: str) -> LinkingKey:
        """Return the key with the date shift of ``code`` set; once set it can only be set to the same.

        Raises
        ------
        KeyError
            Nobody has that code.
        ValueError
            Another shift is set: data moved by it exist.
        """
        person = self._known(code)
        if person.date_shift_days == days:
            return self
        if person.date_shift_days is not None:
            raise ValueError("a date shift never changes")
        entry = HistoryEntry(now, "date shift set")
        return self._with(replace(person, date_shift_days=days, history=(*person.history, entry)))

    def _known(self, code: str) -> Person:
        person = self.person(code)
        if person is None:
            raise KeyError(code)
        return person

    def _with(self, person: Person) -> LinkingKey:
        return replace(self, persons=tuple(person if p.code == person.code else p for p in self.persons))

    def to_json(self) -> bytes:
        """Return the JSON form; the same key always gives the same bytes."""
        record = {"format": FORMAT, "version": VERSION, "persons": [_as_record(p) for p in self.persons]}
        return json.dumps(record, ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> LinkingKey:
        """Return the key whose JSON form is ``data``.

        Raises
        ------
        LabKeyError
            A newer version wrote it.
        VerificationError
            It is not a linking key, or not a whole one. The message repeats nothing of it.
        """
        try:
            record = json.loads(data)
            if record["format"] != FORMAT:
                raise ValueError
            if record["version"] != VERSION:
                raise LabKeyError(
                    _ITEM, "was written by a newer ecogsafe", next="install the newest ecogsafe and run again"
                )
            key = cls(tuple(_person(p) for p in record["persons"]))
            if len(key.codes) != len(key.persons) or not all(map(is_code, key.codes)):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError):
            # "from None": the cause carries what was read
            raise VerificationError(
                _ITEM,
                "does not hold a whole linking key",
                next="restore the newest of generations/linking-key-*.age that opens",
            ) from None
        return key


def _as_record(person: Person) -> dict[str, Any]:
    return {
        "code": person.code,
        "created": person.created,
        "revision": person.revision,
        "date_shift_days": person.date_shift_days,
        "identifiers": person.identifiers.as_record(),
        "history": [{"at": e.at, "what": e.what} for e in person.history],
    }


def _person(record: Mapping[str, Any]) -> Person:
    values = dict(record)
    person = Person(
        **{
            **values,
            "identifiers": Identifiers.from_record(values["identifiers"]),
            "history": tuple(HistoryEntry(**e) for e in values["history"]),
        }
    )
    shift = person.date_shift_days
    right = isinstance(person.code, str) and isinstance(person.created, str)
    if not right or not isinstance(person.revision, int) or not (shift is None or isinstance(shift, int)):
        raise TypeError
    return person
