"""The scanner: reads a file's text regions once, digests them and searches them for identifiers (DESIGN 5.5).

It reads back what stands on the disk, whoever cleaned it. Sample regions are numbers and are not searched.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError, SourceChangedError
from ecogsafe.core.events import Finding as FindingEvent
from ecogsafe.deid.hits import Hit, outermost
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.piecewise import FreeText, search_pieces, told
from ecogsafe.formats.free_text import free_text_regions
from ecogsafe.formats.kinds import TEXT_KINDS, Kind
from ecogsafe.formats.regions import Region, file_size, read_at
from ecogsafe.formats.text_digest import TextDigest
from ecogsafe.formats.text_outputs import machine_spans
from ecogsafe.formats.text_regions import text_regions

#: Raised when a newer scanner may find what an older one passed over: older clearances are then void.
SCANNER_VERSION = 2

_PIECE_BYTES = 1 << 20
_EDF_KINDS = (Kind.EDF, Kind.BDF)
#: The fields of an EDF header that hold the subject and the start (FORMATS 4.1), exactly as `apply` writes
#: them. The gate demands this form, so it says nothing but code and date; the start of a recording made in
#: May is not the name May, and the start of an infant's recording may be its date of birth.
_EDF_START, _EDF_STOP = 8, 184
_EDF_FORM = re.compile(
    rb"[a-f][0-9a-f]{7} X X X {66}"
    rb"Startdate \d{2}-(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)-\d{4} X X X {53}"
    rb"\d{2}\.\d{2}\.\d{2}\d{2}\.\d{2}\.\d{2}"
)

Regions = Callable[[Kind, BinaryIO], Iterable[Region]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An identifier in a file, masked."""

    #: what ``--accept`` takes: bound to path, place, kind of identifier and the digest of the file's text
    id: str
    #: below OUT
    path: str
    #: bytes from the start of the file; -1: in the path itself
    offset: int
    length: int
    kind: str
    encoding: str
    masked: str
    #: the code of the other subject it belongs to; None: the subject of the file
    owner: str | None = None

    def as_event(self, *, subject: str | None = None, accepted: bool = False) -> FindingEvent:
        """Return the event that reports it."""
        kind = self.kind if self.owner is None else f"{self.kind} of another subject"
        return FindingEvent(
            id=self.id,
            path=self.path,
            offset=self.offset,
            encoding=self.encoding,
            kind=kind,
            masked=self.masked,
            subject=subject,
            accepted=accepted,
        )


@dataclass(frozen=True, slots=True)
class Unsearched:
    """A part of a file that could not be searched; ``path`` is masked."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan saw: the size of the file, the digest of its text regions, and what was found there."""

    size: int
    text_sha256: str
    findings: tuple[Finding, ...]
    #: ordinary words one letter away from a name, where names were searched so; told, and no findings
    spared: tuple[Finding, ...] = ()
    #: what lies in it and could not be opened
    not_searched: tuple[Unsearched, ...] = ()

    def open_findings(self, accepted: Container[str]) -> tuple[Finding, ...]:
        """Return the findings that nobody has accepted by their id."""
        return tuple(f for f in self.findings if f.id not in accepted)

    def is_clean(self, accepted: Container[str] = ()) -> bool:
        """Return whether all of it was searched, and nothing found but what a person has accepted."""
        return not self.open_findings(accepted) and not self.not_searched


def scan_file(
    kind: Kind,
    file: BinaryIO,
    matchers: Iterable[Matcher],
    *,
    path: str,
    regions: Regions = text_regions,
    free_text: Regions = free_text_regions,
    piece_bytes: int = _PIECE_BYTES,
) -> ScanResult:
    """Return what the text regions of ``file`` hold.

    Parameters
    ----------
    matchers
        The search for this subject, and the search for every other one.
    path
        Where the file is, below OUT; part of the ids of findings.
    regions, piece_bytes
        How the regions are found, and how much of one is read at a time.
    free_text
        How those parts of the regions are found in which a matcher with ``near`` also looks for what only
        resembles a name.

    Raises
    ------
    MalformedFileError
        The structure of its kind cannot be walked.
    SourceChangedError
        The file changed its length while it was read.
    """
    searches = tuple(matchers)
    size = file_size(file)
    digest = TextDigest(regions(kind, file))
    free = FreeText(free_text(kind, file) if any(m.near for m in searches) else ())
    hits: list[Hit] = []
    for region in digest.regions:
        pieces = _pieces(file, region, digest, piece_bytes)
        hits.extend(told(_shifted(search_pieces(pieces, searches, free=free.shifted(region.offset)), region.offset)))
    if hits and kind in _EDF_KINDS and _EDF_FORM.fullmatch(read_at(file, _EDF_START, _EDF_STOP - _EDF_START)):
        hits = [h for h in hits if not (h.start >= _EDF_START and h.stop <= _EDF_STOP)]
    if hits and kind in TEXT_KINDS:
        spans = list(machine_spans(kind, read_at(file, 0, size)))
        hits = [h for h in hits if not any(start <= h.start and h.stop <= stop for start, stop in spans)]
    if file_size(file) != size:
        raise SourceChangedError("a file", "changed its length while it was read")
    text_sha256 = digest.hexdigest()
    findings, spared = (
        tuple(finding_of(h, path, text_sha256) for h in hits if h.spared is is_spared) for is_spared in (False, True)
    )
    return ScanResult(size, text_sha256, findings, spared)


def all_regions(kind: Kind, file: BinaryIO) -> Iterable[Region]:
    """Return the text regions of any file: where its structure is not known, all of it is text."""
    try:
        return list(text_regions(kind, file))
    except MalformedFileError:
        size = file_size(file)
        return [Region(0, size)] if size else []


def all_free_text(kind: Kind, file: BinaryIO) -> Iterable[Region]:
    """Return the free text of any file: where its structure is not known, all of it is free text."""
    try:
        list(text_regions(kind, file))
        return list(free_text_regions(kind, file))
    except MalformedFileError:
        return all_regions(kind, file)


def scan_name(path: str, matchers: Iterable[Matcher]) -> tuple[Finding, ...]:
    """Return the identifiers in the names of ``path`` (below OUT); its findings have the offset -1."""
    data = os.fsencode(path)
    hits = outermost(h for m in matchers for h in m.candidates(data))
    # a path that is itself an identifier must not be shown by its finding
    shown = "a file name" if hits else path
    digest = hashlib.sha256(data).hexdigest()
    return tuple(
        Finding(
            id=_finding_id(path, -1 - h.start, h.kind, digest),
            path=shown,
            offset=-1,
            length=h.stop - h.start,
            kind=h.kind,
            encoding=h.encoding,
            masked=h.masked,
            owner=h.owner,
        )
        for h in hits
    )


def _pieces(file: BinaryIO, region: Region, digest: TextDigest, piece_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of ``region`` while feeding ``digest``."""
    for position in range(0, region.length, piece_bytes):
        wanted = min(piece_bytes, region.length - position)
        piece = read_at(file, region.offset + position, wanted)
        if len(piece) < wanted:
            raise SourceChangedError("a file", "became shorter while it was read")
        digest.feed(region.offset + position, piece)
        yield piece


def _shifted(hits: Iterable[Hit], by: int) -> Iterator[Hit]:
    return (h.moved(by) for h in hits)


def finding_of(hit: Hit, path: str, digest: str, *, within: str = "") -> Finding:
    """Return what is told of ``hit``.

    Parameters
    ----------
    path
        What messages call the file.
    digest
        Of its text.
    within
        The true name of the member of a container that holds it: part of the id, and not shown.
    """
    return Finding(
        id=_finding_id(f"{path}\0{within}" if within else path, hit.start, hit.kind, digest),
        path=path,
        offset=hit.start,
        length=hit.stop - hit.start,
        kind=hit.kind,
        encoding=hit.encoding,
        masked=hit.masked,
        owner=hit.owner,
    )


def _finding_id(path: str, offset: int, kind: str, digest: str) -> str:
    text = "\0".join(("ecogsafe finding 1", path, str(offset), kind, digest))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
