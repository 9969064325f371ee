"""`backup`: several places from one read, what stops a subject or the run, and what is said at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ecogsafe.catalog import leases, subjects
from ecogsafe.core.errors import (
    ConfigError,
    ExitStatus,
    LockedError,
    NotClearedError,
    UsageError,
)
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.source import FileSource
from tests.service.nightly_lab import (
    DEEP,
    ONE,
    RECORDINGS,
    TWO,
    VIDEO,
    clips,
    config,
    keys,
    recordings,
    send,
    whereabouts,
)
from tests.service.small_lab import CODES, NAME, SmallLab, StoresInMemory, bytes_in, overwrite, own_objects


def test_every_destination_has_its_types_in_its_form(backing_up: SmallLab, stores: StoresInMemory) -> None:
    ended = send(backing_up)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert keys(stores.by_url[VIDEO]) == [*clips(ONE), *clips(TWO)]
    assert keys(stores.by_url[RECORDINGS]) == [*recordings(ONE), *recordings(TWO)]
    assert backing_up.stored("nas") == sorted(k for c in CODES for k in (*clips(c, ""), *recordings(c)))
    assert [k for k in keys(stores.by_url[DEEP]) if ".tar.zst" in k] == sorted(
        f"{c}/{c}_{kind}_0001.tar.zst.age" for c in CODES for kind in ("edf", "vid")
    )
    assert whereabouts(ended) == {ONE: {}, TWO: {}}
    assert ended.run is not None
    assert "2 of 2 subjects are complete at every one of 4 destinations" in ended.run.message


def test_each_file_is_read_once_for_all_places(backing_up: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    config(backing_up)
    text = backing_up.home.config.read_text()
    backing_up.home.config.write_text(text[: text.index('[[destination]]\nname = "deep"')])
    read: dict[str, int] = {}
    real = FileSource.pieces

    def pieces(self: FileSource) -> Iterator[bytes]:
        for piece in real(self):
            read[self.name] = read.get(self.name, 0) + len(piece)
            yield piece

    monkeypatch.setattr(FileSource, "pieces", pieces)
    assert send(backing_up).status is ExitStatus.DONE
    sizes = {p.relative_to(backing_up.out).as_posix(): p.stat().st_size for p in backing_up.out.rglob("*.*")}
    assert read == sizes
    # touched files are compared, read once more, for all the places that have them
    for name in sizes:
        os.utime(backing_up.out / name, (1, 1))
    read.clear()
    ended = send(backing_up)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert read == sizes


def test_the_next_night_sends_what_is_new_and_nothing_twice(backing_up: SmallLab, stores: StoresInMemory) -> None:
    send(backing_up)
    before = {key: bytes_in(stores.by_url[VIDEO], key) for key in keys(stores.by_url[VIDEO])}
    backing_up.avi(ONE, 3)
    backing_up.clear()
    ended = send(backing_up)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert len(ended.items(action="upload", status="done")) == 2
    assert len(keys(stores.by_url[VIDEO])) == 5
    assert all(bytes_in(stores.by_url[VIDEO], key) == data for key, data in before.items())


def test_a_folder_in_place_of_the_outbox(backing_up: SmallLab, stores: StoresInMemory) -> None:
    assert send(backing_up, backing_up.out / "video" / ONE).status is ExitStatus.DONE
    assert keys(stores.by_url[VIDEO]) == clips(ONE)
    assert keys(stores.by_url[RECORDINGS]) == []


def test_what_is_not_of_the_form_is_told_once(backing_up: SmallLab) -> None:
    backing_up.write("video/Notes of the ward.docx", b"x")
    ended = send(backing_up, backing_up.out / "video")
    assert ended.status is ExitStatus.NOT_UNDERSTOOD
    assert len(ended.items(status="left_behind")) == 1
    assert "ward" not in str(ended.events)


# what stops a subject


def test_a_finding_stops_that_subject_and_not_the_others(backing_up: SmallLab, stores: StoresInMemory) -> None:
    backing_up.edf(ONE, 2, text=f"seen by {NAME}")
    ended = send(backing_up)
    assert ended.status is ExitStatus.PARTIAL
    assert [type(e) for e in (ended.error,)] == [type(None)]
    assert [e.code for e in ended.errors()] == ["not-cleared"]
    assert NAME not in str(ended.events)
    for url in (VIDEO, RECORDINGS, DEEP):
        assert {key[:8] for key in keys(stores.by_url[url])} == {TWO}
    assert {name[:8] for name in backing_up.stored("nas")} == {TWO}
    assert whereabouts(ended)[ONE] == {"video": 2, "recordings": 2, "nas": 4, "deep": 4}
    assert whereabouts(ended)[TWO] == {}


def test_findings_everywhere_end_the_run_with_20(backing_up: SmallLab, stores: StoresInMemory) -> None:
    for code in CODES:
        backing_up.edf(code, 1, text=f"seen by {NAME}")
    ended = send(backing_up)
    assert isinstance(ended.error, NotClearedError)
    assert ended.status is ExitStatus.IDENTIFIERS
    assert all(keys(store) == [] for store in stores.by_url.values())


def test_a_subject_that_is_being_deidentified_waits(backing_up: SmallLab, stores: StoresInMemory) -> None:
    (backing_up.out / f".ecogsafe-open-{ONE}").touch()
    with backing_up.writing() as tx:
        leases.acquire(tx, f"subject:{TWO}", "somebody else", 600, shared=False)
    ended = send(backing_up)
    # both of them, and so the run
    assert isinstance(ended.error, LockedError)
    (backing_up.out / f".ecogsafe-open-{ONE}").unlink()
    ended = send(backing_up)
    assert ended.status is ExitStatus.PARTIAL
    assert keys(stores.by_url[VIDEO]) == clips(ONE)
    assert whereabouts(ended)[TWO]["video"] == 2


def test_a_subject_that_waits_is_not_kept_from_being_finished(backing_up: SmallLab, stores: StoresInMemory) -> None:
    (backing_up.out / f".ecogsafe-open-{ONE}").touch()
    free: list[bool] = []

    class Asking(MemoryStore):
        def list(self, prefix: str = "") -> Any:
            with backing_up.reading() as tx:
                free.append(not leases.holders(tx, f"subject:{ONE}"))
            return MemoryStore.list(self, prefix)

    stores.add(VIDEO, Asking(VIDEO))
    assert send(backing_up).status is ExitStatus.PARTIAL
    assert free and all(free)


def test_of_a_subject_that_withdrew_nothing_is_sent_and_nothing_is_wrong(
    backing_up: SmallLab, stores: StoresInMemory
) -> None:
    with backing_up.writing() as tx:
        subjects.withdraw_subject(tx, ONE)
    ended = send(backing_up)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert keys(stores.by_url[VIDEO]) == clips(TWO)
    assert [i.subject for i in ended.items(action="backup", status="left_behind")] == [ONE]


# what stops the run


def test_no_destination_no_outbox_and_contradictions(backing_up: SmallLab, in_memory: StoresInMemory) -> None:
    backing_up.home.config.write_text(f'outbox = "{backing_up.out}"\n')
    assert isinstance(send(backing_up).error, ConfigError)
    backing_up.home.config.write_text(f'[[destination]]\nname = "a"\nurl = "{VIDEO}"\n')
    assert isinstance(send(backing_up).error, ConfigError)
    config(backing_up, more=f'[[destination]]\nname = "open"\nurl = "{VIDEO}"\nplain = true\n')
    ended = send(backing_up)
    assert isinstance(ended.error, ConfigError)
    assert "destination open" in str(ended.error)
    config(backing_up)
    (backing_up.folder / "empty").mkdir()
    assert isinstance(send(backing_up, backing_up.folder / "empty").error, UsageError)
    assert all(keys(store) == [] for store in in_memory.by_url.values())


def test_last_nights_backup_is_still_at_work(backing_up: SmallLab) -> None:
    with backing_up.writing() as tx:
        leases.acquire(tx, "backup", "somebody else", 600, shared=False)
    ended = send(backing_up)
    assert ended.status is ExitStatus.LOCKED
    assert ended.events == [], "a cron job that waits for its predecessor should say so in one line"


def test_told_to_stop(backing_up: SmallLab, stores: StoresInMemory) -> None:
    stop = threading.Event()

    class Stopping(MemoryStore):
        def put(self, key: str, body: Any, **options: Any) -> Any:
            if not key.startswith("_ecogsafe/"):
                stop.set()
            return MemoryStore.put(self, key, body, **options)

    for number in range(3, 12):
        backing_up.avi(ONE, number)
    backing_up.clear()
    inner = Stopping(VIDEO)
    stores.add(VIDEO, inner)
    assert send(backing_up, stop=stop).status is ExitStatus.INTERRUPTED
    assert send(backing_up).status is ExitStatus.DONE


# snapshots and proofs


def test_the_catalogue_lies_at_every_destination(backing_up: SmallLab, stores: StoresInMemory) -> None:
    send(backing_up)
    for url in (VIDEO, RECORDINGS, DEEP):
        assert own_objects(stores.by_url[url], "catalog/"), url
    assert list((backing_up.folder / "nas" / "_ecogsafe" / "catalog").iterdir())


def test_old_proofs_are_renewed(backing_up: SmallLab, stores: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    send(backing_up)
    assert "proven_again" not in send(backing_up).counts
    monkeypatch.setattr("ecogsafe.service.backup_verifying.DUE_AFTER_DAYS", 0)
    # 4 clips, 4 recordings, 8 files on the NAS, 4 volumes, 4 indexes beside the video
    ended = send(backing_up)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert ended.counts["proven_again"] == 24
    store = stores.by_url[VIDEO]
    assert isinstance(store, MemoryStore)
    overwrite(store, clips(ONE)[0], b"rotten" * 10)
    ended = send(backing_up)
    assert ended.status is not ExitStatus.DONE
    assert whereabouts(ended)[ONE] == {"video": 1}


def test_a_changed_file_of_the_same_size_is_not_called_complete(backing_up: SmallLab, stores: StoresInMemory) -> None:
    send(backing_up)
    path = backing_up.out / f"video/{ONE}/{ONE}_1/{ONE}_1_0001.avi"
    before = bytes_in(stores.by_url[VIDEO], clips(ONE)[0])
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    backing_up.clear()
    ended = send(backing_up)
    assert ended.status is ExitStatus.PARTIAL
    assert whereabouts(ended)[ONE] == {"video": 1, "nas": 1}
    assert bytes_in(stores.by_url[VIDEO], clips(ONE)[0]) == before
