"""`download` where only a cold copy exists: it says so, and which command brings it back."""

from __future__ import annotations

import pytest

from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from tests.service.small_lab import CODES, SmallLab

ONE, TWO = CODES


@pytest.fixture
def archived(small_lab: SmallLab) -> SmallLab:
    """Two subjects, video archived in ``deep``, recordings sealed in ``store``."""
    small_lab.two_subjects()
    request = ArchiveRequest(folders=(small_lab.out,), url=small_lab.folder_store("deep"), kind="vid")
    small_lab.run("archive", lambda run: archive(run, request))
    small_lab.upload("e", encrypt=True)
    return small_lab


def test_a_place_that_holds_archives_only(archived: SmallLab) -> None:
    url = archived.folder_store("deep")
    ended = archived.download(url, subjects=(ONE,))
    assert isinstance(ended.error, UsageError)
    assert f"ecogsafe restore {ONE} --from {url} -d DIR" in ended.error.next


def test_a_place_that_holds_nothing_of_it_while_another_has_its_archive(archived: SmallLab) -> None:
    ended = archived.download(globs=("*.avi",), subjects=(TWO,))
    assert isinstance(ended.error, UsageError)
    assert f"ecogsafe restore {TWO} --from {archived.folder_store('deep')} -d DIR" in ended.error.next


def test_what_nobody_has(archived: SmallLab) -> None:
    ended = archived.download(globs=("*.nothing",), subjects=("cafe0123",))
    assert ended.status is ExitStatus.USAGE
    assert ended.error is not None
    assert "restore" not in ended.error.next
