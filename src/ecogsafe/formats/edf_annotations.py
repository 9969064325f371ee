"""The annotation signal of EDF+/BDF+: time-stamped annotation lists (TALs) in the bytes of one data record.

A block (one annotation signal in one record) is ``+onset[\\x15duration]\\x14text\\x14…\\x00`` as often as it
fits, then NULs. Recorders break these rules; what cannot be parsed counts as text, so that it is searched.

References
----------
EDF+ specification 2.2.2 to 2.2.4, https://www.edfplus.info/specs/edfplus.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from ecogsafe.formats.regions import FILLER, Find, blot

# Without its sign a number is not an onset: it may as well be a record number in a broken list.
_TIME_STAMP = re.compile(rb"([+-]\d+(?:[.,]\d*)?)(?:\x15(?:\d+(?:[.,]\d*)?)?)?\x14")
_STRUCTURE = re.compile(rb"[\x00\x14\x15]")
_NOT_STRUCTURE = re.compile(rb"[^\x00\x14\x15]+")
_NULS = re.compile(rb"\x00*")


def text_spans(block: bytes) -> Iterator[tuple[int, int]]:
    """Yield the ``(start, stop)`` spans of ``block`` that are text: no time stamp, separator or NUL.

    Replacing bytes of these spans by letters never changes what this function yields.
    """
    position = 0
    while True:
        match = _NULS.match(block, position)
        position = match.end() if match else position
        if position >= len(block):
            return
        stop = block.find(b"\0", position)
        stop = len(block) if stop < 0 else stop
        stamp = _TIME_STAMP.match(block, position, stop)
        for run in _NOT_STRUCTURE.finditer(block, stamp.end() if stamp else position, stop):
            yield run.span()
        position = stop


def first_onset_s(block: bytes) -> Decimal | None:
    """Return the onset of the first TAL of ``block`` in seconds, None if it does not begin with one."""
    stamp = _TIME_STAMP.match(block)
    return Decimal(stamp[1].decode("ascii").replace(",", ".")) if stamp else None


def looks_like_annotations(head: bytes) -> bool:
    """Return whether ``head``, the first bytes of a block, begin with a time stamp."""
    return _TIME_STAMP.match(head) is not None


def redact(block: bytes, find: Find) -> bytes:
    """Return ``block`` with identifiers in its text replaced by ``x``, byte for byte.

    Where the text is UTF-8, a character of which ``find`` reports a part is replaced whole: half of one
    would make the file unreadable to others.
    """

    def whole_characters(data: bytes) -> Iterator[tuple[int, int]]:
        for start, stop in find(data):
            if start < stop:
                yield _widened(data, start, stop)

    if not any(True for _ in find(block)):
        return block
    editable = bytearray(len(block))
    for start, stop in text_spans(block):
        editable[start:stop] = b"\1" * (stop - start)
    return blot(block, whole_characters, bytes(editable))


def wipe(block: bytes) -> bytes:
    """Return ``block`` with every byte of its text replaced by ``x``; time stamps stay."""
    wiped = bytearray(block)
    for start, stop in text_spans(block):
        wiped[start:stop] = bytes((FILLER,)) * (stop - start)
    return bytes(wiped)


def _widened(data: bytes, start: int, stop: int) -> tuple[int, int]:
    while start > 0 and _continues(data[start]) and _is_utf8_around(data, start):
        start -= 1
    while stop < len(data) and _continues(data[stop]) and _is_utf8_around(data, stop):
        stop += 1
    return start, stop


def _continues(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _is_utf8_around(data: bytes, position: int) -> bool:
    before = [m.end() for m in _STRUCTURE.finditer(data, 0, position)]
    after = _STRUCTURE.search(data, position)
    try:
        data[before[-1] if before else 0 : after.start() if after else len(data)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
