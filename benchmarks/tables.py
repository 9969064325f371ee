"""Results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measuring import Measured
from benchmarks.rounds import Results


@dataclass(frozen=True)
class Target:
    """What a benchmark must show, and what it showed."""

    what: str
    found: float
    #: the limit, and whether the figure must stay below it
    limit: float
    at_most: bool = False
    unit: str = "×"

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side."""
        return self.found <= self.limit if self.at_most else self.found >= self.limit

    def cells(self) -> list[str]:
        """Return one row of `target_table`."""
        sign = "≤" if self.at_most else "≥"
        verdict = "yes" if self.is_met else "**no**"
        return [self.what, f"{self.found:.4g}{self.unit}", f"{sign} {self.limit:g}{self.unit}", verdict]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; every column but the first is aligned to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def target_table(targets: Sequence[Target]) -> str:
    """Return what must be shown beside what was found."""
    return markdown_table(["must show", "found", "wanted", "met"], [target.cells() for target in targets])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return ``median (lowest-highest)``."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def _wall(run: Measured) -> float:
    return run.wall_s


def upload_table(results: Results, ours: str, *, per_file: bool) -> str:
    """Return one row a client; `per_file`: small files, counted by the second, else gibibytes."""
    head = ["client", "wall s, median (range)", "files/s" if per_file else "MiB/s"]
    head += ["client CPU, ms a file" if per_file else "client CPU, s/GiB"]
    head += ["peak memory, MB", "temporary files, MB", "server CPU s", "our speed-up"]
    rows = []
    for client, runs in results.by_client.items():
        gib, files = results.work[client]
        wall, cpu = results.median(client, _wall), results.median(client, lambda run: run.cpu_s)
        rows.append(
            [
                client,
                spread([run.wall_s for run in runs]),
                f"{files / wall:.0f}" if per_file else f"{gib * 1024 / wall:.0f}",
                f"{cpu / files * 1000:.2f}" if per_file else f"{cpu / gib:.2f}",
                f"{max(run.peak_bytes for run in runs) / 1e6:.0f}",
                f"{max(run.temp_bytes for run in runs) / 1e6:.0f}",
                f"{results.median(client, lambda run: run.server_cpu_s):.1f}",
                "" if client == ours else f"{results.ratio(client, ours, _wall):.2f}×",
            ]
        )
    return markdown_table(head, rows)
