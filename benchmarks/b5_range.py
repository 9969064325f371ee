"""B5: one 100 MB file out of a 4 GiB archive on SeaweedFS by byte range: bytes fetched over bytes wanted.

python -m benchmarks.b5_range [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.lab import Lab, make_lab
from benchmarks.options import Setting, run_from_command_line
from benchmarks.rounds import say
from benchmarks.servers import Server, seaweed
from benchmarks.tables import Target, markdown_table, spread, target_table

_CODE = "a0000001"
_FILE_BYTES = 100 * 1000 * 1000
_ARCHIVE_BYTES, _QUICK_ARCHIVE_BYTES = 4 * 2**30, 400 * 1000 * 1000
_PIECE = 4 * 2**20
_MTIME_S = 1_700_000_000
#: the command, with every byte of every object counted by key where it comes out of the store
_COUNTING = """
import collections, json, os
from ecogsafe.stores.retrying import Retrying
from ecogsafe.ui.cli.main import run_cli
read, counts = Retrying.read, collections.Counter()
def counted(self, key, start=0, stop=None, **more):
    for data in read(self, key, start, stop, **more):
        counts[key] += len(data)
        yield data
Retrying.read = counted
import sys
status = run_cli(sys.argv[1:])
with open(os.environ["ECOGSAFE_BENCH_COUNTS"], "w") as out:
    json.dump(counts, out)
sys.exit(status)
"""


def _make_clips(folder: Path, total: int) -> list[Path]:
    made: list[Path] = []
    while (len(made) + 1) * _FILE_BYTES <= total:
        path = folder / "video" / _CODE / f"{_CODE}_1" / f"{_CODE}_1_{len(made) + 1:04d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            for start in range(0, _FILE_BYTES, _PIECE):
                out.write(os.urandom(min(_PIECE, _FILE_BYTES - start)))
        os.utime(path, (_MTIME_S, _MTIME_S))
        made.append(path)
    return made


def _env(server: Server, lab: Lab, counts: Path) -> dict[str, str]:
    return server.env() | {"ECOGSAFE_PASSWORD_FILE": str(lab.password_file), "ECOGSAFE_BENCH_COUNTS": str(counts)}


def _archive(server: Server, lab: Lab, home: Path, folder: Path, url: str) -> None:
    words = [str(lab.program), "--home", str(home), "archive", "-d", str(folder), "--to", url, "-t", "vid"]
    subprocess.run(words, env=os.environ | _env(server, lab, folder / "none"), check=True, capture_output=True)


def _one_file(
    server: Server, lab: Lab, home: Path, url: str, clip: Path, scratch: Path
) -> tuple[float, dict[str, int]]:
    """Return the seconds it took and the bytes fetched, by key."""
    back, counts = scratch / "back", scratch / "counts.json"
    back.mkdir()
    words = ["--home", str(home), "restore", _CODE, "--from", url, "-d", str(back), "-f", f"*{clip.name}"]
    command = [sys.executable, "-c", _COUNTING, *words]
    began = time.monotonic()
    subprocess.run(command, env=os.environ | _env(server, lab, counts), check=True, capture_output=True)
    seconds = time.monotonic() - began
    (found,) = [path for path in back.rglob("*") if path.is_file()]
    if found.read_bytes() != clip.read_bytes():
        raise RuntimeError("the restore ended well, and what came back is not what was archived")
    shutil.rmtree(back)
    return seconds, json.loads(counts.read_text())


def b5(setting: Setting) -> str:
    """Run it."""
    folder = setting.scratch / "b5"
    lab = make_lab(folder / "lab")
    clips = _make_clips(folder / "out", _QUICK_ARCHIVE_BYTES if setting.quick else _ARCHIVE_BYTES)
    wanted = clips[len(clips) // 2]
    say(f"B5: one of {len(clips)} files of 100 MB")
    rows: list[list[str]] = []
    worst = 0.0
    with seaweed(folder) as server:
        url = f"s3://{server.new_bucket()}"
        knows, knows_nothing = lab.copy_home(folder / "knows"), lab.copy_home(folder / "knows-nothing")
        _archive(server, lab, knows, folder / "out", url)
        for home, name in ((knows, "its own catalogue"), (knows_nothing, "an empty catalogue, the index is fetched")):
            times: list[float] = []
            for _ in range(setting.runs):
                seconds, fetched = _one_file(server, lab, home, url, wanted, folder)
                times.append(seconds)
            volume = sum(count for key, count in fetched.items() if key.endswith(".tar.zst.age"))
            index = sum(count for key, count in fetched.items() if key.endswith(".index.age"))
            worst = max(worst, volume / _FILE_BYTES)
            rows.append([name, f"{volume:,}", f"{volume / _FILE_BYTES:.5f}", f"{index:,}", f"{spread(times)} s"])
            say(f"  {name}: {volume:,} bytes of the volume, {index:,} of the index, {spread(times)} s")
    head = ["restored with", "bytes of the volume", "over bytes wanted", "bytes of the index", "wall time"]
    target = Target("bytes fetched over bytes wanted, without the index", worst, 1.02, at_most=True)
    total = len(clips) * _FILE_BYTES / 2**30
    return "\n\n".join(
        [
            f"### B5: one 100 MB file out of a {total:.2f} GiB archive",
            markdown_table(head, rows),
            target_table([target]),
        ]
    )


if __name__ == "__main__":
    run_from_command_line({"B5": b5}, __doc__ or "")
