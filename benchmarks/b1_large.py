"""B1: upload 2 GiB of clips, encrypted, against clients that send the plain files and others that encrypt.

python -m benchmarks.b1_large [--runs 5] [--quick] [--folder DIR] [--cache DIR] [--out FILE]
"""

from __future__ import annotations

from benchmarks.data import make_clips, warm
from benchmarks.lab import make_lab
from benchmarks.measuring import Measured
from benchmarks.options import MIB, Setting, run_from_command_line
from benchmarks.rounds import Results, say, upload_rounds
from benchmarks.servers import null_sink, seaweed
from benchmarks.tables import Target, markdown_table, target_table, upload_table
from benchmarks.uploading import OLD_WAY, OURS, PLAIN_PEER, Client, uploaders

_FILES, _QUICK_FILES, _BYTES = 32, 8, 64 * MIB


def _wall(run: Measured) -> float:
    return run.wall_s


def _cpu(run: Measured) -> float:
    return run.cpu_s


def checks_table(clients: list[Client]) -> str:
    """Return what each client looks at before it calls a file stored."""
    return markdown_table(["client", "what it checks"], [[c.name, c.checks] for c in clients])


def _targets(server: Results, sink: Results) -> list[Target]:
    found: list[Target] = []
    if PLAIN_PEER in server.by_client:
        found += [
            Target("test server: our speed over `s5cmd` plain", server.ratio(PLAIN_PEER, OURS, _wall), 1.0),
            Target("null sink: our speed over `s5cmd` plain", sink.ratio(PLAIN_PEER, OURS, _wall), 1.3),
            Target("null sink: our CPU a GiB over `s5cmd`'s", sink.ratio(OURS, PLAIN_PEER, _cpu), 0.8, at_most=True),
        ]
    if "rclone crypt" in sink.by_client:
        found.append(Target("null sink: our speed over rclone crypt", sink.ratio("rclone crypt", OURS, _wall), 2.0))
    if OLD_WAY in sink.by_client:
        found.append(Target("null sink: our speed over the old way", sink.ratio(OLD_WAY, OURS, _wall), 15.0))
    return found


def b1(setting: Setting) -> str:
    """Run it on both servers."""
    folder = setting.scratch / "b1"
    clips = make_clips(folder / "out", files=_QUICK_FILES if setting.quick else _FILES, bytes_each=_BYTES)
    small = make_clips(folder / "warm-up", files=2, bytes_each=_BYTES)
    clients = uploaders(setting.peers, make_lab(folder / "lab"))
    say(f"B1: {clips.gib:g} GiB in {clips.files} files")
    warm(clips)
    with seaweed(folder) as server:
        on_server = upload_rounds(clients, server, clips, runs=setting.runs, scratch=folder, warm_up=small)
    with null_sink() as server:
        on_sink = upload_rounds(clients, server, clips, runs=setting.runs, scratch=folder, warm_up=small)
    data = f"{clips.files} × {_BYTES // MIB} MiB of random bytes, in the page cache"
    return "\n\n".join(
        [
            f"### B1: upload {clips.gib:g} GiB of clips ({data})",
            "To SeaweedFS on the same machine:",
            upload_table(on_server, OURS, per_file=False),
            "To the null sink, where the client is the limit:",
            upload_table(on_sink, OURS, per_file=False),
            target_table(_targets(on_server, on_sink)),
            checks_table(clients),
        ]
    )


if __name__ == "__main__":
    run_from_command_line({"B1": b1}, __doc__ or "")
