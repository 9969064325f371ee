"""Room for a file, whatever the C library calls the request for it."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.transfer.allocation import reserve


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the call")
@pytest.mark.parametrize("name", ["fallocate64", "fallocate"])
def test_room_is_reserved_by_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real, asked = ctypes.CDLL(None, use_errno=True), []

    class Library:
        """Has one of the two, as musl does."""

        def __getattr__(self, wanted: str) -> Any:
            if wanted != name:
                raise AttributeError(wanted)
            asked.append(wanted)
            return real.fallocate64

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library())
    with (tmp_path / "file").open("wb") as file:
        reserve(file.fileno(), 100_000)
    assert (tmp_path / "file").stat().st_size == 100_000
    assert asked == [name]
