"""Names with one letter wrong, and short forms of given names, in free text (``--near``, DESIGN 5.2).

Staff mistype names and use short ones. So in free text a word counts as a name

- if it is one insertion, deletion, substitution or transposition away from a name of six letters or more,
  also where the wrong character is what ends a word (``Quill feather``, ``Quil-feather``);
- if it is another form of the given or middle name (``Bill`` for William; `ecogsafe.deid.nicknames`).

Ordinary words stay: a word one letter away from a name that is an ordinary word (`ecogsafe.deid.ordinary`) is
*spared*, told and left, unless a title stands before it; a short form that is one, or has two letters, counts only
beside another name of the person.
A name with no letter wrong is not the business of this search: its own rule says where it counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from rapidfuzz.distance import OSA

from ecogsafe.core.private import Private, mask
from ecogsafe.deid import accents, birth_dates, nicknames, ordinary, spelling, words
from ecogsafe.deid.free_text_terms import split_free_text
from ecogsafe.deid.hits import Hit
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.name_rules import Rule, letters_in
from ecogsafe.deid.terms import Decision, TermKind
from ecogsafe.deid.text_words import (
    Word,
    decoded,
    eight_bit_words,
    joint,
    runs_in,
    sixteen_bit_words,
    utf16_texts,
    words_of,
)

K = TypeVar("K")
V = TypeVar("V")

#: Shorter names have too many words beside them.
_LEAST_LETTERS = 6
#: A short form of fewer letters counts only beside another name.
_LEAST_SHORT_FORM = 3
#: Behind one of these even an ordinary word is a name.
_TITLES = words.word_set("mr mrs ms miss mister madam")
#: "Will: Doe", "Doe, Will": so many characters may stand between two names.
_WIDEST_JOINT = 3
#: Words whose judgement is remembered; text repeats itself.
_MOST_REMEMBERED = 100_000
_LETTERS = re.compile(r"[^\W\d_]+")
_SEPARATORS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class _Name:
    kind: TermKind
    masked: str


@dataclass(frozen=True, slots=True)
class _Verdict:
    name: _Name
    spared: bool


class NearSearch:
    """Searches free text for what only resembles the names of one person."""

    def __init__(self, person: Identifiers, also_terms: Iterable[str] = ()) -> None:
        self._names: dict[str, _Name] = {}
        #: those of them that the exact search finds
        self._whole: set[str] = set()
        self._short_forms: dict[str, _Name] = {}
        #: every word of the person's names, for what may stand beside a short form
        self._beside: set[str] = set()
        self._decisions: list[Decision] = []
        self._judged: dict[str, _Verdict | None] = {}
        for kind, text in (
            (TermKind.LAST_NAME, person.last_name),
            (TermKind.FIRST_NAME, person.first_name),
            (TermKind.MIDDLE_NAME, person.middle_name),
        ):
            if not words.is_placeholder(text):
                self._add(kind, text)
                if kind is not TermKind.LAST_NAME:
                    self._add_short_forms(kind, text)
        for text in (*person.also, *also_terms):
            self._add_further(text)
        self._halves = {half for name in self._names for half in _long_halves(name)}
        self._short_runs = {t.encode() for t in (*self._halves, *self._short_forms) if t.isascii()}
        self._wanted: dict[bytes, bool] = {}
        lengths = [len(name) for name in (*self._names, *self._short_forms, *self._beside)]
        self._shortest = min(map(len, self._names), default=0) - 1
        self._longest = max(map(len, self._names), default=-1) + 1
        # four bytes a letter: UTF-16 with a combining mark; two names and what joins them
        self.longest = 4 * (2 * max(lengths, default=0) + _WIDEST_JOINT + 2) if lengths else 0

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """How each name is searched, for the plan."""
        return tuple(self._decisions)

    def hits(self, data: bytes) -> Iterator[Hit]:
        """Yield what in ``data`` resembles a name, spared ordinary words included, in no particular order."""
        if any(map(self._is_wanted_run, runs_in(data))):
            yield from self._hits(data, list(eight_bit_words(data)))
        for encoding, texts in utf16_texts(data):
            if any(self._is_wanted(word) for _, text in texts for word in set(words_of(text))):
                yield from self._hits(data, list(sixteen_bit_words(data, encoding, texts)))

    def _is_wanted_run(self, run: bytes) -> bool:
        """Return whether a run of 8-bit letters can be a part of a hit: most text is passed over by it."""
        known = self._wanted.get(run)
        if known is None:
            may_be = len(run) >= self._shortest or run.lower() in self._short_runs
            known = may_be and any(map(self._is_wanted, words_of(decoded(run)[0])))
            self._remember(self._wanted, run, known)
        return known

    def _is_wanted(self, word: str) -> bool:
        text = _folded(word)
        return text in self._halves or text in self._short_forms or self._judge(text) is not None

    def _hits(self, data: bytes, found: list[Word]) -> Iterator[Hit]:
        previous: Word | None = None
        before = ""
        for index, word in enumerate(found):
            text = _folded(word.text)
            verdict = self._judge(text)
            if verdict is not None:
                if verdict.spared and previous is not None and before in _TITLES:
                    verdict = _Verdict(verdict.name, spared=False)
                yield _hit(word, word, verdict)
            elif (short := self._short_forms.get(text)) is not None and (
                _stands_alone(text) or self._is_beside_a_name(data, found, index)
            ):
                yield _hit(word, word, _Verdict(short, spared=False))
            if previous is not None and (text in self._halves or before in self._halves):
                between = joint(data, previous, word)
                pair = self._judge_pair(before, between, text) if between is not None else None
                if pair is not None:
                    yield _hit(previous, word, pair)
            previous, before = word, text

    def _judge(self, text: str) -> _Verdict | None:
        """Return what the folded word ``text`` is taken for."""
        if text in self._judged:
            return self._judged[text]
        verdict = None
        if self._shortest <= len(text) <= self._longest + 4:
            # digits at an end are another word: Quillfeathr3; a name that is whole but for them has its own rule
            bare = _LETTERS.findall(text)
            if not any(part in self._whole for part in bare):
                verdict = next(filter(None, (self._resembles(part) for part in dict.fromkeys((text, *bare)))), None)
        self._remember(self._judged, text, verdict)
        return verdict

    @staticmethod
    def _remember(known: dict[K, V], key: K, value: V) -> None:
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        known[key] = value

    def _resembles(self, text: str) -> _Verdict | None:
        if not self._shortest <= len(text) <= self._longest:
            return None
        for name, about in self._names.items():
            if abs(len(name) - len(text)) <= 1 and OSA.distance(name, text, score_cutoff=1) <= 1:
                return _Verdict(about, spared=ordinary.is_ordinary(text))
        return None

    def _judge_pair(self, first: str, between: str, second: str) -> _Verdict | None:
        """Return what two words are taken for together: a name into which what ends a word was typed."""
        if not self._shortest <= len(first) + 1 + len(second) <= self._longest:
            return None
        text = f"{first} {second}" if _SEPARATORS.fullmatch(between) else f"{first}{between}{second}"
        found = self._resembles(text)
        if found is None:
            return None
        are_words = all(len(part) < 2 or ordinary.is_ordinary(part) for part in (first, second))
        return _Verdict(found.name, spared=are_words)

    def _is_beside_a_name(self, data: bytes, found: list[Word], index: int) -> bool:
        for first, second in ((index - 1, index), (index, index + 1)):
            if first < 0 or second >= len(found):
                continue
            other = _folded(found[first if second == index else second].text)
            is_name = other in self._beside or ((verdict := self._judge(other)) is not None and not verdict.spared)
            if is_name and joint(data, found[first], found[second], most=_WIDEST_JOINT) is not None:
                return True
        return False

    def _add(self, kind: TermKind, text: str) -> bool:
        """Add every long enough part of the name ``text`` and the whole of it; return whether there was one."""
        about = _Name(kind, mask(text))
        before = len(self._names)
        written = list(spelling.accents(text))
        whole = {spelling.unaccented(w) for w in written}
        for folded in dict.fromkeys((*map(_folded, written), *map(spelling.unaccented, written))):
            parts = spelling.parts_of(folded)
            self._beside.update(p for p in parts if p not in words.PARTICLES and len(p) > 1)
            forms = [*parts, *(form for word in (folded, *spelling.words_of(folded)) for form in _joined(word))]
            for form in forms:
                if letters_in(form) >= _LEAST_LETTERS:
                    self._names.setdefault(form, about)
                    if folded in whole:
                        self._whole.add(form)
        if len(self._names) == before:
            return False
        self._decisions.append(Decision(Private(text), kind, Rule.NEAR))
        return True

    def _add_short_forms(self, kind: TermKind, text: str) -> None:
        about = _Name(kind, mask(text))
        forms = sorted({form for name in (text, *spelling.words_of(text)) for form in nicknames.other_forms(name)})
        for form in forms:
            self._short_forms.setdefault(form, about)
        if forms:
            beside = sum(not _stands_alone(form) for form in forms)
            why = f"{len(forms)} other forms of it" + (f", {beside} only beside another name" if beside else "")
            self._decisions.append(Decision(Private(text), kind, Rule.SHORT_FORM, why))

    def _add_further(self, text: str) -> None:
        """Add the names of a term of ``also``; what holds an address, a number or a GUID has none."""
        if words.is_placeholder(text) or birth_dates.possible_dates(text) or spelling.guid(text):
            return
        if any(c.isdigit() for c in text):
            for name in split_free_text(text).names:
                self._add(TermKind.ALSO, name)
        elif "@" not in text:
            for part in spelling.words_of(text):
                if not ordinary.is_ordinary(_folded(part)):
                    self._add(TermKind.ALSO, part)


def _long_halves(name: str) -> Iterator[str]:
    """Yield what is left whole, on the longer side, where a space or a mark was typed into or for a letter."""
    words_there = name.split(" ")
    if len(words_there) == 2:
        # its own space is where it was, and another letter is wrong
        yield from (word for word in words_there if len(word) > 2)
    least = (len(name) - 1) // 2
    for at in range(1, len(name)):
        yield from (half for half in (name[:at], name[at:], name[at + 1 :]) if len(half) >= least)


def _joined(name: str) -> tuple[str, str]:
    parts = spelling.parts_of(name)
    return "".join(parts), " ".join(parts)


def _stands_alone(form: str) -> bool:
    return len(form) >= _LEAST_SHORT_FORM and not ordinary.is_listed(form)


def _folded(text: str) -> str:
    """Return ``text`` in lower case without accents; each letter stays one, or two would be two edits."""
    if text.isascii():
        return text.lower()
    plain = accents.plain_letters()
    composed = unicodedata.normalize("NFC", text)
    return "".join(plain.get(c, c.lower())[:1] for c in composed)


def _hit(first: Word, last: Word, verdict: _Verdict) -> Hit:
    kind = f"{verdict.name.kind.value} (near)"
    return Hit(first.start, last.stop, kind, first.encoding, verdict.name.masked, spared=verdict.spared)
