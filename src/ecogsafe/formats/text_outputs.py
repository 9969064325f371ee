"""Text outputs of ReadVTC and Snc2Txt: read their rows, and patch the names in them (FORMATS 3).

Rows are known by their form, not by counting preamble lines, whose number is only hearsay. Everything
that is no row is preamble and default-denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.date_shift import shifted_day_first, shifted_digits
from ecogsafe.formats.kinds import Kind, kind_of_text
from ecogsafe.formats.natus import read_whole
from ecogsafe.formats.natus_times import ClipTimes, SyncPoint, filetime_to_utc
from ecogsafe.formats.regions import Patch, Region, blot, difference
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.formats.study_names import GUID
from ecogsafe.formats.text_rows import TextView, parse_clip_row, parse_sync_row

#: Words of the tools themselves; every other word of a preamble becomes ``x``.
_KEPT_WORD = re.compile(
    "readvtc|snc2txt|vtc|snc|txt|avi|version|files?|names?|number|of|count|the|in|from|to|path|folder|input|output|"
    "videos?|clips?|study|segments?|records?|samples?|stamps?|start|end|begin|first|last|times?|date|utc|local|"
    "filetime|index|total|duration|rate|hz|ms|s|x+",
    re.IGNORECASE,
)
_IN_NAME = r"[^\\/:*?\"<>|\t\r\n\[\]]{1,200}?"
_HOSPITAL_STEM = re.compile(f"{_IN_NAME}~{_IN_NAME}_{GUID.pattern}", re.IGNORECASE)
_WORD = re.compile(r"[0-9A-Za-z\x80-\uffff]+")
#: A number, a date or a time of day, as the middle columns of Snc2Txt may hold.
_MEASURE = re.compile(r"\s*(?:[+-]?[0-9]+(?:\.[0-9]+)?|[0-9/.:\- ]*[0-9]{1,2}:[0-9]{2}[0-9:.]*(?: ?[AP]M)?)\s*", re.I)
#: With more digits a number can be the day of an OLE date (45363.5) or a Julian day.
_NO_DATE = re.compile(r"\s*[+-]?[0-9]{1,4}(?:\.[0-9]+)?\s*")
#: A date with a time of day, as no birth date is written.
_MOMENT = re.compile(
    r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?: ?[AP]M)?\s*", re.I | re.A
)
_ROW_NUMBER = re.compile(r"^\s*\d+[.):]?\s+")
_PATH_ENDS = ("\\", "/", "\t", '"', "'", "|", ">")


def read_vtc_text(file: BinaryIO) -> tuple[ClipTimes, ...]:
    """Return the clips of a ReadVTC output; its day-first times are UTC. Names are private.

    Raises
    ------
    MalformedFileError
        No row, or a row whose date is none.
    """
    clips = []
    view = TextView.of(read_whole(file))
    for line in view.text.split("\n"):
        row = parse_clip_row(line)
        if row is not None:
            stem = _unnumbered(view.readable(row["prefix"][_name_start(row["prefix"]) :]))
            name = f"{stem}{row['number']}.{row['extension']}"
            clips.append(ClipTimes(name, _day_first(row["start"]), _day_first(row["end"])))
    if not clips:
        raise _not_text("ReadVTC")
    return tuple(clips)


def read_snc_text(file: BinaryIO) -> tuple[SyncPoint, ...]:
    """Return the sync points of a Snc2Txt output: sample stamp of the first column, FILETIME of the last.

    Raises
    ------
    MalformedFileError
        No row, or a row whose FILETIME is none.
    """
    points = []
    for line in TextView.of(read_whole(file)).text.split("\n"):
        cells = parse_sync_row(line)
        if cells is not None:
            points.append(SyncPoint(int(cells[0]), filetime_to_utc(int(cells[-1]))))
    if not points:
        raise _not_text("Snc2Txt")
    return tuple(points)


def stems_in(file: BinaryIO) -> tuple[str, ...]:
    """Return the stems of the hospital's form (``Last~ First_GUID``) that a text output holds anywhere; private."""
    view = TextView.of(read_whole(file))
    return tuple(dict.fromkeys(_unnumbered(view.readable(stem)) for stem in _HOSPITAL_STEM.findall(view.text)))


def text_regions(kind: Kind, file: BinaryIO) -> Iterator[Region]:
    """Yield the one region of a text output: all of it.

    Raises
    ------
    MalformedFileError
        It holds no row of its tool.
    """
    yield Region(0, len(_checked(kind, file)))


def patches(kind: Kind, file: BinaryIO, request: CleaningRequest) -> Iterator[Patch]:
    """Yield what de-identifies a text output, at most one patch a line; rows parse as before.

    In a clip row the new name ends where the old one ended, ``_NNNN.avi`` in place, blanks before it;
    where the old name is too short for the new one it becomes ``x``.

    Raises
    ------
    MalformedFileError
        It holds no row of its tool.
    """
    data = _checked(kind, file)
    view = TextView.of(data)
    clean = "\n".join(_clean_line(kind, line, request) for line in view.text.split("\n"))
    new = data[: view.start] + view.bytes_of(clean) + data[view.stop :]
    # the zeros of UTF-16 letters stay, so that a blotted letter is the letter x
    editable = bytearray(new)
    for first, end in machine_spans(kind, new):
        editable[first:end] = bytes(end - first)
    new = blot(new, request.find, editable=bytes(editable))
    start = 0
    while start < len(data):
        stop = data.find(b"\n", start) + 1 or len(data)
        yield from difference(start, data[start:stop], new[start:stop])
        start = stop


def machine_spans(kind: Kind, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the rows of a text output hold what a machine wrote: ``(start, stop)`` in bytes, in order.

    The number, extension and times of a clip; the sample stamp, FILETIME and moments of a sync row. What stands there
    identifies nobody, even where it looks like a date of birth: a recording may be made on that very day.
    """
    view = TextView.of(data)
    width = 1 if view.codec == "latin-1" else 2
    at = 0
    for line in view.text.split("\n"):
        for start, stop in _machine_spans_of(kind, line):
            yield view.start + width * (at + start), view.start + width * (at + stop)
        at += len(line) + 1


def _machine_spans_of(kind: Kind, line: str) -> Iterator[tuple[int, int]]:
    row = parse_clip_row(line) if kind is Kind.VTC_TEXT else None
    if row is not None:
        yield row.start("number"), row.end("extension")
        yield row.span("start")
        yield row.span("end")
    cells = parse_sync_row(line) if kind is Kind.SNC_TEXT else None
    at = 0
    for index, cell in enumerate(cells or ()):
        if index in (0, len(cells or ()) - 1) or _MOMENT.fullmatch(cell):
            yield at, at + len(cell)
        at += len(cell) + 1


def _checked(kind: Kind, file: BinaryIO) -> bytes:
    data = read_whole(file)
    if kind_of_text(data) is not kind:
        raise _not_text("ReadVTC" if kind is Kind.VTC_TEXT else "Snc2Txt")
    return data


def _not_text(tool: str) -> MalformedFileError:
    return MalformedFileError("a text output", f"it holds no row of {tool}", next="leave the file behind")


def _day_first(text: str) -> datetime:
    whole, _, fraction = text.partition(".")
    try:
        moment = datetime.strptime(whole, "%d/%m/%Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise MalformedFileError("a text output", "a row holds a date that is none") from error
    return moment + timedelta(microseconds=int(f"{fraction:0<6}"[:6]))


def _unnumbered(name: str) -> str:
    """Return ``name`` without the row number that may stand before it."""
    return _ROW_NUMBER.sub("", name).strip()


def _name_start(prefix: str) -> int:
    return max(prefix.rfind(end) for end in _PATH_ENDS) + 1


def _clean_line(kind: Kind, line: str, request: CleaningRequest) -> str:
    stem, days = request.stem, request.shift_days
    row = parse_clip_row(line) if kind is Kind.VTC_TEXT else None
    cells = parse_sync_row(line) if kind is Kind.SNC_TEXT else None
    if row is not None:
        prefix = row["prefix"]
        start = _name_start(prefix)
        width = len(prefix) - start
        name = stem.rjust(width) if len(stem) <= width else "x" * width
        return "".join(
            (
                denied(prefix[:start]),
                name,
                line[row.start("number") : row.end("extension")],
                denied(row["gap"]),
                f"[{_moved(row['start'], days)}]",
                denied(row["between"]),
                f"[{_moved(row['end'], days)}]",
                denied(line[row.start("rest") :]),
            )
        )
    if cells is not None:
        # a middle column may hold a date, and nobody knows in which form: with a date shift it goes
        keeps = _NO_DATE.fullmatch if days else _MEASURE.fullmatch
        middle = [cell if keeps(cell) else (_undated(cell) if days else denied(cell)) for cell in cells[1:-1]]
        last = line.rsplit("\t", 1)[1]
        if days:
            last = re.sub(r"\d{18}", lambda m: shifted_digits(m[0].encode(), days).decode(), last, count=1)
        return "\t".join([cells[0], *middle, last])
    return denied(line)


def _moved(text: str, days: int) -> str:
    return shifted_day_first(text, days) if days else text


def _undated(cell: str) -> str:
    return re.sub(r"[0-9A-Za-z\x80-\uffff]", "x", cell)


def denied(text: str) -> str:
    """Return ``text`` with every word that is not one of the tools' own turned into ``x``, length kept."""
    return _WORD.sub(lambda word: word[0] if _KEPT_WORD.fullmatch(word[0]) else "x" * len(word[0]), text)
