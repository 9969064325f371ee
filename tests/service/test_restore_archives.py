"""`restore` of what `archive` made: the same files and times, proven, told by `verify` and the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import archives
from ecogsafe.core.errors import ExitStatus
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from tests.service.cold_store import ColdMemory
from tests.service.small_lab import CODES, Ended, SmallLab, StoresInMemory, lose
from tests.service.test_restore import URL, back, bring

CODE = CODES[0]


@pytest.fixture
def cold(in_memory: StoresInMemory) -> ColdMemory:
    made = ColdMemory(URL)
    in_memory.add(URL, made)
    return made


def send(small: SmallLab, kind: str, url: str = URL, storage_class: str | None = "DEEP_ARCHIVE") -> Ended:
    request = ArchiveRequest(folders=(small.out,), url=url, kind=kind, storage_class=storage_class)  # type: ignore[arg-type]
    return small.run("archive", lambda run: archive(run, request))


@pytest.fixture
def archived(small_lab: SmallLab, cold: ColdMemory) -> SmallLab:
    small_lab.two_subjects()
    small_lab.write(f"text/{CODE}_vtc/{CODE}_1.txt", b"clip 1\n" * 2000)
    for kind in ("vid", "edf"):
        assert send(small_lab, kind).status is ExitStatus.DONE
    return small_lab


def sources(small: SmallLab) -> dict[str, Path]:
    found = [p for p in small.out.rglob("*") if p.is_file() and CODE in p.name]
    return {"/".join(p.relative_to(small.out).parts[1:]): p for p in found}


def restored_of(small: SmallLab) -> set[str]:
    with small.reading() as tx:
        volumes = archives.volumes_of(tx, subject=CODE)
        return {m.path for v in volumes for m in archives.members_of(tx, v.volume_id) if m.restored_at is not None}


def test_the_subject_comes_back_and_is_proven(archived: SmallLab, cold: ColdMemory) -> None:
    assert bring(archived).status is ExitStatus.COLD
    cold.ready()
    ended = bring(archived)
    assert ended.status is ExitStatus.DONE
    expected = sources(archived)
    assert back(archived) == {path: source.read_bytes() for path, source in expected.items()}
    for path, source in expected.items():
        assert (archived.folder / "back" / path).stat().st_mtime_ns == source.stat().st_mtime_ns
    assert restored_of(archived) == set(expected)
    assert archived.copy(f"{CODE}/{CODE}_vid_0001.tar.zst.age").level == "restored"
    assert archived.copy(f"{CODE}/{CODE}_edf_0001.tar.zst.age").level == "restored"


def test_file_by_file_the_volume_becomes_restored(archived: SmallLab, cold: ColdMemory) -> None:
    one, two = sorted(path for path in sources(archived) if path.endswith(".edf"))
    bring(archived, globs=("*.edf",))
    cold.ready()
    bring(archived, globs=(one,))
    assert restored_of(archived) == {one}
    assert archived.copy(f"{CODE}/{CODE}_edf_0001.tar.zst.age").level != "restored"
    bring(archived, globs=(two,))
    assert restored_of(archived) == {one, two}
    assert archived.copy(f"{CODE}/{CODE}_edf_0001.tar.zst.age").level == "restored"


def test_the_journal_is_as_good_as_an_index(archived: SmallLab, cold: ColdMemory) -> None:
    for key in [key for key in cold._objects if ".index." in key]:
        lose(cold, key)
    one = next(path for path in sources(archived) if path.endswith(".edf"))
    bring(archived, globs=(one,))
    assert [key for key, _, _ in cold.requests] == [f"{CODE}/{CODE}_edf_0001.tar.zst.age"]
    cold.ready()
    ended = bring(archived, globs=(one,))
    assert ended.status is ExitStatus.DONE
    assert set(back(archived)) == {one}


def test_a_volume_that_is_gone_from_the_store(archived: SmallLab, cold: ColdMemory) -> None:
    gone = f"{CODE}/{CODE}_vid_0001.tar.zst.age"
    lose(cold, gone)
    bring(archived)
    cold.ready()
    ended = bring(archived)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert [error.item for error in ended.errors()] == [gone]
    assert all(path.endswith(".edf") for path in back(archived))


def test_a_damaged_volume_no_longer_counts(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived)
    cold.ready()
    key = f"{CODE}/{CODE}_edf_0001.tar.zst.age"
    info, data = cold._objects[key]
    middle = len(data) // 2
    cold._objects[key] = (info, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    ended = bring(archived)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert any(key in error.message for error in ended.errors())
    assert archived.copy(key).bad_at is not None
    cold._objects[key] = (info, data)
    assert bring(archived).status is ExitStatus.DONE
    assert archived.copy(key).bad_at is None


def test_a_folder_of_archives_asks_nothing(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    url = small_lab.folder_store("nas")
    send(small_lab, "vid", url, None)

    def nobody(question: str) -> None:
        raise AssertionError(question)

    ended = bring(small_lab, nobody, url=url)
    assert ended.status is ExitStatus.DONE
    assert set(back(small_lab)) == {path for path in sources(small_lab) if path.endswith(".avi")}
    assert ended.items(action="price") == []


def test_with_a_catalogue_that_knows_nothing(archived: SmallLab, cold: ColdMemory) -> None:
    """A lab that came back from its recovery sheet: the listing and the indexes say everything."""
    with archived.writing() as tx:
        for table in ("archive_frames", "archive_members", "archive_volumes"):
            tx.exec_driver_sql(f"DELETE FROM {table}")
    bring(archived)
    cold.ready()
    ended = bring(archived)
    assert ended.status is ExitStatus.DONE
    assert set(back(archived)) == set(sources(archived))
