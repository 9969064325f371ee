"""Every store and every wrapper keeps every promise of the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.core.private import Secret
from ecogsafe.stores import azure_connect
from ecogsafe.stores.check import Check
from ecogsafe.stores.check_uploads import CHECKS
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.limited import Limited, Rate
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Retrying
from ecogsafe.stores.s3_connect import connect
from tests.servers.azurite import AzuriteServer
from tests.servers.seaweed import SeaweedServer

MIB = 1 << 20


def _no_pause(seconds: float) -> None:
    assert seconds >= 0


@pytest.fixture(scope="module")
def s3_stores(s3_server: SeaweedServer) -> Iterator[dict[str, Store]]:
    """Give stores of one bucket; two keys a page, so that every listing has several."""
    bucket = s3_server.new_bucket()

    def make(prefix: str) -> Store:
        return connect(
            bucket,
            prefix,
            endpoint_url=s3_server.endpoint_url,
            access_key=s3_server.access_key,
            secret_key=Secret(s3_server.secret_key.encode()),
            region=s3_server.region,
            page_size=2,
        )

    whole, below, wrapped = make(""), make("lab/eeg"), Retrying(make("other"), pause=_no_pause)
    yield {"bucket": whole, "prefix": below, "retrying": wrapped}
    for store in (whole, below, wrapped):
        store.close()


@pytest.fixture(scope="module")
def azure_stores(azurite: AzuriteServer) -> Iterator[dict[str, Store]]:
    """Give stores of one container; two names a page, so that every listing has several."""
    container = azurite.new_container()

    def make(prefix: str) -> Store:
        return azure_connect.connect(container, prefix, environment=azurite.env(), page_size=2)

    whole, below, wrapped = make(""), make("lab/eeg"), Retrying(make("other"), pause=_no_pause)
    yield {"container": whole, "prefix": below, "retrying": wrapped}
    for store in (whole, below, wrapped):
        store.close()


@pytest.fixture(params=["memory", "memory-5MiB", "directory", "retrying", "faulty", "limited", "both"])
def local_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "memory":
            return MemoryStore()
        case "memory-5MiB":
            return MemoryStore(min_part_bytes=5 * MIB)
        case "directory":
            return DirectoryStore(tmp_path)
        case "retrying":
            return Retrying(DirectoryStore(tmp_path), pause=_no_pause)
        case "limited":
            return Limited(DirectoryStore(tmp_path), Rate(1e12))
        case "faulty":
            return Faulty(MemoryStore())
        case _:
            return Retrying(Faulty(MemoryStore()), pause=_no_pause)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_local_store_keeps(local_store: Store, check: Check) -> None:
    check(local_store, "check/one/")


@pytest.mark.server
@pytest.mark.parametrize("kind", ["bucket", "prefix", "retrying"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_s3_keeps(s3_stores: dict[str, Store], kind: str, check: Check) -> None:
    check(s3_stores[kind], f"check/{check.__name__}/")


@pytest.mark.server
@pytest.mark.parametrize("kind", ["container", "prefix", "retrying"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_azure_keeps(azure_stores: dict[str, Store], kind: str, check: Check) -> None:
    check(azure_stores[kind], f"check/{check.__name__}/")
