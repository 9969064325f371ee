"""What bytes are, judged by themselves: whether something that was unlocked makes sense, and where it ends.

Needed for locks that cannot tell a right password from a wrong one. Every judgement here is far beyond chance:
at least 40 bits of what is looked at are fixed, or kilobytes must fit a grammar. What is of no known kind is
told from random bytes by how often each value occurs: a wrong key gives all of them equally often.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from uuid import UUID

import zstandard

from ecogsafe.formats.kinds import kind_of_text

#: bytes that `content_of` wants to see; fewer only where the content is shorter
HEAD_BYTES = 65_536

#: the type GUID of most Natus files but for its first byte, which is their kind (FORMATS 2.1)
_NATUS_TYPE = UUID("ca0b0790-d795-11d0-af32-00a0245b54a5").bytes_le[1:]
_OTHER_NATUS_TYPES = tuple(
    UUID(text).bytes_le
    for text in (
        "e9b71278-a84b-4d59-bf87-10728fb8bd9d",  # .stc
        "5be3aca1-a230-4ac0-aa94-49650f2cf6a0",  # .vtc of MPEG-4 clips
        "5e01c1f1-f9a9-11d2-adf3-00104b8cc65e",  # .vtc of MPEG-1 clips
    )
)
_GZIP_MAGIC = b"\x1f\x8b\x08"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_TAR_BLOCK = 512
#: bytes of gzip that are looked at together
_STEP = 32
_LEAST_TEXT = 64
#: so many bytes are counted, and no fewer
_MOST_COUNTED, _LEAST_COUNTED = 16_384, 1024
#: Of random bytes the chi-square statistic is 255 +- 23, whatever their number; beyond 600 once in 10^33 times.
_RANDOM_CHI_SQUARE = 600.0


class Content(StrEnum):
    """What a file holds."""

    GZIP = "gzip"
    TAR = "tar"
    AVI = "avi"
    EDF = "edf"
    BDF = "bdf"
    NATUS = "natus"
    TEXT = "text"
    ZIP = "zip"
    MP4 = "mp4"
    ZSTD = "zstd"
    #: of no kind that is known here, but far from random
    OTHER = "other"


def content_of(head: bytes) -> Content | None:
    """Return what a file that begins with ``head`` holds, None where it makes no sense."""
    for content, fits in _JUDGES.items():
        if fits(head):
            return content
    return None


def _is_gzip(head: bytes) -> bool:
    if not head.startswith(_GZIP_MAGIC) or len(head) < 18 or head[3] & 0xE0:
        return False
    try:
        inflated = zlib.decompressobj(wbits=31).decompress(head, 1 << 20)
    except zlib.error:
        # damaged: the old scripts packed nothing but tar files, whose first header has a sum of its own
        return _is_tar(_inflated_before_damage(head))
    # a wrong key may pass the few fixed bytes, but what it inflates to then breaks off soon
    return len(head) < 1024 or len(inflated) > 256


def _inflated_before_damage(head: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    inflated = bytearray()
    with suppress(zlib.error):
        for at in range(0, len(head), _STEP):
            if len(inflated) >= _TAR_BLOCK:
                break
            inflated += inflater.decompress(head[at : at + _STEP])
    return bytes(inflated)


def _is_tar(head: bytes) -> bool:
    block = head[:_TAR_BLOCK]
    if len(block) < _TAR_BLOCK or not block[0]:
        return False
    try:
        told = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return told == sum(block) - sum(block[148:156]) + 8 * ord(" ") and set(block[124:135]) <= set(b"01234567 \0\x80")


def _is_avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"AVI " and head[12:16] == b"LIST"


def _is_edf(head: bytes) -> bool:
    return head[:8] == b"0       " and _is_recording(head)


def _is_bdf(head: bytes) -> bool:
    return head[:8] == b"\xffBIOSEMI" and _is_recording(head)


def _is_recording(head: bytes) -> bool:
    try:
        float(head[244:252])
        return len(head) >= 256 and _recording_numbers(head)[0] >= 256
    except ValueError:
        return False


def _recording_numbers(head: bytes) -> tuple[int, int, int]:
    """Return header bytes, records, signals."""
    return int(head[184:192]), int(head[236:244]), int(head[252:256])


def _is_natus(head: bytes) -> bool:
    return (
        len(head) >= 20
        and (head[1:16] == _NATUS_TYPE or head[:16] in _OTHER_NATUS_TYPES)
        and struct.unpack_from("<H", head, 16)[0] < 100
    )


def _is_text(head: bytes) -> bool:
    if len(head) < _LEAST_TEXT:
        return False
    if kind_of_text(head) is not kind_of_text(b""):
        return True
    return (
        all(byte >= 0x20 or byte in b"\t\r\n" for byte in head[:4096]) and b"\x7f" not in head[:4096] and _is_utf8(head)
    )


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # the head may end inside a letter
        return error.start > len(head) - 4 and len(head) >= 4096
    return True


def _is_zip(head: bytes) -> bool:
    return head[:4] == b"PK\x03\x04" and len(head) >= 30 and head[5] == 0 and head[8] in (0, 8) and head[9] == 0


def _is_mp4(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[:3] == b"\0\0\0" and head[8:12].isascii() and head[8:12].strip().isalnum()


def _is_zstd(head: bytes) -> bool:
    if not head.startswith(_ZSTD_MAGIC):
        return False
    try:
        zstandard.ZstdDecompressor().decompressobj().decompress(head)
    except zstandard.ZstdError:
        return False
    return True


def looks_random(data: bytes) -> bool:
    """Return whether ``data`` may be random bytes, as locked data and what a wrong key makes of it are.

    True where there are too few bytes to tell.
    """
    if len(data) < _LEAST_COUNTED:
        return True
    data = data[:_MOST_COUNTED]
    expected = len(data) / 256
    counts = Counter(data)
    squares = sum(count * count for count in counts.values())
    return squares / expected - len(data) < _RANDOM_CHI_SQUARE


_JUDGES: dict[Content, Callable[[bytes], bool]] = {
    Content.GZIP: _is_gzip,
    Content.TAR: _is_tar,
    Content.AVI: _is_avi,
    Content.EDF: _is_edf,
    Content.BDF: _is_bdf,
    Content.NATUS: _is_natus,
    Content.ZIP: _is_zip,
    Content.MP4: _is_mp4,
    Content.TEXT: _is_text,
    Content.ZSTD: _is_zstd,
    Content.OTHER: lambda head: not looks_random(head),
}


def length_told(content: Content, head: bytes) -> int | None:
    """Return the length in bytes that the content itself tells by its first bytes; None where it does not.

    An AVI longer than its first RIFF chunk (OpenDML) and a recording with an unknown number of records do not.
    """
    if content is Content.AVI:
        return 8 + int.from_bytes(head[4:8], "little")
    if content in (Content.EDF, Content.BDF):
        return _recording_length(content, head)
    return None


def _recording_length(content: Content, head: bytes) -> int | None:
    header, records, signals = _recording_numbers(head)
    at = 256 + 216 * signals
    if records < 0 or signals < 1 or len(head) < at + 8 * signals:
        return None
    try:
        samples = sum(int(head[at + 8 * n : at + 8 * n + 8]) for n in range(signals))
    except ValueError:
        return None
    return header + records * samples * (3 if content is Content.BDF else 2)
