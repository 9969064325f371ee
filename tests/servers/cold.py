"""Servers that keep objects cold: MiniStack (a request to thaw takes two seconds) and moto (it is done at once).

Each has an environment of its own below ``.cache``, because neither gets on with what the tests need; it is
made when first asked for. Their bytes, checksums and signatures are not to be trusted: states only.
"""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.seaweed import free_ports

START_WITHIN_S = 60.0
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "servers"


class CannotInstallError(Exception):
    """The package of the server cannot be had here."""


@dataclass(frozen=True)
class Kind:
    """How one server is got and started."""

    name: str
    packages: Sequence[str]
    program: str

    def arguments(self, port: int) -> list[str]:
        return ["-H", "127.0.0.1", "-p", str(port)] if self.name == "moto" else []

    def environment(self, port: int) -> dict[str, str]:
        # without it MiniStack listens on every interface
        return {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}


MINISTACK = Kind("ministack", ("ministack==1.5.33",), "ministack")
MOTO = Kind("moto", ("moto[server,s3,s3crc32c]==5.2.5", "awscrt==0.38.1"), "moto_server")


def _program(kind: Kind) -> Path:
    folder = _CACHE / kind.packages[0].replace("==", "-").split("[")[0]
    program = folder / "bin" / kind.program
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{kind.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input", *kind.packages]
            done = subprocess.run(pip, capture_output=True, check=False)
            if done.returncode:
                raise CannotInstallError(f"{kind.packages[0]}: {done.stderr.decode(errors='replace')[-500:]}")
            (folder / "complete").touch()
    return program


class ColdServer:
    """One running server; make it with `start`, end it with `stop`."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self._kind = kind
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint_url = ""

    def start(self) -> None:
        """Start the server and wait until it takes a bucket.

        Raises
        ------
        CannotInstallError
            Its package cannot be had here.
        """
        program = _program(self._kind)
        (port,) = free_ports(1)
        self.endpoint_url = f"http://127.0.0.1:{port}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with (self._folder / f"{self._kind.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable if program.suffix == ".py" else str(program), *self._kind.arguments(port)],
                env=kept | self._kind.environment(port) | {"HOME": str(self._folder)},
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            # a stale server on the port must not answer for ours
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._kind.name} ended with {self._process.returncode}")
            try:
                self.client().create_bucket(Bucket="cold")
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self._kind.name} did not answer") from error
                time.sleep(0.2)
            else:
                return

    def stop(self) -> None:
        """End the process we started."""
        if self._process is not None:
            self.client().close()
            self._process.kill()
            self._process.wait(timeout=30)
            self._process = None

    @functools.cached_property
    def _client(self) -> Any:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id="testkey",
            aws_secret_access_key="testsecret",
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=5),
        )

    def client(self) -> Any:
        """Return a plain boto3 client."""
        return self._client

    def env(self) -> dict[str, str]:
        """Return the AWS variables of a process that shall use this server and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": "testkey",
            "AWS_SECRET_ACCESS_KEY": "testsecret",
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
