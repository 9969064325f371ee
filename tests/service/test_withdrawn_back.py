"""Nothing of a subject that withdrew is brought back: `download`, `restore`, `modernise`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import subjects
from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.restore import restore
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.stores.memory import MemoryStore
from tests.service.old_locks import OLD_PASSWORD, locked, noise
from tests.service.small_lab import CODES, PASSWORD, URL, Ended, Made, SmallLab

ONE, TWO = CODES


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        small.two_subjects()
        small.clear()
        small.upload("v", URL)

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def withdrawn(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two subjects with two clips each in the store; one of them withdrew afterwards."""
    lab = made.copy_to(small_lab, store)
    with lab.writing() as tx:
        subjects.withdraw_subject(tx, ONE)
    return lab


def fetch(lab: SmallLab, *codes: str, old: bool = False) -> Ended:
    request = DownloadRequest(folder=lab.folder / "back", url=URL, subjects=codes, old_locks=old)
    return lab.run(
        "download", lambda run: download(run, request, lambda: PASSWORD, old_password=lambda: Secret(OLD_PASSWORD))
    )


def thaw(lab: SmallLab, code: str) -> Ended:
    request = RestoreRequest(subject=code, folder=lab.folder / "back", url=URL)
    return lab.run("restore", lambda run: restore(run, request, lambda: PASSWORD, lambda question: None))


def back(lab: SmallLab) -> set[str]:
    return {p.relative_to(lab.folder / "back").parts[0] for p in (lab.folder / "back").rglob("*") if p.is_file()}


def require_refused(ended: Ended, lab: SmallLab) -> None:
    with lab.reading() as tx:
        row = subjects.subject(tx, ONE)
    assert row is not None and row.withdrawn_at is not None
    assert isinstance(ended.error, UsageError)
    assert f"was withdrawn on {row.withdrawn_at[:10]}" in ended.error.problem
    assert f"ecogsafe subjects show {ONE}" in ended.error.next
    assert not (lab.folder / "back").exists(), "something was made all the same"


def test_asked_for_by_name_it_is_refused_with_the_day(withdrawn: SmallLab) -> None:
    require_refused(fetch(withdrawn, ONE), withdrawn)
    require_refused(fetch(withdrawn, TWO, ONE), withdrawn)
    require_refused(thaw(withdrawn, ONE), withdrawn)


def test_of_everything_the_others_come_and_it_is_told_who_is_left_out(withdrawn: SmallLab) -> None:
    ended = fetch(withdrawn)
    assert ended.status is ExitStatus.DONE, ended.error
    assert back(withdrawn) == {TWO}
    (left,) = ended.items(status="left_behind")
    assert left.subject == ONE and "2 objects" in left.message
    assert ended.counts["withdrawn_subjects"] == 1


def test_where_nothing_else_is_left_the_run_is_refused(withdrawn: SmallLab) -> None:
    with withdrawn.writing() as tx:
        subjects.withdraw_subject(tx, TWO)
    require_refused(fetch(withdrawn), withdrawn)


def test_a_withdrawal_taken_back_lets_it_come(withdrawn: SmallLab) -> None:
    with withdrawn.writing() as tx:
        subjects.reinstate_subject(tx, ONE)
    assert fetch(withdrawn, ONE).status is ExitStatus.DONE
    assert thaw(withdrawn, ONE).status is ExitStatus.DONE
    assert back(withdrawn) == {ONE}


def test_old_copies_of_it_stay_locked(withdrawn: SmallLab, store: MemoryStore) -> None:
    for number, code in enumerate(CODES):
        data = locked(noise(5000, number))
        store.put(f"{code}/{code}_7/{code}_7_0001.avi.enc", data, crc64=crc64nvme(data), token="f" * 32)
    ended = fetch(withdrawn, old=True)
    assert back(withdrawn) == {TWO}, ended.error
    assert {i.subject for i in ended.items(status="left_behind") if not i.path} == {ONE}
