"""The clients of B6: each brings back what was sealed, opens it and proves it, in its own way."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lab import Lab
from benchmarks.measuring import Command
from benchmarks.peers import Peers
from benchmarks.uploading import Attempt, ecogsafe_upload, rclone_env, rclone_upload


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """One contestant."""

    name: str
    checks: str
    #: fills the bucket, once
    send: Callable[[Attempt], Command]
    #: brings everything back into a folder
    fetch: Callable[[Attempt, Path], Command]


def fetchers(peers: Peers, lab: Lab) -> list[Fetcher]:
    """Return the clients that can be run with ``peers``; ours first."""
    found = [
        Fetcher(
            name="ecogsafe",
            checks="every age chunk, and SHA-256 of the whole file against the catalogue, before the name is final",
            send=lambda attempt: ecogsafe_upload(attempt, lab),
            fetch=lambda attempt, target: _ecogsafe(attempt, target, lab),
        )
    ]
    if "rclone" in peers:
        rclone = peers["rclone"]
        found.append(
            Fetcher(
                name="rclone crypt",
                checks="every chunk of its own format; size; no digest of the whole file",
                send=lambda attempt: rclone_upload(attempt, rclone, sealed=True),
                fetch=lambda attempt, target: attempt.command(
                    rclone, "copy", "sealed:", target, more=rclone_env(attempt.server, attempt.bucket, rclone)
                ),
            )
        )
    if "s5cmd" in peers and "age" in peers:
        found.append(
            Fetcher(
                name="s5cmd, then age -d, then sha256sum",
                checks="every age chunk; SHA-256 against a list",
                send=lambda attempt: ecogsafe_upload(attempt, lab),
                fetch=lambda attempt, target: _by_hand(attempt, target, peers, lab),
            )
        )
    return found


def _ecogsafe(attempt: Attempt, target: Path, lab: Lab) -> Command:
    arguments = ("--home", attempt.folder / "ecogsafe", "-q", "download", "-b", attempt.bucket, "-d", target)
    return attempt.command(lab.program, *arguments, more={"ECOGSAFE_PASSWORD_FILE": str(lab.password_file)})


def _by_hand(attempt: Attempt, target: Path, peers: Peers, lab: Lab) -> Command:
    """Return a script that runs as many `age` and `sha256sum` at once as there are processors."""
    sums = attempt.folder / "sums"
    if not sums.exists():
        _write_sums(attempt, sums)
    script = Path(__file__).with_name("by_hand.sh")
    more = {
        "S5CMD": str(peers["s5cmd"]),
        "AGE": str(peers["age"]),
        "BUCKET": attempt.bucket,
        "TARGET": str(target),
        "IDENTITY": str(lab.recovery_file),
        "SUMS": str(sums),
        "JOBS": str(os.cpu_count() or 1),
    }
    return attempt.command(shutil.which("sh") or "/bin/sh", script, more=more)


def _write_sums(attempt: Attempt, sums: Path) -> None:
    """Write the digests as ``sha256sum -c`` reads them, made of the originals."""
    relative = [path.relative_to(attempt.clips.video) for path in attempt.clips.paths()]
    with sums.open("wb") as out:
        subprocess.run(["sha256sum", "--", *relative], cwd=attempt.clips.video, stdout=out, check=True)


def same_files(one: Path, other: Path, *, contents: bool) -> bool:
    """Return whether every file below ``one`` stands below ``other``, of the same size, and with the same bytes."""
    pairs = [(path, other / path.relative_to(one)) for path in one.rglob("*") if path.is_file()]
    if any(not back.is_file() or back.stat().st_size != path.stat().st_size for path, back in pairs):
        return False
    return not contents or all(filecmp.cmp(path, back, shallow=False) for path, back in pairs)
