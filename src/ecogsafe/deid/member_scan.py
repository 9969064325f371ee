"""The scanner inside containers: what lies in a zip, a tar, a Word file … is searched as if it lay beside it.

Findings name the member, masked: ``r•••.zip!w•••/d•••.x•••``. What could not be opened is told, never taken for clean.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.core.private import mask
from ecogsafe.deid.hits import Hit, outermost
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.piecewise import FreeText, search_pieces, told
from ecogsafe.deid.scan import Finding, ScanResult, Unsearched, all_free_text, all_regions, finding_of, scan_file
from ecogsafe.formats.containers import Limits, Member, NotSearched, walk
from ecogsafe.formats.kinds import UNDERSTOOD_KINDS, Kind, kind_of_name

#: A recording in a container is held so far, to search its text and not its samples.
_HELD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class MemberScan:
    """What one search inside a file came to."""

    findings: tuple[Finding, ...] = ()
    #: ordinary words one letter away from a name
    spared: tuple[Finding, ...] = ()
    not_searched: tuple[Unsearched, ...] = ()


def scan_any(
    kind: Kind, file: BinaryIO, matchers: Iterable[Matcher], *, path: str, limits: Limits | None = None
) -> ScanResult:
    """Return what a file of any kind holds, and what lies inside it where it is a container.

    Where its structure is not known, all of it is searched. Parameters and errors as of `scan_file`.
    """
    searches = tuple(matchers)
    outside = scan_file(kind, file, searches, path=path, regions=all_regions, free_text=all_free_text)
    inside = scan_members(file, searches, path=path, digest=outside.text_sha256, limits=limits)
    return replace(
        outside,
        findings=(*_without_repeats(outside.findings, inside.findings), *inside.findings),
        spared=(*_without_repeats(outside.spared, inside.spared), *inside.spared),
        not_searched=inside.not_searched,
    )


def scan_members(
    file: BinaryIO, matchers: Iterable[Matcher], *, path: str, digest: str, limits: Limits | None = None
) -> MemberScan:
    """Return what the members of ``file`` hold; nothing where it is no container.

    Parameters
    ----------
    path
        What messages call the file; nothing private.
    digest
        Of the file's content; the ids of findings are bound to it.
    """
    searches = tuple(matchers)
    findings: list[Finding] = []
    spared: list[Finding] = []
    unsearched: dict[Unsearched, None] = {}
    seen: set[tuple[object, ...]] = set()
    for found in walk(file, limits):
        shown = "!".join((path, *map(mask, found.path)))
        if isinstance(found, NotSearched):
            unsearched[Unsearched(shown, found.reason)] = None
            continue
        try:
            hits = told(_hits(found, searches))
        except MalformedFileError as error:
            unsearched[Unsearched(shown, error.problem)] = None
            continue
        within = "\0".join(found.path)
        for hit in (*_in_name(found, searches), *hits):
            said = (found.path, hit.kind, hit.masked, hit.owner)
            # the text of a document without its marks repeats what its bytes have said already
            if not (found.is_text and said in seen):
                (spared if hit.spared else findings).append(finding_of(hit, shown, digest, within=within))
            seen.add(said)
    return MemberScan(tuple(findings), tuple(spared), tuple(unsearched))


def _in_name(member: Member, searches: tuple[Matcher, ...]) -> list[Hit]:
    """Return the identifiers in the name of ``member``; they have negative places."""
    if not member.path or member.is_text:
        return []
    data = member.path[-1].encode("utf-8", "surrogateescape")
    hits = outermost(h for m in searches for h in m.candidates(data))
    return [replace(h, start=-1, stop=h.stop - h.start - 1) for h in hits]


def _hits(member: Member, searches: tuple[Matcher, ...]) -> Iterator[Hit]:
    kind = kind_of_name(member.path[-1]) if member.path else Kind.OTHER
    if kind not in UNDERSTOOD_KINDS or member.is_text:
        yield from search_pieces(member.pieces, searches, free=FreeText.everywhere())
        return
    # a recording: its samples are numbers and are not searched for words
    head, rest = _taken(member.pieces, _HELD_BYTES)
    if rest is not None:
        yield from search_pieces(chain((head, rest), member.pieces), searches, free=FreeText.everywhere())
        return
    file = io.BytesIO(head)
    free = FreeText(all_free_text(kind, file))
    for region in all_regions(kind, file):
        pieces = (head[region.offset : region.stop],)
        for hit in search_pieces(pieces, searches, free=free.shifted(region.offset)):
            yield hit.moved(region.offset)


def _taken(pieces: Iterator[bytes], size: int) -> tuple[bytes, bytes | None]:
    """Return what ``pieces`` make together, and the first piece with which it is more than ``size``, else None."""
    taken: list[bytes] = []
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > size:
            return b"".join(taken), piece
        taken.append(piece)
    return b"".join(taken), None


def _without_repeats(findings: Iterable[Finding], inside: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the ``findings`` in the bytes of a container that none ``inside`` it repeats: those tell more."""
    repeated = {(f.kind, f.masked, f.owner) for f in inside}
    return tuple(f for f in findings if (f.kind, f.masked, f.owner) not in repeated)
