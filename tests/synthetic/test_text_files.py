"""The text outputs, read back the way the lab's scripts do (FORMATS 3)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecogsafe.synthetic.export import Ledger
from ecogsafe.synthetic.timeline import filetime

Export = tuple[Path, Ledger]


def test_readvtc_rows_parse_after_ten_lines(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        lines = (folder / segment.vtc_text).read_text("latin-1").splitlines()[10:]
        assert len(lines) == len(segment.clips) == 2
        for line, clip in zip(lines, segment.clips, strict=True):
            name, start, _end = line.split("[")
            assert int(name[-9:-5]) == clip.index
            moment = datetime.strptime(start[:-2], "%d/%m/%Y %H:%M:%S.%f").replace(tzinfo=UTC)
            assert moment == clip.start_utc


def test_snc2txt_rows_parse_after_eight_lines(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        rows = [row.split("\t") for row in (folder / segment.snc_text).read_text("latin-1").splitlines()[8:]]
        assert len(rows) >= 3
        first_stamp, first_time = int(rows[0][0]), int(rows[0][-1])
        assert first_time == filetime(segment.start_utc)
        for row in rows:
            elapsed_s = (int(row[-1]) - first_time) / 1e7
            assert (int(row[0]) - first_stamp) / segment.rate_hz == pytest.approx(elapsed_s, abs=1e-5)
