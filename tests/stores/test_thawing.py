"""Cold objects of S3: what HEAD says, and every answer to the request that thaws them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ecogsafe.core.errors import (
    EcogsafeError,
    ObjectMissingError,
    StoreBusyError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.core.private import Secret
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.retrying import Retrying
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_connect import connect
from ecogsafe.stores.s3_thawing import thaw_of
from ecogsafe.stores.thawing import Thaw, ThawState, thawing_store
from tests.servers.scripted import Answer, ScriptedServer, error

MIDNIGHT = datetime(2026, 12, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("storage_class", "header", "thaw"),
    [
        (None, None, None),
        ("STANDARD", 'ongoing-request="true"', None),
        ("GLACIER_IR", None, None),
        ("GLACIER", None, Thaw(ThawState.FROZEN)),
        ("DEEP_ARCHIVE", "something new", Thaw(ThawState.FROZEN)),
        ("DEEP_ARCHIVE", 'ongoing-request="true"', Thaw(ThawState.THAWING)),
        ("GLACIER", 'ongoing-request="false"', Thaw(ThawState.THAWED)),
        (
            "GLACIER",
            'ongoing-request="false", expiry-date="Thu, 24 Dec 2026 00:00:00 GMT"',
            Thaw(ThawState.THAWED, MIDNIGHT),
        ),
        ("GLACIER", 'ongoing-request="false", expiry-date="some day"', Thaw(ThawState.THAWED)),
    ],
)
def test_what_head_says(storage_class: str | None, header: str | None, thaw: Thaw | None) -> None:
    assert thaw_of(storage_class, header) == thaw


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def store(server: ScriptedServer) -> Iterator[S3Store]:
    made = connect(
        "bucket", "lab", endpoint_url=server.url, access_key="k", secret_key=Secret(b"s"), region="us-east-1"
    )
    yield made
    made.close()


def test_the_request(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(status=202))
    store.request_thaw("a b/c", tier="Bulk", days=3)
    (asked,) = server.asked
    assert (asked.method, asked.target.split("?")[0]) == ("POST", "/bucket/lab/a%20b/c")
    assert b"<Days>3</Days>" in asked.body
    assert b"<Tier>Bulk</Tier>" in asked.body


@pytest.mark.parametrize("code", ["RestoreAlreadyInProgress", "ObjectAlreadyInActiveTierError"])
def test_what_was_asked_before_is_fine(store: S3Store, server: ScriptedServer, code: str) -> None:
    server.then(error(code, 409))
    store.request_thaw("key", tier="Standard", days=1)


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("GlacierExpeditedRetrievalNotAvailable", 503, StoreRefusedError, "no room for Expedited"),
        ("InvalidArgument", 400, StoreRefusedError, "does not offer this tier"),
        ("MethodNotAllowed", 405, StoreRefusedError, "does not thaw"),
        ("NotImplemented", 501, StoreRefusedError, "does not thaw"),
        ("NoSuchKey", 404, ObjectMissingError, "not there"),
        ("AccessDenied", 403, StoreRefusedError, "refuses access"),
        ("SlowDown", 503, StoreBusyError, "is busy"),
    ],
)
def test_what_is_refused(
    store: S3Store, server: ScriptedServer, code: str, status: int, kind: type[EcogsafeError], words: str
) -> None:
    server.then(error(code, status))
    with pytest.raises(kind, match=words):
        store.request_thaw("key", tier="Expedited", days=1)


def test_a_lost_answer_is_asked_for_again(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(reset=True), error("RestoreAlreadyInProgress", 409))
    Retrying(store, pause=lambda _seconds: None).request_thaw("key", tier="Bulk", days=1)
    assert len(server.asked) >= 2


def test_without_the_wrapper_the_broken_line_shows(store: S3Store, server: ScriptedServer) -> None:
    server.then(*[Answer(reset=True)] * 10)
    with pytest.raises(StoreUnreachableError):
        store.request_thaw("key", tier="Bulk", days=1)


def test_which_stores_thaw(store: S3Store, tmp_path: Path) -> None:
    assert thawing_store(store) is store
    assert thawing_store(Faulty(store)) is store
    wrapped = Retrying(Faulty(store))
    assert thawing_store(wrapped) is wrapped
    for other in (MemoryStore(), DirectoryStore(tmp_path), Retrying(MemoryStore()), Retrying(Faulty(MemoryStore()))):
        assert thawing_store(other) is None
    with pytest.raises(StoreRefusedError, match="keeps nothing cold"):
        Retrying(MemoryStore()).request_thaw("key", tier="Bulk", days=1)
