"""`inventory --adopt`: objects that nobody recorded become copies, and `verify --deep` learns what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import audit, files, sums, uploads
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.sums import CopySummary
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import ExitStatus
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.status import status
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.store_id import read_store_id
from tests.service.small_lab import CODES, URL, SmallLab, StoresInMemory, bytes_in, lose, overwrite
from tests.service.test_inventory import of, take_stock

CODE, OTHER = CODES
SECOND_URL = "s3://second"
FIRST = f"{CODE}_edf/{CODE}_1.edf.age"


def forget(lab: SmallLab) -> None:
    """Make the catalogue what an older snapshot of it would be: stores known, no copy, no file, no intent."""
    with lab.writing() as tx:
        for table in ("copies", "intents", "acks", "uploads", "parts", "sealings", "files"):
            tx.exec_driver_sql(f"DELETE FROM {table}")


def current(lab: SmallLab, path: str) -> FileRow | None:
    with lab.reading() as tx:
        return files.file_by_path(tx, "edf", path)


def summaries(lab: SmallLab) -> list[CopySummary]:
    with lab.reading() as tx:
        return [summary for each in sums.sums(tx) for summary in each.copies]


@pytest.fixture
def sent(small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two sealed recordings and two plain ones of two subjects, of which the catalogue knows nothing any more."""
    for code in CODES:
        for number in (1, 2):
            small_lab.edf(code, number, text=f"{code} {number}")
    small_lab.clear()
    assert small_lab.upload("e", URL, encrypt=True, exclude=(f"{OTHER}*",)).status is ExitStatus.DONE
    assert small_lab.upload("e", URL, exclude=(f"{CODE}*",)).status is ExitStatus.DONE
    forget(small_lab)
    return small_lab


def test_adopted_copies_are_stored_only_and_audited(sent: SmallLab) -> None:
    assert of(take_stock(sent), None).details["unknown"] == 4
    ended = take_stock(sent, adopt=True)
    assert ended.status is ExitStatus.DONE and ended.counts["adopted"] == 4
    assert len(ended.items(action="adopt", status="done")) == 4
    assert ended.items(action="snapshot", status="done")
    row = sent.copy(FIRST)
    assert (row.level, row.crc64, row.bad_at, row.sealed) == ("stored", None, None, True)
    known = current(sent, f"{CODE}_edf/{CODE}_1.edf")
    assert known is not None and known.sha256 is None and known.segment == 1
    with sent.reading() as tx:
        (act,) = [a for a in audit.recent(tx, object=FIRST) if a.act == "inventory adopt"]
        assert act.result == "stored" and act.subject == CODE and audit.check(tx) == []
    again = take_stock(sent, adopt=True)
    assert of(again, None).details["present"] == 4 and "adopted" not in again.counts
    # a copy counts by the store's checksum against ours, and we have none
    report = status(sent.home, CODE)
    assert report.unsafe and [(c.stored, c.checksum, c.restored) for s in report.states for c in s.cells] == [(2, 0, 0)]
    assert sent.verify().status is ExitStatus.DONE
    assert sent.copy(FIRST).level == "stored"


def test_verify_deep_learns_what_they_hold(sent: SmallLab, store: MemoryStore) -> None:
    take_stock(sent, adopt=True)
    source = (sent.out / f"edf/{CODE}_edf/{CODE}_1.edf").read_bytes()
    ended = sent.verify(deep=True)
    assert ended.status is ExitStatus.DONE
    row, known = sent.copy(FIRST), current(sent, f"{CODE}_edf/{CODE}_1.edf")
    assert row.level == "restored" and row.crc64 == crc64nvme(bytes_in(store, FIRST))
    assert known is not None and known.size == len(source)
    assert next(i for i in ended.items(key=FIRST)).digest == known.sha256
    # from now on the store's checksum proves it, and shows a change
    assert sent.verify().status is ExitStatus.DONE
    data = bytes_in(store, FIRST)
    overwrite(store, FIRST, data[:-1] + bytes((data[-1] ^ 1,)))
    assert sent.verify().status is ExitStatus.VERIFY_FAILED
    # and the same files are not sent again
    plain = sent.upload("e", URL, exclude=(f"{CODE}*",))
    assert plain.keys("done") == [] and len(plain.keys("present")) == 2


def test_what_is_adopted_can_be_downloaded(sent: SmallLab) -> None:
    take_stock(sent, adopt=True)
    ended = sent.download(URL)
    assert ended.status is ExitStatus.DONE
    for code in CODES:
        for number in (1, 2):
            path = f"{code}_edf/{code}_{number}.edf"
            assert (sent.folder / "back" / path).read_bytes() == (sent.out / "edf" / path).read_bytes()
    assert "could not be compared with a digest" in (ended.run.message if ended.run else "")


def test_a_file_here_never_lends_its_digest_to_an_adopted_object(sent: SmallLab, in_memory: StoresInMemory) -> None:
    """The object holds what it holds, whatever file of that name goes to another store."""
    take_stock(sent, adopt=True)
    sent.edf(CODE, 1, text="another content")
    in_memory.add(SECOND_URL)
    assert sent.upload("e", SECOND_URL, encrypt=True, exclude=(f"{OTHER}*",)).status is ExitStatus.DONE
    by_store = {s.store_id: s for s in summaries(sent) if s.subject == CODE}
    first = read_store_id(in_memory.by_url[URL])
    assert first is not None and first.store_id not in by_store
    ended = sent.verify(url=URL, deep=True)
    assert ended.status is ExitStatus.DONE


def test_the_copy_goes_to_the_row_of_its_content(sent: SmallLab, in_memory: StoresInMemory) -> None:
    take_stock(sent, adopt=True)
    in_memory.add(SECOND_URL)
    assert sent.upload("e", SECOND_URL, encrypt=True, exclude=(f"{OTHER}*",)).status is ExitStatus.DONE
    assert sent.verify(url=URL, deep=True).status is ExitStatus.DONE
    mine = [s for s in summaries(sent) if s.subject == CODE]
    assert [(s.files, s.proven_files) for s in mine] == [(2, 2), (2, 2)]
    known = current(sent, f"{CODE}_edf/{CODE}_1.edf")
    assert known is not None and known.inode != 0


def test_two_stores_adopted_and_then_read(sent: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.add(SECOND_URL)
    assert sent.upload("e", SECOND_URL, encrypt=True, exclude=(f"{OTHER}*",)).status is ExitStatus.DONE
    # one of them holds another content under the same name
    sent.edf(CODE, 2, text="newer")
    data = (sent.out / f"edf/{CODE}_edf/{CODE}_2.edf").read_bytes()
    forget(sent)
    for url in (URL, SECOND_URL):
        take_stock(sent, url, adopt=True)
    assert {(s.subject, s.files) for s in summaries(sent)} == {(CODE, 2), (OTHER, 2)}
    other = in_memory.by_url[SECOND_URL]
    lose(other, f"{CODE}_edf/{CODE}_2.edf.age")
    other.put(f"{CODE}_edf/{CODE}_2.edf", data, crc64=crc64nvme(data), token="d" * 32)
    take_stock(sent, SECOND_URL, adopt=True)
    assert sent.verify(url=URL, deep=True).status is ExitStatus.DONE
    ended = sent.verify(url=SECOND_URL, deep=True)
    # the lost one is named, and nothing that is only another content is called bad
    assert ended.counts["bad"] == 1
    mine = {s.store_id: s for s in summaries(sent) if s.subject == CODE}
    first = read_store_id(in_memory.by_url[URL])
    assert first is not None and mine[first.store_id].proven_files == 2
    assert sum(s.proven_files for s in mine.values()) == 3


def test_of_several_versions_the_newest_is_current(sent: SmallLab, store: MemoryStore) -> None:
    sent.edf(CODE, 1, text="mended")
    assert sent.upload("e", URL, encrypt=True, new_version=True, exclude=(f"{OTHER}*",)).status in (
        ExitStatus.DONE,
        ExitStatus.PARTIAL,
    )
    forget(sent)
    take_stock(sent, adopt=True)
    newest = sent.copy(f"{CODE}_edf/{CODE}_1~2.edf.age")
    known = current(sent, f"{CODE}_edf/{CODE}_1.edf")
    assert known is not None and known.id == newest.file_id and sent.copy(FIRST).file_id != known.id
    assert sent.verify(deep=True).status is ExitStatus.DONE
    after = current(sent, f"{CODE}_edf/{CODE}_1.edf")
    assert after is not None and after.id == newest.file_id and after.sha256 is not None


def test_upload_says_what_would_settle_it(sent: SmallLab) -> None:
    take_stock(sent, adopt=True)
    ended = sent.upload("e", URL, encrypt=True, exclude=(f"{OTHER}*",))
    assert ended.status is ExitStatus.PARTIAL
    assert {i.message for i in ended.items(status="skipped")} == {
        "an adopted object stands under this name, and nobody has read it yet: ecogsafe verify --deep does"
    }
    sent.verify(deep=True)
    again = sent.upload("e", URL, encrypt=True, exclude=(f"{OTHER}*",))
    assert again.status is ExitStatus.DONE and len(again.keys("present")) == 2


def test_rotten_content_is_not_adopted(sent: SmallLab, store: MemoryStore) -> None:
    overwrite(store, FIRST, bytes_in(store, FIRST)[:-3])
    take_stock(sent, adopt=True)
    assert sent.verify(deep=True).status is ExitStatus.VERIFY_FAILED
    row, known = sent.copy(FIRST), current(sent, f"{CODE}_edf/{CODE}_1.edf")
    assert row.bad_at is not None and known is not None and known.sha256 is None


def test_an_adopted_object_that_was_replaced_is_bad(sent: SmallLab, store: MemoryStore) -> None:
    take_stock(sent, adopt=True)
    data = bytes_in(store, FIRST)
    overwrite(store, FIRST, data[:-1] + bytes((data[-1] ^ 1,)))
    ended = take_stock(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED and ended.keys("failed") == [FIRST]


def test_what_a_cut_run_announced_is_recorded_with_its_proof(sent: SmallLab, store: MemoryStore) -> None:
    info = store.head(FIRST)
    assert info is not None and info.crc64 is not None and info.token is not None
    store_id = read_store_id(store)
    assert store_id is not None
    path = f"{CODE}_edf/{CODE}_1.edf"
    with sent.writing() as tx:
        seen = files.SeenFile(
            tree="edf", path=path, subject=CODE, segment=1, size=9, mtime_ns=1, inode=1, device=1, sha256="ab" * 32
        )
        row = IntentRow(
            token=info.token,
            store_id=store_id.store_id,
            key=FIRST,
            size=info.size,
            crc64=info.crc64,
            file_id=files.upsert_file(tx, seen),
            sha256="ab" * 32,
            sealed=True,
            created_at=utc_stamp(),
        )
        uploads.add_intents(tx, [row])
    assert take_stock(sent, adopt=True).status is ExitStatus.DONE
    copy = sent.copy(FIRST)
    assert (copy.level, copy.crc64, copy.token) == ("checksum", info.crc64, info.token)
    with sent.reading() as tx:
        assert uploads.open_intents(tx) == []


def test_a_volume_of_an_archive_and_its_index(sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    for name in ("vid_0001.tar.zst.age", "vid_0001.index.age"):
        store.put(f"{CODE}/{CODE}_{name}", b"x", crc64=crc64nvme(b"x"), token="c" * 32)
    ended = take_stock(sent, adopt=True)
    assert ended.counts["adopted"] == 6
    assert sent.copy(f"{CODE}/{CODE}_vid_0001.index.age").sealed
    with sent.reading() as tx:
        row = files.file_by_path(tx, "archive", f"{CODE}/{CODE}_vid_0001.tar.zst")
    assert row is not None and row.segment is None
    said = [i.message for i in ended.items(action="adopt", status="done") if "vid_0001" in str(i.key)]
    assert len(said) == 2 and all("ecogsafe restore reads" in message for message in said)
    # elsewhere too its number is not used again
    deep = in_memory.add("s3://deep")
    sent.avi(CODE)
    request = ArchiveRequest(folders=(sent.out,), url="s3://deep", kind="vid")
    assert sent.run("archive", lambda run: archive(run, request)).status is ExitStatus.DONE
    assert f"{CODE}/{CODE}_vid_0002.tar.zst.age" in {info.key for info in deep.list()}
    with sent.reading() as tx:
        assert files.file_by_path(tx, "archive", f"{CODE}/{CODE}_vid_0001.tar.zst") == row


def test_a_place_without_an_id_gets_one_when_adopted(small_lab: SmallLab, tmp_path: Path) -> None:
    folder = small_lab.folder / "old"
    for number in (1, 2):
        target = folder / f"{CODE}_edf/{CODE}_{number}.edf"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(small_lab.edf(CODE, number).read_bytes())
    assert take_stock(small_lab, folder.as_uri()).status is ExitStatus.DONE
    assert not (folder / "_ecogsafe").exists()
    assert take_stock(small_lab, folder.as_uri(), adopt=True).counts["adopted"] == 2
    assert (folder / "_ecogsafe/store.json").exists()
    assert small_lab.verify(deep=True).status is ExitStatus.DONE
