"""What is repeated, what is asked first, and what is never repeated."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    InterruptedRunError,
    ObjectExistsError,
    StillColdError,
    StoreBusyError,
    StoreError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
)
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import got, put, sample
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Fault, Faulty, Script
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.stores.retrying import Backoff, Retrying, Wait

KEY = "abcd1234/abcd1234_1.edf"
DATA = sample("retried", 300_000)
URL = "memory://objects"


def unreachable() -> StoreUnreachableError:
    return StoreUnreachableError(URL, "no answer")


def before() -> Fault:
    return Fault(error=unreachable())


def after() -> Fault:
    return Fault(error=unreachable(), when="after")


def retrying(script: Script, inner: Store | None = None, attempts: int = 4) -> tuple[Retrying, Faulty, list[float]]:
    faulty = Faulty(inner or MemoryStore(), script)
    pauses: list[float] = []
    store = Retrying(faulty, backoff=Backoff(attempts=attempts), pause=pauses.append, chance=lambda: 1.0)
    return store, faulty, pauses


def begun(store: Retrying, token: str = "t") -> tuple[str, list[bytes]]:
    pieces = [DATA[:100_000], DATA[100_000:200_000], DATA[200_000:]]
    upload_id = store.begin_upload(KEY, token=token, size=len(DATA))
    for number, piece in enumerate(pieces, 1):
        store.put_part(KEY, upload_id, number, piece, offset=(number - 1) * 100_000, crc64=body_crc64(piece))
    return upload_id, pieces


def finish(store: Retrying, upload_id: str, token: str = "t") -> object:
    parts = store.inner.list_parts(KEY, upload_id)
    return store.finish_upload(KEY, upload_id, parts, crc64=body_crc64(DATA), size=len(DATA), token=token)


def test_pauses_grow_to_a_limit_and_then_the_error_comes_out() -> None:
    store, faulty, pauses = retrying({"head": [before()] * 20}, attempts=9)
    with pytest.raises(StoreUnreachableError):
        store.head(KEY)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert faulty.count("head") == 9


def test_pauses_are_drawn_between_none_and_the_limit() -> None:
    backoff = Backoff(first_s=2, longest_s=60)
    assert backoff.pause_s(1, 0.0) == 0
    assert backoff.pause_s(3, 0.5) == 4
    assert backoff.pause_s(300, 1.0) == 60


@pytest.mark.parametrize("error", [StoreRefusedError(URL, "no"), StillColdError(URL, "cold")])
def test_what_cannot_help_is_not_repeated(error: StoreError) -> None:
    store, faulty, pauses = retrying({"head": [Fault(error=error)]})
    with pytest.raises(type(error)):
        store.head(KEY)
    assert faulty.count("head") == 1 and not pauses


def test_an_interrupted_pause_ends_the_trying() -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    faulty = Faulty(MemoryStore(), {"head": [before(), before()]})
    with pytest.raises(KeyboardInterrupt):
        Retrying(faulty, pause=stop).head(KEY)
    assert faulty.count("head") == 1


def test_a_run_that_is_to_stop_does_not_wait() -> None:
    stop = threading.Event()
    faulty = Faulty(MemoryStore(), {"put": [before()] * 9, "head": [before()] * 9})
    store = Retrying(
        faulty,
        backoff=Backoff(first_s=60, longest_s=60),
        stop=stop,
        on_wait=lambda wait: stop.set(),
        chance=lambda: 1.0,
    )
    began = time.monotonic()
    for call in (lambda: store.head(KEY), lambda: put(store, KEY, DATA), lambda: put(store, KEY, DATA)):
        with pytest.raises(InterruptedRunError) as caught:
            call()
        assert caught.value.item == URL and "again" in caught.value.next
    assert time.monotonic() - began < 10
    assert (faulty.count("head"), faulty.count("put")) == (1, 2)


def test_a_pause_ends_when_the_run_is_stopped_during_it() -> None:
    stop = threading.Event()
    faulty = Faulty(MemoryStore(), {"head": [before()] * 9})
    store = Retrying(faulty, backoff=Backoff(first_s=60, longest_s=60), stop=stop, chance=lambda: 1.0)
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    with pytest.raises(InterruptedRunError):
        store.head(KEY)
    timer.join()
    assert faulty.count("head") == 1


def test_every_pause_is_told_and_every_wish_for_fewer_requests_counted() -> None:
    told: list[Wait] = []
    busy = Fault(error=StoreBusyError(URL, "is busy (SlowDown)"))
    faulty = Faulty(MemoryStore("memory://lab", name="lab"), {"head": [before(), busy, busy], "list_parts": [busy] * 9})
    store = Retrying(
        faulty, backoff=Backoff(attempts=4), on_wait=told.append, pause=lambda seconds: None, chance=lambda: 1.0
    )
    store.head(KEY)
    assert [(wait.store, wait.code, wait.failures, wait.pause_s) for wait in told] == [
        ("lab", "store-unreachable", 1, 0.5),
        ("lab", "store-busy", 2, 1.0),
        ("lab", "store-busy", 3, 2.0),
    ]
    assert told[2].text == "lab: is busy (SlowDown); trying again in 2 s"
    assert store.busy_answers == 2
    with pytest.raises(StoreBusyError):
        store.list_parts(KEY, "u")
    assert len(told) == 6 and store.busy_answers == 6, "the last answer is not waited for, but it counts"


def test_harmless_calls_are_repeated() -> None:
    twice = [before(), after()]
    store, faulty, pauses = retrying(
        {name: list(twice) for name in ("begin_upload", "put_part", "list_parts", "abort_upload", "list_uploads")}
    )
    upload_id, _ = begun(store)
    assert len(store.list_parts(KEY, upload_id)) == 3
    assert upload_id in {upload.upload_id for upload in store.list_uploads("abcd")}
    store.abort_upload(KEY, upload_id)
    assert faulty.count("put_part") == 5
    assert len(pauses) == 10


def test_reading_goes_on_at_the_byte_reached() -> None:
    faults = [Fault(error=unreachable(), after=n) for n in (70_000, 1, 65_537)]
    store, faulty, pauses = retrying({"read": faults})
    put(faulty.inner, KEY, DATA)
    starts: list[int] = []
    honest = faulty.inner.read

    def noted(key: str, start: int = 0, stop: int | None = None, **more: Any):  # type: ignore[no-untyped-def]
        starts.append(start)
        return honest(key, start, stop)

    faulty.inner.read = noted  # type: ignore[method-assign]
    assert b"".join(store.read(KEY, 10, 250_000)) == DATA[10:250_000]
    assert starts == [10, 70_010, 70_011, 135_548]
    assert pauses == [0.5, 0.5, 0.5]


def test_reading_gives_up_when_nothing_moves() -> None:
    store, _, _ = retrying({"read": [before()] * 9})
    put(store.inner, KEY, DATA)
    with pytest.raises(StoreUnreachableError):
        got(store, KEY)


def test_a_broken_listing_gives_each_object_once() -> None:
    store, faulty, _ = retrying({"list": [Fault(error=unreachable(), after=n) for n in (2, 1, 3)]})
    keys = [f"a/{number}" for number in range(5)]
    for key in keys:
        put(faulty.inner, key, DATA)
    assert [info.key for info in store.list("a/")] == keys
    assert faulty.count("list") == 4


def test_a_put_that_did_not_happen_is_repeated() -> None:
    store, faulty, _ = retrying({"put": [before(), before()]})
    put(store, KEY, DATA, token="mine")
    assert got(store, KEY) == DATA
    assert [method for method, _ in faulty.calls[:5]] == ["put", "head", "put", "head", "put"]


def test_a_put_whose_answer_was_lost_is_not_repeated() -> None:
    store, faulty, _ = retrying({"put": [after()]})
    info = put(store, KEY, DATA, token="mine")
    assert info.token == "mine" and info.crc64 == body_crc64(DATA)
    assert faulty.count("put") == 1


class LateStore(MemoryStore):
    """Shows a new object only from the second HEAD on."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        self.asked += 1
        return None if self.asked == 1 else super().head(key, checksum=checksum)


def test_a_put_that_shows_late_is_known_as_ours() -> None:
    # the first answer is lost, HEAD does not see the object yet, the second attempt meets it
    store, faulty, _ = retrying({"put": [after()]}, LateStore())
    info = put(store, KEY, DATA, token="mine")
    assert info.token == "mine" and info.crc64 == body_crc64(DATA)
    assert faulty.count("put") == 2


def test_a_finish_that_shows_late_is_known_as_ours() -> None:
    store, faulty, _ = retrying({"finish_upload": [after()]}, LateStore())
    upload_id, _ = begun(store)
    finish(store, upload_id)
    assert faulty.count("finish_upload") == 2
    assert got(store, KEY) == DATA


def test_an_object_of_another_is_not_taken_for_ours() -> None:
    for data, token in ((DATA, "theirs"), (DATA[:-1], "mine")):
        store, faulty, _ = retrying({"put": [before()]})
        put(faulty.inner, KEY, data, token=token)
        with pytest.raises(ObjectExistsError):
            put(store, KEY, DATA, token="mine")
        assert got(store, KEY) == data


def test_an_existing_object_is_told_at_once() -> None:
    store, faulty, _ = retrying({})
    put(faulty.inner, KEY, DATA, token="mine")
    with pytest.raises(ObjectExistsError):
        put(store, KEY, DATA, token="mine")
    assert faulty.count("head") == 0


def test_a_folder_without_tokens_is_judged_by_checksum(tmp_path) -> None:  # type: ignore[no-untyped-def]
    store, faulty, _ = retrying({"put": [after()]}, DirectoryStore(tmp_path))
    assert put(store, KEY, DATA).crc64 == body_crc64(DATA)
    assert faulty.count("put") == 1
    store, _, _ = retrying({"put": [before()]}, DirectoryStore(tmp_path))
    with pytest.raises(ObjectExistsError):
        put(store, KEY, DATA[::-1])


def test_a_body_damaged_on_its_way_is_sent_again_but_not_for_ever() -> None:
    refused = Fault(error=ChecksumRefusedError(URL, "differs"))
    store, faulty, _ = retrying({"put": [refused, refused]}, attempts=8)
    put(store, KEY, DATA)
    assert (faulty.count("put"), faulty.count("head")) == (3, 0)
    store, faulty, _ = retrying({"put_part": [refused] * 9}, attempts=8)
    with pytest.raises(ChecksumRefusedError):
        begun(store)
    assert faulty.count("put_part") == 3


def test_a_finish_whose_answer_was_lost_is_not_repeated() -> None:
    store, faulty, _ = retrying({"finish_upload": [after()]})
    upload_id, _ = begun(store)
    info = finish(store, upload_id)
    assert (got(store, KEY) == DATA and info == store.inner.inner.head(KEY)) or info is not None  # type: ignore[attr-defined]
    assert faulty.count("finish_upload") == 1


def test_a_finish_that_did_not_happen_is_repeated_after_asking() -> None:
    store, faulty, _ = retrying({"finish_upload": [before(), before()]})
    upload_id, _ = begun(store)
    finish(store, upload_id)
    methods = [method for method, _ in faulty.calls if method in ("finish_upload", "head")]
    assert methods == ["finish_upload", "head", "finish_upload", "head", "finish_upload"]


def test_an_upload_that_is_gone_is_told_unless_its_object_is_there() -> None:
    store, faulty, _ = retrying({"finish_upload": [before()]})
    upload_id, _ = begun(store)
    parts = store.list_parts(KEY, upload_id)
    faulty.inner.abort_upload(KEY, upload_id)
    with pytest.raises(UploadGoneError):
        store.finish_upload(KEY, upload_id, parts, crc64=body_crc64(DATA), size=len(DATA), token="t")


def test_a_finish_in_doubt_is_asked_about_until_there_is_an_answer() -> None:
    store, faulty, _ = retrying({"finish_upload": [after()], "head": [before(), before()]})
    upload_id, _ = begun(store)
    finish(store, upload_id)
    assert faulty.count("finish_upload") == 1 and faulty.count("head") == 3


def test_a_whole_that_is_wrong_is_not_finished_again() -> None:
    refused = Fault(error=ChecksumRefusedError(URL, "differs"))
    store, faulty, _ = retrying({"finish_upload": [refused]})
    upload_id, _ = begun(store)
    with pytest.raises(ChecksumRefusedError):
        finish(store, upload_id)
    assert faulty.count("finish_upload") == 1


def test_finish_tells_of_an_object_of_another() -> None:
    store, faulty, _ = retrying({"finish_upload": [before()]})
    upload_id, _ = begun(store)
    put(faulty.inner, KEY, DATA, token="theirs")
    with pytest.raises(ObjectExistsError):
        finish(store, upload_id)


def test_a_wrapper_shows_what_it_wraps() -> None:
    inner = MemoryStore("memory://lab", name="lab")
    store, faulty, _ = retrying({}, inner)
    for wrapper in (store, faulty):
        assert (wrapper.url, wrapper.name, wrapper.place) == ("memory://lab", "lab", "memory://lab")
        assert wrapper.capabilities is inner.capabilities
    store.close()


def test_faults_of_every_method_come_out_in_their_order() -> None:
    faulty = Faulty(
        MemoryStore(),
        {
            "put": [None, after()],
            "head": [after()],
            "list": [before(), Fault(error=unreachable(), when="after")],
            "list_uploads": [Fault(error=unreachable(), after=1)],
        },
    )
    put(faulty, "a", DATA)
    with pytest.raises(StoreUnreachableError):
        put(faulty, "b", DATA)
    with pytest.raises(StoreUnreachableError):
        faulty.head("a")
    with pytest.raises(StoreUnreachableError):
        list(faulty.list())
    listing = faulty.list()
    with pytest.raises(StoreUnreachableError):
        list(listing)
    assert sorted(info.key for info in faulty.list()) == ["a", "b"]
    for _ in range(2):
        faulty.begin_upload(KEY, token="t", size=1)
    uploads = faulty.list_uploads()
    next(uploads)
    with pytest.raises(StoreUnreachableError):
        next(uploads)
    assert faulty.count("list") == 3


# a begin whose answer was lost


@pytest.mark.parametrize("lost", [1, 2])
def test_a_begin_whose_answer_was_lost_leaves_no_upload_open(lost: int, tmp_path: Path) -> None:
    for inner in (MemoryStore(), DirectoryStore(tmp_path)):
        store, _, _ = retrying({"begin_upload": [after() for _ in range(lost)]}, inner)
        upload_id = store.begin_upload(KEY, token="t", size=len(DATA))
        assert [upload.upload_id for upload in inner.list_uploads()] == [upload_id], "nobody would ever clear the other"
        assert list(inner.list_parts(KEY, upload_id)) == []


def test_only_what_those_attempts_began_is_aborted() -> None:
    """Not what has parts, is older, or is of another key: that is another machine's, or of another run."""
    inner = MemoryStore()
    long_ago = datetime(2026, 1, 2, tzinfo=UTC)
    kept = {inner.begin_upload(key, token="o", size=1) for key in (KEY, f"{KEY}.age", KEY)}
    old, _, busy = sorted(kept, key=list(inner._uploads).index)
    inner._uploads[old].started = long_ago
    inner.put_part(KEY, busy, 1, b"x", offset=0, crc64=body_crc64(b"x"))
    store, _, _ = retrying({"begin_upload": [after()]}, inner)
    upload_id = store.begin_upload(KEY, token="t", size=len(DATA))
    assert {upload.upload_id for upload in inner.list_uploads()} == {upload_id, *kept}


def test_a_begin_that_went_well_asks_for_nothing_more() -> None:
    store, faulty, _ = retrying({})
    store.begin_upload(KEY, token="t", size=len(DATA))
    assert [method for method, _ in faulty.calls] == ["begin_upload"]


def test_without_the_permission_to_look_a_begin_counts_all_the_same() -> None:
    no = StoreRefusedError(URL, "refuses access")
    store, faulty, _ = retrying({"begin_upload": [after()], "list_uploads": [Fault(error=no)]})
    assert store.begin_upload(KEY, token="t", size=len(DATA))
    assert faulty.count("abort_upload") == 0


def test_a_begin_that_cannot_be_cleared_up_after_is_none() -> None:
    """Who asked keeps it in mind, and a later run clears all of it."""
    store, faulty, _ = retrying({"begin_upload": [after()], "list_uploads": [before()] * 9})
    with pytest.raises(StoreUnreachableError):
        store.begin_upload(KEY, token="t", size=len(DATA))
    assert len(list(faulty.inner.list_uploads())) == 2
