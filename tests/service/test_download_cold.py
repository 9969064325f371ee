"""`download` where only a cold copy exists: it says so, and which command brings it back."""

from __future__ import annotations

import pytest

from ecogsafe.catalog import subjects
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


def test_the_archive_of_a_subject_that_withdrew_is_not_offered(archived: SmallLab) -> None:
    with archived.writing() as tx:
        subjects.withdraw_subject(tx, ONE)
    ended = archived.download(globs=("*.avi",))
    assert isinstance(ended.error, UsageError)
    assert f"ecogsafe restore {TWO}" in ended.error.next
    assert ONE not in ended.error.next and "further" not in ended.error.next


@pytest.mark.parametrize(
    ("wishes", "count"),
    [({}, 2), ({"subjects": (ONE,)}, 1), ({"globs": ("*.edf",)}, None), ({"globs": (f"{TWO}/*.avi", "*.edf")}, 1)],
)
def test_archives_are_counted_where_they_hold_what_was_asked_for(
    archived: SmallLab, wishes: dict[str, tuple[str, ...]], count: int | None
) -> None:
    deep = archived.folder_store("deep")
    archived.upload("e", deep, encrypt=True)
    ended = archived.download(deep, **wishes)
    assert ended.status is ExitStatus.DONE
    assert ended.counts.get("archives") == count
