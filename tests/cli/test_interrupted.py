"""Ctrl-C: what is in flight is finished, the run ends 130, and the same command goes on; a second one ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.json_contract import check_stream
from tests.cli.lab import Lab, Result
from tests.cli.trees import digests
from tests.servers.proxy import Proxy, Trouble
from tests.servers.seaweed import SeaweedServer

#: more parts than the pool of a run holds at once: wherever Ctrl-C comes, some are not read yet
_LARGE = (320 << 20) + 4321
_PARTS = 19
_SLOW_S = 0.25


@pytest.fixture
def large(applied: Lab) -> Path:
    """Return a clip that takes a while."""
    code = applied.codes["a"]
    clip = applied.out / "video" / code / f"{code}_1" / f"{code}_1_0009.avi"
    with clip.open("wb") as file:
        file.write(os.urandom(1 << 20))
        file.truncate(_LARGE)
    return clip


def is_part(method: str, target: str) -> bool:
    return method == "PUT" and "partNumber" in target


def is_data(method: str, target: str) -> bool:
    return method == "PUT" and ".age" in target and "_ecogsafe" not in target


def wait_for(fact: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not fact():
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupted(
    lab: Lab, words: list[str], fact: Callable[[], bool], *, times: int = 1, number: int = signal.SIGINT
) -> Result:
    """Run a command, send a signal once ``fact`` holds, and return what it said and ended with.

    A shell tells 130 for a process that ended with 130 and for one that the signal itself ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "ecogsafe", "--json", *words],
        env=lab.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(fact, process)
    time.sleep(0.3 * (times - 1))  # until parts are under way
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert process.returncode == 130 or (times > 1 and process.returncode == -signal.SIGINT), out + err
    return Result(("--json", *words), process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "terminal closed"])
def test_an_upload_finishes_its_parts_and_goes_on(
    applied: Lab, large: Path, s3_server: SeaweedServer, number: int
) -> None:
    bucket = s3_server.new_bucket()
    with Proxy(s3_server.endpoint_url) as proxy:
        applied.extra_env = s3_server.env() | {"AWS_ENDPOINT_URL_S3": proxy.url}
        proxy.make(Trouble("delay", is_part, times=99, seconds=_SLOW_S))
        words = ["upload", "-d", str(applied.out), "-b", bucket, "-t", "v"]
        done = interrupted(applied, words, lambda: len(proxy.parts()) >= 2, number=number)
        check_stream(done.out, 130)
        assert done.error["code"] == "interrupted"
        assert "run the same command again" in done.error["next"]
        first = proxy.parts()
        assert 2 <= len(first) < _PARTS
        proxy.calm()
        again = applied.here("--json", *words)
        parts = proxy.parts()
        assert sorted(parts) == sorted(set(parts)) == list(range(1, _PARTS + 1)), "a part was sent twice"
    assert again.summary["files"]["failed"] == 0
    applied.extra_env = s3_server.env()
    back = applied.folder / "back"
    back.mkdir()
    applied.here("download", "-b", bucket, "-d", back, "-f", "*_0009.avi")
    (returned,) = back.rglob("*.avi")
    assert returned.read_bytes() == large.read_bytes()


def test_a_second_ctrl_c_ends_at_once(applied: Lab, s3_server: SeaweedServer) -> None:
    bucket = s3_server.new_bucket()
    words = ["upload", "-d", str(applied.out), "-b", bucket, "-t", "v"]
    with Proxy(s3_server.endpoint_url) as proxy:
        applied.extra_env = s3_server.env() | {"AWS_ENDPOINT_URL_S3": proxy.url}
        # enough time for both, whatever the machine does
        proxy.make(Trouble("delay", is_data, times=999, seconds=15.0))
        began = time.monotonic()
        interrupted(applied, words, lambda: any(seen.method == "PUT" for seen in proxy.seen), times=2)
        assert time.monotonic() - began < 15
        proxy.calm()
    applied.extra_env = s3_server.env()
    assert applied.here("--json", *words).summary["files"]["failed"] == 0


def test_a_download_leaves_no_part_of_a_file(applied: Lab, s3_server: SeaweedServer) -> None:
    bucket = s3_server.new_bucket()
    applied.extra_env = s3_server.env()
    applied.here("upload", "-d", applied.out, "-b", bucket, "-t", "v")
    back = applied.folder / "back"
    back.mkdir()
    words = ["download", "-b", bucket, "-d", str(back), "--jobs", "2"]
    with Proxy(s3_server.endpoint_url) as proxy:
        applied.extra_env = s3_server.env() | {"AWS_ENDPOINT_URL_S3": proxy.url}
        proxy.make(Trouble("delay", lambda method, _: method == "GET", times=999, seconds=0.1))
        interrupted(applied, words, lambda: len(list(back.rglob("*.*"))) >= 3)
    kept = [p for p in back.rglob("*") if p.is_file()]
    assert kept
    assert not [p for p in kept if "ecogsafe" in p.name]
    applied.extra_env = s3_server.env()
    again = applied.here("--json", *words)
    assert again.summary["files"]["present"] == len(kept)
    assert digests(back) == {n: d for tree in ("video", "text") for n, d in digests(applied.out / tree).items()}
