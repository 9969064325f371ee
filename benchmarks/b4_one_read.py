"""B4: three destinations at once: bytes read from the disk per byte sent, most memory, bytes in temporary files.

    python -m benchmarks.b4_one_read [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]

The destinations are three buckets of the null sink. The clips are dropped from the page cache before every
run, everything else is warm, so what the disk delivers are the clips. Memory is also measured with one sparse
file of 20 GB. Temporary files are looked for in TMPDIR, in the current folder and among open files without a
name; all that was written to any disk is told too, because that cannot be missed between two looks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import Clips, cool, make_clips
from benchmarks.lab import Lab, make_lab
from benchmarks.measuring import Measured, measure
from benchmarks.options import MIB, Setting, run_from_command_line
from benchmarks.rounds import attempted, say
from benchmarks.servers import Server, null_sink
from benchmarks.tables import Target, markdown_table, spread, target_table

_FILES, _QUICK_FILES, _BYTES = 32, 4, 64 * MIB
_SPARSE_BYTES, _QUICK_SPARSE_BYTES = 20_000_000_000, 2_000_000_000
_PLACES = 3
#: seconds between two looks at memory and temporary files
_EVERY_S = 0.05
_ROOT = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True)
class _Case:
    """The runs over one set of clips."""

    clips: Clips
    runs: list[Measured]

    @property
    def read_per_byte(self) -> list[float]:
        """From the disk; nothing of a sparse file is on it."""
        return [run.io.get("read_bytes", 0) / self.clips.bytes for run in self.runs]

    @property
    def asked_per_byte(self) -> list[float]:
        """Asked of the system by read(), programs and libraries included."""
        return [run.io.get("rchar", 0) / self.clips.bytes for run in self.runs]

    @property
    def peak_mb(self) -> float:
        return max(run.peak_bytes for run in self.runs) / 1e6

    @property
    def temp_bytes(self) -> int:
        return max(run.temp_bytes for run in self.runs)

    def row(self, name: str, *, on_disk: bool) -> list[str]:
        """Return one row of the table."""
        return [
            name,
            spread([run.wall_s for run in self.runs]),
            spread(self.read_per_byte, 4) if on_disk else "–",
            spread(self.asked_per_byte, 4),
            f"{self.peak_mb:.0f}",
            f"{self.temp_bytes:,}",
            f"{max(run.io.get('write_bytes', 0) for run in self.runs) / 1e6:.1f}",
        ]


def _run(lab: Lab, server: Server, clips: Clips, scratch: Path, runs: int) -> _Case:
    measured = []
    for number in range(runs):
        with attempted(server, clips, scratch) as attempt:
            home = lab.copy_home(attempt.folder / "ecogsafe")
            buckets = [attempt.bucket, *(server.new_bucket() for _ in range(_PLACES - 1))]
            urls = [f"s3://{bucket}" for bucket in buckets]
            script = ("-m", "benchmarks.three_destinations", str(home), str(clips.video))
            command = attempt.command(sys.executable, *script, *urls, more={"PYTHONPATH": _ROOT})
            cool(clips)
            run = measure(command, every_s=_EVERY_S)
            sent = [server.contents(bucket)[1] for bucket in buckets]
        if min(sent) < clips.bytes:
            raise RuntimeError("a destination did not get every byte")
        say(f"  run {number + 1}: {run.wall_s:.2f} s, {run.peak_bytes / 1e6:.0f} MB")
        measured.append(run)
    return _Case(clips, measured)


def b4(setting: Setting) -> str:
    """Run it."""
    folder = setting.scratch / "b4"
    files, size = (_QUICK_FILES, _QUICK_SPARSE_BYTES) if setting.quick else (_FILES, _SPARSE_BYTES)
    clips = make_clips(folder / "out", files=files, bytes_each=_BYTES)
    sparse = make_clips(folder / "sparse", files=1, bytes_each=size, sparse=True)
    warm_up = make_clips(folder / "warm-up", files=2, bytes_each=_BYTES)
    lab = make_lab(folder / "lab")
    say(f"B4: {clips.gib:g} GiB, and a sparse file of {size / 1e9:g} GB")
    with null_sink() as server:
        _run(lab, server, warm_up, folder, 1)
        real = _run(lab, server, clips, folder, setting.runs)
        # one figure that hardly varies, and minutes each
        large = _run(lab, server, sparse, folder, 1)
    head = ["work", "wall s", "read from disk per byte", "asked by read() per byte", "peak memory, MB"]
    head += ["temporary files, bytes", "written to any disk, MB"]
    rows = [
        real.row(f"{clips.gib:g} GiB of clips", on_disk=True),
        large.row(f"one sparse file of {size / 1e9:g} GB", on_disk=False),
    ]
    targets = [
        Target("bytes read from disk per byte", max(real.read_per_byte), 1.01, at_most=True, unit=""),
        Target("the same for the sparse file, by read()", max(large.asked_per_byte), 1.01, at_most=True, unit=""),
        Target("peak memory, MB", max(real.peak_mb, large.peak_mb), 300, at_most=True, unit=""),
        Target("temporary bytes", max(real.temp_bytes, large.temp_bytes), 0, at_most=True, unit=""),
    ]
    sections = [f"### B4: {_PLACES} destinations at once, one read", markdown_table(head, rows), target_table(targets)]
    return "\n\n".join(sections)


if __name__ == "__main__":
    run_from_command_line({"B4": b4}, __doc__ or "")
