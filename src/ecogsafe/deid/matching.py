"""The one search engine: all spellings of all identifiers in one automaton, compiled once.

`Matcher` finds candidates with Aho-Corasick and then looks at what stands beside each, by the rule of its
term (`ecogsafe.deid.terms`). It serves cleaning (`Matcher.find`), the scanner (`Matcher.candidates`) and
the plan (`Matcher.decisions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ahocorasick_rs import BytesAhoCorasick

from ecogsafe.deid.encoded import (
    BINARY,
    UTF16_BE,
    UTF16_LE,
    Pattern,
    char_after,
    char_before,
    patterns,
    tail_stop,
)
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.terms import Decision, Rule, Term, TermKind, terms_of, terms_of_other

#: What the rules look at beside a match: the widest character, and the zeros before a record number.
CONTEXT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Hit:
    """One identifier seen in a byte string, at ``[start, stop)``."""

    start: int
    stop: int
    kind: str
    encoding: str
    masked: str
    #: the code of the other subject it belongs to; None: the subject of the file
    owner: str | None = None

    def moved(self, by: int) -> Hit:
        """Return the hit as seen in a longer byte string, ``by`` bytes further on."""
        return replace(self, start=self.start + by, stop=self.stop + by)


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
    """

    def __init__(
        self,
        identifiers: Identifiers | None,
        *,
        also_terms: Iterable[str] = (),
        others: Mapping[str, Identifiers] | None = None,
    ) -> None:
        terms, decisions = terms_of(identifiers or Identifiers(), also_terms)
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
        self.longest = max((p.longest for found in self._meanings for p, _ in found), default=0)

    def __repr__(self) -> str:
        return f"Matcher({len(self._meanings)} patterns)"

    def decisions(self) -> tuple[Decision, ...]:
        """Return how each term of the person the data belongs to is searched, and why."""
        return self._decisions

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Return the spans of identifiers in ``data``, merged where they touch, in order."""
        spans: list[tuple[int, int]] = []
        for hit in sorted(self.candidates(data), key=lambda h: h.start):
            if spans and hit.start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], hit.stop))
            else:
                spans.append((hit.start, hit.stop))
        return spans

    def hits(self, data: bytes) -> list[Hit]:
        """Return the identifiers in ``data``, in order, leaving out those that lie within another."""
        return outermost(self.candidates(data))

    def candidates(self, data: bytes) -> Iterator[Hit]:
        """Yield every match whose rule holds, in no particular order; one may lie within another."""
        if self._automaton is None or not data:
            return
        lowered = data.lower()
        for index, start, anchor_stop in self._automaton.find_matches_as_indexes(lowered, overlapping=True):
            for pattern, term in self._meanings[index]:
                stop = tail_stop(lowered, anchor_stop, pattern.tail) if pattern.tail else anchor_stop
                if stop is None or (pattern.encoding == BINARY and data[start:stop] != term.raw):
                    continue
                hit = _judge(data, start, stop, pattern.encoding, term)
                if hit is not None:
                    yield hit


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
    if encoding == UTF16_BE and _in_doubt(data, start, stop) and not _is_big_endian(data, start, stop):
        return None
    if encoding == UTF16_LE and _in_doubt(data, start - 1, stop - 1) and _is_big_endian(data, start - 1, stop - 1):
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


def _in_doubt(data: bytes, start: int, stop: int) -> bool:
    """Return whether a big-endian match at ``[start, stop)`` is a little-endian one a byte later as well.

    With dots for zero bytes, both readings are in ``·D·o·e·``; both cover every letter, one is told.
    """
    return start >= 0 and stop < len(data) and not any(data[start : stop + 1 : 2])


def _is_big_endian(data: bytes, start: int, stop: int) -> bool:
    """Return whether the doubtful match is big-endian: its run of text begins or ends so, or its place is even."""
    reach = CONTEXT_BYTES // 2
    first = start
    while first >= 2 and data[first - 1] and not data[first - 2] and start - first < reach:
        first -= 2
    if start - first < reach and first and data[first - 1]:
        return False
    last = stop
    while last + 2 < len(data) and data[last + 1] and not data[last + 2] and last - stop < reach:
        last += 2
    if last - stop < reach and last + 1 < len(data) and data[last + 1]:
        return True
    return start % 2 == 0


def outermost(hits: Iterable[Hit]) -> list[Hit]:
    """Return ``hits`` in order without those that lie within another."""
    kept: list[Hit] = []
    reached = -1
    for hit in sorted(hits, key=lambda h: (h.start, -h.stop, h.owner or "", h.kind)):
        if hit.stop > reached:
            kept.append(hit)
            reached = hit.stop
    return kept
