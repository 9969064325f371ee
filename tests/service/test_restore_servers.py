"""`restore` against servers with real states: MiniStack says "in progress", moto refuses what is frozen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.core.errors import ExitStatus, StillColdError, StoreRefusedError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service import restore_thawing
from ecogsafe.stores.retrying import Retrying
from ecogsafe.stores.s3_connect import connect
from ecogsafe.stores.thawing import ThawState, thawing_store
from tests.servers.cold import MINISTACK, MOTO, CannotInstallError, ColdServer, Kind
from tests.service.small_lab import CODES, SmallLab
from tests.service.test_restore import ALL, EDF, FILES, RECORDINGS, VID, Asked, back, bring, index_of, volume

pytestmark = pytest.mark.server
CODE = CODES[0]


def _started(kind: Kind, folder: Path) -> Iterator[ColdServer]:
    server = ColdServer(kind, folder)
    try:
        try:
            server.start()
        except CannotInstallError as error:
            pytest.skip(f"the package cannot be installed here: {error}")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColdServer]:
    yield from _started(MINISTACK, tmp_path_factory.mktemp("ministack"))


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColdServer]:
    yield from _started(MOTO, tmp_path_factory.mktemp("moto"))


def store_of(server: ColdServer, prefix: str) -> Retrying:
    return Retrying(
        connect(
            "cold",
            prefix,
            endpoint_url=server.endpoint_url,
            access_key="testkey",
            secret_key=Secret(b"testsecret"),
            region="us-east-1",
        ),
        pause=lambda _seconds: None,
    )


def put(store: Retrying, key: str, data: bytes, storage_class: str | None = None) -> None:
    store.put(key, data, crc64=crc64nvme(data), token="0" * 32, storage_class=storage_class)


def state(store: Retrying, key: str) -> ThawState | None:
    info = store.head(key)
    assert info is not None
    return info.thaw.state if info.thaw else None


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
@pytest.mark.parametrize("kind", ["ministack", "moto"])
def test_states_of_an_object(kind: str, storage_class: str, request: pytest.FixtureRequest) -> None:
    store = store_of(request.getfixturevalue(kind), f"states-{storage_class}")
    try:
        put(store, "warm", b"warm")
        put(store, "a b/cold", b"cold", storage_class)
        assert state(store, "warm") is None
        assert state(store, "a b/cold") is ThawState.FROZEN
        with pytest.raises(StillColdError, match="must be thawed"):
            list(store.read("a b/cold"))
        thawing = thawing_store(store)
        assert thawing is not None
        thawing.request_thaw("a b/cold", tier="Bulk", days=2)
        if kind == "ministack":
            assert state(store, "a b/cold") is ThawState.THAWING
            # asking twice is asking once
            thawing.request_thaw("a b/cold", tier="Bulk", days=2)
            for _ in range(100):
                if state(store, "a b/cold") is ThawState.THAWED:
                    break
                time.sleep(0.1)
        info = store.head("a b/cold")
        assert info is not None
        assert info.thaw is not None
        assert info.thaw.state is ThawState.THAWED
        assert info.thaw.expires is not None
        assert info.thaw.expires.tzinfo is not None
        assert b"".join(store.read("a b/cold")) == b"cold"
        thawing.request_thaw("a b/cold", tier="Bulk", days=2)
    finally:
        store.close()


def fill(server: ColdServer, small: SmallLab, prefix: str) -> str:
    store = store_of(server, prefix)
    try:
        for kind, files in (("vid", FILES), ("edf", RECORDINGS)):
            made = volume(small, files, kind)
            put(store, made.key, made.data, "DEEP_ARCHIVE")
            put(store, made.index_key, index_of(small, made))
        with small.catalog() as catalog:
            put(
                store,
                f"{CODE}/{CODE}_5/{CODE}_5_0001.avi.age",
                seal(b"one by one", small.home.recipients(catalog)),
                "GLACIER",
            )
    finally:
        store.close()
    return f"s3://cold/{prefix}"


@pytest.mark.parametrize("kind", ["ministack", "moto"])
def test_a_subject_comes_back(
    kind: str, small_lab: SmallLab, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: ColdServer = request.getfixturevalue(kind)
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    url = fill(server, small_lab, "subject")
    monkeypatch.setattr(restore_thawing, "LOOK_AGAIN_LEAST_S", 0.3)
    monkeypatch.setattr(restore_thawing, "LOOK_AGAIN_MOST_S", 0.3)
    asked = Asked()
    first = bring(small_lab, asked, url=url)
    assert first.status is ExitStatus.COLD
    assert len(asked.questions) == 1
    assert {item.key for item in first.items(action="thaw")} == {VID, EDF, f"{CODE}/{CODE}_5/{CODE}_5_0001.avi.age"}
    second = bring(small_lab, asked, url=url, wait=True)
    assert second.status is ExitStatus.DONE
    assert len(asked.questions) == 1
    assert back(small_lab) == ALL | {f"{CODE}/{CODE}_5/{CODE}_5_0001.avi": b"one by one"}


def test_a_store_that_thaws_nothing(s3_server: object) -> None:
    """SeaweedFS answers 405: that is a refusal with a next step, not a bug."""
    from tests.servers.seaweed import SeaweedServer

    assert isinstance(s3_server, SeaweedServer)
    store = connect(
        s3_server.new_bucket(),
        endpoint_url=s3_server.endpoint_url,
        access_key=s3_server.access_key,
        secret_key=Secret(s3_server.secret_key.encode()),
        region=s3_server.region,
    )
    try:
        store.put("cold", b"x", crc64=crc64nvme(b"x"), token="0" * 32, storage_class="GLACIER")
        with pytest.raises(StoreRefusedError, match="does not thaw objects"):
            store.request_thaw("cold", tier="Bulk", days=1)
    finally:
        store.close()
