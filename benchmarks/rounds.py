"""Every client once a round, each round in another order, so that what drifts on the machine meets all of them."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.data import Clips
from benchmarks.measuring import Measured, measure
from benchmarks.servers import Server
from benchmarks.uploading import Attempt, Client, forget


@dataclass
class Results:
    """The rounds of several clients."""

    by_client: dict[str, list[Measured]] = field(default_factory=dict)
    #: gibibytes and files one run of each moves; not the same for a client that is given a part of the work
    work: dict[str, tuple[float, int]] = field(default_factory=dict)

    def median(self, client: str, figure: Callable[[Measured], float]) -> float:
        """Return the middle of a figure over the rounds."""
        return statistics.median(figure(run) for run in self.by_client[client])

    def ratio(self, above: str, below: str, figure: Callable[[Measured], float]) -> float:
        """Return the middle of the rounds' ratios of two clients: each pair ran within one round."""
        pairs = zip(self.by_client[above], self.by_client[below], strict=True)
        scale = self.work[below][1] / self.work[above][1]
        return scale * statistics.median(figure(a) / figure(b) for a, b in pairs)


def orders(count: int, rounds: int) -> Iterator[list[int]]:
    """Yield the order of each round: shifted by one every time, and turned round every second time."""
    for number in range(rounds):
        shifted = [(place + number) % count for place in range(count)]
        yield shifted[::-1] if number % 2 else shifted


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def upload_rounds(
    clients: Sequence[Client],
    server: Server,
    clips: Clips,
    *,
    runs: int,
    scratch: Path,
    warm_up: Clips,
    instead: Mapping[str, Clips] | None = None,
) -> Results:
    """Run every client ``runs`` times after one warm-up with ``warm_up``, and check what the server then has.

    Parameters
    ----------
    instead
        Less work for clients that would take hours, by name.
    """
    results = Results()
    for client in clients:
        _upload_once(client, server, warm_up, scratch)
    for number, order in enumerate(orders(len(clients), runs), 1):
        for client in (clients[place] for place in order):
            given = (instead or {}).get(client.name, clips)
            run = _upload_once(client, server, given, scratch)
            say(f"  {server.name}, round {number}: {client.name} {run.wall_s:.2f} s, {run.cpu_s:.2f} s CPU")
            results.by_client.setdefault(client.name, []).append(run)
            results.work[client.name] = (given.gib, given.files)
    return results


@contextmanager
def attempted(server: Server, clips: Clips, scratch: Path) -> Iterator[Attempt]:
    """Give a fresh bucket and folder, and throw both away."""
    folder = Path(tempfile.mkdtemp(prefix="attempt-", dir=scratch))
    attempt = Attempt(server=server, bucket=server.new_bucket(), clips=clips, folder=folder)
    try:
        yield attempt
    finally:
        forget(attempt)


def _upload_once(client: Client, server: Server, clips: Clips, scratch: Path) -> Measured:
    with attempted(server, clips, scratch) as attempt:
        command = client.prepare(attempt)
        before = server.cpu_s()
        run = measure(command)
        run = replace(run, server_cpu_s=server.cpu_s() - before)
        objects, size = server.contents(attempt.bucket)
    # sealed or not, random bytes take their own room at least
    if size < clips.bytes or not objects:
        raise RuntimeError(f"{client.name} ended well, and the server holds {size:,} of {clips.bytes:,} bytes")
    return run


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Give a folder that is thrown away."""
    folder = Path(tempfile.mkdtemp(prefix="ecogsafe-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
