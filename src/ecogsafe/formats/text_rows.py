"""Rows of the hospital's text tools, ReadVTC and Snc2Txt, and the encodings they come in (FORMATS 3)."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from ecogsafe.formats.natus import decode_text

_DATE = r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d(?:\.\d{1,9})?"
_CLIP_ROW = re.compile(
    rf"(?P<prefix>.*?)(?P<number>_\d{{3,6}})\.(?P<extension>avi|mpe?g|mp4|mov)(?P<gap>[^\[]{{0,4}})"
    rf"\[(?P<start>{_DATE})\](?P<between>[^\[\]]*)\[(?P<end>{_DATE})\](?P<rest>.*)",
    re.IGNORECASE | re.ASCII,
)
_INTEGER = re.compile(r"\s*-?\d{1,12}\s*", re.ASCII)
_FILETIME = re.compile(r"\s*\d{18}\s*", re.ASCII)
#: Longer lines are no rows; keeps the patterns linear on hostile input.
_LONGEST_ROW = 4096


@dataclass(frozen=True, slots=True)
class TextView:
    """Bytes of a text file as characters of one code unit each, so that equal lengths stay equal.

    8-bit files are seen as Latin-1 whatever their code page, UTF-16 as single code units (surrogates
    apart). ``data[:start]`` is the byte-order mark, ``data[stop:]`` an odd byte at the end.
    """

    text: str
    codec: str
    start: int
    stop: int

    @classmethod
    def of(cls, data: bytes) -> TextView:
        """Return the view of ``data``; UTF-16 is known by its mark, or by the NULs between letters."""
        for mark, codec in (
            (codecs.BOM_UTF8, "latin-1"),
            (codecs.BOM_UTF16_LE, "utf-16-le"),
            (codecs.BOM_UTF16_BE, "utf-16-be"),
        ):
            if data.startswith(mark):
                return cls._cut(data, codec, len(mark))
        sample = data[:512]
        if len(sample) >= 8 and sample[1::2].count(0) > len(sample) // 4:
            return cls._cut(data, "utf-16-le", 0)
        return cls._cut(data, "latin-1", 0)

    @classmethod
    def _cut(cls, data: bytes, codec: str, start: int) -> TextView:
        width = 1 if codec == "latin-1" else 2
        stop = len(data) - (len(data) - start) % width
        if width == 1:
            return cls(data[start:stop].decode(codec), codec, start, stop)
        order = "little" if codec == "utf-16-le" else "big"
        units = (int.from_bytes(data[i : i + 2], order) for i in range(start, stop, 2))  # type: ignore[arg-type]
        return cls("".join(map(chr, units)), codec, start, stop)

    def readable(self, text: str) -> str:
        """Return ``text``, a piece of this view, as a person reads it: UTF-8 or UTF-16 decoded."""
        if self.codec == "latin-1":
            return decode_text(text.encode("latin-1"))
        return self.bytes_of(text).decode(self.codec, errors="replace")

    def bytes_of(self, text: str) -> bytes:
        """Return ``text``, as many code units as this view has, in the encoding of the file."""
        return text.encode(self.codec, "strict" if self.codec == "latin-1" else "surrogatepass")


def parse_clip_row(line: str) -> re.Match[str] | None:
    """Return the parts of a ReadVTC row, or None where ``line`` is none.

    Groups: ``prefix`` (path and stem), ``number`` (``_0000``), ``extension``, ``gap``, ``start``,
    ``between``, ``end``, ``rest``.
    """
    if len(line) > _LONGEST_ROW:
        return None
    return _CLIP_ROW.fullmatch(line.rstrip("\r"))


def parse_sync_row(line: str) -> list[str] | None:
    """Return the cells of a Snc2Txt row, or None where ``line`` is none.

    The first is a sample stamp, the last an 18-digit FILETIME (years 1917 to 4769).
    """
    if len(line) > _LONGEST_ROW:
        return None
    cells = line.rstrip("\r").split("\t")
    if len(cells) < 2 or not _INTEGER.fullmatch(cells[0]) or not _FILETIME.fullmatch(cells[-1]):
        return None
    return cells
