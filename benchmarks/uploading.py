"""The clients of B1 and B2: what each is told to do, and what each checks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import Clips
from benchmarks.lab import Lab
from benchmarks.measuring import Command
from benchmarks.peers import Peers, old_cipher
from benchmarks.servers import Server

OURS = "ecogsafe"
#: what every other client is compared with besides ours
PLAIN_PEER = "s5cmd, plain"
OLD_WAY = "the old way"
#: of rclone crypt and restic; it protects nothing
_PASSWORD = "benchmark password"
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run of one client: a fresh bucket, fresh folders for its home, its temporary files and its cache."""

    server: Server
    bucket: str
    clips: Clips
    folder: Path

    @property
    def temporary(self) -> Path:
        """TMPDIR."""
        return self.folder / "tmp"

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the whole environment of the client: nothing of the caller's but PATH."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "TMPDIR": str(self.temporary),
            "LC_ALL": "C.UTF-8",
            **self.server.env(),
            **(more or {}),
        }

    def command(self, *arguments: str | os.PathLike[str], more: Mapping[str, str] | None = None) -> Command:
        """Return a command that runs in an empty folder of its own."""
        here = self.folder / "here"
        for folder in (here, self.temporary, self.folder / "home", self.folder / "cache"):
            folder.mkdir(parents=True, exist_ok=True)
        return Command(
            arguments=arguments,
            env=self.env(more),
            cwd=here,
            log=self.folder / "log",
            watched=(here, self.temporary),
        )


@dataclass(frozen=True, kw_only=True)
class Client:
    """One contestant."""

    name: str
    #: what it looks at before it calls a file stored
    checks: str
    #: sets up what is not measured and returns what is
    prepare: Callable[[Attempt], Command]


def uploaders(peers: Peers, lab: Lab) -> list[Client]:
    """Return the clients that can be run with ``peers``; ours first."""
    found = [
        Client(
            name=OURS,
            checks="SHA-256 and CRC-64/NVME of every file; the store's full-object CRC must be ours; never overwrites",
            prepare=lambda attempt: ecogsafe_upload(attempt, lab),
        )
    ]
    if "s5cmd" in peers:
        found.append(
            Client(
                name=PLAIN_PEER,
                checks="HTTP status only; over http it signs the SHA-256 of each body",
                prepare=lambda attempt: s5cmd_upload(attempt, peers["s5cmd"]),
            )
        )
    if "rclone" in peers:
        found += [
            Client(
                name="rclone copy, plain",
                checks="MD5 of the file is sent along; size after the upload",
                prepare=lambda attempt: rclone_upload(attempt, peers["rclone"], sealed=False),
            ),
            Client(
                name="rclone crypt",
                checks="size after the upload",
                prepare=lambda attempt: rclone_upload(attempt, peers["rclone"], sealed=True),
            ),
        ]
    if "restic" in peers:
        found.append(
            Client(
                name="restic",
                checks="SHA-256 of every chunk is its name; Content-MD5 of every pack",
                prepare=lambda attempt: restic_backup(attempt, peers["restic"]),
            )
        )
    if "openssl" in peers:
        flags = old_cipher(peers["openssl"])
        found.append(
            Client(
                name=OLD_WAY,
                checks=f"HTTP status; openssl enc {flags[0]} to a temporary file, then boto3, one by one",
                prepare=lambda attempt: old_way(attempt, peers["openssl"], flags),
            )
        )
    return found


def ecogsafe_upload(attempt: Attempt, lab: Lab) -> Command:
    """``ecogsafe upload -t v``, a fresh home."""
    home = lab.copy_home(attempt.folder / "ecogsafe")
    what = ("upload", "-d", attempt.clips.video, "-b", attempt.bucket, "-t", "v")
    return attempt.command(lab.program, "--home", home, "-q", *what)


def s5cmd_upload(attempt: Attempt, s5cmd: Path) -> Command:
    """``s5cmd cp`` of the folder."""
    arguments = ("--log", "error", "cp", f"{attempt.clips.video}/", f"s3://{attempt.bucket}/")
    return attempt.command(s5cmd, *arguments)


def rclone_env(server: Server, bucket: str, rclone: Path) -> dict[str, str]:
    """Return the settings of the remotes ``store:`` (plain) and ``sealed:`` (crypt over the bucket)."""
    obscured = subprocess.run([rclone, "obscure", _PASSWORD], capture_output=True, text=True, check=True)
    return {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": server.endpoint,
        "RCLONE_CONFIG_STORE_ENV_AUTH": "true",
        "RCLONE_CONFIG_STORE_FORCE_PATH_STYLE": "true",
        "RCLONE_CONFIG_STORE_NO_CHECK_BUCKET": "true",
        "RCLONE_CONFIG_SEALED_TYPE": "crypt",
        "RCLONE_CONFIG_SEALED_REMOTE": f"store:{bucket}",
        "RCLONE_CONFIG_SEALED_PASSWORD": obscured.stdout.strip(),
    }


def rclone_upload(attempt: Attempt, rclone: Path, *, sealed: bool) -> Command:
    """``rclone copy``, with its own number of transfers."""
    target = "sealed:" if sealed else f"store:{attempt.bucket}"
    more = rclone_env(attempt.server, attempt.bucket, rclone)
    return attempt.command(rclone, "copy", attempt.clips.video, target, more=more)


def restic_backup(attempt: Attempt, restic: Path) -> Command:
    """``restic backup`` into a repository made before."""
    more = {
        "RESTIC_PASSWORD": _PASSWORD,
        "RESTIC_REPOSITORY": f"s3:{attempt.server.endpoint}/{attempt.bucket}/restic",
    }
    command = attempt.command(restic, "backup", "--quiet", attempt.clips.video, more=more)
    subprocess.run([restic, "init", "--quiet"], env=dict(command.env), cwd=command.cwd, check=True)
    return command


def old_way(attempt: Attempt, openssl: Path, flags: list[str]) -> Command:
    """What the lab's script did, without its prompts."""
    more = {"OLD_PASSWORD": _PASSWORD, "PYTHONPATH": str(_ROOT)}
    script = ("-m", "benchmarks.old_way", str(attempt.clips.video), attempt.bucket, str(openssl))
    return attempt.command(sys.executable, *script, *flags, more=more)


def forget(attempt: Attempt) -> None:
    """Throw away what an attempt left."""
    attempt.server.drop_bucket(attempt.bucket)
    shutil.rmtree(attempt.folder, ignore_errors=True)
    os.sync()
