"""Writes docs/places.md: where identifiers were planted and what became of them (``python tools/places_table.py``).

Exports in every form, of six people with hard names, go through `deid apply`; then every planted identifier is
looked for at its place, and everything that had to stay as it was is compared. ``--check`` only compares the page.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ecogsafe.core.events import Event, Item
from ecogsafe.core.private import Secret
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.planned import masked_path
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.text_regions import text_regions
from ecogsafe.service.deid_applying import apply
from ecogsafe.service.deid_planning import DeidRequest
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.service.running import running
from ecogsafe.synthetic.export import ExportScale, Form, write_export
from ecogsafe.synthetic.hard_names import hard_named_patients
from ecogsafe.synthetic.ledger import Dated, Ledger, Planted, search
from ecogsafe.synthetic.patients import Patient, birth_date_texts, ole_text
from ecogsafe.synthetic.timeline import SITE_ZONE

TARGET = Path(__file__).resolve().parents[1] / "docs" / "places.md"
COMMAND = "python tools/places_table.py"
FORMS: tuple[Form, ...] = ("hospital", "half-processed", "mixed")
_SEED = 7
_PASSWORD = Secret(b"words of a table")
#: a name of so many letters stands by chance among samples, so it is looked for in text only
_CHANCE_LETTERS = 3
#: names of so many letters are no name inside another word or before a number: LAH1, Ballistic
_WORD_LETTERS = 5
_ERD_BODY, _ROWS = 8656, 352
#: a list of clips: its first row, the bytes of a row, and those of the name at its beginning
_CLIPS, _CLIP_ROW, _CLIP_NAME = 20, 293, 261
#: with its duration, at the beginning of a list of annotations
_ONSET = re.compile(rb"(?:^|(?<=\0))[+-][\d.]+(?:\x15[\d.]+)?(?=\x14)")
REMOVED, LEFT, THERE, KEPT = "removed", "left behind and listed", "still there", "kept"
#: identifiers by letter of 45 CFR 164.514(b)(2)(i); what the rule does not list is scrubbed as well
LETTERS = {
    "names": "A",
    "names of staff, logins": "(A)",
    "address, city, ZIP, region": "B",
    "birth date, age": "C",
    "telephone, fax, e-mail": "D E F",
    "social security number": "G",
    "record number": "H",
    "plan and account numbers": "I J",
    "licence number": "K",
    "serial number of a device": "M",
    "names and addresses of computers": "N O",
    "other codes: GUIDs, internal numbers": "R",
}


@dataclass(slots=True)
class Measured:
    """What became of everything."""

    #: by (identifier, place): how many ended how
    places: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    #: by place: how many dates of service ended how
    dates: dict[str, Counter[str]] = field(default_factory=dict)
    #: by what had to stay: compared, altered
    kept: dict[str, list[int]] = field(default_factory=dict)
    #: identifiers that a search of all of OUT in four encodings finds, as "place: identifier"
    residue: list[str] = field(default_factory=list)

    def planted(self, patient: Patient, planted: Planted, result: str) -> None:
        place = "names of files and folders" if planted.place == "path" else planted.place
        self.places.setdefault((identifier_of(patient, planted), place), Counter())[result] += 1

    def compared(self, what: str, before: object, after: object) -> None:
        counts = self.kept.setdefault(what, [0, 0])
        counts[0] += 1
        counts[1] += before != after


def identifier_of(patient: Patient, planted: Planted) -> str:
    """Return which identifier a planted text is."""
    p, term = patient, planted.term
    if planted.encoding == "i32":
        return "serial number of a device" if planted.place == "headbox serial" else _OTHER_CODES
    sorts: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("names", (p.last_name, p.first_name, p.middle_name, p.full_name, p.folded_last_name, p.folded_first_name)),
        ("names of staff, logins", (p.technician, p.technician.replace(" ", "_"), p.login)),
        ("address, city, ZIP, region", (p.address, p.city, p.zip_code, "Pacific Standard Time")),
        ("birth date, age", (*birth_date_texts(p.birth_date), ole_text(p.birth_date))),
        ("telephone, fax, e-mail", (p.telephone, p.fax, p.email)),
        ("social security number", (p.social_security,)),
        ("record number", (p.mrn,)),
        ("plan and account numbers", (p.account, p.plan_number)),
        ("licence number", (p.licence,)),
        ("serial number of a device", (str(p.headbox_serial),)),
        ("names and addresses of computers", (p.host, p.server, p.ip_address)),
    )
    found = (name for name, terms in sorts if term.lower() in {t.lower() for t in terms})
    return next(found, "birth date, age" if re.search(r"_\d+yr$", term) else _OTHER_CODES)


_OTHER_CODES = "other codes: GUIDs, internal numbers"


def measure(folder: Path, forms: Sequence[Form] = FORMS, **wishes: Any) -> Measured:
    """Write an export of each form into ``folder``, de-identify its two people, and look.

    Parameters
    ----------
    wishes
        Fields of `DeidRequest`: the options of `deid apply`.
    """
    measured = Measured()
    for form, patients in zip(FORMS, hard_named_patients(_SEED), strict=True):
        if form in forms:
            place = folder / form
            place.mkdir()
            _measure_export(place, form, patients, measured, wishes)
    return measured


def _measure_export(
    place: Path, form: Form, patients: tuple[Patient, ...], measured: Measured, wishes: dict[str, Any]
) -> None:
    export, out = place / "export", place / "out"
    ledger = write_export(export, form=form, scale=ExportScale.tiny(), seed=_SEED, patients=patients)
    before = {name: (export / name).read_bytes() for name in ledger.files}
    states = {name: (export / name).stat() for name in ledger.files}
    home = Home(place / "home")
    initialise(home, _PASSWORD, recovery_file=place / "recovery.txt", time_zone=SITE_ZONE, work_factor=10)
    told: list[Event] = []
    for patient in patients:
        _apply(home, patient, DeidRequest(export=export, out=out, settle_s=0.0, **wishes), told.append)
    moved = {path.stat().st_ino: path for path in out.rglob("*") if path.is_file()}
    found = {name: moved.get(state.st_ino) for name, state in states.items()}
    listed = {event.path for event in told if isinstance(event, Item) and event.status == "left_behind"}
    by_key = {patient.key: patient for patient in patients}
    for planted in ledger.planted:
        target = found[planted.path]
        if target is None:
            there = (export / planted.path).is_file() and masked_path(export / planted.path, export) in listed
            result = LEFT if there else THERE
        else:
            result = THERE if stands(planted, target, out) else REMOVED
        measured.planted(by_key[planted.patient], planted, result)
    for dated in ledger.dated:
        target = found[dated.path]
        if target is not None:
            counts = measured.dates.setdefault(dated.place, Counter())
            counts[KEPT if _is_kept(dated, target, states[dated.path].st_mtime_ns) else REMOVED] += 1
    for name, target in found.items():
        if target is not None:
            compare(name, before[name], target.read_bytes(), ledger, measured)
    terms = [t for p in patients for t in p.terms() if len(t) > _WORD_LETTERS or not t.isalpha()]
    measured.residue += [f"{form}, {r.path}: {r.term}" for r in search(out, terms)]


def _apply(home: Home, patient: Patient, request: DeidRequest, tell: Callable[[Event], None]) -> None:
    request = replace(request, identifiers=Identifiers.from_toml(patient.identifiers_toml()))

    def no_question(question: str) -> None:
        raise AssertionError(question)

    with running(home, "deid apply", tell) as run:
        apply(run, request, lambda: _PASSWORD, no_question)


def stands(planted: Planted, target: Path, out: Path) -> bool:
    """Say whether the identifier is still there: at its offset, in the path, or in the bytes of the file."""
    needle = planted.needle()
    if planted.offset is not None:
        return target.read_bytes()[planted.offset :].startswith(needle)
    if planted.encoding == "name":
        return needle.lower() in target.relative_to(out).as_posix().encode().lower()
    short = planted.term.isalpha() and len(planted.term) <= _WORD_LETTERS
    if short and len(planted.term) <= _CHANCE_LETTERS and target.suffix != ".txt":
        data = b"\0\0".join(target.read_bytes()[at : at + length] for at, length in _text_parts(target))
    else:
        data = target.read_bytes()
    edge = rb"[0-9A-Za-z]\0?" if planted.encoding == "utf-16-le" else rb"[0-9A-Za-z]"
    pattern = re.escape(needle)
    for match in re.finditer(pattern, data, re.IGNORECASE):
        beside = (data[max(0, match.start() - 2) : match.start()], data[match.end() : match.end() + 2])
        if not short or not (re.search(edge + rb"$", beside[0]) or re.match(edge, beside[1])):
            return True
    return False


def _text_parts(target: Path) -> list[tuple[int, int]]:
    """Return (offset, length) of what is text; in a list of clips the names alone, for two letters are also a time."""
    if target.suffix in (".vtc", ".vt2"):
        return [(at, _CLIP_NAME) for at in range(_CLIPS, target.stat().st_size, _CLIP_ROW)]
    with target.open("rb") as file:
        return [(r.offset, r.length) for r in text_regions(Kind(target.suffix[1:]), file)]


def _is_kept(dated: Dated, target: Path, mtime_ns: int) -> bool:
    needle = bytes.fromhex(dated.needle)
    if not needle:
        return target.stat().st_mtime_ns == mtime_ns
    data = target.read_bytes()
    return needle in data if dated.offset is None else data[dated.offset :].startswith(needle)


def compare(name: str, before: bytes, after: bytes, ledger: Ledger, measured: Measured) -> None:
    """Compare what must be as it was."""
    kind = Path(name).suffix.lower()
    measured.compared("length of the file", len(before), len(after))
    if kind in (".edf", ".bdf"):
        kept = {k.text for k in ledger.kept if k.path == name}
        old, new = _Recording(before), _Recording(after)
        for was, now in zip(old.labels, new.labels, strict=True):
            if was.decode("latin-1").strip() in kept:
                measured.compared("channel label of the recording", was, now)
        measured.compared("samples of the recording", old.samples(before), new.samples(after))
        for was, now in zip(old.onsets(before), new.onsets(after), strict=True):
            measured.compared("onset and duration of an annotation", was, now)
        for text in (k.text for k in ledger.kept if k.path == name and k.place == "annotation"):
            measured.compared("annotation that only resembles a name", 1, after.count(f"\x14{text}\x14".encode()))
    elif kind == ".erd":
        measured.compared("samples of a Natus segment", before[_ERD_BODY:], after[_ERD_BODY:])
    elif kind in (".etc", ".snc"):
        measured.compared("index or clock of a Natus study", before[_ROWS:], after[_ROWS:])
    elif kind == ".ent":
        labels = [re.findall(rb'"ChanNames", \((.*?)\)', data) for data in (before, after)]
        measured.compared("electrode labels of a montage", *labels)
    elif kind == ".avi":
        at = before.index(b"movi")
        stop = at + int.from_bytes(before[at - 4 : at], "little")
        measured.compared("pictures and sound of a clip", before[at:stop], after[at:stop])


class _Recording:
    """The layout of an EDF or BDF, read here without the tool's own reader."""

    def __init__(self, data: bytes) -> None:
        count = int(data[252:256])
        self._head = int(data[184:192])
        self._width = 3 if data[:1] == b"\xff" else 2
        self.labels = [data[256 + 16 * i : 272 + 16 * i] for i in range(count)]
        at = 256 + 216 * count
        self._sizes = [int(data[at + 8 * i : at + 8 * i + 8]) * self._width for i in range(count)]
        self._records = int(data[236:244])

    def _blocks(self, data: bytes, *, annotations: bool) -> Iterator[bytes]:
        at = self._head
        for _ in range(self._records):
            for label, size in zip(self.labels, self._sizes, strict=True):
                if label.rstrip().endswith(b"Annotations") == annotations:
                    yield data[at : at + size]
                at += size

    def samples(self, data: bytes) -> bytes:
        return b"".join(self._blocks(data, annotations=False))

    def onsets(self, data: bytes) -> list[bytes]:
        return [m for block in self._blocks(data, annotations=True) for m in _ONSET.findall(block)]


def measure_all(folder: Path) -> tuple[Measured, Measured]:
    """Return what happens with the usual options, and what with ``--shift-dates``."""
    found = []
    for name, wishes in (("usual", {}), ("shifted", {"shift_dates": True})):
        (folder / name).mkdir()
        found.append(measure(folder / name, **wishes))
    return found[0], found[1]


def render(measured: Measured, shifted: Measured) -> str:
    """Return the whole page."""
    total = sum((c for c in measured.places.values()), Counter[str]())
    lines = [
        "# Where identifiers were planted, and what became of them",
        "",
        f"Generated by `{COMMAND}` from a run of the tool. Do not edit it by hand; a test fails when it is stale.",
        "",
        "Synthetic exports in the three forms (hospital, half-processed, mixed) of six invented people go through",
        "`deid apply`. Their names are hard ones: accents, a hyphen, an apostrophe, two letters, ordinary words, parts",
        "of channel labels. Each planted identifier is then looked for at its place. The letters are those of",
        "45 CFR 164.514(b)(2)(i). *Left behind* means: the file stays in EXPORT, is listed, and never reaches OUT.",
        "",
        f"**{sum(total.values()):,} planted: {total[REMOVED]:,} removed, {total[LEFT]:,} left behind and listed, "
        f"{total[THERE]} still there.**",
        "",
        "| | identifier | place | planted | removed | left behind, listed | still there |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    order = list(LETTERS)
    for identifier, place in sorted(measured.places, key=lambda k: (order.index(k[0]), k[1])):
        counts = measured.places[identifier, place]
        numbers = (sum(counts.values()), counts[REMOVED], counts[LEFT], counts[THERE])
        lines.append(f"| {LETTERS[identifier]} | {identifier} | {place} | {' | '.join(str(n) for n in numbers)} |")
    lines += [
        "| L P Q | vehicle, voice, face | sound and pictures of clips | – | – | – | – |",
        "",
        "Sound and pictures are not altered, and no recipe here removes a voice or a face: clips are sealed before",
        "they go to a bucket.",
        "",
        "## Dates of service",
        "",
        "They stay unless `--shift-dates` is given: with true dates the result is a limited data set, not a",
        "de-identified one. Where no reader needs a date, it goes in any case. The last column counts the true dates",
        "that are still there with `--shift-dates`.",
        "",
        "| | place | dates | kept | removed | true ones with `--shift-dates` |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for place in sorted(measured.dates):
        counts, after = measured.dates[place], shifted.dates[place]
        numbers = (sum(counts.values()), counts[KEPT], counts[REMOVED], after[KEPT])
        lines.append(f"| C | {place} | {' | '.join(str(n) for n in numbers)} |")
    lines += ["", "## What had to stay as it was", "", "| what | compared | altered |", "|---|---:|---:|"]
    lines += [f"| {what} | {n} | {altered} |" for what, (n, altered) in sorted(measured.kept.items())]
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check`` only say whether it is stale (1)."""
    with tempfile.TemporaryDirectory() as folder:
        text = render(*measure_all(Path(folder)))
    if arguments == ["--check"]:
        stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
        if stale:
            print(f"docs/{TARGET.name} is stale: {COMMAND}")
        return int(stale)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
