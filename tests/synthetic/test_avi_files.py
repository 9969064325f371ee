"""The clips: RIFF structure, texts, and a player's opinion where one is installed."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.synthetic.avi_files import AviTexts, write_avi
from ecogsafe.synthetic.export import Ledger

TEXTS = AviTexts(
    info=((b"INAM", b"odd"), (b"ICMT", b"even")),
    idit=b"2024-01-01\n\0",
    stream_name=b"cam\0",
    stream_data=b"\1\2",
    junk=b"stale text",
    trailing=b"after",
)


def _chunks(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, bytes, int]]:
    while start + 8 <= stop:
        fourcc, size = struct.unpack_from("<4sI", data, start)
        payload = data[start + 8 : start + 8 + size]
        assert len(payload) == size
        yield fourcc, payload, start
        if fourcc == b"LIST" and payload[:4] != b"movi":
            yield from _chunks(data, start + 12, start + 8 + size)
        start += 8 + size + (size & 1)


@pytest.mark.parametrize("size", [0, 40_000, 1_500_000])
@pytest.mark.parametrize("sound", [True, False])
def test_chunks_index_and_size_fit_together(tmp_path: Path, size: int, *, sound: bool) -> None:
    digest = write_avi(tmp_path / "c.avi", size=size, duration_s=3.5, texts=TEXTS, sound=sound)
    data = (tmp_path / "c.avi").read_bytes()
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    assert data[end:] == b"after"
    if size:
        assert len(data) == pytest.approx(size, rel=0.16)
    chunks = list(_chunks(data, 12, end))
    found = {fourcc: payload for fourcc, payload, _ in chunks}
    assert found[b"INAM"] == b"odd"
    assert (found[b"strd"], found[b"strn"], found[b"JUNK"]) == (b"\1\2", b"cam\0", b"stale text")
    movi, movi_at = next((p, at) for f, p, at in chunks if f == b"LIST" and p[:4] == b"movi")
    assert hashlib.sha256(movi[4:]).hexdigest() == digest
    entries = list(struct.iter_unpack("<4sIII", found[b"idx1"]))
    frames = struct.unpack_from("<I", found[b"avih"], 16)[0]
    assert frames >= 3
    assert len(entries) == frames * (2 if sound else 1)
    for fourcc, _flags, offset, length in entries:
        assert struct.unpack_from("<4sI", data, movi_at + 8 + offset) == (fourcc, length)


def test_empty_texts_leave_their_chunks_out(tmp_path: Path) -> None:
    write_avi(tmp_path / "c.avi", size=0, duration_s=1, texts=AviTexts())
    data = (tmp_path / "c.avi").read_bytes()
    assert not {b"INFO", b"IDIT", b"strn", b"strd", b"JUNK"} & {data[i : i + 4] for i in range(len(data))}


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
def test_clips_play(mixed: tuple[Path, Ledger]) -> None:
    folder, ledger = mixed
    for segment in ledger.segments[::3]:
        clip = folder / segment.clips[1].path
        done = subprocess.run(
            ["ffprobe", "-v", "warning", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames",
             "-show_entries", "format=duration", "-of", "json", str(clip)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        shown = json.loads(done.stdout)
        assert done.stderr == ""
        assert [s["codec_name"] for s in shown["streams"]] == ["rawvideo", "pcm_u8"]
        assert int(shown["streams"][0]["nb_read_frames"]) >= 3
        length = (segment.duration_s - 1.5) / 2
        assert float(shown["format"]["duration"]) == pytest.approx(length, abs=0.01)
