"""`restore` of archives that the old script made: fetched as they are, told of without any name."""

from __future__ import annotations

import pytest

from ecogsafe.core.errors import ExitStatus
from tests.service.cold_store import ColdMemory
from tests.service.old_locks import locked, tar_gz
from tests.service.small_lab import CODES, SmallLab, StoresInMemory
from tests.service.test_download_old import everything_kept
from tests.service.test_restore import URL, back, bring, put

CODE = CODES[0]
#: of a made-up patient
NAME = "Quillfeather"
OLD = f"{CODE}_vid.tar.gz.enc"
DATA = locked(tar_gz({f"{CODE}/{CODE}_1/{CODE}_1_0001.avi": b"a clip"}))


@pytest.fixture
def cold(in_memory: StoresInMemory) -> ColdMemory:
    return in_memory.add(URL, ColdMemory(URL))  # type: ignore[return-value]


@pytest.mark.parametrize("folder", ["", f"{CODE}_vid/", f"{CODE}/{CODE}_1/"])
def test_an_old_archive_is_thawed_and_fetched(small_lab: SmallLab, cold: ColdMemory, folder: str) -> None:
    put(cold, folder + OLD, DATA, "DEEP_ARCHIVE")
    assert bring(small_lab).status is ExitStatus.COLD
    cold.ready()
    assert bring(small_lab).status is ExitStatus.DONE
    assert back(small_lab) == {OLD: DATA}


@pytest.mark.parametrize("storage_class", ["DEEP_ARCHIVE", None])
def test_an_old_archive_below_a_name_is_told_of_without_it(
    small_lab: SmallLab, cold: ColdMemory, storage_class: str | None
) -> None:
    put(cold, OLD, DATA)
    put(cold, f"{CODE}/{NAME}~ Ann/{CODE}_edf.tar.gz.enc", DATA, storage_class)
    ended = bring(small_lab)
    assert ended.status is ExitStatus.DONE
    assert back(small_lab) == {OLD: DATA}
    assert cold.requests == []
    (note,) = [item for item in ended.items(status="note") if "--decrypt" in item.message and "edf" in (item.key or "")]
    assert note.key is not None and note.key.startswith(f"{CODE}/Q•••")
    assert NAME not in repr(ended.events) + everything_kept(small_lab)
