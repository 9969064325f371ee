"""Rows of archives, and what `status` counts of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ecogsafe.catalog import archives, copies, files
from ecogsafe.catalog.archives import FrameRow, MemberRow, VolumeRow
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.sums import keep_sums, sums

from .conftest import CODES, STORE_IDS

KEY = f"{CODES[0]}/{CODES[0]}_vid_0001.tar.zst.age"
TIME = "2026-01-02T03:04:05.000000Z"


def _seen(path: str, tree: files.Tree = "video") -> files.SeenFile:
    return files.SeenFile(
        tree=tree, path=path, subject=CODES[0], segment=1, size=10, mtime_ns=5, inode=2**63 + 1, device=3
    )


@pytest.fixture
def volume(catalog: Catalog, file_ids: list[int]) -> VolumeRow:
    """A volume of two members, in the first store."""
    with catalog.write() as tx:
        volume_id = files.upsert_file(tx, _seen(KEY.removesuffix(".age"), "archive"))
        row = VolumeRow(
            volume_id=volume_id,
            subject=CODES[0],
            kind="vid",
            number=1,
            store_id=STORE_IDS[0],
            key=KEY,
            storage_class="DEEP_ARCHIVE",
            state="sending",
            sealing_id="",
            tar_size=30_720,
            part_size=16,
            zstd_version="1.5.7",
            created_at=TIME,
        )
        archives.add_volume(tx, row)
        members = [
            MemberRow(
                volume_id=volume_id,
                position=n,
                file_id=files.upsert_file(tx, _seen(f"{CODES[0]}/{CODES[0]}_7/{CODES[0]}_7_000{n}.avi")),
                tree="video",
                path=f"{CODES[0]}/{CODES[0]}_7/{CODES[0]}_7_000{n}.avi",
                source=SourceStat(size=10, mtime_ns=5, ctime_ns=6, inode=2**63 + 1, device=3),
                stored=n == 1,
                data_offset=512 + 1024 * n,
            )
            for n in (0, 1)
        ]
        archives.begin_again(tx, row, members)
    return row


def _copy(volume: VolumeRow, **changes: object) -> CopyRow:
    row = CopyRow(
        id=0,
        file_id=volume.volume_id,
        store_id=STORE_IDS[0],
        key=KEY,
        sealed=True,
        size=100,
        crc64=7,
        etag=None,
        version_id=None,
        storage_class="DEEP_ARCHIVE",
        token="t" * 32,
        level="checksum",
        stored_at=TIME,
        checksum_at=TIME,
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def _held(catalog: Catalog) -> tuple[int, int, int]:
    """Return the good copies of videos in the first store, those proven by checksum, those restored."""
    keep_sums(catalog)
    with catalog.read() as tx:
        found = [c for s in sums(tx, CODES[0]) for c in s.copies if (c.tree, c.store_id) == ("video", STORE_IDS[0])]
    return (found[0].files, found[0].checksum, found[0].restored) if found else (0, 0, 0)


def test_rows_come_back_as_they_were(catalog: Catalog, volume: VolumeRow) -> None:
    frames = [
        FrameRow(volume.volume_id, n, n // 2 + 1, 10 * n, 10 * n + 10, 7 * n, 7 * n + 7, b"s" * 32) for n in range(3)
    ]
    with catalog.write() as tx:
        archives.begin_making(tx, volume.volume_id, "s1", zstd_version="9", created_at=TIME)
        archives.add_frames(tx, frames)
        archives.set_digest(tx, volume.volume_id, 1, sha256="a" * 64, file_id=1)
    with catalog.read() as tx:
        assert archives.frames_of(tx, volume.volume_id) == frames
        first, second = archives.members_of(tx, volume.volume_id)
        assert (first.sha256, second.sha256, second.file_id, second.stored) == (None, "a" * 64, 1, True)
        assert first.source.inode == 2**63 + 1
        assert archives.volume(tx, volume.volume_id) == replace(volume, sealing_id="s1", zstd_version="9")
        assert archives.highest_number(tx, CODES[0], "vid") == 1
        assert archives.highest_number(tx, CODES[0], "edf") == 0
        ((member, row),) = archives.volumes_holding(tx, [first.file_id])
        assert (member.position, row.volume_id) == (0, volume.volume_id)


def test_a_new_making_forgets_frames_digests_and_what_was_announced(catalog: Catalog, volume: VolumeRow) -> None:
    with catalog.write() as tx:
        archives.add_frames(tx, [FrameRow(volume.volume_id, 0, 1, 0, 1, 0, 1, b"s" * 32)])
        archives.set_digest(tx, volume.volume_id, 0, sha256="a" * 64, file_id=1)
        archives.set_announced(
            tx, volume.volume_id, zstd_size=1, header_bytes=2, object_size=3, manifest_sha256="b" * 64
        )
        archives.begin_making(tx, volume.volume_id, "s2", zstd_version="9", created_at=TIME)
    with catalog.read() as tx:
        assert archives.frames_of(tx, volume.volume_id) == []
        assert archives.digests_of(archives.members_of(tx, volume.volume_id)) == {}
        row = archives.volume(tx, volume.volume_id)
    assert row is not None
    assert (row.manifest_sha256, row.object_size, row.sealing_id) == (None, None, "s2")


def test_members_are_copied_where_a_good_copy_of_their_volume_is(catalog: Catalog, volume: VolumeRow) -> None:
    before = _held(catalog)
    with catalog.write() as tx:
        assert not archives.stands(tx, volume)
        copies.record_copy(tx, _copy(volume))
        assert archives.stands(tx, volume)
    assert _held(catalog) == (before[0] + 2, before[1] + 2, before[2])
    with catalog.write() as tx:
        archives.mark_restored(tx, volume.volume_id, [1], TIME)
    assert _held(catalog) == (before[0] + 2, before[1] + 1, before[2] + 1), "the kept sum was not forgotten"
    with catalog.write() as tx:
        found = copies.copy_by_key(tx, STORE_IDS[0], KEY)
        assert found is not None
        copies.mark_bad(tx, found.id, "it is missing from the store")
        assert not archives.stands(tx, volume)
    assert _held(catalog) == before


def test_volumes_themselves_are_no_files_of_the_subject(catalog: Catalog, volume: VolumeRow) -> None:
    with catalog.read() as tx:
        assert {total.tree for total in files.file_totals(tx, CODES[0])} == {"video"}
        (each,) = sums(tx, CODES[0])
    assert {alike.tree for alike in each.files} == {"video"}
