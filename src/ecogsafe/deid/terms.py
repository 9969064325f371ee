"""From the identifiers of a person to the terms searched, each with its rule for what stands beside it.

The rules (DESIGN 5.2), for the person a file belongs to:

- A whole name of five letters or more that is no ordinary word, and is inside none, counts anywhere:
  ``jhanderson`` holds Anderson.
- Another name of five letters or more, and each part of a compound name, counts where no letter stands
  beside it: ``Ander_3``, ``Ander3``.
- A name that is short or an ordinary word counts where neither letter nor digit stands beside it: ``Ball_3``
  and ``Ball,Ann``, not ``football``, and not the electrode labels ``BALL1`` and ``LH1``.
- Numbers and dates count where their digits do not go on.

For every *other* subject of the linking key the search is for names, record number and date of birth only,
and stricter, because a thousand people's names are found in any text: no name counts without word edges;
words that staff type all the time (``will``, ``long``) and names of one or two letters count only together
with another name of that person; dates need four digits for the year, OLE days their fraction; record
numbers of fewer than five characters are not searched.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ecogsafe.core.private import Private, mask
from ecogsafe.deid import birth_dates, spelling, words
from ecogsafe.deid.free_text_terms import split_free_text
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.name_rules import SHORT, Rule, letters_in, name_rule

__all__ = ["Decision", "Rule", "Term", "TermKind", "name_rule", "terms_of", "terms_of_dates", "terms_of_other"]

_JOINED_ANYWHERE = 8
#: A term is searched by at most so many characters: cleaning sees 4 KiB beside its window, and a character
#: can take six bytes.
_MOST_CHARACTERS = 400
#: Smaller OLE days (before October 1902) are programs' defaults, and numbers found in any text.
_LEAST_OLE_DAY = 1000


class TermKind(StrEnum):
    """Which identifier a term comes from."""

    LAST_NAME = "last name"
    FIRST_NAME = "first name"
    MIDDLE_NAME = "middle name"
    FULL_NAME = "full name"
    MRN = "mrn"
    BIRTH_DATE = "birth date"
    SERVICE_DATE = "date of service"
    ALSO = "also"


@dataclass(frozen=True, slots=True, repr=False)
class Term:
    """One spelling to search for: ``text``, or the bytes ``raw`` exactly as they stand."""

    kind: TermKind
    rule: Rule
    text: str
    #: what a report may show
    masked: str
    raw: bytes = b""
    #: the subject code of another subject; None for the person the file belongs to
    owner: str | None = None

    def __repr__(self) -> str:
        return f"Term({self.kind.value}, {self.rule.name}, {self.masked!r})"


@dataclass(frozen=True, slots=True)
class Decision:
    """How one term is searched, and why; the plan shows it."""

    term: Private
    kind: TermKind
    rule: Rule
    #: the reason, a clause; empty where the rule is the usual one
    why: str = ""


class _Collector:
    """Gathers terms and decisions of one person."""

    def __init__(self, person: Identifiers, owner: str | None) -> None:
        self._person = person
        self._owner = owner
        self.terms: dict[tuple[str, bytes, Rule], Term] = {}
        self.decisions: list[Decision] = []

    def add(self, kind: TermKind, rule: Rule, spellings: Iterable[str], *, shown: str) -> None:
        shown = mask(shown)
        for raw_text in spellings:
            text = raw_text[:_MOST_CHARACTERS]
            if any(c.isalnum() for c in text):
                self.terms.setdefault((text, b"", rule), Term(kind, rule, text, shown, owner=self._owner))

    def add_raw(self, kind: TermKind, raw: bytes, *, shown: str) -> None:
        term = Term(kind, Rule.ANYWHERE, "", mask(shown), raw=raw, owner=self._owner)
        self.terms.setdefault(("", raw, Rule.ANYWHERE), term)

    def decide(self, kind: TermKind, term: str, rule: Rule, why: str = "") -> None:
        self.decisions.append(Decision(Private(term), kind, rule, why))

    def name(self, kind: TermKind, name: str, *, whole: bool) -> Rule:
        """Add ``name`` in all its spellings, and its parts; return the rule of the whole."""
        other = self._owner is not None
        rule, why = name_rule(name, whole=whole, other=other)
        self.decide(kind, name, rule, why)
        if rule is not Rule.JOINED:
            self.add(kind, rule, spelling.whole_name(name), shown=name)
        parts = dict.fromkeys((*spelling.words_of(name), *spelling.parts_of(name)))
        for part in parts if len(parts) > 1 else ():
            if words.is_placeholder(part):
                continue
            part_rule, part_why = name_rule(part, whole=False, other=other)
            self.decide(kind, part, part_rule, part_why)
            if part_rule is not Rule.JOINED:
                self.add(kind, part_rule, spelling.whole_name(part), shown=part)
        return rule

    def names(self) -> None:
        person = self._person
        rules: dict[str, Rule] = {}
        for kind, name in (
            (TermKind.LAST_NAME, person.last_name),
            (TermKind.FIRST_NAME, person.first_name),
            (TermKind.MIDDLE_NAME, person.middle_name),
        ):
            if words.is_placeholder(name):
                if name:
                    self.decide(kind, name, Rule.NOT_SEARCHED, "stands for unknown")
            else:
                rules[name] = self.name(kind, name, whole=kind is not TermKind.MIDDLE_NAME)
        last, first = person.last_name, person.first_name
        if last not in rules or first not in rules:
            return
        separated = Rule.JOINED in rules.values()
        for text in dict.fromkeys(spelling.both_names(last, first, separated=separated)):
            self.add(TermKind.FULL_NAME, self._joined_rule(text), (text,), shown=f"{last} {first}")
        if self._owner is None and rules[last] is not Rule.JOINED and not words.is_common(spelling.unaccented(last)):
            self.add(
                TermKind.FULL_NAME,
                Rule.LABEL,
                spelling.with_initial(last, first),
                shown=f"{first[:1]} {last}",
            )

    def _joined_rule(self, text: str) -> Rule:
        if not text.isalpha():
            return Rule.LABEL if letters_in(text) < SHORT else Rule.WORD
        if letters_in(text) < _JOINED_ANYWHERE:
            return Rule.LABEL
        return Rule.WORD if self._owner is not None or words.is_inside_a_word(text) else Rule.ANYWHERE

    def mrn(self) -> None:
        mrn = self._person.mrn
        if not mrn:
            return
        fewest = 4 if self._owner is None else 5
        spellings = [t for t in spelling.record_number(mrn) if sum(c.isalnum() for c in t) >= fewest]
        if words.is_placeholder(mrn):
            spellings = []
        rule = Rule.NUMBER if spellings else Rule.NOT_SEARCHED
        self.decide(TermKind.MRN, mrn, rule, "" if spellings else f"unknown, or fewer than {fewest} characters")
        self.add(TermKind.MRN, Rule.NUMBER, spellings, shown=mrn)

    def birth_date(self, text: str) -> None:
        own = self._owner is None
        days = birth_dates.possible_dates(text)
        self.decide(TermKind.BIRTH_DATE, text, Rule.NUMBER, "" if len(days) == 1 else f"{len(days)} readings")
        for day in days:
            self.add(TermKind.BIRTH_DATE, Rule.NUMBER, birth_dates.spellings(day, short_years=own), shown="1")
            ole = birth_dates.ole_day(day)
            if ole < _LEAST_OLE_DAY:
                continue
            fractions = [f"{ole}.{'0' * n}" for n in range(1, 9)]
            self.add(TermKind.BIRTH_DATE, Rule.NUMBER, [str(ole), *fractions] if own else fractions, shown="1")
            if own:
                ticks = birth_dates.filetime(day)
                self.add(TermKind.BIRTH_DATE, Rule.NUMBER, [f"{ticks:016x}", f"{ticks:x}", str(ticks)], shown="1")
                self.add_raw(TermKind.BIRTH_DATE, struct.pack("<d", float(ole)), shown="1")
                self.add_raw(TermKind.BIRTH_DATE, struct.pack("<q", ticks), shown="1")
        if not days and sum(c.isalnum() for c in text) >= 4:
            self.add(TermKind.BIRTH_DATE, Rule.NUMBER, (text.lower(),), shown="1")

    def also(self, term: str) -> None:
        kind = TermKind.ALSO
        if words.is_placeholder(term):
            self.decide(kind, term, Rule.NOT_SEARCHED, "stands for unknown")
        elif guid := spelling.guid(term):
            self.decide(kind, term, Rule.ANYWHERE)
            written = str(guid)
            spellings = [written, written.replace("-", ""), written.replace("-", "_")]
            self.add(kind, Rule.ANYWHERE, spellings, shown="1")
            self.add_raw(kind, guid.bytes_le, shown="1")
            self.add_raw(kind, guid.bytes, shown="1")
        elif birth_dates.possible_dates(term):
            self.birth_date(term)
        elif any(c.isdigit() for c in term):
            texts = (term.lower(), term.lower().replace(" ", "_"), *spelling.telephone(term))
            spellings = [t for t in texts if sum(c.isalnum() for c in t) >= 3]
            self.decide(kind, term, Rule.NUMBER if spellings else Rule.NOT_SEARCHED, "holds digits")
            self.add(kind, Rule.NUMBER, spellings, shown=term)
            self._free_text(term)
        else:
            parts = spelling.parts_of(term)
            rule, why = name_rule("".join(parts), whole=True, other=False)
            if rule is Rule.JOINED:
                rule = Rule.LABEL if len(parts) > 1 else Rule.NOT_SEARCHED
            self.decide(kind, term, rule, why)
            if rule is not Rule.NOT_SEARCHED:
                self.add(kind, rule, spelling.whole_name(term), shown=term)
            if len(parts) > 1 and "@" not in term:
                self._uncommon_parts(parts)

    def _free_text(self, text: str) -> None:
        """Add what a line of free text says of the person: ``Doe Jane 24/09/1996 MRN 00471100``."""
        parts = split_free_text(text, birth_date_known=bool(self._person.birth_date))
        for name in parts.names:
            rule, _ = name_rule(name, whole=False, other=False)
            self.decide(TermKind.ALSO, name, rule, "a name in free text")
            self.add(TermKind.ALSO, rule, spelling.whole_name(name), shown=name)
        for number in parts.numbers:
            self.decide(TermKind.ALSO, number, Rule.NUMBER, "a number in free text")
            spellings = (*spelling.record_number(number), *spelling.telephone(number))
            self.add(TermKind.ALSO, Rule.NUMBER, (s for s in spellings if len(s) >= 4), shown=number)
        for day in parts.dates:
            self.birth_date(day)

    def _uncommon_parts(self, parts: Iterable[str]) -> None:
        """Add the parts of a further name that are no ordinary words: ``T. Quillonby`` is also ``Dr Quillonby``."""
        for part in parts:
            rule, _ = name_rule(part, whole=False, other=False)
            if rule is Rule.WORD:
                self.decide(TermKind.ALSO, part, rule, "a part of a name")
                self.add(TermKind.ALSO, rule, spelling.accents(part), shown=part)

    def collect(self, also: Iterable[str]) -> None:
        self.names()
        self.mrn()
        if self._person.birth_date:
            self.birth_date(self._person.birth_date)
        for term in also:
            self.also(term)


def terms_of(person: Identifiers, also_terms: Iterable[str] = ()) -> tuple[list[Term], list[Decision]]:
    """Return what is searched of the person a file belongs to, and how each of it was judged."""
    collector = _Collector(person, None)
    collector.collect(dict.fromkeys((*person.also, *(" ".join(t.split()) for t in also_terms))))
    return list(collector.terms.values()), collector.decisions


def terms_of_dates(spellings: Iterable[str]) -> Iterator[Term]:
    """Yield what is searched of true dates of service, of a person whose dates are shifted."""
    for text in sorted(spellings):
        yield Term(TermKind.SERVICE_DATE, Rule.NUMBER, text, mask("1"))


def terms_of_other(code: str, person: Identifiers) -> Iterator[Term]:
    """Yield what is searched of another subject, whose code is ``code``."""
    collector = _Collector(person, code)
    collector.collect(())
    yield from collector.terms.values()
