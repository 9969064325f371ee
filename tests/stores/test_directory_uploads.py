"""Uploads in parts into a folder: across processes, torn journals, damaged disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.core.errors import ChecksumRefusedError, StoreRefusedError, UploadGoneError
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import got, sample
from ecogsafe.stores.directory import DirectoryStore
from tests.stores.test_directory import KEY, all_names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "nas"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def begin(store: DirectoryStore, parts: int = 3, size: int = 50_000) -> tuple[str, list[bytes], bytes]:
    pieces = [sample(f"part {number}", size + number) for number in range(parts)]
    whole = b"".join(pieces)
    return store.begin_upload(KEY, token="t", size=len(whole)), pieces, whole


def send(store: DirectoryStore, upload_id: str, pieces: list[bytes], number: int) -> object:
    offset = sum(map(len, pieces[: number - 1]))
    body = pieces[number - 1]
    return store.put_part(KEY, upload_id, number, body, offset=offset, crc64=body_crc64(body))


def test_an_upload_goes_on_in_another_process(root: Path, store: DirectoryStore) -> None:
    upload_id, pieces, whole = begin(store)
    send(store, upload_id, pieces, 3)
    send(store, upload_id, pieces, 1)
    again = DirectoryStore(root)
    assert [part.number for part in again.list_parts(KEY, upload_id)] == [1, 3]
    assert [(upload.key, upload.upload_id) for upload in again.list_uploads()] == [(KEY, upload_id)]
    assert list(again.list()) == []
    send(again, upload_id, pieces, 2)
    again.finish_upload(
        KEY, upload_id, again.list_parts(KEY, upload_id), crc64=body_crc64(whole), size=len(whole), token="t"
    )
    assert got(store, KEY) == whole
    assert all_names(root) == {KEY}


def test_a_torn_line_of_the_journal_is_no_acknowledgement(root: Path, store: DirectoryStore) -> None:
    upload_id, pieces, _ = begin(store)
    send(store, upload_id, pieces, 1)
    send(store, upload_id, pieces, 2)
    journal = next(root.rglob("*.upload"))
    journal.write_bytes(journal.read_bytes()[:-20])
    assert [part.number for part in store.list_parts(KEY, upload_id)] == [1]
    send(store, upload_id, pieces, 3)
    assert [part.number for part in store.list_parts(KEY, upload_id)] == [1, 3]


def test_a_part_damaged_on_the_disk_is_not_published(root: Path, store: DirectoryStore) -> None:
    upload_id, pieces, whole = begin(store)
    for number in (1, 2, 3):
        send(store, upload_id, pieces, number)
    part_file = next(root.rglob("*.part"))
    with part_file.open("r+b") as file:
        file.seek(70_000)
        file.write(b"\0\0")
    with pytest.raises(ChecksumRefusedError):
        store.finish_upload(
            KEY, upload_id, store.list_parts(KEY, upload_id), crc64=body_crc64(whole), size=len(whole), token="t"
        )
    assert list(store.list()) == [] and part_file.exists()


def test_a_part_behind_the_end_is_refused(store: DirectoryStore) -> None:
    upload_id, pieces, whole = begin(store)
    with pytest.raises(StoreRefusedError):
        store.put_part(KEY, upload_id, 3, pieces[2], offset=len(whole) - 5, crc64=body_crc64(pieces[2]))


def test_an_object_may_end_before_the_size_that_was_announced(root: Path, store: DirectoryStore) -> None:
    _, pieces, whole = begin(store)
    upload_id = store.begin_upload("longer", token="t", size=len(whole) + 70_000)
    offset = 0
    for number, piece in enumerate(pieces, 1):
        store.put_part("longer", upload_id, number, piece, offset=offset, crc64=body_crc64(piece))
        offset += len(piece)
    parts = store.list_parts("longer", upload_id)
    with pytest.raises(StoreRefusedError):
        store.finish_upload("longer", upload_id, parts[:2], crc64=body_crc64(whole), size=len(whole), token="t")
    store.finish_upload("longer", upload_id, parts, crc64=body_crc64(whole), size=len(whole), token="t")
    assert got(store, "longer") == whole


def test_a_finished_upload_takes_no_late_part(root: Path, store: DirectoryStore) -> None:
    upload_id, pieces, whole = begin(store)
    for number in (1, 2, 3):
        send(store, upload_id, pieces, number)
    parts = store.list_parts(KEY, upload_id)
    store.finish_upload(KEY, upload_id, parts, crc64=body_crc64(whole), size=len(whole), token="t")
    with pytest.raises(UploadGoneError):
        send(store, upload_id, pieces, 2)
    with pytest.raises(UploadGoneError):
        store.list_parts("another/key", upload_id)
    assert got(store, KEY) == whole


def test_a_kill_between_the_two_files_leaves_an_upload_that_can_be_aborted(root: Path, store: DirectoryStore) -> None:
    """It holds nothing, and takes nothing; it is listed, so that somebody comes by."""
    upload_id, pieces, _ = begin(store)
    # as when a finished one is cleared away: its parts are part of the object now
    send(store, upload_id, pieces, 1)
    next(root.rglob("*.part")).unlink()
    assert store.list_parts(KEY, upload_id) == ()
    with pytest.raises(UploadGoneError):
        send(store, upload_id, pieces, 2)
    assert [upload.upload_id for upload in store.list_uploads("abcd")] == [upload_id]
    store.abort_upload(KEY, upload_id)
    assert all_names(root) == set()
