"""How many bytes of its sources a run reads, counted where the system is asked for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from ecogsafe.transfer.source import FileSource


@dataclass
class Reads:
    """Bytes that were read of each file while it was sent, by what messages call it."""

    by_name: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(self.by_name.values())


def count_reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Count from now on what this process reads of files that it sends."""
    counted = Reads()
    read, read_into = FileSource._read, FileSource.read_into

    def counting(self: FileSource, size: int, offset: int) -> bytes:
        piece = read(self, size, offset)
        counted.by_name[self.name] += len(piece)
        return piece

    def counting_into(self: FileSource, view: memoryview, offset: int) -> None:
        read_into(self, view, offset)
        counted.by_name[self.name] += len(view)

    monkeypatch.setattr(FileSource, "_read", counting)
    monkeypatch.setattr(FileSource, "read_into", counting_into)
    return counted
