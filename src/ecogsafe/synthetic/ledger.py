"""What was written where: the planted identifiers, the true order and times, the digests of the samples."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ecogsafe.synthetic.patients import Patient

#: Terms up to this many letters count only as whole words, as they occur inside ordinary ones.
SHORT_TERM_LETTERS = 5
#: Encodings in which a search looks for every term.
SEARCH_ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
_CHUNK_BYTES = 8 << 20
_OVERLAP_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One identifier in one place of one file or name."""

    patient: str
    #: relative to the export, as POSIX text
    path: str
    #: what the place is called, e.g. ``"generic header: last name"``
    place: str
    term: str
    #: a Python codec, ``"i32"`` (little-endian), ``"hex"`` (digits of UTF-16-LE), or ``"name"``: in the path
    encoding: str
    #: byte offset in the file, where only the place makes the identifier (``"i32"``); else None
    offset: int | None = None

    def needle(self) -> bytes:
        """Return the bytes that are in the file (for ``"name"``: in the path)."""
        if self.encoding == "i32":
            return int(self.term).to_bytes(4, "little", signed=True)
        if self.encoding == "hex":
            return self.term.encode("utf-16-le").hex().encode("ascii")
        return self.term.encode("utf-8" if self.encoding == "name" else self.encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A text that looks like an identifier and is none; de-identification must leave it as it is."""

    patient: str
    path: str
    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A date of service in one place; it stays or moves by whole days, but never by less."""

    patient: str
    path: str
    place: str
    #: the bytes, as hex digits; empty: the modification time of the file
    needle: str
    #: byte offset in the file, where only the place makes the date; else None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDigest:
    """The SHA-256 of the numbers of one file or study, which no step may change.

    ``what`` is ``"edf-samples"`` (bytes of the ordinary signals, in file order), ``"natus-samples"`` (i32,
    channel by channel, stored samples only; ``path`` is the folder) or ``"clip-frames"`` (payload of the
    ``movi`` list).
    """

    path: str
    what: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTruth:
    """One video clip: first and last frame."""

    path: str
    index: int
    start_utc: datetime
    end_utc: datetime
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTruth:
    """One segment as it really is."""

    patient: str
    #: from 1, by true start
    order: int
    #: the wrong number its names carry in the half-processed form; None in the hospital form
    named: int | None
    start_utc: datetime
    #: wall clock of the site, no zone
    start_local: datetime
    #: s, from the first to the end of the last sample, gaps included
    duration_s: float
    #: s without a sample, in the middle
    gap_s: float
    rate_hz: float
    variant: str
    edf: str
    study: str
    stem: str
    clips: tuple[ClipTruth, ...]
    vtc_text: str
    snc_text: str
    decimated: bool
    digests: tuple[SampleDigest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything a test or the demo wants to know of an export."""

    time_zone: str
    patients: tuple[Patient, ...]
    planted: tuple[Planted, ...]
    kept: tuple[Kept, ...]
    dated: tuple[Dated, ...]
    #: by patient, then true order
    segments: tuple[SegmentTruth, ...]
    #: reports, the backup of notes, unknown kinds: left behind by rule
    left_behind: tuple[str, ...]
    #: every file written, sorted
    files: tuple[str, ...]

    def patient(self, key: str) -> Patient:
        """Return the patient ``key``."""
        return next(p for p in self.patients if p.key == key)

    def segments_of(self, key: str) -> tuple[SegmentTruth, ...]:
        """Return the segments of the patient ``key`` in true order."""
        return tuple(s for s in self.segments if s.patient == key)

    def to_json(self) -> str:
        """Return the ledger as JSON; it holds every identifier and belongs nowhere near the export."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, default=_plain)


@dataclass(frozen=True, slots=True)
class Residue:
    """An identifier found in a file or name."""

    path: str
    term: str
    encoding: str
    #: byte offset; -1 in the path
    offset: int


class Recorder:
    """Collects what the writers plant, below one export folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.planted: list[Planted] = []
        self.kept: list[Kept] = []
        self.dated: list[Dated] = []
        self.left_behind: list[str] = []
        self.digests: list[SampleDigest] = []
        self.files: list[str] = []

    def relative(self, path: Path) -> str:
        """Return ``path`` below the export, as POSIX text."""
        return path.relative_to(self.root).as_posix()

    def plant(
        self,
        patient: Patient,
        path: Path,
        place: str,
        *terms: str,
        encoding: str = "utf-8",
        offset: int | None = None,
    ) -> None:
        """Note that each of ``terms`` stands at ``place`` of ``path``."""
        self.planted += [
            Planted(
                patient=patient.key,
                path=self.relative(path),
                place=place,
                term=term,
                encoding=encoding,
                offset=offset,
            )
            for term in terms
        ]

    def keep(self, patient: Patient, path: Path, place: str, *texts: str) -> None:
        """Note that each of ``texts`` stands at ``place`` and must survive."""
        self.kept += [Kept(patient=patient.key, path=self.relative(path), place=place, text=t) for t in texts]

    def date(self, patient: Patient, path: Path, place: str, needle: bytes, *, offset: int | None = None) -> None:
        """Note that a date of service stands at ``place`` as the bytes ``needle``."""
        self.dated.append(
            Dated(patient=patient.key, path=self.relative(path), place=place, needle=needle.hex(), offset=offset)
        )

    def wrote(self, path: Path, when: datetime, *, left_behind: bool = False) -> None:
        """Note a finished file and give it the time ``when`` (aware)."""
        stamp_ns = int(when.timestamp()) * 1_000_000_000
        os.utime(path, ns=(stamp_ns, stamp_ns))
        self.files.append(self.relative(path))
        if left_behind:
            self.left_behind.append(self.relative(path))


def search(folder: Path, terms: Iterable[str]) -> Iterator[Residue]:
    """Yield each of ``terms`` found below ``folder``, in contents and names, whatever its case or encoding.

    Short terms count as whole words only. One hit is reported for a term, an encoding and a file.
    The search shares nothing with the scanner of the tool, so that it can judge it.
    """
    needles = tuple(dict.fromkeys(_needles(terms)))
    for path in sorted(p for p in folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        for term, encoding, needle, unit in needles:
            if encoding == "utf-8" and _first(os.fsencode(relative).lower(), needle, unit, term) is not None:
                yield Residue(relative, term, "name", -1)
        if path.is_file() and not path.is_symlink():
            yield from _search_file(path, relative, needles)


_Needle = tuple[str, str, bytes, int]


def _needles(terms: Iterable[str]) -> Iterator[_Needle]:
    for term in terms:
        seen: set[bytes] = set()
        # bytes.lower() reaches ASCII letters only, so an accented capital needs a needle of its own
        for spelling in (term.lower(), term.upper(), term):
            for encoding in SEARCH_ENCODINGS:
                try:
                    needle = spelling.encode(encoding).lower()
                except UnicodeEncodeError:
                    continue
                if needle not in seen:
                    seen.add(needle)
                    yield term, encoding, needle, 2 if encoding.startswith("utf-16") else 1


def _search_file(path: Path, relative: str, needles: tuple[_Needle, ...]) -> Iterator[Residue]:
    found: set[_Needle] = set()
    with path.open("rb") as file:
        tail, start = b"", 0
        while block := file.read(_CHUNK_BYTES):
            window = tail + block.lower()
            for needle in needles:
                if needle not in found and (at := _first(window, needle[2], needle[3], needle[0])) is not None:
                    found.add(needle)
                    yield Residue(relative, needle[0], needle[1], start + at)
            tail = window[-_OVERLAP_BYTES:]
            start += len(window) - len(tail)


def _first(window: bytes, needle: bytes, unit: int, term: str) -> int | None:
    """Return where ``needle`` first stands in ``window``; a short term with no letter on either side."""
    at = window.find(needle)
    if not term.isalpha() or len(term) > SHORT_TERM_LETTERS:
        return None if at < 0 else at
    while at >= 0:
        before, after = window[max(0, at - unit) : at], window[at + len(needle) : at + len(needle) + unit]
        if not _is_letter(before) and not _is_letter(after):
            return at
        at = window.find(needle, at + 1)
    return None


def _is_letter(code_unit: bytes) -> bool:
    """Say whether a byte, or two bytes of UTF-16 in either order, are an ASCII letter."""
    return code_unit.strip(b"\0").isalpha()


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
