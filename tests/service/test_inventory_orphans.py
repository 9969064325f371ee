"""Unfinished uploads: shown with what they cost, and only those aborted that nobody continues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ecogsafe.catalog import audit, leases, sealings, subjects, uploads
from ecogsafe.catalog.sealings import SealingRow
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.clock import utc_now, utc_stamp
from ecogsafe.core.errors import ExitStatus, StoreRefusedError
from ecogsafe.core.events import Item
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.owner import owner_here
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import OpenUpload
from ecogsafe.stores.store_id import read_store_id
from tests.service.small_lab import CODES, URL, Ended, SmallLab, StoresInMemory
from tests.service.test_inventory import take_stock

CODE, OTHER = CODES
CLIP = f"{CODE}/{CODE}_1/{CODE}_1_0001.avi.age"
MIB = 2**20


class Dated(MemoryStore):
    """Tells of each open upload that it began so long ago."""

    age = timedelta(days=9)

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        for upload in MemoryStore.list_uploads(self, prefix):
            yield replace(upload, started=utc_now() - self.age)


@pytest.fixture
def dated(in_memory: StoresInMemory) -> Dated:
    store = Dated(URL)
    in_memory.add(URL, store)
    return store


@pytest.fixture
def lab(small_lab: SmallLab, dated: Dated) -> SmallLab:
    """A lab whose store has two recordings."""
    for number in (1, 2):
        small_lab.edf(CODE, number)
    assert small_lab.upload("e", URL, encrypt=True).status is ExitStatus.DONE
    return small_lab


def begin(store: MemoryStore, key: str, *, parts: int = 2) -> str:
    """Begin an upload of ``parts`` parts of 5 MiB and leave it."""
    upload_id = store.begin_upload(key, token="a" * 32, size=parts * 5 * MIB)
    body = bytes(5 * MIB)
    for number in range(1, parts + 1):
        store.put_part(key, upload_id, number, body, offset=(number - 1) * 5 * MIB, crc64=crc64nvme(body))
    return upload_id


def note(lab: SmallLab, store: MemoryStore, key: str, upload_id: str, *, owner: str = "", state: Any = "open") -> str:
    """Record the upload as a run of ours would; return its token."""
    store_id = read_store_id(store)
    assert store_id is not None
    token = upload_id[:8]
    stat = SourceStat(size=9, mtime_ns=1, ctime_ns=1, inode=1, device=1)
    with lab.writing() as tx:
        made = SealingRow(token, 1, stat, True, b"h", b"n", b"k", 5 * MIB, 10 * MIB, utc_stamp())
        sealings.add_sealing(tx, made)
        row = UploadRow(token, token, store_id.store_id, key, upload_id, state, owner or "gone", 1, utc_stamp())
        uploads.add_upload(tx, row)
        if owner:
            leases.acquire(tx, f"upload:{token}", owner, 60, shared=False)
    return token


def told(ended: Ended) -> dict[str, Item]:
    return {i.details["standing"]: i for i in ended.items(action="unfinished") if i.details}


def left(store: MemoryStore) -> set[str]:
    return {upload.upload_id for upload in store.list_uploads()}


def test_ours_says_which_command_continues(lab: SmallLab, dated: Dated) -> None:
    note(lab, dated, CLIP, begin(dated, CLIP))
    ended = take_stock(lab)
    assert ended.status is ExitStatus.DONE
    item = told(ended)["can be continued"]
    assert item.subject == CODE and item.bytes == 10 * MIB
    assert f"ecogsafe upload -d DIR --to {URL} -t v" in item.message
    # parts are billed as STANDARD
    assert float(item.details["cost_month"]) == pytest.approx(10 * MIB / 1e9 * 0.023)
    assert any("AbortIncompleteMultipartUpload" in i.message for i in ended.items(action="unfinished"))
    assert ended.counts["unfinished_uploads"] == 1


@pytest.mark.parametrize(
    ("key", "command"),
    [
        (f"{CODE}_edf/{CODE}_9.edf", "upload -d DIR --to s3://recordings -t e"),
        (f"{CODE}_edf/{CODE}_9.edf.age", "upload -d DIR --to s3://recordings -t e --encrypt"),
        (f"{CODE}/{CODE}_1/{CODE}_1_0001.avi", "upload -d DIR --to s3://recordings -t v --plain"),
        (f"{CODE}/{CODE}_edf_0002.tar.zst.age", "archive -d DIR --to s3://recordings -t edf"),
    ],
)
def test_the_command_fits_the_key(lab: SmallLab, dated: Dated, key: str, command: str) -> None:
    note(lab, dated, key, begin(dated, key, parts=1))
    assert told(take_stock(lab))["can be continued"].message.endswith(f"to continue: ecogsafe {command}")


def test_only_what_nobody_continues_is_aborted(lab: SmallLab, dated: Dated) -> None:
    kept = begin(dated, CLIP)
    note(lab, dated, CLIP, kept)
    busy = begin(dated, CLIP.replace("0001", "0002"))
    note(lab, dated, CLIP.replace("0001", "0002"), busy, owner=owner_here("another run"))
    given_up = begin(dated, CLIP.replace("0001", "0003"))
    token = note(lab, dated, CLIP.replace("0001", "0003"), given_up)
    erased = begin(dated, CLIP.replace("0001", "0004"))
    sealing = note(lab, dated, CLIP.replace("0001", "0004"), erased)
    unknown = begin(dated, CLIP.replace("0001", "0005"), parts=1)
    foreign = begin(dated, "Quillfeather/clip.avi", parts=1)
    with lab.writing() as tx:
        uploads.abort_upload(tx, token)
        sealings.abandon_sealing(tx, sealing)
    ended = take_stock(lab, abort_orphans=True)
    assert ended.status is ExitStatus.DONE
    assert left(dated) == {kept, busy, foreign}
    assert ended.counts["aborted_uploads"] == 3 and unknown not in left(dated)
    assert not [e for e in ended.events if "Quillfeather" in str(e)]
    with lab.reading() as tx:
        assert {u.upload_id for u in uploads.open_uploads(tx)} == {kept, busy}
        acts = [a.result for a in audit.recent(tx) if a.act == "inventory abort"]
        assert sorted(acts) == ["abandoned", "abandoned", "not in this catalogue"] and audit.check(tx) == []


def test_a_young_unknown_upload_stays(lab: SmallLab, dated: Dated) -> None:
    """It may be another machine's, at work now."""
    upload_id = begin(dated, CLIP)
    dated.age = timedelta(days=3)
    assert take_stock(lab, abort_orphans=True, confirmed=False).status is ExitStatus.DONE
    assert left(dated) == {upload_id}
    take_stock(lab, abort_orphans=True, older_than_days=2)
    assert left(dated) == set()


def test_a_snapshot_that_was_cut_short_is_offered_once_it_is_old(lab: SmallLab, dated: Dated) -> None:
    """Until then it may be under way, on another machine."""
    upload_id = begin(dated, "_ecogsafe/catalog/20260102T030405Z-0a1b2c3d.sqlite.zst.age")
    begin(dated, "_ecogsafe/catalog/somebody's")
    dated.age = timedelta(days=3)
    ended = take_stock(lab, abort_orphans=True, confirmed=False)
    item = told(ended)["a snapshot of the catalogue"]
    assert (item.bytes, item.subject) == (10 * MIB, None)
    assert any("1 unfinished uploads of others" in i.message for i in ended.items(action="unfinished"))
    dated.age = timedelta(days=8)
    take_stock(lab, abort_orphans=True)
    assert upload_id not in left(dated) and len(left(dated)) == 1
    with lab.reading() as tx:
        assert [a.result for a in audit.recent(tx) if a.act == "inventory abort"] == ["a snapshot of the catalogue"]


def test_an_unknown_upload_of_unknown_age_stays(lab: SmallLab, in_memory: StoresInMemory, dated: Dated) -> None:
    upload_id = begin(dated, CLIP)

    class Undated(Dated):
        def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
            yield from (replace(u, started=None) for u in MemoryStore.list_uploads(self, prefix))

    dated.__class__ = Undated
    take_stock(lab, abort_orphans=True, confirmed=False)
    assert left(dated) == {upload_id}


def test_nothing_is_aborted_without_a_yes(lab: SmallLab, dated: Dated) -> None:
    begin(dated, CLIP)
    with pytest.raises(AssertionError, match=r"Abort 1 unfinished uploads .* 1 of them not begun by this catalogue"):
        take_stock(lab, abort_orphans=True, confirmed=False)
    assert len(left(dated)) == 1


def test_the_upload_of_a_withdrawn_subject_is_given_up(lab: SmallLab, dated: Dated) -> None:
    note(lab, dated, CLIP, begin(dated, CLIP))
    with lab.writing() as tx:
        subjects.withdraw_subject(tx, CODE)
    first = take_stock(lab)
    assert first.status is ExitStatus.PARTIAL and "its subject withdrew" in told(first)["abandoned"].message
    take_stock(lab, abort_orphans=True)
    assert left(dated) == set()
    with lab.reading() as tx:
        assert uploads.open_uploads(tx) == []


def test_a_store_that_does_not_show_them_is_no_failure(lab: SmallLab, dated: Dated, in_memory: StoresInMemory) -> None:
    refusal = Fault(error=StoreRefusedError(URL, "no permission"))
    in_memory.by_url[URL] = Faulty(dated, {"list_uploads": [refusal]})
    ended = take_stock(lab)
    assert ended.status is ExitStatus.DONE
    assert "could not be listed" in ended.items(action="unfinished")[0].message


def test_a_folder_costs_nothing(small_lab: SmallLab) -> None:
    from ecogsafe.stores.open import open_store

    url = small_lab.folder_store()
    small_lab.avi()
    small_lab.avi(index=2)
    assert small_lab.upload("v", url).status is ExitStatus.DONE
    store = open_store(url)
    store.begin_upload(CLIP.replace("0001", "0007"), token="a" * 32, size=9)
    store.close()
    ended = take_stock(small_lab, url)
    item = told(ended)["not in this catalogue"]
    assert item.details["cost_month"] is None and "a month" not in item.message
    assert not any("lifecycle" in i.message for i in ended.items(action="unfinished"))
