"""A `download` never ends 0 unless every selected file is there and right, whatever goes wrong on the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import subjects
from ecogsafe.core.errors import ExitStatus
from ecogsafe.service import download_receiving
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer import receivers
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.receiving import Reception
from tests.service.small_lab import CODES, PASSWORD, URL, Ended, Made, SmallLab, StoresInMemory

CODE, OTHER = CODES[:2]
CLIP = f"{CODE}/{CODE}_1/{CODE}_1_0001.avi"
EDF = f"{CODE}_edf/{CODE}_1.edf"


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        small.two_subjects()
        small.clear()
        small.upload("v", URL)
        small.upload("e", URL)

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two subjects, two sealed clips and two plain recordings each."""
    return made.copy_to(small_lab, store)


def back(small: SmallLab) -> dict[str, bytes]:
    folder = small.folder / "back"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sources(small: SmallLab) -> dict[str, bytes]:
    return {
        p.relative_to(small.out / tree).as_posix(): p.read_bytes()
        for tree in ("video", "edf")
        for p in (small.out / tree).rglob("*")
        if p.is_file()
    }


def nothing(_receptions: Iterable[Reception], **_options: Any) -> Iterator[Reception]:
    """Carry out nothing at all, and say nothing."""
    return iter(())


def all_but_the_last(receptions: Iterable[Reception], **options: Any) -> Iterator[Reception]:
    yield from list(receivers.receive_all(receptions, **options))[:-1]


def named_nothing(receptions: Iterable[Reception], **options: Any) -> Iterator[Reception]:
    """Carry everything out, and let one file lose its name before it is told of."""
    for number, ended in enumerate(receivers.receive_all(receptions, **options)):
        if number == 1:
            Path(ended._landing._target).unlink()  # type: ignore[union-attr]
        yield ended


def cut_one(receptions: Iterable[Reception], **options: Any) -> Iterator[Reception]:
    for number, ended in enumerate(receivers.receive_all(receptions, **options)):
        if number == 1:
            os.truncate(ended._landing._target, 3)  # type: ignore[union-attr]
        yield ended


@pytest.mark.parametrize("how", [nothing, all_but_the_last, named_nothing, cut_one])
def test_a_receiver_with_a_bug_is_not_believed(
    sent: SmallLab, monkeypatch: pytest.MonkeyPatch, how: Callable[..., Iterator[Reception]]
) -> None:
    monkeypatch.setattr(download_receiving, "receive_all", how)
    ended = sent.download(URL)
    assert ended.status is not ExitStatus.DONE, "it ended 0, and files are missing"
    told = [str(ended.error), *(e.message for e in ended.errors())]
    assert any("came to no end" in text or "is not there whole" in text for text in told)


def test_a_landing_that_names_nothing_is_not_believed(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Landing, "name", lambda self: None)
    ended = sent.download(URL)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert len(ended.errors()) == len(sources(sent))


class Short(Faulty):
    """A store whose listing leaves objects out, as a server that lost an index does."""

    def __init__(self, inner: MemoryStore, *missing: str) -> None:
        super().__init__(inner)
        self.missing = missing

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (info for info in super().list(prefix) if info.key not in self.missing)


@pytest.mark.parametrize("wishes", [{}, {"subjects": (CODE,)}, {"globs": ("*_1*",)}, {"decrypt": False}])
def test_what_the_listing_leaves_out_is_asked_for_by_its_key(
    sent: SmallLab, in_memory: StoresInMemory, store: MemoryStore, wishes: dict[str, Any]
) -> None:
    """The catalogue knows of it: the object is there, only the listing is wrong."""
    in_memory.add(URL, Short(store, f"{CLIP}.age", EDF))
    ended = sent.download(URL, **wishes)
    assert ended.status is ExitStatus.DONE
    there = {name.removesuffix(".age") for name in back(sent)}
    assert {CLIP, EDF} <= there


@pytest.mark.parametrize("is_all", [True, False])
def test_a_copy_that_vanished_from_the_store_is_told(sent: SmallLab, store: MemoryStore, *, is_all: bool) -> None:
    """Whoever asks for a subject must not believe that a tree with a hole in it is all of the subject."""
    gone = [f"{CLIP}.age", EDF] if not is_all else [key for key in store._objects if not key.startswith("_ecogsafe")]
    for key in gone:
        del store._objects[key]
    ended = sent.download(URL)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert sorted(e.item for e in ended.errors()) == sorted(gone)
    assert all("is missing from the store" in e.message for e in ended.errors())
    expected = {} if is_all else {k: v for k, v in sources(sent).items() if k not in (CLIP, EDF)}
    assert back(sent) == expected
    # what was not asked for is nobody's trouble here
    if not is_all:
        assert sent.download(URL, subjects=(OTHER,)).status is ExitStatus.DONE
        assert sent.download(URL, globs=("*_2*",)).status is ExitStatus.DONE


def test_a_vanished_copy_is_no_loss_where_the_same_file_stands_here(sent: SmallLab, store: MemoryStore) -> None:
    assert sent.download(URL).status is ExitStatus.DONE
    del store._objects[EDF]
    ended: Ended = sent.download(URL)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert [e.item for e in ended.errors()] == [EDF]
    assert back(sent) == sources(sent)


def test_a_dry_run_tells_of_a_vanished_copy_too(sent: SmallLab, store: MemoryStore) -> None:
    del store._objects[EDF]
    ended = sent.download(URL, dry_run=True)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert back(sent) == {}


def test_of_a_withdrawn_subject_nothing_is_missed(sent: SmallLab, store: MemoryStore) -> None:
    """An administrator deletes its copies, as `subjects withdraw` asked for."""
    with sent.catalog() as catalog, catalog.write() as tx:
        subjects.withdraw_subject(tx, CODE)
    for key in [key for key in store._objects if key.startswith(CODE)]:
        del store._objects[key]
    ended = sent.download(URL)
    assert ended.status is ExitStatus.DONE
    assert back(sent) == {name: data for name, data in sources(sent).items() if not name.startswith(CODE)}


def test_ctrl_c_is_heard_while_an_emptied_bucket_is_asked_for_what_it_had(sent: SmallLab, store: MemoryStore) -> None:
    for key in [key for key in store._objects if not key.startswith("_ecogsafe")]:
        del store._objects[key]
    stop, real, asked = threading.Event(), store.head, []

    def head(key: str, **more: Any) -> ObjectInfo | None:
        if not key.startswith("_ecogsafe"):
            asked.append(key)
            stop.set()
        return real(key, **more)

    request = DownloadRequest(url=URL, folder=sent.folder / "back", jobs=1)
    with mock.patch.object(store, "head", head):
        ended = sent.run("download", lambda run: download(run, request, lambda: PASSWORD), stop=stop)
    assert ended.status is ExitStatus.INTERRUPTED
    assert len(asked) == 1
