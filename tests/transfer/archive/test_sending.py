"""Volumes sent, cut, and continued; what arrives opens with stock tools."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import zstandard

from ecogsafe.catalog import archives
from ecogsafe.catalog.sums import sums
from ecogsafe.core.errors import InterruptedRunError, NoSpaceError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.archive import frames, making, volume_pass
from ecogsafe.transfer.archive.index import parse_index
from ecogsafe.transfer.archive.indexing import index_of
from ecogsafe.transfer.archive.members import MemberLostError
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.work import Status

from ..bench import CODE, Watched
from ..killing import Killed
from .volumes_bench import KEY, VolumeBench


def _die_at(volumes: VolumeBench, store: Watched, method: str, call: int) -> None:
    seen = {"calls": 0}

    def die() -> None:
        seen["calls"] += 1
        if seen["calls"] >= call:
            raise Killed

    store.before[method] = die
    work = volumes.plan(volumes.bench.place(store, storage_class="DEEP_ARCHIVE"))
    with pytest.raises(Killed):
        volumes.send(work, pool=PartPool(1))
    store.before.clear()


def test_a_volume_restores_with_stock_tools(volumes: VolumeBench) -> None:
    store = MemoryStore()
    work = volumes.plan(volumes.bench.place(store, storage_class="DEEP_ARCHIVE"))
    outcome = volumes.send(work)
    assert (outcome.status, outcome.proven) == (Status.DONE, True)
    volumes.restore_by_stock_tools(store)
    row = volumes.volume()
    assert (row.state, row.manifest_sha256) == ("stored", outcome.sha256)
    assert volumes.bench.keys_resting() == 0
    assert volumes.bench.open_uploads() == []


def test_every_part_is_whole_chunks_and_every_frame_opens_alone(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    volumes.send(volumes.plan(volumes.bench.place(store)))
    assert len(store.sent_numbers()) >= 4
    with volumes.bench.catalog.read() as tx:
        index = index_of(tx, volumes.volume())
    assert parse_index(index.to_bytes(), item="index") == index
    zstd = volumes.zstd(store)
    assert index.zstd_size == len(zstd)
    tar = b"".join(frames.open_frame(zstd[f.zstd_start : f.zstd_stop], f.tar_stop - f.tar_start) for f in index.frames)
    for member in index.members:
        data = (volumes.bench.out / member.path).read_bytes()
        assert tar[member.data_offset : member.data_offset + member.size] == data
        ranges = index.ranges_for(member)
        opened = b"".join(
            zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(zstd[a:b]) for a, b in ranges
        )
        assert data in opened
    # several are on their way at once, and arrive in any order
    for _, _, body in sorted(store.parts, key=lambda part: part[1])[:-1]:
        assert len(body) % 65552 == 0 or body.startswith(b"age-encryption.org")


def test_members_count_as_copied_where_their_volume_is(volumes: VolumeBench) -> None:
    volumes.send(volumes.plan(volumes.bench.place(MemoryStore())))
    with volumes.bench.catalog.read() as tx:
        (found,) = sums(tx, CODE)
    (summary,), (alike,) = found.copies, found.files
    assert (summary.tree, summary.files, summary.checksum) == ("video", len(volumes.paths), len(volumes.paths))
    assert alike.files == len(volumes.paths)
    assert len(alike.held) == 1


@pytest.mark.parametrize(
    ("method", "call"), [("begin_upload", 1), ("put_part", 1), ("put_part", 3), ("put_part", 5), ("finish_upload", 1)]
)
def test_a_killed_run_is_continued_where_it_stopped(volumes: VolumeBench, method: str, call: int) -> None:
    store = Watched(MemoryStore())
    _die_at(volumes, store, method, call)
    sent = len({number for _, number, _ in store.parts})
    work = _again(volumes, store)
    outcome = volumes.send(work)
    assert outcome.status is Status.DONE, outcome.error
    volumes.bench.check_no_nonce_twice(store)
    volumes.restore_by_stock_tools(store)
    assert volumes.bench.open_uploads() == []
    if method != "begin_upload":
        assert volumes.bench.rows("SELECT count(*) FROM sealings") == [(1,)], "it began anew although nothing changed"
    if call > 1:
        assert any("already there" in note for note in outcome.notes), sent


def _again(volumes: VolumeBench, store: Watched) -> making.VolumeWork:
    from ecogsafe.transfer.archive.planning import plan_again

    with volumes.bench.catalog.read() as tx:
        members = archives.members_of(tx, volumes.volume().volume_id)
    sources = [volumes.member(path) for path in volumes.paths]
    assert [member.path for member in members] == [str(path) for path in volumes.paths]
    return plan_again(volumes.volume(), volumes.bench.place(store, storage_class="DEEP_ARCHIVE"), sources)


def test_another_zstd_starts_the_volume_over_under_a_new_key(
    volumes: VolumeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Watched(MemoryStore())
    _die_at(volumes, store, "put_part", 3)
    compressor = zstandard.ZstdCompressor(level=9, write_checksum=True)
    monkeypatch.setattr(volume_pass, "compressed_frame", compressor.compress)
    monkeypatch.setattr(volume_pass, "ZSTD_VERSION", "9.9.9")
    volumes.send(_again(volumes, store))
    volumes.bench.check_no_nonce_twice(store)
    volumes.restore_by_stock_tools(store)
    assert "another zstd" in volumes.bench.told()
    assert volumes.bench.rows("SELECT count(*) FROM sealings WHERE state = 'abandoned'") == [(1,)]


def test_a_part_whose_row_cannot_be_noted_keeps_no_room(volumes: VolumeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """`VolumeBench.send` looks at the pool."""
    store = MemoryStore()
    real = Ledger.submit
    count = 0

    def submit(self: Ledger, write: Callable[..., Any], *, may_wait: bool = False) -> Future[Any]:
        nonlocal count
        # the upload's name, and then what belongs to each part
        count += may_wait
        if count == 4:
            raise NoSpaceError("the disk of the catalogue", "is full")
        return real(self, write, may_wait=may_wait)

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "submit", submit)
        outcome = volumes.send(volumes.plan(volumes.bench.place(store)))
    assert (outcome.status, type(outcome.error)) == (Status.FAILED, NoSpaceError)
    volumes.send(_again(volumes, Watched(store)))
    volumes.restore_by_stock_tools(store)


def test_bytes_that_changed_under_the_same_stat_start_it_over(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    _die_at(volumes, store, "put_part", 1)
    (volumes.bench.out / volumes.paths[0]).write_bytes(volumes.bench.data(700_000))
    outcome = volumes.send(_again(volumes, store))
    assert outcome.status is Status.DONE
    volumes.bench.check_no_nonce_twice(store)
    volumes.restore_by_stock_tools(store)
    assert "a file in it changed" in volumes.bench.told()


def test_a_file_that_changes_while_it_is_read_is_told_by_position(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    path = volumes.bench.out / volumes.paths[8]
    work = volumes.plan(volumes.bench.place(store))
    store.before["put_part"] = lambda: path.write_bytes(b"another")
    with pytest.raises(MemberLostError) as lost:
        volumes.send(work, pool=PartPool(1))
    assert lost.value.position == 8
    assert store.head(KEY) is None
    assert volumes.bench.open_uploads() == []
    assert volumes.bench.keys_resting() == 0


def test_a_lost_answer_to_complete_is_settled_by_asking(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    work = volumes.plan(volumes.bench.place(store, storage_class="DEEP_ARCHIVE"))
    finish = store.inner.finish_upload

    def lose(*a: object, **k: object) -> None:
        finish(*a, **k)  # type: ignore[arg-type]
        raise Killed

    store.inner.finish_upload = lose  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        volumes.send(work)
    store.inner.finish_upload = finish  # type: ignore[method-assign]
    sent = len(store.parts)
    outcome = volumes.send(_again(volumes, store))
    assert outcome.status is Status.DONE
    assert len(store.parts) == sent, "parts were sent again although the object stands"
    assert volumes.volume().state == "stored"
    volumes.restore_by_stock_tools(store)


def test_an_upload_that_the_store_forgot_starts_the_volume_over(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    forgotten: list[str] = []

    def forget() -> None:
        if len(store.parts) == 3 and not forgotten:
            (upload,) = store.list_uploads()
            forgotten.append(upload.upload_id)
            store.inner.abort_upload(KEY, upload.upload_id)

    store.before["put_part"] = forget
    outcome = volumes.send(volumes.plan(volumes.bench.place(store)), pool=PartPool(1))
    assert outcome.status is Status.DONE, outcome.error
    assert forgotten
    assert "the store forgot the upload" in volumes.bench.told()
    volumes.bench.check_no_nonce_twice(store)
    volumes.restore_by_stock_tools(store)


def test_a_catalogue_from_before_never_seals_under_the_same_key_again(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    _die_at(volumes, store, "put_part", 2)
    with volumes.bench.catalog.write() as tx:
        tx.exec_driver_sql("DELETE FROM parts WHERE number > 0")
        tx.exec_driver_sql("DELETE FROM archive_frames")
    outcome = volumes.send(_again(volumes, store))
    assert outcome.status is Status.DONE
    volumes.bench.check_no_nonce_twice(store)
    assert "was an older one put back" in volumes.bench.told()
    volumes.restore_by_stock_tools(store)


def test_another_resume_key_starts_the_volume_over(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    _die_at(volumes, store, "put_part", 2)
    volumes.bench.resume_key = bytes(32)
    assert volumes.send(_again(volumes, store)).status is Status.DONE
    assert "resume.key" in volumes.bench.told()
    volumes.restore_by_stock_tools(store)


def test_a_key_that_was_taken_meanwhile_is_never_replaced(volumes: VolumeBench) -> None:
    store = Watched(MemoryStore())
    work = volumes.plan(volumes.bench.place(store))
    foreign = b"of somebody else"
    store.inner.put(KEY, foreign, crc64=crc64nvme(foreign), token="f" * 32)
    assert volumes.send(work).status is Status.DIFFERENT
    assert b"".join(store.read(KEY)) == foreign
    assert volumes.volume().state == "abandoned"
    assert (volumes.bench.open_uploads(), volumes.bench.keys_resting()) == ([], 0)


@pytest.mark.parametrize("method", ["begin_upload", "put_part", "finish_upload"])
def test_ctrl_c_while_the_store_is_asked_again_pauses_the_volume(volumes: VolumeBench, method: str) -> None:
    interrupted = InterruptedRunError("memory", "was not asked again")
    store = Faulty(MemoryStore(), {method: [Fault(error=interrupted)]})
    work = volumes.plan(volumes.bench.place(store))
    outcome = volumes.send(work)
    assert (outcome.status, outcome.error) == (Status.PAUSED, None)
    assert volumes.send(work).status is Status.DONE
