"""B7: `status`, planning of `verify` and a snapshot on a catalogue of 1,000,000 files; how soon `--help` starts.

python -m benchmarks.b7_catalogue [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.big_catalogue import SUBJECTS, change_one, codes, fill, prove_all
from benchmarks.lab import Lab, make_lab
from benchmarks.measuring import Command, Measured, measure
from benchmarks.options import Setting, run_from_command_line
from benchmarks.rounds import say
from benchmarks.tables import Target, markdown_table, spread, target_table
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.snapshots import snapshot_to
from ecogsafe.service.verify_planning import plan_verify
from ecogsafe.service.verify_request import VerifyRequest

_FILES, _QUICK_FILES = 1_000_000, 100_000


def _measure(folder: Path, *arguments: str | os.PathLike[str]) -> Measured:
    with tempfile.TemporaryDirectory(dir=folder) as here:
        env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": here, "TMPDIR": here, "LC_ALL": "C.UTF-8"}
        command = Command(arguments=arguments, env=env, cwd=Path(here), log=Path(here) / "log")
        return measure(command, every_s=0.05)


def _status(lab: Lab, folder: Path, runs: int) -> dict[str, list[Measured]]:
    status = (lab.program, "--home", lab.home, "status")
    # nothing is unsafe enough here to make it end otherwise than 0: --check is not given
    found = {"first of a catalogue of an older version: all counted": [_measure(folder, *status)]}
    _measure(folder, *status)
    found["nothing changed since the last"] = [_measure(folder, *status) for _ in range(runs)]
    found["one subject changed since the last"] = []
    for number in range(runs):
        change_one(lab.home / "catalog.sqlite", codes()[number % SUBJECTS])
        found["one subject changed since the last"].append(_measure(folder, *status))
    say(f"  proving every copy once more: {prove_all(lab.home / 'catalog.sqlite'):.1f} s of it for the sums")
    found["first after every copy changed"] = [_measure(folder, *status)]
    found["one subject asked for"] = [_measure(folder, *status, codes()[0]) for _ in range(runs)]
    return found


def _planning(lab: Lab, runs: int) -> dict[str, list[float]]:
    """Return the seconds until `verify` knows what is due and has the first of it in hand."""
    found: dict[str, list[float]] = {}
    wishes = {
        "everything": VerifyRequest(),
        "`--deep`": VerifyRequest(deep=True),
        "`--max-age 100`": VerifyRequest(max_age_days=100),
        "one store": VerifyRequest(url="file:///archive/clinic"),
        "one subject": VerifyRequest(subject=codes()[0]),
    }
    with Catalog.open(lab.home / "catalog.sqlite") as catalog:
        for name, request in wishes.items():
            found[name] = []
            for _ in range(runs):
                began = time.monotonic()
                next(plan_verify(catalog, request).pairs(catalog))
                found[name].append(time.monotonic() - began)
        sample = VerifyRequest(deep=True, sample=1)
        began = time.monotonic()
        plan_verify(catalog, sample)
        found["`--deep --sample 1`, which draws"] = [time.monotonic() - began]
    return found


def _snapshot(lab: Lab, folder: Path) -> float:
    """Return the seconds that a whole, checked copy of the catalogue takes."""
    target = folder / "snapshot.sqlite"
    began = time.monotonic()
    with Catalog.open(lab.home / "catalog.sqlite") as catalog:
        snapshot_to(catalog, target)
    took = time.monotonic() - began
    target.unlink()
    return took


def b7(setting: Setting) -> str:
    """Run it."""
    folder = setting.scratch / "b7"
    folder.mkdir()
    lab = make_lab(folder / "lab")
    helps = (lab.program, "--help")
    floor = (sys.executable, "-c", "pass")
    _measure(folder, *helps)
    started = [(_measure(folder, *helps), _measure(folder, *floor)) for _ in range(setting.runs)]
    files = _QUICK_FILES if setting.quick else _FILES
    say(f"B7: writing {files:,} files")
    began = time.monotonic()
    copies = fill(lab.home / "catalog.sqlite", files)
    size = (lab.home / "catalog.sqlite").stat().st_size
    say(f"  written in {time.monotonic() - began:.0f} s, {size / 1e6:.0f} MB")
    found = _status(lab, folder, setting.runs)
    rows = [[f"`status`, {name}", spread([run.wall_s for run in runs], 3)] for name, runs in found.items()]
    planned = _planning(lab, setting.runs)
    rows += [[f"planning of `verify`, {name}", spread(runs, 3)] for name, runs in planned.items()]
    snapshot_s = _snapshot(lab, folder)
    rows.append(["snapshot of the catalogue, not yet sealed", spread([snapshot_s], 1)])
    rows.append(["`--help`", spread([ours.wall_s for ours, _ in started], 3)])
    rows.append(["`python -c pass`, for comparison", spread([python.wall_s for _, python in started], 3)])
    middle = {name: sorted(run.wall_s for run in runs)[len(runs) // 2] for name, runs in found.items()}
    targets = [
        Target("`status`, nothing changed", middle["nothing changed since the last"], 0.5, at_most=True, unit=" s"),
        Target("`status`, one changed", middle["one subject changed since the last"], 0.5, at_most=True, unit=" s"),
        Target("`status`, all changed", middle["first after every copy changed"], 0.5, at_most=True, unit=" s"),
        Target(
            "planning of `verify`",
            sorted(planned["everything"])[setting.runs // 2],
            2.0,
            at_most=True,
            unit=" s",
        ),
        Target("snapshot", snapshot_s, 30.0, at_most=True, unit=" s"),
        Target("`--help`", sorted(ours.wall_s for ours, _ in started)[setting.runs // 2], 0.2, at_most=True, unit=" s"),
    ]
    told = f"{files:,} files, {copies:,} copies, {SUBJECTS} subjects, two stores; {size / 1e6:.0f} MB of SQLite."
    sections = ["### B7: status on a large catalogue, and start-up", told, markdown_table(["what", "wall s"], rows)]
    return "\n\n".join([*sections, target_table(targets)])


if __name__ == "__main__":
    run_from_command_line({"B7": b7}, __doc__ or "")
