"""`download --decrypt`: what the old scripts stored comes back in one go, under today's names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import ObjectMissingError, StoreRefusedError, UsageError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from tests.formats.builders_avi import clip
from tests.formats.builders_edf import Edf
from tests.service.old_locks import OLD_PASSWORD, locked, noise, tar_gz
from tests.service.small_lab import CODES, PASSWORD, URL, Ended, SmallLab, overwrite

A, B = CODES
CLIP = f"{A}/{A}_1/{A}_1_0000.avi"
OTHER = f"{A}/{A}_2/{A}_2_0003.avi"
RECORDING = f"{B}_edf/{B}_1.edf"
#: of a made-up patient, forgotten in the old copy
NAME = "Quillfeather"


def content(number: int) -> bytes:
    return clip() + noise(9000, number)


def put(store: Store, key: str, data: bytes) -> None:
    store.put(key, data, crc64=crc64nvme(data), token="f" * 32)


def fetch(lab: SmallLab, *, old: bytes = OLD_PASSWORD, stop: threading.Event | None = None, **wishes: Any) -> Ended:
    back = lab.folder / "back"
    back.mkdir(exist_ok=True)
    wishes.setdefault("old_locks", True)
    request = DownloadRequest(url=URL, folder=back, **wishes)
    return lab.run(
        "download",
        lambda run: download(run, request, lambda: PASSWORD, old_password=lambda: Secret(old)),
        stop=stop,
    )


def back(lab: SmallLab) -> dict[str, bytes]:
    folder = lab.folder / "back"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def old_store(store: Store) -> Store:
    """As the old scripts left it: single files, two archives packed in different folders, other people's things."""
    put(store, f"{CLIP}.enc", locked(content(1)))
    archive = {OTHER: content(2), f"{A}/{A}_2/{A}_2.eeg": b"short", f"{A}/{NAME}.doc": b"a report"}
    put(store, f"old/{A}_vid.tar.gz.enc", locked(tar_gz(archive, top="data/to_upload/"), "sha256"))
    put(store, f"{B}_edf.tar.gz.enc", locked(tar_gz({RECORDING: Edf().build()}), salted=False))
    put(store, "someone/else.enc", locked(content(5)))
    put(store, "plans.pdf", b"%PDF-1.4")
    return store


def test_everything_comes_back_under_today_s_names(small_lab: SmallLab, old_store: Store) -> None:
    ended = fetch(small_lab)
    assert back(small_lab) == {
        CLIP: content(1),
        OTHER: content(2),
        f"{A}/{A}_2/{A}_2.eeg": b"short",
        RECORDING: Edf().build(),
    }
    assert ended.status == 21, "the report stays in the old copy, and that is told"
    (left,) = ended.items(status="left_behind")
    assert NAME not in repr(ended.events)
    assert left.key == f"o•••/{A}_vid.tar.gz.enc"
    again = fetch(small_lab)
    assert not again.items(status="done")
    assert len(again.items(status="present")) == 4


def test_without_the_option_they_are_not_touched(small_lab: SmallLab, old_store: Store) -> None:
    assert isinstance(fetch(small_lab, old_locks=False).error, UsageError)


def test_one_subject_or_some_paths(small_lab: SmallLab, old_store: Store) -> None:
    assert fetch(small_lab, subjects=(B,)).status == 0
    assert set(back(small_lab)) == {RECORDING}
    fetch(small_lab, globs=("*_1_0000.avi",))
    assert set(back(small_lab)) == {RECORDING, CLIP}


def test_a_dry_run_tells_and_fetches_nothing(small_lab: SmallLab, old_store: Store) -> None:
    ended = fetch(small_lab, dry_run=True)
    assert len(ended.items(status="planned")) == 3
    assert not back(small_lab)


def test_today_s_copy_of_the_same_file_is_better(small_lab: SmallLab, old_store: Store) -> None:
    small_lab.write(f"video/{CLIP}", content(1))
    small_lab.upload("v", URL)
    ended = fetch(small_lab, globs=(CLIP,))
    assert ended.keys("done") == [f"{CLIP}.age"]


def test_a_wrong_password_is_called_wrong(small_lab: SmallLab, old_store: Store) -> None:
    ended = fetch(small_lab, old=b"not it")
    assert isinstance(ended.error, WrongPasswordError)
    assert not back(small_lab)


def test_what_stands_there_is_never_replaced(small_lab: SmallLab, old_store: Store) -> None:
    fetch(small_lab, globs=(CLIP,))
    (small_lab.folder / "back" / CLIP).write_bytes(b"somebody's own")
    ended = fetch(small_lab, globs=(CLIP,))
    assert ended.status == 3
    assert back(small_lab)[CLIP] == b"somebody's own"


def test_a_damaged_copy_is_named_and_leaves_nothing(small_lab: SmallLab, old_store: Store) -> None:
    key = f"{B}_edf.tar.gz.enc"
    data = bytearray(b"".join(old_store.read(key)))
    data[-40] ^= 1
    overwrite(old_store, key, bytes(data))
    ended = fetch(small_lab, subjects=(B,))
    assert ended.status == 30
    assert [e.item for e in ended.errors()] == [key]
    assert not back(small_lab)


class Altering(MemoryStore):
    """A store that tells a checksum and gives other bytes, at the end where nothing else would notice."""

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        data = bytearray(b"".join(MemoryStore.read(self, key, start, stop)))
        if key.endswith(".enc"):
            data[-500] ^= 1
        yield bytes(data)


def test_bytes_that_are_not_those_of_the_store_s_checksum_leave_nothing(small_lab: SmallLab, in_memory: Any) -> None:
    altering = in_memory.add(URL, Altering(URL))
    put(altering, f"{CLIP}.enc", locked(content(1)))
    ended = fetch(small_lab)
    assert ended.status == 30
    assert "did not arrive" in ended.errors()[0].message
    assert not back(small_lab)


def test_an_interruption_keeps_nothing_half_done(small_lab: SmallLab, old_store: Store) -> None:
    stop = threading.Event()
    stop.set()
    ended = fetch(small_lab, stop=stop)
    assert ended.status == 130
    assert not back(small_lab)


def test_each_old_object_has_its_row_in_the_audit_record(small_lab: SmallLab, old_store: Store) -> None:
    fetch(small_lab)
    from sqlalchemy import text

    with small_lab.reading() as tx:
        rows = tx.execute(text("select act, object, subject from audit where act = 'download'")).all()
    assert {(row.object, row.subject) for row in rows} == {
        (f"{CLIP}.enc", A),
        (f"o•••/{A}_vid.tar.gz.enc", A),
        (f"{B}_edf.tar.gz.enc", B),
    }


def test_a_file_of_another_subject_in_an_archive_stays_there(small_lab: SmallLab, store: Store, tmp_path: Path) -> None:
    put(store, f"{A}_vid.tar.gz.enc", locked(tar_gz({CLIP: content(1), CLIP.replace(A, B): content(2)})))
    ended = fetch(small_lab)
    assert set(back(small_lab)) == {CLIP}
    assert "another subject" in ended.items(status="left_behind")[0].message


#: as whoever called the old scripts with the folder of a patient left them
NAMED = [f"{NAME}~ Ann_1980/{CLIP}.enc", f"{NAME}/{B}_edf.tar.gz.enc"]


@pytest.fixture
def named_store(store: Store) -> Store:
    put(store, NAMED[0], locked(content(1)))
    put(store, NAMED[1], locked(tar_gz({RECORDING: Edf().build()})))
    return store


def everything_kept(lab: SmallLab) -> str:
    """Return all that the catalogue holds."""
    with lab.reading() as tx:
        tables = [row[0] for row in tx.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return "".join(repr(tx.exec_driver_sql(f"SELECT * FROM {name}").all()) for name in tables)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_name_in_a_key_is_told_nowhere(small_lab: SmallLab, named_store: Store, dry_run: bool) -> None:
    ended = fetch(small_lab, dry_run=dry_run)
    assert ended.status == 0
    assert set(back(small_lab)) == (set() if dry_run else {CLIP, RECORDING})
    assert any(event.key and event.key.endswith(f"{B}_edf.tar.gz.enc") for event in ended.items())
    assert NAME not in repr(ended.events)
    assert NAME not in everything_kept(small_lab)


class Failing(MemoryStore):
    """A store whose errors name the object, as those of every store do."""

    how = ""

    def head(self, key: str, *, checksum: bool = False) -> Any:
        if self.how == "head" and key in NAMED:
            raise StoreRefusedError(f"{self.url}/{key}", "refuses this object", next=f"look at {key}")
        return MemoryStore.head(self, key)

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        pieces = MemoryStore.read(self, key, start, stop, **more)
        if key in NAMED and self.how == "gone":
            raise ObjectMissingError(f"{self.url}/{key}", "is not there")
        if key in NAMED and self.how == "shorter":
            yield b"".join(pieces)[:-1]
        elif key in NAMED and self.how == "replaced":
            yield next(pieces)
            overwrite(self, key, locked(content(7)))
            yield from MemoryStore.read(self, key, 10, **more)
        else:
            yield from pieces


@pytest.mark.parametrize("how", ["head", "gone", "shorter", "replaced"])
def test_a_name_in_a_key_is_in_no_error(small_lab: SmallLab, in_memory: Any, how: str) -> None:
    failing = in_memory.add(URL, Failing(URL))
    put(failing, NAMED[0], locked(content(1)))
    failing.how = how
    ended = fetch(small_lab)
    assert ended.status != 0
    assert not back(small_lab)
    assert f"{A}_1_0000.avi.enc" in repr(ended.events), "it is not told which object it was"
    assert NAME not in repr(ended.events) + repr(ended.error)
    assert NAME not in everything_kept(small_lab)


def test_an_object_that_is_replaced_while_it_is_read_gives_no_mixture(small_lab: SmallLab, in_memory: Any) -> None:
    failing = in_memory.add(URL, Failing(URL))
    put(failing, NAMED[0], locked(content(1)))
    failing.how = "replaced"
    (error,) = fetch(small_lab).errors()
    assert error.code == "object-replaced"
