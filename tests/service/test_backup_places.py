"""`backup`: what stops a place leaves the others complete, and the next run finishes it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    StoreCredentialsError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from tests.service.nightly_lab import DEEP, ONE, RECORDINGS, TWO, VIDEO, keys, send, whereabouts
from tests.service.small_lab import SmallLab, StoresInMemory, bytes_in

LOST = StoreUnreachableError(VIDEO, "no answer")
FORBIDDEN = StoreRefusedError(VIDEO, "AccessDenied")
FULL = StoreFullError(VIDEO, "is full")
EXPIRED = StoreCredentialsError(VIDEO, "expired")


def fails(url: str, error: Any, method: str, skip: int = 0) -> tuple[Faulty, MemoryStore]:
    inner = MemoryStore(url)
    return Faulty(inner, {method: [*[None] * skip, *[Fault(error=error)] * 99]}), inner


@pytest.mark.parametrize(
    ("url", "error", "method", "skip"),
    [
        pytest.param(VIDEO, LOST, "head", 0, id="video-down"),
        pytest.param(VIDEO, FORBIDDEN, "list", 0, id="video-forbidden"),
        pytest.param(VIDEO, FULL, "put", 1, id="video-full"),
        pytest.param(VIDEO, EXPIRED, "put", 1, id="video-expired"),
        pytest.param(VIDEO, LOST, "put", 2, id="video-half-way"),
        pytest.param(RECORDINGS, FORBIDDEN, "head", 0, id="recordings-forbidden"),
        pytest.param(DEEP, LOST, "head", 0, id="archive-down"),
        pytest.param(DEEP, FULL, "begin_upload", 0, id="archive-full"),
        pytest.param(DEEP, LOST, "begin_upload", 1, id="archive-half-way"),
    ],
)
def test_each_place_failing_in_turn_leaves_the_others_complete(
    backing_up: SmallLab, stores: StoresInMemory, url: str, error: Any, method: str, skip: int
) -> None:
    name = url.removeprefix("s3://lab-")
    faulty, inner = fails(url, error, method, skip)
    stores.add(url, faulty)
    ended = send(backing_up)
    assert ended.status is ExitStatus.PARTIAL, ended.error
    missing = whereabouts(ended)
    assert {place for of in missing.values() for place in of} == {name}, "another place lacks something too"
    assert ended.errors(), "nobody was told why"
    assert ended.run is not None
    assert "0 of 2 subjects" in ended.run.message or skip
    # mended: the next run finishes it, and leaves alone what stands
    before = {key: bytes_in(inner, key) for key in keys(inner)}
    stores.add(url, inner)
    ended = send(backing_up)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert whereabouts(ended) == {ONE: {}, TWO: {}}
    assert all(bytes_in(inner, key) == data for key, data in before.items())


def test_a_mount_that_is_gone(backing_up: SmallLab, stores: StoresInMemory) -> None:
    """The bare mount point stays bare, and the buckets are filled."""
    send(backing_up)
    nas = backing_up.folder / "nas"
    nas.rename(backing_up.folder / "unmounted")
    nas.mkdir()
    backing_up.avi(ONE, 3)
    backing_up.clear()
    ended = send(backing_up)
    assert ended.status is ExitStatus.PARTIAL
    assert [e.code for e in ended.errors()] == ["wrong-store"]
    assert list(nas.iterdir()) == []
    assert len(keys(stores.by_url[VIDEO])) == 5
    assert whereabouts(ended) == {ONE: {"nas": 1}, TWO: {}}
    assert ended.run is not None
    assert "failed: nas" in ended.run.message
    nas.rmdir()
    ended = send(backing_up)
    assert [e.code for e in ended.errors()] == ["store-unreachable"], "a folder was made where none is"
    (backing_up.folder / "unmounted").rename(nas)
    assert send(backing_up).status is ExitStatus.DONE


def test_a_nas_with_too_little_room_is_left_alone(
    backing_up: SmallLab, stores: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    class Small:
        f_frsize, f_bavail, f_blocks = 512, 1, 1000

    monkeypatch.setattr("ecogsafe.service.upload_planning.os.statvfs", lambda _path: Small())
    ended = send(backing_up)
    assert [e.code for e in ended.errors()] == ["store-full"]
    assert backing_up.stored("nas") == []
    assert len(keys(stores.by_url[VIDEO])) == 4
    monkeypatch.setattr("ecogsafe.service.upload_planning.os.statvfs", real)
    assert send(backing_up).status is ExitStatus.DONE


def test_every_place_failing_ends_10(backing_up: SmallLab, stores: StoresInMemory) -> None:
    for url in (VIDEO, RECORDINGS, DEEP):
        stores.add(url, fails(url, StoreUnreachableError(url, "no answer"), "head")[0])
    (backing_up.folder / "nas").rmdir()
    ended = send(backing_up)
    assert ended.status is ExitStatus.STORE
    assert isinstance(ended.error, StoreUnreachableError)
    assert len(ended.errors()) == 4


def test_a_place_that_dies_is_given_up_after_some_files(backing_up: SmallLab, stores: StoresInMemory) -> None:
    for number in range(3, 40):
        backing_up.avi(ONE, number)
    backing_up.clear()
    faulty, _ = fails(VIDEO, LOST, "put", skip=1)
    stores.add(VIDEO, faulty)
    ended = send(backing_up)
    assert ended.status is ExitStatus.PARTIAL
    assert whereabouts(ended) == {ONE: {"video": 39}, TWO: {"video": 2}}
    assert ended.run is not None
    assert "failed: video" in ended.run.message
