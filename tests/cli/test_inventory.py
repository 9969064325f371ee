"""`inventory` as a person runs it: on a folder and on a real S3 server."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.service.home import Home
from tests.cli.lab import Lab, Result
from tests.servers.seaweed import SeaweedServer


@pytest.fixture
def url(applied: Lab) -> str:
    """A folder store with the recordings of two patients."""
    (applied.folder / "store").mkdir()
    url = (applied.folder / "store").as_uri()
    applied.here("upload", "-d", applied.out, "--to", url, "-t", "e")
    return url


def total(result: Result) -> dict[str, Any]:
    (item,) = [i for i in result.of("item", action="inventory") if i.get("details", {}).get("total")]
    details: dict[str, Any] = item["details"]
    return details


def forget(lab: Lab) -> None:
    """Make the catalogue one that knows the subjects and the stores, and nothing that was sent."""
    catalog = Home(lab.home).open_catalog()
    with catalog.write() as tx:
        for table in ("copies", "intents", "acks", "uploads", "parts", "sealings", "files"):
            tx.exec_driver_sql(f"DELETE FROM {table}")
    catalog.close()


def test_lines_for_people(applied: Lab, url: str) -> None:
    said = applied.here("inventory", url)
    assert f"all {total(applied.here('--json', 'inventory', url))['present']} recorded copies are there" in said.out
    for code in applied.codes.values():
        assert f"{code}  " in said.out
    assert ".edf" not in said.out, "keys are for -v"
    assert ".edf" in applied.here("-v", "inventory", url).out
    known = applied.here("inventory", url, "--known").out
    assert "the store was not asked" in known and "proven since" in known


def test_the_old_place_of_somebody_else(applied: Lab, url: str) -> None:
    """Names that are not of our form are somebody's own, and perhaps a patient's."""
    stray = applied.folder / "store" / "Post~ Ada" / "Post.avi"
    stray.parent.mkdir()
    stray.write_bytes(b"x")
    result = applied.here("--json", "-v", "inventory", url)
    assert total(result)["foreign"] == 1 and "Post" not in result.said


def test_a_file_that_is_gone_ends_30_with_its_key(applied: Lab, url: str) -> None:
    lost = next((applied.folder / "store").rglob("*.edf"))
    lost.unlink()
    result = applied.here("inventory", url, status=30)
    assert lost.name in result.err and "missing" in result.err
    assert "verify --store" in result.out


def test_adopted_and_then_read(applied: Lab, url: str) -> None:
    forget(applied)
    unknown = total(applied.here("--json", "inventory", url))["unknown"]
    assert unknown > 2
    adopted = applied.here("--json", "inventory", url, "--adopt")
    assert adopted.summary["counts"]["adopted"] == unknown
    assert "stored only" in applied.here("status").out
    deep = applied.here("--json", "verify", "--deep")
    assert deep.summary["files"]["done"] == unknown and all(i.get("digest") for i in deep.of("item", action="verify"))
    assert "stored only" not in applied.here("status").out
    (applied.folder / "back").mkdir()
    back = applied.here("--json", "download", "--from", url, "-d", applied.folder / "back")
    assert "digests equal" in back.summary["message"]


def test_a_withdrawal_is_proven_after_the_script_ran(applied: Lab, url: str) -> None:
    code = applied.codes["a"]
    script = applied.here("--yes", "subjects", "withdraw", code).out
    assert "ecogsafe inventory URL proves" in script
    still = applied.here("inventory", url, status=3).out
    assert "of it are still there" in still
    subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    before = applied.here("--json", "status").summary["counts"]["unsafe"]
    proven = applied.here("inventory", url).out
    # what was removed on purpose is no problem
    problems = applied.here("--json", "status").of("item", action="problem")
    assert len(problems) <= before and not [p for p in problems if code in p["message"]]
    assert f"{code}  withdrew, and is proven gone from this store" in proven
    after = applied.here("subjects", "withdraw", code).out
    assert "are proven gone, noted" in after and "no further copy is recorded" in after and "\nrm " not in after
    # the other patient is untouched, and so is the answer next time
    assert "proven gone" in applied.here("inventory", url).out
    # taken back and sent again, it is a copy like any other
    applied.here("--yes", "subjects", "withdraw", code, "--undo")
    applied.here("upload", "-d", applied.out, "--to", url, "-t", "e")
    applied.here("inventory", url)
    assert "proven gone" not in applied.here("--yes", "subjects", "withdraw", code).out


def test_who_is_not_asked_does_not_abort(applied: Lab, url: str) -> None:
    applied.here("inventory", url, "--abort-orphans")
    applied.here("inventory", url, "--known", "--abort-orphans", status=2)
    applied.here("inventory", "nowhere", status=2)
    applied.here("inventory", "s3://never-met", "--known", status=2)


@pytest.mark.server
def test_a_bucket(applied: Lab, s3_server: SeaweedServer, tmp_path: Path) -> None:
    applied.extra_env = s3_server.env()
    bucket, client = s3_server.new_bucket(), s3_server.client()
    url = f"s3://{bucket}/lab"
    for kind in ("v", "e"):
        applied.here("upload", "-d", applied.out, "--to", url, "-t", kind)
    whole = applied.here("--json", "inventory", url)
    assert total(whole)["present"] == len(whole.of("item", action="inventory", status="present")) > 10
    assert total(whole)["different"] == 0 and total(whole)["currency"] == "USD"
    # of two machines the other one adopts, after it lost its catalogue
    key = sorted(i["key"] for i in whole.of("item", action="inventory", status="present"))[0]
    forget(applied)
    client.delete_object(Bucket=bucket, Key=f"lab/{key}")
    other = client.create_multipart_upload(Bucket=bucket, Key=f"lab/{key}")["UploadId"]
    client.upload_part(Bucket=bucket, Key=f"lab/{key}", UploadId=other, PartNumber=1, Body=b"part")
    adopted = applied.here("--json", "inventory", url, "--adopt")
    assert adopted.summary["counts"]["adopted"] == total(whole)["present"] - 1
    (unfinished,) = [i for i in adopted.of("item", action="unfinished") if "key" in i]
    assert (unfinished["key"], unfinished["bytes"]) == (key, 4)
    assert unfinished["details"]["standing"] == "not in this catalogue"
    assert applied.here("--json", "verify", "--deep").summary["exit_status"] == 0
    assert total(applied.here("--json", "inventory", url))["present"] == total(whole)["present"] - 1
    # it is minutes old, and may be at work: left alone
    applied.here("inventory", url, "--abort-orphans")
    assert client.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == other
