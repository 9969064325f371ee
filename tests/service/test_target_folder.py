"""DIR of `download` and `restore`: made where the folder above it stands, and only when something comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.private import Secret
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.restore import restore
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.service.target_folder import make_target
from ecogsafe.stores.memory import MemoryStore
from tests.service.small_lab import CODES, PASSWORD, URL, Ended, Made, SmallLab

CODE = CODES[0]


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        small.two_subjects()
        small.clear()
        small.upload("v", URL)

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two subjects with two clips each in the store."""
    return made.copy_to(small_lab, store)


def bring(lab: SmallLab, command: str, folder: Path, *, password: Secret = PASSWORD, dry_run: bool = False) -> Ended:
    if command == "download":
        request = DownloadRequest(folder=folder, url=URL, subjects=(CODE,), dry_run=dry_run)
        return lab.run(command, lambda run: download(run, request, lambda: password))
    wish = RestoreRequest(subject=CODE, folder=folder, url=URL)
    return lab.run(command, lambda run: restore(run, wish, lambda: password, lambda question: None))


both = pytest.mark.parametrize("command", ["download", "restore"])


@both
def test_it_is_made_below_a_folder_that_stands(sent: SmallLab, command: str) -> None:
    ended = bring(sent, command, sent.folder / "back")
    assert ended.status is ExitStatus.DONE, ended.error
    assert len(list((sent.folder / "back").rglob("*.avi"))) == 2
    assert (sent.folder / "back").stat().st_mode & 0o007 == 0, "anybody may look into it"


@both
def test_more_than_one_folder_is_never_made(sent: SmallLab, command: str) -> None:
    """A disk that is not mounted, or a slip of the finger, must not be filled in silence."""
    ended = bring(sent, command, sent.folder / "not mounted" / "back")
    assert isinstance(ended.error, UsageError)
    assert "mkdir -p" in ended.error.next
    assert not (sent.folder / "not mounted").exists()


@both
def test_what_is_in_the_way_stays(sent: SmallLab, command: str) -> None:
    (sent.folder / "back").write_text("notes")
    (sent.folder / "link").symlink_to(sent.folder / "nowhere")
    for name in ("back", "link"):
        assert isinstance(bring(sent, command, sent.folder / name).error, UsageError)
    assert (sent.folder / "back").read_text() == "notes"
    assert not (sent.folder / "nowhere").exists()


@both
def test_a_run_that_brings_nothing_makes_nothing(sent: SmallLab, command: str) -> None:
    assert bring(sent, command, sent.folder / "back", password=Secret(b"not these words")).status is ExitStatus.KEY
    assert not (sent.folder / "back").exists()
    if command == "download":
        ended = bring(sent, command, sent.folder / "back", dry_run=True)
        assert ended.run is not None and "2 files" in ended.run.message
        assert not (sent.folder / "back").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UsageError, match="cannot be made") as told:
        make_target(tmp_path / "back")
    assert str(tmp_path) not in str(told.value)
