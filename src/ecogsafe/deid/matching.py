"""The one search engine: all spellings of all identifiers in one automaton, compiled once.

`Matcher` finds candidates with Aho-Corasick and then looks at what stands beside each, by the rule of its
term (`ecogsafe.deid.terms`). It serves cleaning (`Matcher.find`), the scanner (`Matcher.candidates`) and
the plan (`Matcher.decisions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ahocorasick_rs import BytesAhoCorasick

from ecogsafe.deid import accents
from ecogsafe.deid.encoded import (
    BINARY,
    CONTEXT_BYTES,
    CP1252,
    UTF8,
    UTF16_BE,
    UTF16_LE,
    Pattern,
    char_after,
    char_before,
    is_misread,
    patterns,
    tail_stop,
)
from ecogsafe.deid.hits import Hit, merged_spans, outermost
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.near import NearSearch
from ecogsafe.deid.terms import Decision, Rule, Term, TermKind, terms_of, terms_of_dates, terms_of_other

__all__ = ["CONTEXT_BYTES", "Hit", "Matcher", "outermost"]


class Matcher:
    """Searches bytes for identifiers.

    Parameters
    ----------
    identifiers
        The person the data belongs to; None to search for other subjects only.
    also_terms
        Further terms, such as those of ``--term``.
    others
        Every other subject, by code; searched by the stricter rules. One automaton holds a thousand.
    near
        In free text, search also for names with one letter wrong and for short forms of given names: of the
        person and of ``also_terms``, never of other subjects.
    service_dates
        How the person's true dates of service are written, where their dates are shifted.
    """

    def __init__(
        self,
        identifiers: Identifiers | None,
        *,
        also_terms: Iterable[str] = (),
        others: Mapping[str, Identifiers] | None = None,
        near: bool = False,
        service_dates: Iterable[str] = (),
    ) -> None:
        person, also = identifiers or Identifiers(), tuple(also_terms)
        terms, decisions = terms_of(person, also)
        self._near = NearSearch(person, also) if near else None
        decisions += self._near.decisions if self._near else ()
        terms.extend(terms_of_dates(service_dates))
        for code, person in (others or {}).items():
            terms.extend(terms_of_other(code, person))
        self._decisions = tuple(decisions)
        by_anchor: dict[bytes, dict[tuple[object, ...], tuple[Pattern, Term]]] = {}
        for term in terms:
            for pattern in patterns(term.text) if term.text else (_raw(term),):
                # two people of one name make one meaning: the first (the file's own subject) is told
                meaning = (pattern.tail, pattern.encoding, term.rule, term.raw)
                by_anchor.setdefault(pattern.anchor, {}).setdefault(meaning, (pattern, term))
        self._meanings = [tuple(found.values()) for found in by_anchor.values()]
        self._automaton = BytesAhoCorasick(list(by_anchor)) if by_anchor else None
        longest = max((p.longest for found in self._meanings for p, _ in found), default=0)
        # a letter and its accent can be two characters: the accents of a name make it no more than thrice as long
        self.longest = max(3 * longest, self._near.longest if self._near else 0)

    def __repr__(self) -> str:
        return f"Matcher({len(self._meanings)} patterns)"

    def decisions(self) -> tuple[Decision, ...]:
        """Return how each term of the person the data belongs to is searched, and why."""
        return self._decisions

    @property
    def near(self) -> bool:
        """Whether free text is also searched for names with one letter wrong."""
        return self._near is not None

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Return the spans of identifiers in ``data``, merged where they touch, in order."""
        return merged_spans(self.candidates(data))

    def find_near(self, data: bytes) -> list[tuple[int, int]]:
        """Return the spans of what only resembles an identifier in the free text ``data``; none without ``near``.

        Ordinary words are not among them, see `ecogsafe.deid.near`. Never for labels, keys or names of files.
        """
        return merged_spans(self.near_candidates(data))

    def hits(self, data: bytes) -> list[Hit]:
        """Return the identifiers in ``data``, in order, leaving out those that lie within another."""
        return outermost(self.candidates(data))

    def candidates(self, data: bytes) -> Iterator[Hit]:
        """Yield every match whose rule holds, in no particular order; one may lie within another."""
        if self._automaton is None or not data:
            return
        lowered = data.lower()
        for start, stop, pattern, term in self._matches(lowered):
            if pattern.encoding == BINARY and data[start:stop] != term.raw:
                continue
            hit = _judge(data, start, stop, pattern.encoding, term)
            if hit is not None:
                yield hit
        for view in accents.views(data, lowered, self.longest, self._may_match):
            plain = UTF8 if view.encoding == CP1252 else view.encoding
            for start, stop, pattern, term in self._matches(view.data):
                if pattern.encoding != plain or not view.differs(start, stop):
                    continue
                raw_start, raw_stop = view.span(start, stop)
                if not accents.says(data, raw_start, raw_stop, view.encoding, term.text):
                    continue
                hit = _judge(data, raw_start, raw_stop, view.encoding, term)
                if hit is not None:
                    yield hit

    def near_candidates(self, data: bytes) -> Iterator[Hit]:
        """Yield what only resembles an identifier in the free text ``data``, spared ordinary words included."""
        if self._near is not None:
            yield from self._near.hits(data)

    def _may_match(self, folded: bytes) -> bool:
        return next(self._matches(folded), None) is not None

    def _matches(self, lowered: bytes) -> Iterator[tuple[int, int, Pattern, Term]]:
        if self._automaton is None:
            return
        for index, start, anchor_stop in self._automaton.find_matches_as_indexes(lowered, overlapping=True):
            for pattern, term in self._meanings[index]:
                stop = tail_stop(lowered, anchor_stop, pattern.tail) if pattern.tail else anchor_stop
                if stop is not None:
                    yield start, stop, pattern, term


def _raw(term: Term) -> Pattern:
    return Pattern(term.raw.lower(), (), BINARY)


def _judge(data: bytes, start: int, stop: int, encoding: str, term: Term) -> Hit | None:
    """Return the hit if what stands beside ``[start, stop)`` agrees with the term's rule."""
    if term.rule is not Rule.ANYWHERE:
        if term.kind is TermKind.MRN:
            start = _with_zeros(data, start, encoding)
        before, after = char_before(data, start, encoding), char_after(data, stop, encoding)
        if _goes_on(term.rule, term.text, before, after):
            return None
    if is_misread(data, start, stop, encoding):
        return None
    return Hit(start, stop, term.kind.value, encoding, term.masked, term.owner)


def _goes_on(rule: Rule, text: str, before: str, after: str) -> bool:
    """Return whether the characters beside a match make it a part of something longer."""
    if rule is Rule.NUMBER:
        # a long mixed number is unmistakable even behind letters ("MRN" + number)
        letters_count = len(text) < 6
        pairs = ((text[0], before), (text[-1], after))
        return any(
            (edge.isdigit() and beside.isdigit()) or (letters_count and edge.isalpha() and beside.isalpha())
            for edge, beside in pairs
        )
    if rule is Rule.WORD:
        return before.isalpha() or after.isalpha()
    return before.isalnum() or after.isalnum()


def _with_zeros(data: bytes, start: int, encoding: str) -> int:
    """Return ``start`` moved before the zeros that stand there: a padded record number is the same one."""
    step = 2 if encoding in (UTF16_LE, UTF16_BE) else 1
    limit = max(start - CONTEXT_BYTES // 2, 0)
    while start - step >= limit and char_before(data, start, encoding) == "0":
        start -= step
    return start
