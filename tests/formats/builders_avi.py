"""AVI files made chunk by chunk, right or wrong as a test needs them."""

from __future__ import annotations

import struct


def chunk(name: bytes, data: bytes, *, size: int | None = None, order: str = "<", pad: bytes = b"\0") -> bytes:
    """Return one chunk; ``size`` is what it claims."""
    claimed = len(data) if size is None else size
    return name + struct.pack(f"{order}I", claimed) + data + (pad if len(data) % 2 else b"")


def listing(form: bytes, *members: bytes, name: bytes = b"LIST", size: int | None = None, order: str = "<") -> bytes:
    """Return a list, or with ``name`` a RIFF."""
    return chunk(name, form + b"".join(members), size=size, order=order)


def header(*extra: bytes, frames: int = 50, frame_us: int = 40_000, order: str = "<", strl: bytes = b"") -> bytes:
    """Return the ``hdrl`` list of a clip with pictures and sound."""
    avih = struct.pack(f"{order}14I", frame_us, 0, 0, 0, frames, *(0 for _ in range(9)))
    streams = [
        listing(b"strl", chunk(b"strh", kind.ljust(56, b"\1"), order=order), strf, strl, order=order)
        for kind, strf in ((b"vids", chunk(b"strf", b"\2" * 40, order=order)), (b"auds", chunk(b"strf", b"\3" * 17)))
        if order == "<" or kind == b"vids"
    ]
    return listing(b"hdrl", chunk(b"avih", avih, order=order), *streams, *extra, order=order)


def frames(count: int = 3, *, order: str = "<", text: bytes = b"") -> list[bytes]:
    """Return frame chunks, pictures of odd and sound of even size; each holds ``text``."""
    made = []
    for i in range(count):
        made.append(chunk(b"00dc", text + bytes((0x80 + i,)) * (31 - len(text) % 2), order=order))
        made.append(chunk(b"01wb", text + bytes((0xC0 + i,)) * (16 + len(text) % 2), order=order))
    return made


INDEX = chunk(b"idx1", b"00dc" + bytes(range(12)) + b"01wb" + bytes(range(12)))


def clip(*before: bytes, movi: bytes | None = None, after: bytes = INDEX, size: int | None = None) -> bytes:
    """Return a whole clip with ``before`` between its header and its frames."""
    body = listing(b"movi", *frames()) if movi is None else movi
    return listing(b"AVI ", header(), *before, body, after, name=b"RIFF", size=size)
