"""``archive``: what goes into which volume, what is there already, and what is said before and after."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import archives
from ecogsafe.catalog.archives import VolumeRow
from ecogsafe.core.errors import ExitStatus, StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.s3_connect import connect
from ecogsafe.transfer.archive.index import parse_index
from tests.servers.seaweed import SeaweedServer

from .small_lab import CODES, URL, Ended, SmallLab, StoresInMemory

ONE, TWO = CODES


@pytest.fixture
def archiving(small_lab: SmallLab) -> SmallLab:
    small_lab.two_subjects()
    small_lab.write(f"text/{ONE}_vtc/{ONE}_1.txt", b"clip 1\n" * 2000)
    return small_lab


def send(lab: SmallLab, kind: str = "vid", url: str | None = None, *, stop: Any = None, **wishes: Any) -> Ended:
    wishes.setdefault("folders", (lab.out,))
    request = ArchiveRequest(url=url or lab.folder_store("deep"), kind=kind, **wishes)  # type: ignore[arg-type]
    return lab.run("archive", lambda run: archive(run, request), stop=stop)


def volumes(lab: SmallLab) -> list[VolumeRow]:
    with lab.reading() as tx:
        return archives.volumes_of(tx)


def names_in(lab: SmallLab, key: str, store: str = "deep") -> dict[str, bytes]:
    """Restore a volume with stock tools; return its files but the manifest, which must be right."""
    target = lab.folder / "restored"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    (lab.folder / "key.txt").write_text(lab.identity().to_text() + "\n")
    sealed = lab.folder / store / key
    command = f"set -o pipefail; age -d -i {lab.folder}/key.txt {sealed} | zstd -dq | tar x -C {target}"
    subprocess.run(["bash", "-c", command], check=True)
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "MANIFEST.sha256"], cwd=target, check=True)
    found = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    del found["MANIFEST.sha256"]
    return found


def key_of(code: str, number: int = 1, kind: str = "vid") -> str:
    return f"{code}/{code}_{kind}_{number:04d}.tar.zst.age"


def test_each_subject_has_a_volume_that_stock_tools_restore(archiving: SmallLab) -> None:
    ended = send(archiving)
    assert ended.status is ExitStatus.DONE, ended.errors()
    expected = [key_of(code).replace("tar.zst", ending) for code in CODES for ending in ("index", "tar.zst")]
    assert archiving.stored("deep") == expected
    found = names_in(archiving, key_of(ONE))
    assert sorted(found) == sorted(
        [f"{ONE}_vtc/{ONE}_1.txt", f"{ONE}/{ONE}_1/{ONE}_1_0001.avi", f"{ONE}/{ONE}_2/{ONE}_2_0001.avi"]
    )
    assert all(
        (archiving.out / tree / path).read_bytes() == data
        for path, data in found.items()
        for tree in ["text" if "_vtc" in path else "video"]
    )
    assert {row.state for row in volumes(archiving)} == {"stored"}


def test_edf_goes_into_volumes_of_its_own(archiving: SmallLab) -> None:
    send(archiving, "edf")
    assert sorted(names_in(archiving, key_of(TWO, kind="edf"))) == [f"{TWO}_edf/{TWO}_{n}.edf" for n in (1, 2)]


def test_the_index_tells_of_every_file_and_opens_with_the_lab_key(archiving: SmallLab) -> None:
    send(archiving, index_url=archiving.folder_store("warm"))
    assert archiving.stored("warm") == [key_of(code).replace("tar.zst", "index") for code in CODES]
    sealed = (archiving.folder / "warm" / key_of(ONE).replace("tar.zst", "index")).read_bytes()
    index = parse_index(open_sealed(sealed, [archiving.identity()]), item="index")
    assert {member.path for member in index.members} == set(names_in(archiving, key_of(ONE)))
    assert (index.subject, index.kind, index.volume, index.key) == (ONE, "vid", 1, key_of(ONE))
    assert index.object_size == (archiving.folder / "deep" / key_of(ONE)).stat().st_size


def test_what_is_archived_is_not_sent_twice(archiving: SmallLab) -> None:
    send(archiving)
    ended = send(archiving)
    assert ended.status is ExitStatus.DONE
    assert len(ended.items(action="archive", status="present")) == 5
    assert len(volumes(archiving)) == 2


def test_a_file_that_was_only_touched_is_still_archived(archiving: SmallLab) -> None:
    send(archiving)
    os.utime(archiving.out / f"video/{ONE}/{ONE}_1/{ONE}_1_0001.avi", (1, 1))
    assert len(send(archiving).items(action="archive", status="present")) == 5


def test_a_later_segment_goes_into_a_further_volume(archiving: SmallLab) -> None:
    send(archiving)
    before = (archiving.folder / "deep" / key_of(ONE)).read_bytes()
    archiving.avi(ONE, 3)
    ended = send(archiving)
    assert ended.keys("done").count(key_of(ONE, 2)) == 2
    assert sorted(names_in(archiving, key_of(ONE, 2))) == [f"{ONE}/{ONE}_3/{ONE}_3_0001.avi"]
    assert (archiving.folder / "deep" / key_of(ONE)).read_bytes() == before


def test_a_changed_file_goes_into_a_further_volume_and_the_earlier_state_stays(archiving: SmallLab) -> None:
    send(archiving)
    path = archiving.avi(ONE, 1)
    ended = send(archiving)
    assert any("changed since it was archived" in item.message for item in ended.items(action="archive"))
    (data,) = names_in(archiving, key_of(ONE, 2)).values()
    assert data == path.read_bytes()
    assert len(names_in(archiving, key_of(ONE))) == 3


def test_a_volume_that_is_gone_is_archived_again_under_another_number(archiving: SmallLab) -> None:
    send(archiving)
    (archiving.folder / "deep" / key_of(ONE)).unlink()
    ended = send(archiving)
    assert any("no longer there" in item.message for item in ended.items(action="archive", status="note"))
    assert len(names_in(archiving, key_of(ONE, 2))) == 3


def test_numbers_are_not_used_again_in_another_store(archiving: SmallLab) -> None:
    send(archiving)
    ended = send(archiving, url=archiving.folder_store("second"))
    assert ended.status is ExitStatus.DONE
    assert key_of(ONE, 2) in archiving.stored("second")
    assert len(names_in(archiving, key_of(ONE, 2), "second")) == 3


def test_a_key_that_is_taken_is_passed_over(archiving: SmallLab) -> None:
    archiving.folder_store("deep")
    foreign = archiving.folder / "deep" / key_of(ONE)
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"of another lab")
    assert send(archiving).status is ExitStatus.DONE
    assert foreign.read_bytes() == b"of another lab"
    assert len(names_in(archiving, key_of(ONE, 2))) == 3


def test_a_lost_index_is_made_again_from_the_journal(archiving: SmallLab) -> None:
    warm = archiving.folder_store("warm")
    send(archiving, index_url=warm)
    path = archiving.folder / "warm" / key_of(ONE).replace("tar.zst", "index")
    before = open_sealed(path.read_bytes(), [archiving.identity()])
    path.unlink()
    ended = send(archiving, index_url=warm)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert open_sealed(path.read_bytes(), [archiving.identity()]) == before


def test_an_index_that_found_no_place_goes_later(archiving: SmallLab) -> None:
    ended = send(archiving, index_url=(archiving.folder / "unmounted").as_uri())
    assert ended.status is ExitStatus.PARTIAL
    assert {row.state for row in volumes(archiving)} == {"stored"}
    assert {row.index_key for row in volumes(archiving)} == {None}
    assert send(archiving, index_url=archiving.folder_store("warm")).status is ExitStatus.DONE
    assert len(archiving.stored("warm")) == 2


@pytest.mark.parametrize("size", [0, 30_000], ids=["of-one-record", "of-several-records"])
def test_a_file_that_changes_while_it_is_archived_is_left_out_and_said(archiving: SmallLab, size: int) -> None:
    path = archiving.out / f"video/{ONE}/{ONE}_1/{ONE}_1_0001.avi"
    # without it the tar stream is shorter, or of as many records as before
    path.write_bytes(path.read_bytes() + bytes(size))
    from ecogsafe.service import archive_volumes

    planned = archive_volumes.plan_volume

    def late(*a: Any, **k: Any) -> Any:
        work = planned(*a, **k)
        if work.row.subject == ONE and len(work.members) == 3:
            path.write_bytes(path.read_bytes() + b"more")
        return work

    with mock.patch.object(archive_volumes, "plan_volume", late):
        ended = send(archiving)
    assert ended.status is ExitStatus.SOURCE_CHANGED
    assert [error.code for error in ended.errors()] == ["source-changed"]
    found = names_in(archiving, key_of(ONE))
    assert len(found) == 2
    with archiving.reading() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM uploads WHERE state = 'open'").scalar() == 0
    assert send(archiving).status is ExitStatus.DONE
    assert len(names_in(archiving, key_of(ONE, 2))) == 1


def test_dry_run_sends_nothing_and_tells_volumes_and_money(archiving: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.add(URL)
    ended = send(archiving, url=URL, storage_class="DEEP_ARCHIVE", dry_run=True)
    assert ended.status is ExitStatus.DONE
    assert list(in_memory.by_url[URL].list()) == []
    assert volumes(archiving) == []
    assert len([i for i in ended.items(action="archive", status="planned") if i.path is None]) == 2
    money = ended.items(action="cost")
    assert money[0].details["minimum_days"] == 180
    assert {item.details["tier"] for item in money if "tier" in item.details} == {"Bulk", "Standard"}
    assert "list prices of" in money[-1].message


def test_the_storage_class_goes_with_the_volumes_and_not_with_the_index(
    archiving: SmallLab, in_memory: StoresInMemory
) -> None:
    store = in_memory.add(URL)
    assert send(archiving, url=URL, storage_class="DEEP_ARCHIVE").status is ExitStatus.DONE
    classes = {info.key: info.storage_class for info in store.list(ONE)}
    assert classes[key_of(ONE)] == "DEEP_ARCHIVE"
    assert classes[key_of(ONE).replace("tar.zst", "index")] in (None, "STANDARD")


@pytest.mark.parametrize(
    ("wishes", "word"),
    [
        ({"storage_class": "GLACIER"}, "no such class"),
        ({"folders": ()}, "no folder"),
        ({"kind": "all"}, "must be vid"),
    ],
)
def test_contradictory_wishes_end_2(archiving: SmallLab, wishes: dict[str, Any], word: str) -> None:
    ended = send(archiving, **wishes)
    assert ended.status is ExitStatus.USAGE
    assert word in str(ended.error)


def test_a_store_that_wants_equal_parts_is_refused(archiving: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add(URL)
    assert isinstance(store, MemoryStore)
    store.capabilities = replace(store.capabilities, equal_parts=True)
    for dry_run in (True, False):
        ended = send(archiving, url=URL, dry_run=dry_run)
        assert ended.status is ExitStatus.USAGE
        assert "parts of one size" in str(ended.error)
    assert not [info.key for info in store.list() if not info.key.startswith("_ecogsafe/")]


def test_two_folders_may_overlap_but_not_contradict(archiving: SmallLab) -> None:
    both = (archiving.out, archiving.out / "video" / ONE)
    assert send(archiving, folders=both).status is ExitStatus.DONE
    assert len(names_in(archiving, key_of(ONE))) == 3
    other = archiving.folder / "other" / "video" / ONE / f"{ONE}_1"
    other.mkdir(parents=True)
    (other / f"{ONE}_1_0001.avi").write_bytes(b"another clip")
    ended = send(archiving, folders=(archiving.out, archiving.folder / "other"))
    assert ended.status is ExitStatus.USAGE
    assert "two of the folders" in str(ended.error)


def test_verify_and_status_speak_of_volumes_and_their_files(archiving: SmallLab) -> None:
    send(archiving)
    ended = archiving.verify()
    assert ended.status is ExitStatus.DONE
    assert {item.message for item in ended.items(action="verify", status="done")} == {"checksum equal"}
    assert archiving.verify(deep=True).status is ExitStatus.DONE
    path = archiving.folder / "deep" / key_of(ONE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert archiving.verify().status is ExitStatus.VERIFY_FAILED


def test_a_run_that_is_told_to_stop_sends_nothing_more(archiving: SmallLab) -> None:
    stop = threading.Event()
    stop.set()
    ended = send(archiving, stop=stop)
    assert ended.status is ExitStatus.INTERRUPTED
    assert archiving.stored("deep") == []


def test_a_store_that_does_not_answer_ends_10_and_the_next_run_goes_on(
    archiving: SmallLab, in_memory: StoresInMemory
) -> None:
    store = in_memory.add(URL)
    assert isinstance(store, MemoryStore)
    with mock.patch.object(store, "finish_upload", side_effect=StoreUnreachableError(URL, "no answer")):
        ended = send(archiving, url=URL)
    assert ended.status is ExitStatus.STORE
    assert send(archiving, url=URL).status is ExitStatus.DONE
    with archiving.reading() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM sealings WHERE wrapped_key IS NOT NULL").scalar() == 0
        assert {row.number for row in archives.volumes_of(tx)} == {1}


def test_a_source_that_changed_since_starts_its_volume_over_and_says_so(
    archiving: SmallLab, in_memory: StoresInMemory
) -> None:
    store = in_memory.add(URL)
    with mock.patch.object(store, "finish_upload", side_effect=StoreUnreachableError(URL, "no answer")):
        send(archiving, url=URL)
    path = archiving.avi(ONE, 1)
    ended = send(archiving, url=URL)
    assert ended.status is ExitStatus.DONE
    notes = [item.message for item in ended.items(action="archive", status="note")]
    assert any("starts over under a new key" in note for note in notes)
    (archiving.folder / "deep" / ONE).mkdir(parents=True)
    (archiving.folder / "deep" / key_of(ONE)).write_bytes(b"".join(store.read(key_of(ONE))))
    assert path.read_bytes() in names_in(archiving, key_of(ONE)).values()
    with archiving.reading() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM uploads WHERE state = 'open'").scalar() == 0
        states = sorted(tx.exec_driver_sql("SELECT state FROM sealings WHERE object_size > 40000").scalars())
    assert "open" not in states


def test_archives_beside_single_objects_disturb_neither_download_nor_upload(archiving: SmallLab) -> None:
    url = archiving.folder_store("both")
    assert archiving.upload("v", url).status is ExitStatus.DONE
    assert send(archiving, url=url).status is ExitStatus.DONE
    assert archiving.upload("v", url).status is ExitStatus.DONE
    ended = archiving.download(url)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert ended.counts["archives"] == 2
    found = {p.relative_to(archiving.folder / "back") for p in (archiving.folder / "back").rglob("*") if p.is_file()}
    assert len(found) == 5
    assert archiving.verify().status is ExitStatus.DONE


@pytest.mark.server
def test_a_volume_in_parts_stands_in_a_real_s3_store_as_stock_tools_want_it(
    archiving: SmallLab, s3_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.new_bucket()
    archiving.write(f"video/{ONE}/{ONE}_1/{ONE}_1_0002.avi", os.urandom(40_000_000))
    ended = send(archiving, url=f"s3://{bucket}/lab", storage_class="GLACIER_IR")
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert [i.message for i in ended.items(action="cost")]
    store = connect(
        bucket,
        "lab",
        endpoint_url=s3_server.endpoint_url,
        access_key=s3_server.access_key,
        secret_key=Secret(s3_server.secret_key.encode()),
        region=s3_server.region,
    )
    (archiving.folder / "deep" / ONE).mkdir(parents=True)
    (archiving.folder / "deep" / key_of(ONE)).write_bytes(b"".join(store.read(key_of(ONE))))
    store.close()
    assert len(names_in(archiving, key_of(ONE))) == 4
    assert archiving.copy(key_of(ONE)).level == "checksum"
