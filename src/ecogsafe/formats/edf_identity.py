"""Whom an EDF/BDF header speaks of: the sub-fields of its patient and recording fields.

References
----------
EDF+ specification 2.1.3.3 and 2.1.3.4, https://www.edfplus.info/specs/edfplus.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class EdfIdentity:
    """What the two 80-byte fields say; everything private, None where unknown (``X``) or not EDF+."""

    #: hospital code, often the MRN
    code: str | None = field(default=None, repr=False)
    sex: str | None = field(default=None, repr=False)
    birthdate: date | None = field(default=None, repr=False)
    #: as written, ``_`` turned into a space; often ``Last,First``
    name: str | None = field(default=None, repr=False)
    #: further sub-fields of the patient field
    patient_extra: tuple[str, ...] = field(default=(), repr=False)
    admin_code: str | None = field(default=None, repr=False)
    technician: str | None = field(default=None, repr=False)
    equipment: str | None = field(default=None, repr=False)
    #: both fields whole, as text; all there is in a legacy file
    raw_patient: str = field(default="", repr=False)
    raw_recording: str = field(default="", repr=False)


def lenient_text(raw: bytes) -> str:
    """Return ``raw`` as text without its padding: UTF-8 where it is that, else Latin-1. Never fails."""
    raw = raw.rstrip(b" \0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_date(text: str) -> date | None:
    """Return the date that ``text`` (``02-FEB-1970``) names, None if it names none."""
    match = _DATE.fullmatch(text)
    if match is None or match[2].upper() not in MONTHS:
        return None
    try:
        return date(int(match[3]), MONTHS.index(match[2].upper()) + 1, int(match[1]))
    except ValueError:
        return None


def format_date(day: date) -> str:
    """Return ``day`` as ``02-FEB-1970``; English whatever the locale."""
    return f"{day.day:02d}-{MONTHS[day.month - 1]}-{day.year:04d}"


def start_date_of(recording_field: bytes) -> date | None:
    """Return the date after ``Startdate`` in a recording field, None if there is none."""
    words = lenient_text(recording_field).split()
    return parse_date(words[1]) if len(words) > 1 and words[0].lower() == "startdate" else None


def parse_identity(patient_field: bytes, recording_field: bytes) -> EdfIdentity:
    """Return what the fields say of the person; sub-fields only where the field has the form of EDF+.

    A legacy field is free text in any order, so only its whole text is given.
    """
    patient, recording = lenient_text(patient_field), lenient_text(recording_field)
    known: dict[str, str | None] = {}
    birthdate: date | None = None
    extra: tuple[str, ...] = ()
    words = patient.split()
    # "code sex birthdate name": the second and third are what tells EDF+ from free text
    if len(words) >= 4 and words[1].upper() in ("F", "M", "X") and (words[2] == "X" or parse_date(words[2])):
        birthdate = parse_date(words[2])
        known |= {"code": _known(words[0]), "sex": _known(words[1].upper()), "name": _known(words[3])}
        extra = tuple(w.replace("_", " ") for w in words[4:])
    words = recording.split()
    if len(words) >= 5 and words[0].lower() == "startdate":
        known |= {
            "admin_code": _known(words[2]),
            "technician": _known(words[3]),
            "equipment": _known(words[4]),
        }
    return EdfIdentity(**known, birthdate=birthdate, patient_extra=extra, raw_patient=patient, raw_recording=recording)


def _known(word: str) -> str | None:
    return None if word in ("X", "") else word.replace("_", " ").strip()
