"""`backup` with an archive: one read of each file for all places, whatever happens to one of them meanwhile."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from ecogsafe.core.errors import ExitStatus, StoreUnreachableError
from ecogsafe.service.restore import restore
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.service.running import Run
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer import file_job, pace, unfinished
from ecogsafe.transfer.archive import planning
from ecogsafe.transfer.pool import PartPool
from tests.formats.builders_avi import chunk, clip, listing
from tests.service.counted_reads import Reads, count_reads
from tests.service.nightly_lab import DEEP, ONE, TWO, VIDEO, config, keys, send, whereabouts
from tests.service.small_lab import PASSWORD, SmallLab, StoresInMemory

MIB = 1 << 20
AZURE = "azure://lab-azure"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return count_reads(monkeypatch)


@pytest.fixture
def lab(backing_up: SmallLab, stores: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> SmallLab:
    """A NAS, three buckets, one of them an archive, and Azure; small files, and large ones that go in parts."""
    stores.add(AZURE)
    config(backing_up, more=f'[[destination]]\nname = "azure"\nurl = "{AZURE}"\nencrypt = true\n')
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", MIB)
    monkeypatch.setattr(unfinished, "part_size_for", lambda size: MIB)
    assert planning.plan_volume.__kwdefaults__ is not None
    monkeypatch.setitem(planning.plan_volume.__kwdefaults__, "least_part", MIB)
    for number, code in enumerate((ONE, TWO)):
        data = random.Random(number).randbytes(5 * MIB + 1)
        for index, content in ((2, data), (3, data[:700_000]), (4, bytes(3 * MIB))):
            path = f"video/{code}/{code}_1/{code}_1_{index:04d}.avi"
            backing_up.write(path, clip(movi=listing(b"movi", chunk(b"00dc", content))))
    backing_up.clear()
    return backing_up


def outbox_bytes(lab: SmallLab) -> int:
    return sum(path.stat().st_size for path in lab.out.rglob("*.*"))


def _restore(request: RestoreRequest, run: Run) -> None:
    restore(run, request, lambda: PASSWORD, lambda _: None)


def archived(lab: SmallLab) -> dict[str, bytes]:
    """Return what a restore out of the archive alone brings back, by path below OUT's trees."""
    back = lab.folder / "cold"
    back.mkdir()
    for code in (ONE, TWO):
        request = RestoreRequest(subject=code, url=DEEP, folder=back)
        ended = lab.run("restore", functools.partial(_restore, request))
        assert ended.status is ExitStatus.DONE, ended.errors()
    return {p.relative_to(back).as_posix(): p.read_bytes() for p in back.rglob("*.*")}


def in_outbox(lab: SmallLab) -> dict[str, bytes]:
    return {p.relative_to(lab.out).as_posix().partition("/")[2]: p.read_bytes() for p in lab.out.rglob("*.*")}


def test_every_byte_is_read_once_for_five_places(lab: SmallLab, stores: StoresInMemory, reads: Reads) -> None:
    ended = send(lab)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert whereabouts(ended) == {ONE: {}, TWO: {}}
    assert reads.total == outbox_bytes(lab), reads.by_name
    assert "bytes_read_again" not in ended.counts
    assert archived(lab) == in_outbox(lab)


def test_an_archive_that_fails_half_way_reads_again_only_what_it_lacks(
    lab: SmallLab, stores: StoresInMemory, reads: Reads
) -> None:
    inner = MemoryStore(DEEP)
    lost = StoreUnreachableError(DEEP, "no answer")
    stores.add(DEEP, Faulty(inner, {"put_part": [*[None] * 3, *[Fault(error=lost)] * 99]}))
    ended = send(lab)
    assert ended.status is ExitStatus.PARTIAL
    missing = {name for of in whereabouts(ended).values() for name in of}
    assert missing == {"deep"}, "another place lacks something too"
    stores.add(DEEP, inner)
    reads.by_name.clear()
    ended = send(lab)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert 0 < reads.total <= outbox_bytes(lab)
    assert archived(lab) == in_outbox(lab)


def test_an_archive_that_hangs_does_not_stop_the_others(
    lab: SmallLab, stores: StoresInMemory, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the memory it holds nor by what it does not read; it is made when the others are through."""
    monkeypatch.setattr(pace, "PartPool", functools.partial(PartPool, 8 * MIB, stall_s=0.3))
    others: list[int] = []

    class Hanging(MemoryStore):
        calls = 0

        def put_part(self, key: str, upload_id: str, number: int, body: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == 2:
                deadline = time.monotonic() + 60
                while len(keys(stores.by_url[VIDEO])) < 10 and time.monotonic() < deadline:
                    time.sleep(0.05)
                others.append(len(keys(stores.by_url[VIDEO])))
            return MemoryStore.put_part(self, key, upload_id, number, body, **options)

    stores.add(DEEP, Hanging(DEEP))
    ended = send(lab)
    assert others == [10], "the clips waited for the archive"
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert whereabouts(ended) == {ONE: {}, TWO: {}}
    # every byte once, and what is said to have been read again: by the archive that was left behind, and once more of
    # a part that it had in hand when it was detached
    assert reads.total == outbox_bytes(lab) + ended.counts["bytes_read_again"]
    assert reads.total <= 3 * outbox_bytes(lab)
    assert ended.counts["bytes_read_again"] > 0
    assert archived(lab) == in_outbox(lab)


def test_a_bucket_that_hangs_does_not_stop_the_archive(
    lab: SmallLab, stores: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PartPool", functools.partial(PartPool, stall_s=0.3))
    volumes: list[int] = []

    class Hanging(MemoryStore):
        def begin_upload(self, key: str, **options: Any) -> Any:
            deadline = time.monotonic() + 60
            while not volumes and len(keys(stores.by_url[DEEP])) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            volumes.append(len(keys(stores.by_url[DEEP])))
            return MemoryStore.begin_upload(self, key, **options)

    stores.add(VIDEO, Hanging(VIDEO))
    ended = send(lab)
    assert volumes[0] >= 2, "the archive waited for the bucket"
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert archived(lab) == in_outbox(lab)


def test_a_file_that_changes_while_it_is_read_goes_nowhere_and_the_others_do(
    lab: SmallLab, stores: StoresInMemory
) -> None:
    path = lab.out / f"video/{ONE}/{ONE}_1/{ONE}_1_0002.avi"

    class Changing(MemoryStore):
        def put_part(self, key: str, *arguments: Any, **options: Any) -> Any:
            if key.startswith(f"{ONE}/{ONE}_1/{ONE}_1_0002"):
                os.utime(path, (1, 1))
            return MemoryStore.put_part(self, key, *arguments, **options)

    stores.add(VIDEO, Changing(VIDEO))
    ended = send(lab)
    assert ended.status in (ExitStatus.SOURCE_CHANGED, ExitStatus.PARTIAL)
    assert {e.code for e in ended.errors()} == {"source-changed"}
    assert not [key for url in (VIDEO, AZURE) for key in keys(stores.by_url[url]) if f"{ONE}_1_0002" in key]
    assert len(keys(stores.by_url[VIDEO])) == 9
    stores.add(VIDEO, stores.by_url[VIDEO])
    ended = send(lab)
    assert whereabouts(ended)[TWO] == {}


def test_one_archive_of_two_shares_and_both_are_whole(lab: SmallLab, stores: StoresInMemory, reads: Reads) -> None:
    second = "s3://lab-second"
    stores.add(second)
    text = lab.home.config.read_text()
    lab.home.config.write_text(text + f'[[destination]]\nname = "second"\nurl = "{second}"\narchive = true\n')
    ended = send(lab)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert whereabouts(ended) == {ONE: {}, TWO: {}}
    assert reads.total == 2 * outbox_bytes(lab), "the second archive reads by itself"


def test_an_interrupted_run_is_continued(lab: SmallLab, stores: StoresInMemory) -> None:
    stop = threading.Event()

    class Stopping(MemoryStore):
        def put_part(self, key: str, *arguments: Any, **options: Any) -> Any:
            part = MemoryStore.put_part(self, key, *arguments, **options)
            stop.set()
            return part

    inner = Stopping(DEEP)
    stores.add(DEEP, inner)
    assert send(lab, stop=stop).status is ExitStatus.INTERRUPTED
    ended = send(lab)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert archived(lab) == in_outbox(lab)


def test_a_store_that_wants_equal_parts_gets_no_archive(lab: SmallLab, stores: StoresInMemory) -> None:
    store = stores.by_url[DEEP]
    assert isinstance(store, MemoryStore)
    store.capabilities = replace(store.capabilities, equal_parts=True)
    ended = send(lab)
    assert ended.status is ExitStatus.PARTIAL
    (error,) = ended.errors()
    assert "parts of one size" in error.message
    assert "ecogsafe upload" in error.next
    assert set(whereabouts(ended)[ONE]) == {"deep"}
    assert keys(store) == []
