"""The two servers a client is measured against: a real one, and one that throws everything away."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.servers.seaweed import SeaweedServer

from benchmarks.processes import cpu_seconds

_NUMBERS = count(1)
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running S3 server on loopback."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    pid: int

    def env(self) -> dict[str, str]:
        """Return the variables by which every client here finds the server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self) -> Any:
        """Return a plain boto3 client for what is not measured."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, read_timeout=300),
        )

    def new_bucket(self) -> str:
        """Make an empty bucket of a name never used before."""
        name = f"bench-{os.getpid()}-{next(_NUMBERS):04d}"
        self.client().create_bucket(Bucket=name)
        return name

    def drop_bucket(self, name: str) -> None:
        """Throw a bucket and all in it away."""
        self.client().delete_bucket(Bucket=name)

    def contents(self, bucket: str) -> tuple[int, int]:
        """Return number and bytes of the objects of a bucket, those of ``_ecogsafe/`` left out."""
        objects, size = 0, 0
        for page in self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", ()):
                if not found["Key"].startswith("_ecogsafe/"):
                    objects += 1
                    size += found["Size"]
        return objects, size

    def cpu_s(self) -> float:
        """Return the processor time the server has used so far, seconds."""
        return cpu_seconds(self.pid)


@contextmanager
def seaweed(scratch: Path) -> Iterator[Server]:
    """Run SeaweedFS with fresh data below ``scratch``."""
    with tempfile.TemporaryDirectory(prefix="weed-", dir=scratch) as folder:
        weed = SeaweedServer(Path(folder))
        try:
            weed.start()
            yield Server(
                name="SeaweedFS",
                endpoint=weed.endpoint_url,
                access_key=weed.access_key,
                secret_key=weed.secret_key,
                pid=weed.pid,
            )
        finally:
            weed.stop()


@contextmanager
def null_sink() -> Iterator[Server]:
    """Run the null sink."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True, cwd=_ROOT)
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the null sink ended with {process.wait()}")
        yield Server(
            name="null sink",
            endpoint=f"http://127.0.0.1:{port}",
            access_key="nobody",
            secret_key="nothing",
            pid=process.pid,
        )
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
