"""What a test asks about shifted dates: each file before and after, the times in it, the true dates as written."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.deid.birth_dates import ole_day, spellings
from ecogsafe.deid.journal import Entry
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.formats import edf, natus, natus_times, text_outputs
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.kinds import HEADER_KINDS, RECORDING_KINDS, Kind
from ecogsafe.formats.request import CleaningRequest
from tests.cli.lab import Lab
from tests.service.looking import keys_of, linking_key

DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Moved:
    """One file, as it was and as apply left it."""

    entry: Entry
    old: bytes
    new: bytes
    new_mtime_ns: int


def days_of(lab: Lab, code: str) -> int:
    """Return the number of days of a subject."""
    person = linking_key(lab).person(code)
    assert person is not None and person.date_shift_days
    return person.date_shift_days


def entries_of(lab: Lab, code: str) -> list[Entry]:
    """Return the entries of all journals of a subject."""
    keys = keys_of(lab)
    folder = JournalFolder(
        lab.home / "journals",
        lambda plain: seal(plain, keys.recipients),
        lambda sealed: open_sealed(sealed, [keys.identity]),
    )
    return [entry for name in folder.ids(code) for entry in folder.read(name).entries]


def moved(lab: Lab, code: str, before: Path) -> list[Moved]:
    """Return every file that apply moved; ``before`` is a copy of the export."""
    return [
        Moved(
            entry,
            (before / entry.source.relative_to(lab.export)).read_bytes(),
            (lab.out / entry.place).read_bytes(),
            (lab.out / entry.place).stat().st_mtime_ns,
        )
        for entry in entries_of(lab, code)
    ]


def times_in(kind: Kind, data: bytes) -> list[datetime]:
    """Return every moment that a file of ``kind`` tells by its structure."""
    file = io.BytesIO(data)
    times = [natus.parse_generic_header(data).created] if kind in HEADER_KINDS else []
    if kind in RECORDING_KINDS:
        times.append(edf.read_header(file).start)
    elif kind is Kind.SNC:
        times += [point.utc for point in natus_times.read_snc(file)]
    elif kind in (Kind.VTC, Kind.VT2):
        times += [time for clip in natus_times.read_vtc(file) for time in (clip.start_utc, clip.end_utc)]
    elif kind is Kind.VTC_TEXT:
        times += [time for clip in text_outputs.read_vtc_text(file) for time in (clip.start_utc, clip.end_utc)]
    elif kind is Kind.SNC_TEXT:
        times += [point.utc for point in text_outputs.read_snc_text(file)]
    return times


def true_days(lab: Lab, key: str) -> set[date]:
    """Return every day on which a patient was recorded, by UTC and by the clock of the site."""
    assert lab.ledger is not None
    found = set()
    for segment in lab.ledger.segments_of(key):
        for start in (segment.start_local, segment.start_utc):
            found |= {start.date(), (start + timedelta(seconds=segment.duration_s)).date()}
    return found


def written(days: set[date], days_moved: int) -> re.Pattern[bytes]:
    """Return a search for every way in which ``days`` are written and the shifted ones are not."""
    shifted = {day + timedelta(days=days_moved) for day in days}
    texts = {t for day in days for t in spellings(day, short_years=False)}
    texts |= {f"{day:%d.%m.%y}" for day in days} | {f"{ole_day(day)}." for day in days}
    texts -= {t for day in shifted for t in spellings(day, short_years=True)}
    words = b"|".join(re.escape(t.encode()) for t in sorted(texts, key=len, reverse=True))
    return re.compile(rb"(?<![0-9])(?:" + words + rb")(?![0-9])", re.IGNORECASE)


def plant_date(lab: Lab, key: str, order: int) -> str:
    """Write a true date into an annotation of a recording; return it."""
    assert lab.ledger is not None
    (truth,) = (s for s in lab.ledger.segments if s.patient == key and s.order == order)
    path = lab.export / truth.edf
    text, place = f"{truth.start_local:on %d/%m/%Y EM}", b"awake, eyes open"
    data = path.read_bytes()
    assert place in data and len(text) == len(place)
    status = path.stat()
    path.write_bytes(data.replace(place, text.encode()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"{truth.start_local:%d/%m/%Y}"


def clean_already(path: Path) -> None:
    """Take the text out of a clip, so that apply has nothing to patch in it."""
    request = CleaningRequest(code="abcd1234", stem="abcd1234_1", find=lambda _data: ())
    status = path.stat()
    with path.open("r+b") as file:
        for patch in tuple(patches(Kind.AVI, file, request)):
            file.seek(patch.offset)
            file.write(patch.new)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
