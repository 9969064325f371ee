"""`ecogsafe backup` by hand and from cron: a bucket, an archive and a NAS at once, then back from each of them."""

from __future__ import annotations

import os
import stat

import pytest

from tests.cli.lab import Lab, Result
from tests.cli.trees import digests
from tests.servers.azurite import AzuriteServer
from tests.servers.seaweed import SeaweedServer
from tests.service.counted_reads import count_reads


@pytest.fixture
def nightly(applied: Lab, s3_server: SeaweedServer) -> Lab:
    """A lab whose config names a bucket, an archive in another one, and a NAS on which recordings are plain."""
    applied.extra_env |= s3_server.env()
    (applied.folder / "nas").mkdir()
    applied.configure(
        f"""
outbox = "{applied.out}"
[[destination]]
name = "bucket"
url = "s3://{s3_server.new_bucket()}/lab"
encrypt = true
[[destination]]
name = "deep"
url = "s3://{s3_server.new_bucket()}"
archive = true
storage_class = "GLACIER_IR"
[[destination]]
name = "nas"
url = "file://{applied.folder}/nas"
mode = "0640"
"""
    )
    return applied


def urls(lab: Lab) -> list[str]:
    lines = (lab.home / "config.toml").read_text().splitlines()
    return [line.split('"')[1] for line in lines if line.startswith("url =")]


def cron(lab: Lab, status: int = 0) -> Result:
    """Run it as cron does: no terminal, no password."""
    return lab.run("-q", "backup", status=status, env={"ECOGSAFE_PASSWORD_FILE": "/nonexistent"})


@pytest.mark.server
def test_a_night_and_the_way_back(nightly: Lab) -> None:
    # `download` rebuilds what is below video, edf and text
    before = {name.partition("/")[2]: digest for name, digest in digests(nightly.out).items()}
    first = cron(nightly)
    assert first.said == "", "cron sends a mail for every word"
    told = nightly.run("--json", "backup")
    assert {tuple(e["details"]["missing"]) for e in told.of("item", action="backup")} == {()}
    assert told.summary["files"]["failed"] == 0
    bucket, deep, nas = urls(nightly)
    for number, url in enumerate((bucket, nas)):
        back = nightly.folder / f"back-{number}"
        back.mkdir()
        nightly.run("download", "--from", url, "-d", back)
        assert digests(back) == before, url
    for code in nightly.codes.values():
        (nightly.folder / f"cold-{code}").mkdir()
        nightly.run("--yes", "restore", code, "--from", deep, "-d", nightly.folder / f"cold-{code}")
    cold = {k: v for code in nightly.codes.values() for k, v in digests(nightly.folder / f"cold-{code}").items()}
    assert cold == before


@pytest.mark.server
def test_one_read_feeds_a_folder_two_buckets_and_azure(
    applied: Lab, s3_server: SeaweedServer, azurite: AzuriteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied.extra_env |= s3_server.env() | azurite.env()
    (applied.folder / "nas").mkdir()
    places = (
        ("bucket", f"s3://{s3_server.new_bucket()}/lab", "encrypt = true"),
        ("deep", f"s3://{s3_server.new_bucket()}", 'archive = true\nstorage_class = "DEEP_ARCHIVE"'),
        ("azure", f"azure://{azurite.new_container()}", "encrypt = true"),
        ("nas", f"file://{applied.folder}/nas", "encrypt = true"),
    )
    tables = "".join(f'[[destination]]\nname = "{name}"\nurl = "{url}"\n{more}\n' for name, url, more in places)
    applied.configure(f'outbox = "{applied.out}"\n{tables}')
    reads = count_reads(monkeypatch)
    told = applied.here("--json", "backup")
    size = sum(path.stat().st_size for path in applied.out.rglob("*") if path.is_file())
    assert size <= reads.total <= 1.01 * size, reads.by_name
    assert {tuple(e["details"]["missing"]) for e in told.of("item", action="backup")} == {()}
    volumes = told.of("item", action="archive", status="done")
    assert len({v["key"] for v in volumes}) == 4, "video and recordings of two patients"


@pytest.mark.server
def test_the_nas_is_readable_for_its_people_and_for_nobody_else(nightly: Lab) -> None:
    old = os.umask(0o077)
    try:
        cron(nightly)
    finally:
        os.umask(old)
    for path in (nightly.folder / "nas").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o2750 if path.is_dir() else 0o640), f"{oct(mode)} for a {path.suffix}"


@pytest.mark.server
def test_a_nas_that_is_not_mounted(nightly: Lab) -> None:
    cron(nightly)
    (nightly.folder / "nas").rename(nightly.folder / "elsewhere")
    (nightly.folder / "nas").mkdir()
    told = cron(nightly, status=3)
    assert "wrong-store" in told.err
    assert list((nightly.folder / "nas").iterdir()) == []
    assert "failed: nas" in told.out
