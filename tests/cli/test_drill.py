"""The whole drill: one `backup` to four places, the computer lost, and everything back from any one of them.

A directory, an S3 server, an archive on it and Azurite are filled by one run; then home and outbox are gone. On another
machine the recovery sheet, the password and one place are all there is.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.trees import digests, tree_state
from tests.servers.azurite import AzuriteServer
from tests.servers.seaweed import SeaweedServer

pytestmark = pytest.mark.server

#: what `download` and `restore` bring back: digest and modification time
_Files = dict[str, tuple[str, int]]


@dataclass(frozen=True)
class Lost:
    """What is left of a lab whose computer is gone, and what must come back."""

    #: holds the printed sheet, the password file and the places of the copies
    lab: Lab
    urls: dict[str, str]
    #: everything that was below video, edf and text
    files: _Files
    codes: list[str]

    def machine(self, folder: Path) -> Lab:
        """Return another computer: somebody carried the sheet and the password there."""
        (folder / "account").mkdir()
        other = Lab(folder, dict(self.lab.extra_env), [], dict(self.lab.codes))
        shutil.copy(self.lab.folder / "sheet.txt", folder)
        other.write_password()
        return other


def _files(folder: Path) -> _Files:
    return {name: (digest, mtime) for name, (_, mtime, digest) in tree_state(folder).items() if digest}


def _destination(name: str, url: str, *more: str) -> str:
    return "\n".join(["[[destination]]", f'name = "{name}"', f'url = "{url}"', 'types = ["v", "e"]', *more, ""])


@pytest.fixture(scope="module")
def lost(
    applied_lab: Lab, s3_server: SeaweedServer, azurite: AzuriteServer, tmp_path_factory: pytest.TempPathFactory
) -> Lost:
    lab = applied_lab.copy_to(tmp_path_factory.mktemp("drill") / "first")
    lab.extra_env = s3_server.env() | azurite.env()
    nas = lab.folder / "nas"
    nas.mkdir()
    urls = {
        "nas": nas.as_uri(),
        "bucket": f"s3://{s3_server.new_bucket()}/lab",
        "deep": f"s3://{s3_server.new_bucket()}",
        "azure": f"azure://{azurite.new_container()}/lab",
    }
    lab.configure(
        f'outbox = "{lab.out}"\n'
        + _destination("nas", urls["nas"], "plain = true")
        + _destination("bucket", urls["bucket"], "encrypt = true")
        + _destination("deep", urls["deep"], "archive = true", 'storage_class = "GLACIER_IR"')
        + _destination("azure", urls["azure"], "encrypt = true")
    )
    done = lab.here("--json", "backup")
    assert {tuple(e["details"]["missing"]) for e in done.of("item", action="backup")} == {()}
    files = {name: state for tree in ("video", "edf", "text") for name, state in _files(lab.out / tree).items()}
    assert len(files) > 50
    shutil.copy(lab.home / "recovery-sheet.txt", lab.folder / "sheet.txt")
    shutil.rmtree(lab.home)
    shutil.rmtree(lab.out)
    return Lost(lab, urls, files, sorted(lab.codes.values()))


def recovered(lost: Lost, folder: Path, place: str) -> Lab:
    """Return another computer after the first two steps: keys from the sheet, the catalogue from one place."""
    lab = lost.machine(folder)
    lab.here("--json", "init", "--recover", lab.folder / "sheet.txt")
    rebuilt = lab.here("--json", "catalog", "rebuild", "--from", lost.urls[place])
    assert rebuilt.summary["files"]["failed"] == 0
    listed = [i["subject"] for i in lab.here("--json", "subjects", "list").of("item") if "subject" in i]
    assert sorted(listed) == lost.codes
    return lab


@pytest.mark.parametrize("place", ["nas", "bucket", "azure"])
def test_everything_comes_back_from_any_one_place(lost: Lost, tmp_path: Path, place: str) -> None:
    lab = recovered(lost, tmp_path, place)
    done = lab.here("--json", "download", "--from", lost.urls[place], "-d", tmp_path / "back")
    assert _files(tmp_path / "back") == lost.files
    assert done.summary["files"]["done"] == len(lost.files)
    assert all("digest" in item for item in done.of("item", action="download", status="done"))


def test_everything_comes_back_from_the_archive(lost: Lost, tmp_path: Path) -> None:
    lab = recovered(lost, tmp_path, "deep")
    for code in lost.codes:
        lab.here("--json", "--yes", "restore", code, "--from", lost.urls["deep"], "-d", tmp_path / "back")
    back = digests(tmp_path / "back")
    assert back == {name: digest for name, (digest, _) in lost.files.items()}


def test_the_catalogue_of_one_place_knows_every_other(lost: Lost, tmp_path: Path) -> None:
    """From Azure the catalogue, from the bucket the data; the next night sends nothing again, and all is proven."""
    lab = recovered(lost, tmp_path, "azure")
    lab.here("download", "--from", lost.urls["bucket"], "-d", tmp_path / "back")
    assert _files(tmp_path / "back") == lost.files
    for place in ("nas", "bucket", "azure"):
        known = lab.here("--json", "inventory", lost.urls[place])
        (whole,) = [i for i in known.of("item", action="inventory") if i.get("details", {}).get("total")]
        assert (whole["details"]["unknown"], whole["details"]["missing"]) == (0, 0), place
    lab.configure(_destination("bucket", lost.urls["bucket"], "encrypt = true"))
    again = lab.here("--json", "upload", "-d", tmp_path / "back", "--to", lost.urls["bucket"], "-t", "v")
    assert not again.of("item", action="upload", status="done"), "the data are not known for what they are"
    lab.here("verify")


def test_the_same_machine_with_its_home_gone(lost: Lost, tmp_path: Path) -> None:
    """The folder of the lost home is used again; nothing of it is there."""
    lab = lost.lab
    assert not lab.home.exists()
    lab.here("init", "--recover", lab.folder / "sheet.txt")
    try:
        lab.here("catalog", "rebuild", "--from", lost.urls["nas"])
        lab.here("download", "--from", lost.urls["nas"], "-d", tmp_path / "back")
        assert _files(tmp_path / "back") == lost.files
    finally:
        shutil.rmtree(lab.home)


def test_without_the_password_the_sheet_opens_nothing(lost: Lost, tmp_path: Path) -> None:
    lab = lost.machine(tmp_path)
    lab.write_password("somebody else's words")
    lab.here("init", "--recover", lab.folder / "sheet.txt", status=12)
    assert not lab.home.exists() or not list(lab.home.iterdir())
