"""A lab's own table of codes as CSV: what its columns are called, and the persons in it. Pure; nothing is looked up.

A table is taken whole or not at all. Rows are told by their number, as a spreadsheet shows it (the line of
column names is row 1); a value is never repeated in a message.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.birth_dates import possible_dates
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.words import is_placeholder

_ITEM = "the code table"
_NEXT = "name the columns code, last_name, first_name, mrn, birth_date, also in the first line, then run again"
_SEPARATORS = ",;\t"
#: "Doe, Jane" and the hospital's own "Doe~ Jane"
_FULL_NAME = re.compile(r"\s*(?P<last>[^,~]+?)\s*[,~]\s*(?P<first>[^,~]+?)\s*")
#: what `ecogsafe.service.spreadsheet` puts before a text that a spreadsheet would take for a formula
_SHIELDED = re.compile(r"^'(?=[=+\-@\t\r＝＋－＠])")

#: column names without case, spaces and punctuation, and the field they mean
_NAMES = {
    "code": "code subjectcode deidcode deidentifiedcode deidentifiedid studycode codenumber",
    "last_name": "lastname last surname familyname patientlastname nachname",
    "first_name": "firstname first givenname forename patientfirstname vorname",
    "middle_name": "middlename middle middleinitial",
    "name": "name fullname patientname lastfirst lastnamefirstname",
    "mrn": "mrn medicalrecordnumber medicalrecord recordnumber hospitalnumber hospitalid umrn",
    "birth_date": "birthdate birthday dateofbirth dob born geburtsdatum",
    "also": "also aka alias aliases othername othernames maidenname formername nickname phone telephone email guid",
}
_FIELD_OF = {word: name for name, words in _NAMES.items() for word in words.split()}
#: the code where no column is plainly one; where one is, the hospital's number of the patient, or nothing
_PERHAPS_CODE = {
    "subject": None,
    "subjectid": None,
    "subjectnumber": None,
    "studyid": None,
    "id": None,
    "patient": None,
    "patientid": "mrn",
    "patientnumber": "mrn",
    "pid": "mrn",
}
#: what is written where nothing is known; for names no more than that: Na, X and Nan are names
_NOTHING = frozenset({"", "-", "--", ".", "?", "n/a", "#n/a", "unknown", "none", "null"})
_NUMBERS = ("mrn", "birth_date")
#: further columns of `ecogsafe subjects export`, which mean nothing here
_OURS = frozenset({"created", "segments", "firststart", "files", "bytes", "copies", "withdrawn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRow:
    """One person of the table."""

    #: as a spreadsheet counts
    number: int
    code: str
    identifiers: Identifiers


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProblem:
    """Why a row cannot be taken; holds no value of it."""

    number: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTable:
    """A table taken apart."""

    rows: tuple[CodeRow, ...]
    problems: tuple[RowProblem, ...] = ()
    #: numbers, from 1, of columns whose name is not known
    ignored_columns: tuple[int, ...] = field(default=())


def read_code_table(text: str) -> CodeTable:
    """Return the persons that ``text`` (CSV, separated by commas, semicolons or tabs) tells of.

    Raises
    ------
    UsageError
        It is no CSV, names no column for the code, or two columns for the same thing.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=lambda s: len([c for c in first.split(s) if _known(_key(c))]))
    records = _records(text, separator)
    number, header = next(records, (0, []))
    fields_of, ignored = _columns(header)
    rows: list[CodeRow] = []
    problems: list[RowProblem] = []
    for number, cells in records:
        try:
            rows.append(_row(number, cells, fields_of))
        except ValueError as error:
            problems.append(RowProblem(number=number, problem=str(error)))
    if not rows and not problems:
        raise UsageError(_ITEM, "has no rows below its column names", next="check the file")
    return CodeTable(rows=tuple(rows), problems=tuple(problems), ignored_columns=ignored)


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader, None)
        except csv.Error:
            # "from None": the cause may repeat what was read
            problem = f"is not CSV in row {number}"
            raise UsageError(_ITEM, problem, next="save it as CSV again, then run again") from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield number, cells


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _known(key: str) -> bool:
    return key in _FIELD_OF or key in _PERHAPS_CODE


def _columns(header: Sequence[str]) -> tuple[list[str | None], tuple[int, ...]]:
    """Return the field of each column, and the numbers of those that mean nothing to us."""
    keys = [_key(name) for name in header]
    found = [_FIELD_OF.get(key) for key in keys]
    for index, key in enumerate(keys):
        if key in _PERHAPS_CODE:
            meant = "code" if "code" not in found else _PERHAPS_CODE[key]
            found[index] = None if meant in found else meant
    if "code" not in found or len({f for f in found if f}) < 2:
        raise UsageError(_ITEM, "does not tell by its column names what is the code and what the name", next=_NEXT)
    for name in {f for f in found if f and f != "also"}:
        columns = [str(i + 1) for i, f in enumerate(found) if f == name]
        if len(columns) > 1:
            raise UsageError(_ITEM, f"has {len(columns)} columns for {name} ({', '.join(columns)})", next=_NEXT)
    if "name" in found and {"last_name", "first_name"} & set(found):
        # the parts say more than the whole, which is searched for too
        found = ["also" if f == "name" else f for f in found]
    return found, tuple(i + 1 for i, f in enumerate(found) if f is None and keys[i] and keys[i] not in _OURS)


def _row(number: int, cells: Sequence[str], fields_of: Sequence[str | None]) -> CodeRow:
    """Return one person; ValueError, whose text holds no value, says what does not fit."""
    if any(cell.strip() for cell in cells[len(fields_of) :]):
        raise ValueError("has more cells than there are columns")
    values: dict[str, str] = {}
    also: list[str] = []
    for name, cell in zip(fields_of, cells, strict=False):
        text = _SHIELDED.sub("", cell.strip(), count=1)
        if name is None or text.casefold() in _NOTHING or (name in _NUMBERS and is_placeholder(text)):
            continue
        if name == "also":
            also += [t for t in map(str.strip, text.split("|")) if t.casefold() not in _NOTHING]
        else:
            values[name] = text
    code = values.pop("code", "").lower()
    if not is_code(code):
        raise ValueError("the code is missing, or is not 8 hex digits of which the first is a letter")
    if full := values.pop("name", ""):
        match = _FULL_NAME.fullmatch(full)
        if match is None:
            raise ValueError("the name is not written as last name, comma, first name")
        values |= {"last_name": match["last"], "first_name": match["first"]}
    if "birth_date" in values and not possible_dates(values["birth_date"]):
        raise ValueError("the birth date is not a date with a four-digit year (1970-02-28)")
    identifiers = Identifiers(**values, also=tuple(also))
    if identifiers.is_empty:
        raise ValueError("has a code, but nothing that says whose it is")
    return CodeRow(number=number, code=code, identifiers=identifiers)
