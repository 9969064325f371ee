"""The everyday commands against Azure blobs, as a user types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.test_old_copies import CLIPS, RECORDING, old, tree
from tests.cli.trees import digests
from tests.servers.azurite import KEY, AzuriteServer

__all__ = ["old"]
pytestmark = pytest.mark.server


@pytest.fixture
def azure_lab(applied: Lab, azurite: AzuriteServer) -> Lab:
    applied.extra_env = azurite.env()
    return applied


def test_up_proven_and_back(azure_lab: Lab, azurite: AzuriteServer, tmp_path: Path) -> None:
    url = f"azure://{azurite.new_container()}/lab"
    for data_type, more in (("v", ()), ("e", ("--encrypt",))):
        sent = azure_lab.here("--json", "upload", "-d", azure_lab.out, "--to", url, "-t", data_type, *more)
        assert sent.of("item", action="upload", status="done")
        assert not [i for i in sent.of("item", action="upload") if i.get("level") == "stored"]
    again = azure_lab.here("--json", "upload", "-d", azure_lab.out, "--to", url, "-t", "v")
    assert not again.of("item", action="upload", status="done")
    azure_lab.here("verify", "--store", url)
    azure_lab.here("verify", "--store", url, "--deep")
    status = azure_lab.here("--json", "status")
    assert url in status.out
    back = tmp_path / "back"
    back.mkdir()
    azure_lab.here("download", "--from", url, "-d", back)
    outbox = {path.partition("/")[2]: digest for path, digest in digests(azure_lab.out).items()}
    fetched = digests(back)
    assert fetched.items() <= outbox.items()
    assert {Path(path).suffix for path in fetched} >= {".avi", ".erd", ".vtc", ".edf"}
    assert azure_lab.residue_in_words([KEY]) == []


def test_archived_cold_and_back(azure_lab: Lab, azurite: AzuriteServer, tmp_path: Path) -> None:
    container = azurite.new_container()
    url = f"azure://{container}/deep"
    azure_lab.here("archive", "-d", azure_lab.out, "--to", url, "-t", "vid", "--storage-class", "GLACIER", status=2)
    words = ["archive", "-d", azure_lab.out, "--to", url, "-t", "vid", "--storage-class", "Archive"]
    sent = azure_lab.here("--json", *words, "--index-to", f"azure://{container}/warm")
    assert any(i["details"].get("minimum_days") == 180 for i in sent.of("item", action="cost") if "details" in i)
    with azurite.service() as service:
        blobs = list(service.get_container_client(container).list_blobs("deep/"))
        assert {str(b.blob_tier) for b in blobs if b.name.endswith(".tar.zst.age")} == {"Archive"}
    back = tmp_path / "back"
    back.mkdir()
    code = azure_lab.codes["a"]
    asked = azure_lab.here("--json", "--yes", "restore", code, "--from", url, "-d", back, status=31)
    assert asked.of("item", action="thaw")
    told = [i["message"] for i in asked.of("item", action="price")]
    assert any("up to 15 hours" in message for message in told) and any("(High)" in message for message in told)
    # the emulator thaws at once
    azure_lab.here("--json", "--yes", "restore", code, "--from", url, "-d", back)
    outbox = {path.partition("/")[2]: digest for path, digest in digests(azure_lab.out).items()}
    assert digests(back).items() <= outbox.items()
    assert len(digests(back)) > 10


def test_old_copies_there_are_opened_and_made_modern(lab: Lab, old: Path, azurite: AzuriteServer) -> None:
    lab.extra_env |= azurite.env()
    before, now = azurite.new_container(), azurite.new_container()
    with azurite.service() as service:
        for file in old.iterdir():
            service.get_blob_client(before, f"ecog/{file.name}").upload_blob(file.read_bytes())
    back, staging, again = (lab.folder / name for name in ("back", "staging", "again"))
    for folder in (back, staging, again):
        folder.mkdir()
    lab.here("download", "--from", f"azure://{before}", "-d", back, "--decrypt", status=21)
    assert tree(back).keys() == {*CLIPS, RECORDING}
    lab.here("modernise", f"azure://{before}", "-d", staging, "--to", f"azure://{now}", status=21)
    lab.here("download", "--from", f"azure://{now}", "-d", again)
    assert tree(again) == tree(back)
    lab.here("verify", "--deep")


def test_what_is_wrong_is_told(azure_lab: Lab, azurite: AzuriteServer) -> None:
    def upload(url: str, status: int, **env: str) -> str:
        done = azure_lab.here("--json", "upload", "-d", azure_lab.out, "--to", url, "-t", "v", status=status, env=env)
        return f"{done.error['message']} {done.error['next']}"

    assert "no such container" in upload("azure://not-there", 10)
    told = upload("azure://container", 10, AZURE_STORAGE_CONNECTION_STRING="")
    assert "AZURE_STORAGE_CONNECTION_STRING" in told
    assert "no storage account" in told
    told = upload("azure://container", 10, AZURE_STORAGE_CONNECTION_STRING="AccountKey=sEcrEtword;nonsense")
    assert "sEcrEtword" not in told
    upload("azure://X", 2)
