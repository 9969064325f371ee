"""`upload` as a whole: what it refuses, what config.toml adds, and how it ends."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import sealings, uploads
from ecogsafe.core.errors import (
    ConfigError,
    ExitStatus,
    RecipientsChangedError,
    StoreCredentialsError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.core.private import mask
from ecogsafe.service.config_template import config_template
from ecogsafe.service.site_zone import machine_zone
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.retrying import Backoff, Retrying
from ecogsafe.transfer import file_job, unfinished
from ecogsafe.transfer.source import FileSource
from tests.service.small_lab import CODES, Forgetful, SmallLab, StoresInMemory, bytes_in

URL = "s3://recordings"
CODE = CODES[0]


@pytest.fixture
def two_clips(small_lab: SmallLab) -> SmallLab:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    return small_lab


@pytest.mark.parametrize(
    "wishes",
    [
        {"plain": True, "encrypt": True},
        {"plain": True, "url": URL},
        {"jobs": 0},
        {"data_type": "x"},
    ],
)
def test_wishes_that_contradict_each_other(
    two_clips: SmallLab, in_memory: StoresInMemory, wishes: dict[str, Any]
) -> None:
    ended = two_clips.upload(**{"data_type": "v", **wishes})
    assert ended.status is ExitStatus.USAGE
    assert two_clips.stored() == []
    assert in_memory.by_url == {}


def test_a_url_that_is_none(two_clips: SmallLab) -> None:
    assert two_clips.upload("v", "nonsense").status is ExitStatus.USAGE
    assert two_clips.upload("v", "azure://c").status is ExitStatus.USAGE


def test_recipients_changed_by_hand_stop_everything(two_clips: SmallLab) -> None:
    two_clips.edf(number=1)
    two_clips.clear(CODE)
    with two_clips.home.recipients_file.open("ab") as file:
        file.write(b"# somebody was here\n")
    for data_type in ("v", "e"):
        ended = two_clips.upload(data_type)
        assert isinstance(ended.error, RecipientsChangedError)
        assert ended.status is ExitStatus.KEY
    assert two_clips.stored() == []


def test_an_unknown_setting_is_named(two_clips: SmallLab) -> None:
    two_clips.home.config.write_text('time_zne = "Europe/Madrid"\n')
    ended = two_clips.upload("v")
    assert isinstance(ended.error, ConfigError)
    assert "time_zone" in ended.error.next


# what config.toml says of the destination


def test_the_config_seals_recordings(small_lab: SmallLab) -> None:
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    url = small_lab.folder_store()
    small_lab.home.config.write_text(f'[[destination]]\nname = "nas"\nurl = "{url}/"\nencrypt = true\n')
    # not cleared, and not needed: they go sealed
    assert small_lab.upload("e", url).status is ExitStatus.DONE
    assert all(name.endswith(".edf.age") for name in small_lab.stored())
    # the user's word is stronger: then they must be cleared
    assert small_lab.upload("e", url, plain=True).status is ExitStatus.IDENTIFIERS
    assert small_lab.upload("e", small_lab.folder_store("other")).status is ExitStatus.IDENTIFIERS


@pytest.mark.parametrize(("wished", "given"), [(None, "GLACIER_IR"), ("STANDARD_IA", "STANDARD_IA")])
def test_the_config_names_the_storage_class(
    two_clips: SmallLab, in_memory: StoresInMemory, wished: str | None, given: str
) -> None:
    store = in_memory.add(URL)
    two_clips.home.config.write_text(
        f'[[destination]]\nname = "far"\nurl = "{URL}"\nstorage_class = "GLACIER_IR"\n'
        '[[destination]]\nname = "later"\nurl = "azure://c"\n'
    )
    two_clips.upload("v", URL, storage_class=wished)
    assert {info.storage_class for info in store.list()} == {given}


# stores that fail


def failing(inner: MemoryStore, method: str, error: Any, *, skip: int, times: int = 99) -> Faulty:
    return Faulty(inner, {method: [*[None] * skip, *[Fault(error=error)] * times]})


@pytest.mark.parametrize(
    "error",
    [StoreUnreachableError(URL, "no answer"), StoreRefusedError(URL, "AccessDenied"), StoreFullError(URL, "is full")],
    ids=["unreachable", "refused", "full"],
)
def test_a_store_that_fails_for_everything_ends_10(two_clips: SmallLab, in_memory: StoresInMemory, error: Any) -> None:
    # the id is put, then nothing any more
    in_memory.add(URL, failing(MemoryStore(URL), "put", error, skip=1))
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.STORE
    assert type(ended.error) is type(error)


def test_a_store_that_fails_once_ends_3_and_the_next_run_mends_it(
    two_clips: SmallLab, in_memory: StoresInMemory
) -> None:
    inner = MemoryStore(URL)
    in_memory.add(URL, failing(inner, "put", StoreRefusedError(URL, "AccessDenied"), skip=1, times=1))
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.run is not None
    assert (ended.run.tally.done, ended.run.tally.failed) == (1, 1)
    assert two_clips.upload("v", URL).status is ExitStatus.DONE
    assert len(list(inner.list())) == 2


def test_a_store_without_checksums_is_said_once_and_counted(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.add(URL, Forgetful(URL))
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.DONE
    assert ended.counts["stored_without_checksum"] == 2
    assert ended.run is not None
    assert "2 without a checksum" in ended.run.message
    assert "proven" not in ended.run.message


def test_ctrl_c(two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    store = in_memory.add(URL)
    stop = threading.Event()
    real = FileSource.pieces

    def pieces(self: FileSource) -> Any:
        stop.set()
        return real(self)

    with monkeypatch.context() as patched:
        patched.setattr(FileSource, "pieces", pieces)
        ended = two_clips.upload("v", URL, jobs=1, stop=stop)
    assert ended.status is ExitStatus.INTERRUPTED
    # and again, to the end; nothing twice
    before = {info.key: bytes_in(store, info.key) for info in store.list()}
    assert len(before) < 2
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.DONE
    assert all(bytes_in(store, key) == data for key, data in before.items())


def test_ctrl_c_when_all_is_done_is_no_interruption(
    two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory.add(URL)
    stop = threading.Event()
    monkeypatch.setattr("ecogsafe.service.upload.Snapshots.finish", lambda _self: stop.set())
    assert two_clips.upload("v", URL, stop=stop).status is ExitStatus.DONE


def test_ctrl_c_while_the_store_is_asked_again(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    """The one file is through, the other waits for its store: it did not fail, and the run does not say so."""
    stop = threading.Event()
    inner = MemoryStore(URL)
    lost = StoreUnreachableError(URL, "no answer")
    # the id and the first clip are put
    away = failing(inner, "put", lost, skip=2, times=1)
    backoff = Backoff(first_s=20)
    in_memory.add(URL, Retrying(away, stop=stop, backoff=backoff, on_wait=lambda _wait: stop.set()))
    ended = two_clips.upload("v", URL, jobs=1, stop=stop)
    assert ended.status is ExitStatus.INTERRUPTED
    assert (len(ended.keys("done")), len(ended.keys("skipped")), ended.keys("failed")) == (1, 1, [])
    assert ended.run is not None
    assert ended.run.tally.failed == 0
    in_memory.add(URL, inner)
    assert two_clips.upload("v", URL).status is ExitStatus.DONE


def test_ctrl_c_after_the_store_was_lost(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    """What stopped the run first is told of it: nobody looks for a fault of the store."""
    stop = threading.Event()

    class Expired(Faulty):
        def put(self, key: str, *given: Any, **more: Any) -> Any:
            if CODE in key:
                stop.set()
                raise StoreCredentialsError(URL, "ExpiredToken")
            return super().put(key, *given, **more)

    in_memory.add(URL, Expired(MemoryStore(URL)))
    assert two_clips.upload("v", URL, jobs=1, stop=stop).status is ExitStatus.INTERRUPTED
    # and without Ctrl-C it is the store's
    assert two_clips.upload("v", URL, jobs=1).status is ExitStatus.STORE


def test_one_unreadable_file(two_clips: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.open

    def refuse(path: Any, *a: Any, **k: Any) -> int:
        if str(path).endswith("_0001.avi"):
            raise PermissionError(13, "Permission denied")
        return real(path, *a, **k)

    monkeypatch.setattr("ecogsafe.transfer.source.os.open", refuse)
    ended = two_clips.upload("v")
    assert ended.status is ExitStatus.PARTIAL
    assert len(ended.keys("done")) == 1


def test_a_lost_resume_key_begins_old_uploads_again(
    two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file keys can never be opened again: the uploads are aborted, nothing is sealed twice under one key."""
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", 1000)
    monkeypatch.setattr(unfinished, "part_size_for", lambda _size: 65_536)
    path = f"{CODE}/{CODE}_1/{CODE}_1_0003.avi"
    data = bytes(range(256)) * 1200
    two_clips.write(f"video/{path}", data)
    inner = MemoryStore(URL)
    in_memory.add(URL, failing(inner, "put_part", StoreRefusedError(URL, "AccessDenied"), skip=2))
    assert two_clips.upload("v", URL).status is ExitStatus.PARTIAL
    with two_clips.reading() as tx:
        (first,) = uploads.open_uploads(tx)
    two_clips.home.resume_key_file.unlink()
    in_memory.add(URL, inner)
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.DONE, ended.errors()
    assert list(inner.list_uploads()) == []
    with two_clips.reading() as tx:
        row = uploads.upload(tx, first.token)
        old = sealings.sealing(tx, first.sealing_id)
        assert uploads.open_uploads(tx) == []
    assert row is None or row.state == "aborted"
    assert old is None or old.wrapped_key is None
    back = two_clips.download(URL)
    assert back.status is ExitStatus.DONE
    assert (two_clips.folder / "back" / path).read_bytes() == data


# small things


def test_the_template_of_the_config_is_a_config(small_lab: SmallLab) -> None:
    small_lab.home.config.write_text(config_template(None))
    assert small_lab.home.settings().time_zone is None
    small_lab.home.config.write_text(config_template("America/Los_Angeles"))
    assert small_lab.home.settings().time_zone == "America/Los_Angeles"
    # what is commented out is right too, once it is not
    lines = config_template("Europe/Madrid").splitlines()
    shown = [line.removeprefix("# ") for line in lines if not line.startswith("# ") or "=" in line or "[" in line]
    small_lab.home.config.write_text("\n".join(line for line in shown if "`" not in line and not line.endswith(".")))
    settings = small_lab.home.settings()
    assert len(settings.destination) == 3
    assert settings.policy.copies == 3


@pytest.mark.parametrize(
    ("target", "zone"),
    [
        ("usr/share/zoneinfo/Europe/Madrid", "Europe/Madrid"),
        ("usr/share/zoneinfo/Nowhere/Land", None),
        ("etc/something", None),
    ],
)
def test_the_zone_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, zone: str | None
) -> None:
    monkeypatch.setattr("ecogsafe.service.site_zone.Path.resolve", lambda _self: tmp_path / target)
    assert machine_zone() == zone


@pytest.mark.parametrize("name", ["Müller\udcfc", "a\x1b[31mb", "x\ny", "tab\there"])
def test_masks_hold_nothing_that_harms_a_terminal(name: str) -> None:
    masked = mask(name)
    assert masked.isprintable()
    masked.encode("utf-8")
