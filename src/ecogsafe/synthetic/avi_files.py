"""Small playable AVI clips: plain RGB pictures, 8-bit sound, and text in every chunk that can hold it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

#: (width, height) by the size wanted; 24-bit rows of these widths are whole 4-byte words
_SMALL, _LARGE = (32, 24), (320, 240)
_LARGE_FROM_BYTES = 1 << 20
_MIN_FRAMES = 3
#: of the sound; lowered where it would fill more than a quarter of the clip
_SOUND_HZ, _LEAST_SOUND_HZ = 8000, 100
_KEY_FRAME = 0x10
#: Bytes of picture and sound: none is an ASCII letter or digit, so no identifier can arise by chance.
_SHADES = bytes(range(0x80, 0x100))


@dataclass(frozen=True, slots=True, kw_only=True)
class AviTexts:
    """What stands in the chunks that hold text (FORMATS 5); empty: the chunk is left out."""

    #: of LIST INFO: (four characters, payload)
    info: tuple[tuple[bytes, bytes], ...] = ()
    idit: bytes = b""
    stream_name: bytes = b""
    stream_data: bytes = b""
    junk: bytes = b""
    #: after the end of the RIFF
    trailing: bytes = b""


def write_avi(path: Path, *, size: int, duration_s: float, texts: AviTexts, sound: bool = True) -> str:
    """Write a new clip of about ``size`` bytes and return the SHA-256 of the payload of its ``movi`` list.

    Parameters
    ----------
    size
        Wanted bytes of the file; the clip has at least three frames whatever it says. Below 2 GiB.
    duration_s
        From the first frame to the end of the last.

    Raises
    ------
    FileExistsError
        ``path`` exists.
    """
    width, height = _LARGE if size >= _LARGE_FROM_BYTES else _SMALL
    frame_bytes = width * height * 3
    sound_hz = max(_LEAST_SOUND_HZ, min(_SOUND_HZ, round(size / 4 / duration_s))) if sound else 0
    frames = max(_MIN_FRAMES, (size - round(sound_hz * duration_s)) // frame_bytes)
    sound_per_frame = round(sound_hz * duration_s / frames) & ~1
    head = _headers(width, height, frames, duration_s, texts, sound_hz, sound_per_frame * frames)
    chunk_sizes = [(b"00db", frame_bytes)] + ([(b"01wb", sound_per_frame)] if sound_per_frame else [])
    movi_size = 4 + frames * sum(8 + size for _, size in chunk_sizes)
    index_size = 16 * frames * len(chunk_sizes)
    digest = hashlib.sha256()
    with path.open("xb") as out:
        total = 4 + len(head) + 8 + movi_size + 8 + index_size
        out.write(b"RIFF" + struct.pack("<I", total) + b"AVI " + head)
        out.write(b"LIST" + struct.pack("<I", movi_size) + b"movi")
        picture = _SHADES * (max(length for _, length in chunk_sizes) // len(_SHADES) + 2)
        for frame in range(frames):
            for fourcc, length in chunk_sizes:
                shift = (frame * 5) % len(_SHADES)
                chunk = fourcc + struct.pack("<I", length) + picture[shift : shift + length]
                digest.update(chunk)
                out.write(chunk)
        _write_index(out, frames, chunk_sizes)
        out.write(texts.trailing)
    return digest.hexdigest()


def _write_index(out: BinaryIO, frames: int, chunk_sizes: list[tuple[bytes, int]]) -> None:
    """Write ``idx1``; offsets count from the four characters ``movi``."""
    out.write(b"idx1" + struct.pack("<I", 16 * frames * len(chunk_sizes)))
    offset = 4
    for _ in range(frames):
        for fourcc, length in chunk_sizes:
            out.write(fourcc + struct.pack("<III", _KEY_FRAME, offset, length))
            offset += 8 + length


def _headers(
    width: int, height: int, frames: int, duration_s: float, texts: AviTexts, sound_hz: int, sound_total: int
) -> bytes:
    """Return everything between ``AVI `` and the ``movi`` list."""
    frame_us = max(1, round(duration_s * 1e6 / frames))
    frame_bytes = width * height * 3
    streams = 2 if sound_total else 1
    avih = struct.pack("<14I", frame_us, 0, 0, 0x10, frames, 0, streams, 0, width, height, 0, 0, 0, 0)
    video = _stream_header(b"vids", b"DIB ", (frame_us, 1_000_000), frames, frame_bytes, 0, (width, height))
    bitmap = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, frame_bytes, 0, 0, 0, 0)
    strl = video + _chunk(b"strf", bitmap)
    strl += _optional(b"strd", texts.stream_data) + _optional(b"strn", texts.stream_name)
    hdrl = _chunk(b"avih", avih) + _list(b"strl", strl)
    if sound_total:
        audio = _stream_header(b"auds", b"\0\0\0\0", (1, sound_hz), sound_total, sound_hz, 1, (0, 0))
        pcm = struct.pack("<HHIIHH", 1, 1, sound_hz, sound_hz, 1, 8)
        hdrl += _list(b"strl", audio + _chunk(b"strf", pcm))
    info = b"".join(_chunk(fourcc, payload) for fourcc, payload in texts.info)
    return (
        _list(b"hdrl", hdrl)
        + (_list(b"INFO", info) if info else b"")
        + _optional(b"IDIT", texts.idit)
        + _optional(b"JUNK", texts.junk)
    )


def _stream_header(
    kind: bytes,
    handler: bytes,
    scale_rate: tuple[int, int],
    length: int,
    buffer_bytes: int,
    sample_bytes: int,
    corner: tuple[int, int],
) -> bytes:
    """Return ``strh``: ``rate / scale`` units a second, ``length`` units in all."""
    head = struct.pack("<4s4sIHHI", kind, handler, 0, 0, 0, 0)
    head += struct.pack("<IIIIIiI4H", *scale_rate, 0, length, buffer_bytes, -1, sample_bytes, 0, 0, *corner)
    return _chunk(b"strh", head)


def _optional(fourcc: bytes, payload: bytes) -> bytes:
    return _chunk(fourcc, payload) if payload else b""


def _chunk(fourcc: bytes, payload: bytes) -> bytes:
    return fourcc + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) & 1)


def _list(kind: bytes, payload: bytes) -> bytes:
    return _chunk(b"LIST", kind + payload)
