"""Each place of a `backup` failing in turn: the others are completed, it is named, the next run finishes it.

Every way of failing is tried at every place by ``make soak`` (``ECOGSAFE_SOAK_KILLS``), each way once by ``make test``.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ecogsafe.stores import open as opening
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.retrying import Retrying
from tests.cli.lab import Lab, Result
from tests.cli.restricted import full_disk, need_mounts, read_only
from tests.servers.azurite import ACCOUNT, KEY, AzuriteServer
from tests.servers.proxy import Proxy, Trouble
from tests.servers.seaweed import SeaweedServer

pytestmark = pytest.mark.server

_EVERY = "ECOGSAFE_SOAK_KILLS" in os.environ
_FOR_EVER = 10**6
#: files of each type that are kept of a subject: this is about places
_FILES = 3
_DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no</Message></Error>"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again as often as always, without the pauses."""

    def without_pauses(inner: opening.Store, **options: Any) -> Retrying:
        return Retrying(inner, **{**options, "pause": lambda _seconds: None})

    monkeypatch.setattr(opening, "Retrying", without_pauses)


class Places:
    """A small lab with four destinations; what is on a server is reached through a proxy of its own."""

    def __init__(self, lab: Lab, s3: SeaweedServer, azure: AzuriteServer, stack: ExitStack) -> None:
        self.lab = lab
        self.bucket, self.deep, self.container = s3.new_bucket(), s3.new_bucket(), azure.new_container()
        self.nas = lab.folder / "nas"
        self.nas.mkdir()
        to_s3 = stack.enter_context(Proxy(s3.endpoint_url))
        to_azure = stack.enter_context(Proxy(f"http://127.0.0.1:{azure.port}"))
        self._proxies = {"bucket": to_s3, "deep": to_s3, "azure": to_azure}
        self._paths = {"bucket": f"/{self.bucket}", "deep": f"/{self.deep}", "azure": f"/{ACCOUNT}/{self.container}"}
        lab.extra_env = s3.env() | {
            "AWS_ENDPOINT_URL_S3": to_s3.url,
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint={to_azure.url}/{ACCOUNT};"
            ),
        }
        places = {
            "nas": (self.nas.as_uri(), "plain = true"),
            "bucket": (f"s3://{self.bucket}", "encrypt = true"),
            "deep": (f"s3://{self.deep}", "archive = true"),
            "azure": (f"azure://{self.container}", "encrypt = true"),
        }
        self.names = tuple(places)
        lab.configure(
            f'outbox = "{lab.out}"\n'
            + "".join(
                f'[[destination]]\nname = "{n}"\nurl = "{url}"\ntypes = ["v", "e"]\n{more}\n'
                for n, (url, more) in places.items()
            )
        )

    def trouble(self, place: str, kind: Any, *, skip: int = 0, writes: bool = False, **more: Any) -> None:
        """Let every request to a place go wrong from now on, or every one that writes, after ``skip`` of them."""
        path = self._paths[place]

        def match(method: str, target: str) -> bool:
            mine = target.split("?", maxsplit=1)[0] == path or target.startswith((f"{path}/", f"{path}?"))
            # the catalogue's snapshots and the store's id are not counted: they are written at their own times
            return mine and (not writes or (method in ("PUT", "POST") and "_ecogsafe" not in target))

        self._proxies[place].make(Trouble(kind, match, times=_FOR_EVER, skip=skip, **more))

    def calm(self) -> None:
        for proxy in self._proxies.values():
            proxy.calm()

    def first_night(self) -> None:
        """Send a little, so that every place is one that this lab has met."""
        (folder,) = (self.lab.out / "edf").glob(f"{self.lab.codes['a']}_edf")
        self.lab.here("backup", folder)


@pytest.fixture
def places(applied: Lab, s3_server: SeaweedServer, azurite: AzuriteServer) -> Iterator[Places]:
    for folder in [*(applied.out / "video").iterdir(), *(applied.out / "edf").iterdir()]:
        files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (p.stat().st_size, p.name))
        for file in files[_FILES:]:
            file.unlink()
    shutil.rmtree(applied.out / "text")
    with ExitStack() as stack:
        yield Places(applied, s3_server, azurite, stack)


def missing(done: Result) -> Counter[str]:
    """Return how many files are missing at each place, of all subjects."""
    total: Counter[str] = Counter()
    for item in done.of("item", action="backup"):
        total.update(item["details"]["missing"])
    return total


def check_failed(done: Result, place: str, code: str) -> None:
    """Only that place lacks files; it is named once, with why and how many."""
    assert set(missing(done)) == {place}, done.out
    assert done.summary["exit_status"] == 3
    assert f"failed: {place}" in done.summary["message"]
    told = [e for e in done.of("error") if e["code"] == code]
    assert len(told) == 1, [e["message"] for e in done.of("error")]
    assert {e["code"] for e in done.of("error")} == {code}
    assert told[0]["next"]
    assert not done.of("item", action="snapshot", status="failed"), "it was asked once more for a snapshot"


def check_finished(places: Places) -> None:
    """The next night completes what is missing, and sends nothing to the others."""
    done = places.lab.here("--json", "backup")
    assert not missing(done)
    sent = [i["store"] for i in done.of("item", action="upload", status="done") if i["details"]["sent_bytes"]]
    assert len(set(sent)) <= 1, "what was complete was sent again"


def night(places: Places) -> Result:
    return places.lab.here("--json", "backup", status=3)


ON_SERVERS: dict[str, tuple[dict[str, Any], str]] = {
    "down": ({"kind": "reset"}, "store-unreachable"),
    "forbidden": ({"kind": "answer", "status": 403, "body": _DENIED}, "store-forbidden"),
    "forbidden to write": ({"kind": "answer", "status": 403, "body": _DENIED, "writes": True}, "store-forbidden"),
    "full": ({"kind": "answer", "status": 507, "writes": True}, "store-full"),
    "dies half-way": ({"kind": "reset", "writes": True, "skip": 2}, "store-unreachable"),
}


#: with place and way; a server that is down and one that forbids everything fail at the same step
_SOME = [
    ("bucket", "forbidden to write"),
    ("bucket", "full"),
    ("bucket", "dies half-way"),
    ("azure", "down"),
    ("azure", "forbidden to write"),
    ("azure", "dies half-way"),
]


@pytest.mark.parametrize(
    ("place", "how"), [(place, how) for place in ("bucket", "azure") for how in ON_SERVERS] if _EVERY else _SOME
)
def test_a_server_that_fails(places: Places, place: str, how: str) -> None:
    trouble, code = ON_SERVERS[how]
    places.trouble(place, **trouble)
    done = night(places)
    check_failed(done, place, code)
    if "writes" in trouble:
        (told,) = done.of("error")
        assert f"{missing(done)[place]} files did not get there" in told["message"]
    places.calm()
    check_finished(places)


@pytest.mark.parametrize("how", ON_SERVERS if _EVERY else ["forbidden to write"])
def test_an_archive_that_fails(places: Places, how: str) -> None:
    trouble, code = ON_SERVERS[how]
    places.trouble("deep", **trouble)
    done = night(places)
    check_failed(done, "deep", code)
    places.calm()
    check_finished(places)


def _unplugged(places: Places) -> Callable[[], None]:
    aside = places.lab.folder / "unplugged"
    places.nas.rename(aside)
    return lambda: aside.replace(places.nas)


def _bare_mount_point(places: Places) -> Callable[[], None]:
    back = _unplugged(places)
    places.nas.mkdir()

    def mount_again() -> None:
        assert list(places.nas.iterdir()) == [], "the bare mount point was written to"
        places.nas.rmdir()
        back()

    return mount_again


_VANISHED = [
    pytest.param(_bare_mount_point, "wrong-store", id="bare"),
    *([pytest.param(_unplugged, "store-unreachable", id="gone")] if _EVERY else []),
]


@pytest.mark.parametrize(("vanish", "code"), _VANISHED)
def test_a_folder_that_is_not_there(places: Places, vanish: Callable[[Places], Callable[[], None]], code: str) -> None:
    places.first_night()
    come_back = vanish(places)
    check_failed(night(places), "nas", code)
    come_back()
    check_finished(places)


_TAKES_NOTHING = [("full", "store-full"), *([("read-only", "store-forbidden")] if _EVERY else [])]


@pytest.mark.parametrize(("how", "code"), _TAKES_NOTHING)
def test_a_disk_that_takes_nothing(places: Places, how: str, code: str) -> None:
    need_mounts()
    places.first_night()
    prefix = read_only(places.nas) if how == "read-only" else full_disk(places.nas, 0)
    done = places.lab.run("--json", "backup", status=3, prefix=prefix)
    check_failed(done, "nas", code)
    check_finished(places)


def test_a_disk_that_is_unplugged_half_way(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = places.lab.folder / "unplugged"
    real, count = DirectoryStore.put, Counter[str]()

    def put(self: DirectoryStore, key: str, body: Any, **options: Any) -> Any:
        count["put"] += not key.startswith("_ecogsafe/")
        if count["put"] == 3 and not aside.exists():
            places.nas.rename(aside)
        return real(self, key, body, **options)

    monkeypatch.setattr(DirectoryStore, "put", put)
    done = night(places)
    check_failed(done, "nas", "store-unreachable")
    assert not places.nas.exists(), "a folder was made where the disk had been"
    monkeypatch.undo()
    aside.rename(places.nas)
    check_finished(places)


def test_every_place_failing_ends_10(places: Places) -> None:
    for place in ("bucket", "deep", "azure"):
        places.trouble(place, "reset")
    come_back = _unplugged(places)
    done = places.lab.here("--json", "backup", status=10)
    assert set(missing(done)) == set(places.names)
    assert {e["code"] for e in done.of("error")} == {"store-unreachable"}
    come_back()
    places.calm()
    assert not missing(places.lab.here("--json", "backup"))


@pytest.mark.parametrize("place", ["bucket", "azure"] if _EVERY else ["azure"])
def test_an_upload_that_is_forbidden_says_so_once(places: Places, place: str) -> None:
    """The one place of `upload` refuses every write: one error with a count, not one for each file."""
    url = f"s3://{places.bucket}" if place == "bucket" else f"azure://{places.container}"
    places.trouble(place, "answer", status=403, body=_DENIED, writes=True)
    words = ["--json", "upload", "-d", places.lab.out, "--to", url, "-t", "v"]
    done = places.lab.here(*words, status=10)
    assert done.error["code"] == "store-forbidden"
    assert f"{2 * _FILES} files did not get there" in done.error["message"]
    places.calm()
    assert places.lab.here(*words).summary["files"]["done"] == 2 * _FILES
