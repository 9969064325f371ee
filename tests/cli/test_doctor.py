"""``ecogsafe doctor``, as somebody types it on the first day, and on a bad one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecogsafe.service import doctor_places
from tests.cli.lab import Lab
from tests.servers.seaweed import SeaweedServer


@pytest.fixture
def places(lab: Lab, s3_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A bucket that is set up well and a folder, both destinations of the settings."""
    monkeypatch.setattr(doctor_places, "LEAST_FREE_BYTES", 1)
    bucket, nas = s3_server.new_bucket(), lab.folder / "nas"
    nas.mkdir()
    lab.extra_env = s3_server.env()
    client = s3_server.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    urls = {"cloud": f"s3://{bucket}/lab", "nas": nas.as_uri()}
    rows = "".join(f'[[destination]]\nname = "{name}"\nurl = "{url}"\n' for name, url in urls.items())
    lab.configure(f"{rows}[policy]\ncopies = 2\n")
    return {**urls, "bucket": bucket}


@pytest.mark.server
def test_each_place_is_written_to_and_judged(lab: Lab, places: dict[str, str], s3_server: SeaweedServer) -> None:
    done = lab.here("--json", "doctor", "--open-key", status=3)
    checks = {(i.get("store"), i["details"]["check"]): i for i in done.of("item", action="doctor")}
    for name in ("cloud", "nas"):
        assert checks[name, "reach"]["status"] == checks[name, "probe"]["status"] == "done"
    assert checks["cloud", "clock"]["status"] == checks["cloud", "versioning"]["status"] == "done"
    assert "opens the lab key" in checks[None, "lab key"]["message"]
    # the bucket has no rule for uploads that were never finished
    assert [k for k, i in checks.items() if i["status"] == "failed"] == [("cloud", "lifecycle")]
    assert "AbortIncompleteMultipartUpload" in checks["cloud", "lifecycle"]["details"]["fix"]
    assert done.summary["counts"]["checks_bad"] == 1
    listed = s3_server.client().list_objects_v2(Bucket=places["bucket"])["Contents"]
    assert [o["Key"].rpartition("/")[0] for o in listed] == ["lab/_ecogsafe/probe", "lab/_ecogsafe"]


@pytest.mark.server
def test_marks_and_fixes_are_shown_to_a_person(lab: Lab, places: dict[str, str]) -> None:
    done = lab.here("doctor", status=3)
    assert "✓ nas: probe: " in done.out
    assert "✗ cloud: lifecycle: " in done.err
    assert "    fix: add a rule AbortIncompleteMultipartUpload" in done.err
    assert "to fix: 1" in done.out


@pytest.mark.server
def test_credentials_that_may_only_read_are_told(lab: Lab, places: dict[str, str], s3_server: SeaweedServer) -> None:
    lab.here("doctor", status=3)
    shutil.rmtree(lab.folder / "nas" / "_ecogsafe" / "probe")
    reader = {
        "AWS_ACCESS_KEY_ID": s3_server.reader_access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.reader_secret_key,
    }
    done = lab.here("--json", "doctor", status=3, env=reader)
    failed = [(i["store"], i["details"]["check"]) for i in done.of("item", status="failed")]
    assert ("cloud", "probe") in failed
    assert ("nas", "probe") not in failed


@pytest.mark.server
def test_no_place_at_all_in_reach_ends_10(lab: Lab, places: dict[str, str]) -> None:
    shutil.rmtree(lab.folder / "nas")
    done = lab.here("--json", "doctor", status=10, env={"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})
    failed = [(i["store"], i["details"]["check"]) for i in done.of("item", status="failed")]
    assert failed == [("cloud", "reach"), ("nas", "reach")]


def test_before_init_it_says_init(tmp_path: Path) -> None:
    done = Lab(tmp_path).here("doctor", status=3)
    assert "fix: ecogsafe init" in done.err
    assert not (tmp_path / "home").exists()
