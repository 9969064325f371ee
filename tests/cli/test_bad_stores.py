"""Stores that are not there, refuse, or are other ones: 10, a clear message, and nothing is lost."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.stores import open as opening
from ecogsafe.stores.retrying import Retrying
from tests.cli.lab import Lab
from tests.cli.trees import digests
from tests.servers.seaweed import SeaweedServer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again as often as always, without the pauses."""

    def without_pauses(inner: opening.Store, **options: Any) -> Retrying:
        return Retrying(inner, **{**options, "pause": lambda _seconds: None})

    monkeypatch.setattr(opening, "Retrying", without_pauses)


def upload(lab: Lab, url: str, *more: str, status: int) -> dict[str, object]:
    done = lab.here("--json", "upload", "-d", lab.out, "--to", url, "-t", "v", *more, status=status)
    return done.error


@pytest.mark.usefixtures("impatient")
def test_a_server_that_does_not_answer(applied: Lab, s3_server: SeaweedServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # bound, not listening: connections are refused and nobody else takes the port
        port = taken.getsockname()[1]
        applied.extra_env = s3_server.env() | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}
        error = upload(applied, "s3://lab-video", status=10)
        assert error["code"] == "store-unreachable"
        assert "safe" in error
        back = applied.folder / "back"
        back.mkdir()
        applied.here("--json", "download", "-b", "lab-video", "-d", back, status=10)
        assert not list(back.iterdir())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["wrong secret", "unknown key", "no credentials", "read only", "no bucket"])
def test_a_bucket_that_refuses(applied: Lab, s3_server: SeaweedServer, how: str) -> None:
    bucket = "nobody-made-this" if how == "no bucket" else s3_server.new_bucket()
    changes = {
        "wrong secret": {"AWS_SECRET_ACCESS_KEY": "guessed"},
        "unknown key": {"AWS_ACCESS_KEY_ID": "stranger"},
        "no credentials": {"AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY_ID": ""},
        "read only": {
            "AWS_ACCESS_KEY_ID": s3_server.reader_access_key,
            "AWS_SECRET_ACCESS_KEY": s3_server.reader_secret_key,
        },
        "no bucket": {},
    }
    env = {name: value for name, value in (s3_server.env() | changes[how]).items() if value}
    applied.extra_env = env
    error = upload(applied, f"s3://{bucket}", status=10)
    codes = {"no credentials": "store-credentials", "no bucket": "store-refused"}
    assert error["code"] == codes.get(how, "store-forbidden")
    assert "guessed" not in str(error)
    assert s3_server.access_key not in str(error) or how == "no bucket"
    if how != "no bucket":
        assert "Contents" not in s3_server.client().list_objects_v2(Bucket=bucket)
        applied.extra_env = s3_server.env()
        applied.here("upload", "-d", applied.out, "-b", bucket, "-t", "v")


def test_a_folder_that_is_not_there(applied: Lab) -> None:
    store = applied.folder / "nas"
    error = upload(applied, store.as_uri(), status=10)
    assert error["next"]
    assert not store.exists(), "a vanished mount must not be made anew"


def test_a_mount_that_vanished_is_not_written_to(applied: Lab) -> None:
    store = applied.folder / "nas"
    store.mkdir()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e")
    store.rename(applied.folder / "unplugged")
    store.mkdir()
    assert upload(applied, store.as_uri(), status=10)["code"] == "wrong-store"
    assert not list(store.iterdir())
    done = applied.here("--json", "verify", status=10)
    assert done.of("error")[0]["code"] == "wrong-store"


def test_another_store_under_the_same_url(applied: Lab, tmp_path: Path) -> None:
    first, other = applied.folder / "nas", applied.folder / "other"
    for store in (first, other):
        store.mkdir()
        applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e")
    first.rename(tmp_path / "kept")
    other.rename(first)
    before = digests(first)
    assert upload(applied, first.as_uri(), status=10)["code"] == "wrong-store"
    assert digests(first) == before


@pytest.mark.parametrize(
    "url", ["ftp://lab/x", "azure://l", "file://nas/share", "s3://", "lab-video", "file:///a/../b"]
)
def test_urls_that_are_no_store(applied: Lab, url: str) -> None:
    assert upload(applied, url, status=2)["exit_status"] == 2


def test_a_url_with_credentials_is_not_repeated(applied: Lab) -> None:
    upload(applied, "https://user:sEcrEtword@host/bucket", status=2)
    assert applied.residue_in_words(["sEcrEtword"]) == []


def test_a_download_of_what_is_not_there(applied: Lab) -> None:
    store, back = applied.folder / "nas", applied.folder / "back"
    store.mkdir()
    back.mkdir()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e")
    done = applied.here("--json", "download", "--from", store.as_uri(), "-d", back, "-s", "abcdef01", status=2)
    assert done.error["next"]
    nested = applied.folder / "nowhere" / "back"
    applied.here("--json", "download", "--from", store.as_uri(), "-d", nested, status=2)
    assert not (applied.folder / "nowhere").exists()


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_object_is_told_and_never_restored(applied: Lab, damage: str) -> None:
    store, back = applied.folder / "nas", applied.folder / "back"
    store.mkdir()
    back.mkdir()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    victim = sorted(store.rglob("*.avi.age"))[0]
    data = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        victim.chmod(0o600)
        victim.write_bytes(data[:-1] if damage == "cut" else data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    told = applied.here("--json", "verify", "--deep", status=30)
    assert victim.name in told.of("error")[0]["message"]
    assert told.summary["counts"]["bad"] == 1
    done = applied.here("--json", "download", "--from", store.as_uri(), "-d", back, status=None)
    missing = back / victim.relative_to(store).with_suffix("")
    assert not missing.exists()
    if damage != "gone":
        assert done.status == 30
        assert missing.name in done.of("error")[0]["message"]
        assert done.summary["files"]["done"] == len(list(store.rglob("*/*_*.age"))) - 1 - _own(store)
    assert not list(back.rglob("*ecogsafe*"))


def _own(store: Path) -> int:
    return sum(1 for p in (store / "_ecogsafe").rglob("*_*.age"))
