"""Two stores that hold the same sealing: what came from the one proves nothing of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ecogsafe.catalog import copies, stores
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SEALED_CHUNK_BYTES
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer import durable_ranges, fetching, ranges, receivers
from tests.formats.builders_avi import clip
from tests.service.old_locks import noise
from tests.service.small_lab import CODES, SmallLab, StoresInMemory
from tests.service.test_restore import back, bring
from tests.service.test_restore_archives import restored_of

CODE = CODES[0]
ONE, OTHER = "s3://one", "s3://other"
CLIP = f"{CODE}/{CODE}_1/{CODE}_1_0001.avi"
CONTENT = clip() + noise(9 * CHUNK_BYTES)
LARGE = clip() + noise(1 << 20) + bytes(39 << 20)


class Breaking(MemoryStore):
    """Refuses after so many reads of large objects."""

    left = 10**9

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        found = self._objects.get(key)
        if found is not None and found[0].size > 100_000:
            if not self.left:
                raise StoreRefusedError(self.url, "is gone")
            self.left -= 1
        yield from super().read(key, start, stop, **more)

    def spoil(self, key: str, at: int) -> None:
        info, data = self._objects[key]
        self._objects[key] = (info, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.fixture
def one(in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> Breaking:
    for module in (ranges, fetching, receivers):
        monkeypatch.setattr(module, "FIRST_REQUEST_BYTES", 2 * SEALED_CHUNK_BYTES + 4096)
    monkeypatch.setattr(ranges, "RANGE_BYTES", 2 * CHUNK_BYTES)
    monkeypatch.setattr(ranges, "_RANGES_AT_ONCE", 1)
    monkeypatch.setattr(fetching, "REQUEST_BYTES", 2 * SEALED_CHUNK_BYTES + 4096)
    monkeypatch.setattr(durable_ranges, "_BATCH_BYTES", 1)
    return in_memory.add(ONE, Breaking(ONE))  # type: ignore[return-value]


@pytest.fixture
def other(in_memory: StoresInMemory) -> Breaking:
    return in_memory.add(OTHER, Breaking(OTHER))  # type: ignore[return-value]


def copies_of(small: SmallLab, key: str) -> dict[str, CopyRow]:
    """Return the copies under ``key`` by the URL of their store."""
    with small.reading() as tx:
        return {row.url: found for row in stores.all_stores(tx) if (found := copies.copy_by_key(tx, row.store_id, key))}


def test_a_file_begun_from_one_store_and_ended_from_another_proves_neither(
    small_lab: SmallLab, one: Breaking, other: Breaking
) -> None:
    small_lab.write(f"video/{CLIP}", CONTENT)
    for url in (ONE, OTHER):
        small_lab.upload("v", url)
    key = f"{CLIP}.age"
    # the same bytes in the same parts have the same ETag
    other._objects[key] = one._objects[key]
    other.spoil(key, 70_000)
    one.left = 2
    bring(small_lab, url=ONE, jobs=1)
    assert CLIP not in back(small_lab)
    ended = bring(small_lab, url=OTHER, jobs=1)
    assert back(small_lab)[CLIP] == CONTENT
    (done,) = ended.items(action="restore", status="done")
    assert "does not count as a proof" in done.message
    assert copies_of(small_lab, key)[OTHER].level != "restored", "its object is damaged, and nobody looked"
    (small_lab.folder / "back" / CLIP).unlink()
    one.left = 10**9
    bring(small_lab, url=ONE, jobs=1)
    assert copies_of(small_lab, key)[ONE].level == "restored"


def test_a_file_of_an_archive_that_came_in_two_runs_proves_nothing(small_lab: SmallLab, one: Breaking) -> None:
    """Who begins it with another copy of the volume leaves the same notes."""
    small_lab.write(f"video/{CLIP}", LARGE)
    request = ArchiveRequest(folders=(small_lab.out,), url=ONE, kind="vid", storage_class=None)
    assert small_lab.run("archive", lambda run: archive(run, request)).status == 0
    key = f"{CODE}/{CODE}_vid_0001.tar.zst.age"
    one.left = 2
    bring(small_lab, url=ONE, jobs=1)
    assert CLIP not in back(small_lab)
    one.left = 10**9
    ended = bring(small_lab, url=ONE, jobs=1)
    assert back(small_lab)[CLIP] == LARGE
    (done,) = ended.items(action="restore", status="done")
    assert "does not count as a proof" in done.message
    assert restored_of(small_lab) == set()
    assert small_lab.copy(key).level != "restored"
    (small_lab.folder / "back" / CLIP).unlink()
    bring(small_lab, url=ONE, jobs=1)
    assert restored_of(small_lab) == {CLIP}
    assert small_lab.copy(key).level == "restored"
