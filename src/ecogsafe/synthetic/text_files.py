"""Files beside the recordings: output of ReadVTC and Snc2Txt (FORMATS 3), a report, thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ecogsafe.synthetic.timeline import filetime

#: First bytes of every OLE2 compound file.
OLE2_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
_SECTOR_BYTES = 512


def write_readvtc(
    path: Path, rows: Sequence[tuple[str, datetime, datetime]], *, source: str, encoding: str = "latin-1"
) -> None:
    """Write what ReadVTC shows: ten lines of preamble, then a row a clip, times in UTC, day first.

    Parameters
    ----------
    rows
        Full Windows path of the clip, first and last frame (aware).
    source
        Path of the .vtc, shown in the preamble.
    """
    preamble = [
        "ReadVTC",
        "",
        f"File: {source}",
        "Schema: 65537",
        f"Entries: {len(rows)}",
        "",
        "Times are UTC",
    ]
    preamble += ["-" * 60, "File name [start] [end]", "-" * 60]
    lines = [f"{name} [{_day_first(start)}] [{_day_first(end)}]" for name, start, end in rows]
    with path.open("xb") as out:
        out.write("\r\n".join((*preamble, *lines, "")).encode(encoding))


def _day_first(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%d/%m/%Y %H:%M:%S.%f}"


def write_snc2txt(path: Path, rows: Sequence[tuple[int, datetime]], *, source: str, encoding: str = "latin-1") -> None:
    """Write what Snc2Txt writes: eight lines of preamble, then sample stamp, date, FILETIME between tabs."""
    preamble = ["Snc2Txt", "", f"Input: {source}", f"Entries: {len(rows)}", "", "-" * 40]
    preamble += ["SampleStamp\tSampleTime\tFILETIME", "-" * 40]
    lines = [f"{stamp}\t{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}\t{filetime(moment)}" for stamp, moment in rows]
    # no blank line at the end: the tool that reads these crashes on one
    with path.open("xb") as out:
        out.write(("\r\n".join((*preamble, *lines)) + "\r\n").encode(encoding))


def write_ole2_like(path: Path, texts: Sequence[bytes]) -> None:
    """Write the magic of an OLE2 compound file, then each text at a sector boundary; no valid document."""
    data = OLE2_MAGIC.ljust(_SECTOR_BYTES, b"\xff")
    for text in texts:
        data += text + b"\0" * (-len(text) % _SECTOR_BYTES)
    with path.open("xb") as out:
        out.write(data)
