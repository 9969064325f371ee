"""B6: bring 2 GiB back from SeaweedFS, opened and proven, against rclone crypt and the same by hand.

python -m benchmarks.b6_back [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.data import Clips, make_clips, warm
from benchmarks.downloading import Fetcher, fetchers, same_files
from benchmarks.lab import make_lab
from benchmarks.measuring import Measured, measure
from benchmarks.options import MIB, Setting, run_from_command_line
from benchmarks.rounds import Results, attempted, orders, say
from benchmarks.servers import seaweed
from benchmarks.tables import Target, markdown_table, target_table, upload_table
from benchmarks.uploading import OURS, Attempt

_FILES, _QUICK_FILES, _BYTES = 32, 8, 64 * MIB


def _wall(run: Measured) -> float:
    return run.wall_s


def _fetch(fetcher: Fetcher, attempt: Attempt, clips: Clips, *, compare: bool) -> Measured:
    target = attempt.folder / "back"
    target.mkdir()
    try:
        os.sync()
        before = attempt.server.cpu_s()
        run = measure(fetcher.fetch(attempt, target))
        run = replace(run, server_cpu_s=attempt.server.cpu_s() - before)
        # ecogsafe puts the tree video/ below the folder where it was told more than one, others the subjects
        found = next((p for p in (target / "video", target) if p.is_dir()), target)
        if not same_files(clips.video, found, contents=compare):
            raise RuntimeError(f"{fetcher.name} ended well, and what came back is not what was sent")
    finally:
        shutil.rmtree(target)
    return run


def _rounds(
    clients: list[Fetcher], attempts: Mapping[str, Attempt], clips: Clips, runs: int, tell: Callable[[str], None]
) -> Results:
    results = Results()
    # the warm-up is also where the bytes are compared
    for client in clients:
        _fetch(client, attempts[client.name], clips, compare=True)
    for number, order in enumerate(orders(len(clients), runs), 1):
        for client in (clients[place] for place in order):
            run = _fetch(client, attempts[client.name], clips, compare=False)
            tell(f"  round {number}: {client.name} {run.wall_s:.2f} s, {run.cpu_s:.2f} s CPU")
            results.by_client.setdefault(client.name, []).append(run)
            results.work[client.name] = (clips.gib, clips.files)
    return results


def b6(setting: Setting) -> str:
    """Run it."""
    folder = setting.scratch / "b6"
    clips = make_clips(folder / "out", files=_QUICK_FILES if setting.quick else _FILES, bytes_each=_BYTES)
    clients = fetchers(setting.peers, make_lab(folder / "lab"))
    say(f"B6: {clips.gib:g} GiB in {clips.files} files")
    warm(clips)
    with seaweed(folder) as server, ExitStack() as stack:
        attempts: dict[str, Attempt] = {}
        for client in clients:
            attempts[client.name] = stack.enter_context(attempted(server, clips, Path(folder)))
            measure(client.send(attempts[client.name]))
        results = _rounds(clients, attempts, clips, setting.runs, say)
    targets = []
    if "rclone crypt" in results.by_client:
        ratio = results.ratio("rclone crypt", OURS, _wall)
        targets.append(Target("our speed over rclone crypt", ratio, 1.5))
    checks = markdown_table(["client", "what it checks"], [[c.name, c.checks] for c in clients])
    return "\n\n".join(
        [
            f"### B6: download, decrypt and verify {clips.gib:g} GiB",
            upload_table(results, OURS, per_file=False),
            target_table(targets),
            checks,
        ]
    )


if __name__ == "__main__":
    run_from_command_line({"B6": b6}, __doc__ or "")
