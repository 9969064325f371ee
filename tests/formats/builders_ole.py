"""Compound files ([MS-CFB]) whose streams lie in pieces, as word processors leave them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

SECTOR = 512
_END, _FREE, _FAT, _NO = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD, 0xFFFFFFFF
#: smaller streams would go to the mini stream
_LEAST = 4096


def _entry(name: str, kind: int, *, right: int = _NO, child: int = _NO, start: int = _END, size: int = 0) -> bytes:
    encoded = name.encode("utf-16-le") + b"\0\0"
    return (
        encoded.ljust(64, b"\0")
        + struct.pack("<HBBIII", len(encoded), kind, 1, _NO, right, child)
        + bytes(36)
        + struct.pack("<IQ", start, size)
    )


def compound_file(streams: Mapping[str, bytes]) -> bytes:
    """Return a compound file with ``streams``; their sectors are dealt out in turn, so none is in one piece."""
    padded = {name: data.ljust(_LEAST, b" ") for name, data in streams.items()}
    pieces = {
        name: [data[i : i + SECTOR].ljust(SECTOR, b"\0") for i in range(0, len(data), SECTOR)]
        for name, data in padded.items()
    }
    sectors: list[bytes] = []
    chains: dict[str, list[int]] = {name: [] for name in padded}
    for round_ in range(max(map(len, pieces.values()))):
        for name, parts in pieces.items():
            if round_ < len(parts):
                chains[name].append(len(sectors))
                sectors.append(parts[round_])
    entries = [_entry("Root Entry", 5, child=1)]
    for index, (name, data) in enumerate(padded.items(), 1):
        right = index + 1 if index < len(padded) else _NO
        entries.append(_entry(name, 2, right=right, start=chains[name][0], size=len(data)))
    while len(entries) % 4:
        entries.append(_entry("", 0))
    directory = b"".join(entries)
    first_directory = len(sectors)
    directory_sectors = len(directory) // SECTOR
    sectors += [directory[i : i + SECTOR] for i in range(0, len(directory), SECTOR)]
    fat = [_FREE] * (SECTOR // 4)
    for chain in (*chains.values(), list(range(first_directory, first_directory + directory_sectors))):
        for here, following in zip(chain, [*chain[1:], _END], strict=True):
            fat[here] = following
    fat_sector = len(sectors)
    assert fat_sector < len(fat)
    fat[fat_sector] = _FAT
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(6)
        + struct.pack("<IIIIIIIII", 0, 1, first_directory, 0, _LEAST, _END, 0, _END, 0)
        + struct.pack("<I", fat_sector)
        + struct.pack("<I", _FREE) * 108
    )
    return header + b"".join(sectors) + struct.pack(f"<{len(fat)}I", *fat)
