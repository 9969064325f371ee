"""B2: upload 10,000 files of 16 KiB, encrypted, against the clients of B1.

python -m benchmarks.b2_small [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]
"""

from __future__ import annotations

from benchmarks.data import make_clips, warm
from benchmarks.lab import make_lab
from benchmarks.measuring import Measured
from benchmarks.options import Setting, run_from_command_line
from benchmarks.rounds import Results, say, upload_rounds
from benchmarks.servers import null_sink, seaweed
from benchmarks.tables import Target, target_table, upload_table
from benchmarks.uploading import OLD_WAY, OURS, PLAIN_PEER, uploaders

_FILES, _QUICK_FILES, _BYTES = 10_000, 2_000, 16 * 1024
#: the old way takes minutes for these, and its time grows with their number alone
_OLD_WAY_FILES, _QUICK_OLD_WAY_FILES = 500, 100


def _wall(run: Measured) -> float:
    return run.wall_s


def _targets(name: str, results: Results) -> list[Target]:
    found = []
    if PLAIN_PEER in results.by_client:
        ratio = results.ratio(PLAIN_PEER, OURS, _wall)
        found.append(Target(f"{name}: our files a second over `s5cmd`'s", ratio, 1.5))
    if OLD_WAY in results.by_client:
        found.append(Target(f"{name}: our files a second over the old way's", results.ratio(OLD_WAY, OURS, _wall), 30))
    return found


def b2(setting: Setting) -> str:
    """Run it on both servers."""
    folder = setting.scratch / "b2"
    clips = make_clips(folder / "out", files=_QUICK_FILES if setting.quick else _FILES, bytes_each=_BYTES)
    fewer = make_clips(
        folder / "fewer", files=_QUICK_OLD_WAY_FILES if setting.quick else _OLD_WAY_FILES, bytes_each=_BYTES
    )
    small = make_clips(folder / "warm-up", files=20, bytes_each=_BYTES)
    clients = uploaders(setting.peers, make_lab(folder / "lab"))
    say(f"B2: {clips.files:,} files")
    warm(clips)
    warm(fewer)
    instead = {OLD_WAY: fewer}
    sections = [f"### B2: upload {clips.files:,} files of {_BYTES // 1024} KiB"]
    targets = []
    for started in (seaweed(folder), null_sink()):
        with started as server:
            results = upload_rounds(
                clients, server, clips, runs=setting.runs, scratch=folder, warm_up=small, instead=instead
            )
            sections += [f"To {server.name}:", upload_table(results, OURS, per_file=True)]
            targets += _targets(server.name, results)
    told = f"The old way was given {fewer.files:,} of the files, one after the other; files a second are compared."
    return "\n\n".join([*sections, told, target_table(targets)])


if __name__ == "__main__":
    run_from_command_line({"B2": b2}, __doc__ or "")
