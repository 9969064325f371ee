"""`inventory`: what a store really holds against the catalogue, and what is noted of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import audit, copies, subjects
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import ExitStatus, StoreUnreachableError
from ecogsafe.core.events import Item
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.inventory import InventoryRequest, inventory
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo
from tests.service.small_lab import (
    CODES,
    URL,
    Ended,
    Forgetful,
    Made,
    SmallLab,
    StoresInMemory,
    bytes_in,
    lose,
    overwrite,
)

CODE, OTHER = CODES
FIRST = f"{CODE}_edf/{CODE}_1.edf.age"
SECOND = f"{CODE}_edf/{CODE}_2.edf.age"
THEIRS = f"{OTHER}_edf/{OTHER}_1.edf.age"


def take_stock(lab: SmallLab, url: str = URL, *, confirmed: bool = True, **wishes: Any) -> Ended:
    def confirm(question: str) -> None:
        assert confirmed, question

    request = InventoryRequest(url=url, **wishes)
    return lab.run("inventory", lambda run: inventory(run, request, confirm))


def of(ended: Ended, subject: str | None, action: str = "inventory") -> Item:
    """Return the line that sums up a subject (None: all of them)."""
    found = [i for i in ended.items(action=action, subject=subject) if i.key is None]
    return next(i for i in found if subject is not None or i.details.get("total"))


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        for code in CODES:
            for number in (1, 2):
                small.edf(code, number)
        assert small.upload("e", URL, encrypt=True).status is ExitStatus.DONE

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two sealed recordings of each of two subjects."""
    return made.copy_to(small_lab, store)


def put(store: MemoryStore, key: str, data: bytes = b"theirs", **wishes: Any) -> None:
    store.put(key, data, crc64=crc64nvme(data), token="e" * 32, **wishes)


def test_everything_is_the_same_object(sent: SmallLab) -> None:
    ended = take_stock(sent)
    assert ended.status is ExitStatus.DONE
    assert of(ended, CODE).details["present"] == 2
    assert of(ended, None).details["present"] == 4
    assert ended.keys("present") == sorted(f"{code}_edf/{code}_{n}.edf.age" for code in CODES for n in (1, 2))
    row = sent.copy(FIRST)
    assert row.seen_at is not None and row.level == "checksum"
    assert ended.run is not None and ended.run.message.startswith("all 4 recorded copies are there")
    (own,) = ended.items(action="own")
    assert own.details["objects"]["catalogue snapshots"] == 1
    with sent.reading() as tx:
        assert audit.recent(tx, run_id=ended.run.run_id)[0].result == "4 present"


def test_a_missing_copy_ends_30_is_named_and_counts_no_more(sent: SmallLab, store: MemoryStore) -> None:
    lose(store, FIRST)
    ended = take_stock(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert ended.keys("failed") == [FIRST]
    assert of(ended, CODE).details["missing"] == 1 and of(ended, OTHER).details["missing"] == 0
    assert sent.copy(FIRST).bad_reason == "it is missing from the store"
    with sent.reading() as tx:
        assert audit.recent(tx, object=FIRST)[0].result == "missing"
    # and it stays so, without a second row in the audit record
    again = take_stock(sent)
    assert again.status is ExitStatus.VERIFY_FAILED and again.keys("failed") == [FIRST]
    with sent.reading() as tx:
        assert len([r for r in audit.recent(tx, object=FIRST) if r.act == "inventory"]) == 1


def test_a_missing_copy_that_is_back_stays_bad_until_verify_proves_it(sent: SmallLab, store: MemoryStore) -> None:
    good = store._objects[FIRST]
    lose(store, FIRST)
    take_stock(sent)
    store._objects[FIRST] = good
    ended = take_stock(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED and of(ended, CODE).details["bad"] == 1
    assert sent.verify().status is ExitStatus.DONE
    assert take_stock(sent).status is ExitStatus.DONE


def test_what_was_lost_and_sent_again_is_right_again(sent: SmallLab, store: MemoryStore) -> None:
    lose(store, FIRST)
    take_stock(sent)
    assert sent.upload("e", URL, encrypt=True).status is ExitStatus.DONE
    assert take_stock(sent).status is ExitStatus.DONE


@pytest.mark.parametrize("how", ["longer", "same size"])
def test_another_object_under_the_key_ends_30(sent: SmallLab, store: MemoryStore, how: str) -> None:
    data = bytes_in(store, FIRST)
    overwrite(store, FIRST, data + b"x" if how == "longer" else data[:-1] + bytes((data[-1] ^ 1,)))
    ended = take_stock(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert of(ended, CODE).details["different"] == 1
    assert ended.keys("failed") == [FIRST]
    assert sent.copy(FIRST).bad_at is not None


def test_the_same_bytes_written_anew_are_asked_about_and_good(sent: SmallLab, store: MemoryStore) -> None:
    info, data = store._objects[FIRST]
    store._objects[FIRST] = (replace(info, etag="moved"), data)
    assert sent.copy(FIRST).etag != "moved"
    ended = take_stock(sent)
    assert ended.status is ExitStatus.DONE
    row = sent.copy(FIRST)
    assert row.etag == "moved" and row.bad_at is None


def test_another_etag_at_a_store_that_tells_nothing_else_is_different(
    small_lab: SmallLab, in_memory: StoresInMemory
) -> None:
    class Mute(Forgetful):
        def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
            info = Forgetful.head(self, key, checksum=checksum)
            return replace(info, token=None) if info else None

    store = in_memory.add(URL, Mute(URL))
    for number in (1, 2):
        small_lab.edf(CODE, number)
    small_lab.upload("e", URL, encrypt=True)
    assert take_stock(small_lab).status is ExitStatus.DONE
    info, data = store._objects[FIRST]  # type: ignore[attr-defined]
    store._objects[FIRST] = (replace(info, etag="other"), data)  # type: ignore[attr-defined]
    ended = take_stock(small_lab)
    assert ended.status is ExitStatus.VERIFY_FAILED and ended.keys("failed") == [FIRST]


def test_a_listing_that_leaves_an_object_out_is_not_believed(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    class Stale(MemoryStore):
        hides = False

        def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
            yield from (i for i in MemoryStore.list(self, prefix) if not (self.hides and i.key == FIRST))

    store = Stale(URL)
    in_memory.add(URL, store)
    for number in (1, 2):
        small_lab.edf(CODE, number)
    small_lab.upload("e", URL, encrypt=True)
    store.hides = True
    ended = take_stock(small_lab)
    assert ended.status is ExitStatus.DONE and of(ended, CODE).details["present"] == 2


def test_a_store_that_does_not_answer_makes_nothing_bad(sent: SmallLab, store: MemoryStore, in_memory: Any) -> None:
    lose(store, FIRST)
    in_memory.by_url[URL] = Faulty(store, {"head": [None, Fault(error=StoreUnreachableError(URL, "no answer"))]})
    ended = take_stock(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert of(ended, CODE).details["unjudged"] == 1
    assert sent.copy(FIRST).bad_at is None


def test_unknown_objects_alone_end_0_and_foreign_names_are_never_shown(sent: SmallLab, store: MemoryStore) -> None:
    put(store, f"{CODE}_edf/{CODE}_3.edf")
    put(store, f"{OTHER}/{OTHER}_1/{OTHER}_1_0001.avi.age")
    put(store, "Quillfeather~ Anna/Quillfeather.avi", b"12345")
    ended = take_stock(sent)
    assert ended.status is ExitStatus.DONE
    assert of(ended, CODE).details["unknown"] == 1 and of(ended, OTHER).details["unknown"] == 1
    assert of(ended, None).details["foreign"] == 1
    assert "--adopt" in (ended.run.message if ended.run else "")
    assert not [e for e in ended.events if "Quillfeather" in str(e)]
    (foreign,) = [i for i in ended.items(action="inventory", subject=None) if not i.details.get("total")]
    assert foreign.bytes == 5


def test_a_bad_copy_beside_which_a_good_one_stands_is_no_failure(sent: SmallLab, store: MemoryStore) -> None:
    overwrite(store, FIRST, b"rotten")
    sent.verify()
    assert sent.upload("e", URL, encrypt=True, new_version=True).status is ExitStatus.DONE
    ended = take_stock(sent)
    assert of(ended, CODE).details["replaced"] + of(ended, CODE).details["different"] == 1
    assert ended.status is ExitStatus.DONE
    lose(store, FIRST)
    ended = take_stock(sent)
    assert ended.status is ExitStatus.DONE and of(ended, CODE).details["replaced"] == 1


def test_classes_and_money(sent: SmallLab, store: MemoryStore) -> None:
    key = f"{CODE}/{CODE}_vid_0001.tar.zst.age"
    put(store, key, b"0" * 1000, storage_class="DEEP_ARCHIVE")
    info, data = store._objects[FIRST]
    store._objects[FIRST] = (replace(info, storage_class="GLACIER"), data)
    ended = take_stock(sent)
    mine = of(ended, CODE)
    assert mine.details["storage_classes"] == {"GLACIER": 1, "STANDARD": 1, "DEEP_ARCHIVE": 1}
    # a rule of the bucket moved it, and the catalogue knows now
    assert sent.copy(FIRST).storage_class == "GLACIER"
    size = len(data)
    standard = sent.copy(SECOND).size
    month = ((size + 32768) * 0.0036 + (1000 + 32768) * 0.00099 + (standard + 2 * 8192) * 0.023) / 1e9
    assert float(mine.details["cost_month"]) == pytest.approx(month)
    assert mine.details["currency"] == "USD"
    total = of(ended, None)
    theirs = of(ended, OTHER)
    assert float(total.details["cost_month"]) == pytest.approx(month + float(theirs.details["cost_month"]))


def test_a_class_without_a_price_is_said(sent: SmallLab, store: MemoryStore) -> None:
    info, data = store._objects[FIRST]
    store._objects[FIRST] = (replace(info, storage_class="SNOW"), data)
    ended = take_stock(sent)
    assert "price not known" in of(ended, CODE).message
    assert "cost_month" not in of(ended, None).details


def test_known_asks_no_store_and_tells_the_age(sent: SmallLab, in_memory: StoresInMemory) -> None:
    before = utc_stamp()
    take_stock(sent)
    in_memory.by_url[URL] = Faulty(MemoryStore(URL), {"list": [Fault(error=StoreUnreachableError(URL, "no answer"))]})
    ended = take_stock(sent, known=True)
    assert ended.status is ExitStatus.DONE
    mine = of(ended, CODE, "known")
    assert mine.details["checksum"] == 2 and mine.details["newest_listing"] >= before[:19]
    assert mine.details["oldest_evidence"] == min(sent.copy(key).checksum_at or "" for key in (FIRST, SECOND))
    assert ended.run is not None and "last listed" in ended.run.message
    assert take_stock(sent, "s3://never-met", known=True).status is ExitStatus.USAGE


def test_wishes_that_do_not_go_together(sent: SmallLab) -> None:
    assert take_stock(sent, known=True, adopt=True).status is ExitStatus.USAGE
    assert take_stock(sent, "glacier://old", adopt=True).status is ExitStatus.USAGE
    assert take_stock(sent, older_than_days=0).status is ExitStatus.USAGE


def test_a_place_with_another_id_is_not_compared(sent: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.by_url[URL] = MemoryStore(URL)
    ended = take_stock(sent)
    assert ended.status is ExitStatus.STORE and sent.copy(FIRST).bad_at is None


# subjects that withdrew


def withdraw(lab: SmallLab, code: str = CODE) -> None:
    def work(tx: Transaction) -> None:
        subjects.withdraw_subject(tx, code)

    with lab.writing() as tx:
        work(tx)


def test_a_withdrawn_subject_of_which_something_stands_ends_3(sent: SmallLab, store: MemoryStore) -> None:
    withdraw(sent)
    lose(store, FIRST)
    ended = take_stock(sent)
    assert ended.status is ExitStatus.PARTIAL
    (told,) = ended.items(action="withdrawn")
    assert told.subject == CODE and not told.details["proven_gone"] and "1 objects" in told.message
    assert ended.counts["of_withdrawn_subjects"] == 1


def test_a_withdrawal_is_proven_once_and_audited(sent: SmallLab, store: MemoryStore) -> None:
    withdraw(sent)
    for key in (FIRST, SECOND):
        lose(store, key)
    ended = take_stock(sent)
    assert ended.status is ExitStatus.DONE
    (told,) = ended.items(action="withdrawn")
    assert told.details["proven_gone"] and of(ended, CODE).details["removed"] == 2
    take_stock(sent)
    with sent.reading() as tx:
        rows = [r for r in audit.of_subject(tx, CODE) if r.act == "withdrawal proven"]
        assert [r.result for r in rows] == ["2 copies gone, nothing listed"] and audit.check(tx) == []
    # an object of it that turns up again is told of
    put(store, f"{CODE}_edf/{CODE}_7.edf")
    ended = take_stock(sent)
    assert ended.status is ExitStatus.PARTIAL and not ended.items(action="withdrawn")[0].details["proven_gone"]


def test_copies_with_versions_are_not_proven_gone_by_a_listing(sent: SmallLab, store: MemoryStore) -> None:
    withdraw(sent)
    with sent.writing() as tx:
        copies.raise_level(tx, sent.copy(FIRST).id, "checksum", utc_stamp(), version_id="v1")
    for key in (FIRST, SECOND):
        lose(store, key)
    ended = take_stock(sent)
    (told,) = ended.items(action="withdrawn")
    assert not told.details["proven_gone"] and "versions" in told.message
    with sent.reading() as tx:
        assert not [r for r in audit.of_subject(tx, CODE) if r.act == "withdrawal proven"]


# places in folders


def test_a_folder(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    small_lab.clear()
    url = small_lab.folder_store()
    assert small_lab.upload("e", url).status is ExitStatus.DONE
    assert small_lab.upload("v", url).status is ExitStatus.DONE
    assert take_stock(small_lab, url).status is ExitStatus.DONE
    folder = small_lab.folder / "store"
    key = f"{CODE}_edf/{CODE}_1.edf"
    (folder / key).touch()
    (folder / f"{OTHER}_edf/{OTHER}_1.edf").unlink()
    (folder / "notes.txt").write_text("x")
    ended = take_stock(small_lab, url)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert ended.keys("failed") == [f"{OTHER}_edf/{OTHER}_1.edf"]
    total = of(ended, None).details
    assert (total["present"], total["missing"], total["foreign"]) == (7, 1, 1)
    # a folder sends no bill
    assert "cost_month" not in total
