"""Answers that were lost, keys that are taken, stores that tell nothing or the wrong thing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    LockedError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
    VerificationError,
)
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.work import Status

from .bench import PART, Bench, Watched, opened, read

SIZES = [("put", 1000), ("finish_upload", 4 * PART)]
LOST = StoreUnreachableError("memory", "no answer")


@pytest.mark.parametrize(("method", "size"), SIZES)
def test_an_answer_that_is_lost_is_asked_for(bench: Bench, method: str, size: int) -> None:
    store = Watched(MemoryStore(), {method: [Fault(error=LOST, when="after")]})
    data = bench.data(size)
    shipment = bench.shipment(bench.write("0001", data), bench.place(store))
    outcomes = bench.send(shipment)
    assert [(o.status, o.proven) for o in outcomes] == [(Status.DONE, True)]
    assert opened(store.inner, shipment.keys[True]) == data
    assert store.count(method) == 1
    assert [c.level for c in bench.copies()] == ["checksum"]
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])


@pytest.mark.parametrize(("method", "size"), SIZES)
def test_a_request_that_never_arrived_is_a_failure_to_be_continued(bench: Bench, method: str, size: int) -> None:
    store = Watched(MemoryStore(), {method: [Fault(error=LOST)]})
    shipment = bench.shipment(bench.write("0001", bench.data(size)), bench.place(store))
    assert [(o.status, o.error) for o in bench.send(shipment)] == [(Status.FAILED, LOST)]
    assert bench.copies() == []
    sent = len(store.parts)
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert len(store.parts) == sent
    bench.check_no_nonce_twice(store)


@pytest.mark.parametrize(("method", "size"), SIZES)
def test_doubt_that_cannot_be_settled_stays_a_failure(bench: Bench, method: str, size: int) -> None:
    script = {method: [Fault(error=LOST, when="after")], "head": [Fault(error=LOST)]}
    store = Watched(MemoryStore(), script)
    shipment = bench.shipment(bench.write("0001", bench.data(size)), bench.place(store))
    assert [o.status for o in bench.send(shipment)] == [Status.FAILED]
    assert bench.copies() == []
    # the same content again: refused as it stands there, and found to be ours by its intent
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert [c.level for c in bench.copies()] == ["checksum"]
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])
    assert list(store.inner.list_uploads()) == []


@pytest.mark.parametrize(("method", "size"), SIZES)
def test_an_object_of_ours_with_older_content_does_not_count_for_the_newer(
    bench: Bench, method: str, size: int
) -> None:
    script = {method: [Fault(error=LOST, when="after")], "head": [Fault(error=LOST)]}
    store = Watched(MemoryStore(), script)
    relative = bench.write("0001", bench.data(size))
    bench.send(bench.shipment(relative, bench.place(store)))
    old = read(store.inner, f"{relative}.age")
    bench.write("0001", bench.data(size))
    outcomes = bench.send(bench.shipment(relative, bench.place(store)))
    assert [o.status for o in outcomes] == [Status.DIFFERENT]
    assert read(store.inner, f"{relative}.age") == old
    rows = bench.rows("SELECT f.superseded_at IS NULL, c.level FROM copies c JOIN files f ON f.id = c.file_id")
    assert rows == [(0, "checksum")]
    bench.check_no_nonce_twice(store)


@pytest.mark.parametrize(("method", "size"), SIZES)
@pytest.mark.parametrize("sealed", [True, False])
def test_another_machine_that_was_first_is_never_replaced(
    bench: Bench, method: str, size: int, *, sealed: bool
) -> None:
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(size)), bench.place(store, sealed=sealed))
    theirs = bench.data(size)

    def be_first() -> None:
        store.inner.put(shipment.keys[sealed], theirs, crc64=crc64nvme(theirs), token="t" * 32)

    store.before[method] = be_first
    outcomes = bench.send(shipment)
    assert [(o.status, o.error) for o in outcomes] == [(Status.DIFFERENT, None)]
    assert read(store.inner, shipment.keys[sealed]) == theirs
    assert list(store.inner.list_uploads()) == []
    assert bench.copies() == []
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])
    assert bench.rows("SELECT state FROM intents") == [("different",)]


@pytest.mark.parametrize(("method", "size"), SIZES)
def test_the_same_plain_bytes_of_another_machine_count(bench: Bench, method: str, size: int) -> None:
    store = Watched(MemoryStore())
    data = bench.data(size)
    shipment = bench.shipment(bench.write("0001", data), bench.place(store, sealed=False))

    def be_first() -> None:
        store.inner.put(shipment.keys[False], data, crc64=crc64nvme(data), token="t" * 32)

    store.before[method] = be_first
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert [c.level for c in bench.copies()] == ["checksum"]


@pytest.mark.parametrize("size", [1000, 4 * PART])
def test_a_store_that_tells_no_checksum_only_stores(bench: Bench, size: int) -> None:
    class Mute(MemoryStore):
        def put(self, *a, **k):  # type: ignore[no-untyped-def]
            return replace(super().put(*a, **k), crc64=None)

        def finish_upload(self, *a, **k):  # type: ignore[no-untyped-def]
            return replace(super().finish_upload(*a, **k), crc64=None)

        def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
            found = super().head(key)
            return replace(found, crc64=None) if found else None

    method = "put" if size == 1000 else "finish_upload"
    for number, script in enumerate([{}, {method: [Fault(error=LOST, when="after")]}]):
        store = Watched(Mute(f"memory://{number}"), script)
        shipment = bench.shipment(bench.write(f"000{number}", bench.data(size)), bench.place(store, number=number))
        assert [(o.status, o.proven) for o in bench.send(shipment)] == [(Status.DONE, False)]
    assert [(c.level, c.checksum_at, c.bad_at) for c in bench.copies()] == [("stored", None, None)] * 2


@pytest.mark.parametrize("size", [1000, 4 * PART])
@pytest.mark.parametrize("lie", [{"crc64": 12345}, {"size": 1}])
def test_a_store_that_tells_something_else_has_a_bad_copy(bench: Bench, size: int, lie: dict[str, int]) -> None:
    class Liar(MemoryStore):
        def put(self, *a, **k):  # type: ignore[no-untyped-def]
            return replace(super().put(*a, **k), **lie)

        def finish_upload(self, *a, **k):  # type: ignore[no-untyped-def]
            return replace(super().finish_upload(*a, **k), **lie)

    store = Liar()
    outcomes = bench.send(bench.shipment(bench.write("0001", bench.data(size)), bench.place(store)))
    assert [(o.status, type(o.error)) for o in outcomes] == [(Status.FAILED, VerificationError)]
    assert [(c.level, c.bad_at is not None) for c in bench.copies()] == [("stored", True)]
    assert bench.rows("SELECT state FROM intents") == [("different",)]
    assert bench.rows("SELECT result FROM audit") == [("checksum-differs",)]
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])


def test_parts_that_never_make_the_whole_are_given_up(bench: Bench) -> None:
    wrong = ChecksumRefusedError("memory", "the whole has another checksum")
    store = Watched(MemoryStore(), {"finish_upload": [Fault(error=wrong)]})
    shipment = bench.shipment(bench.write("0001", bench.data(4 * PART)), bench.place(store))
    assert [o.error for o in bench.send(shipment)] == [wrong]
    assert (bench.keys_resting(), bench.open_uploads(), list(store.inner.list_uploads())) == (0, [], [])
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert len({upload_id for upload_id, _, _ in store.parts}) == 2


def test_a_refusal_to_complete_keeps_the_parts(bench: Bench) -> None:
    """No permission to complete is no reason to send half a terabyte again."""
    no = StoreRefusedError("memory", "refuses access")
    store = Watched(MemoryStore(), {"finish_upload": [Fault(error=no)]})
    shipment = bench.shipment(bench.write("0001", bench.data(4 * PART)), bench.place(store))
    assert [o.error for o in bench.send(shipment)] == [no]
    sent = len(store.parts)
    outcomes = bench.send(shipment)
    assert [(o.status, o.notes) for o in outcomes] == [(Status.DONE, ["5 of 5 parts were already there"])]
    assert len(store.parts) == sent


@pytest.mark.parametrize("method", ["put_part", "finish_upload"])
@pytest.mark.parametrize("times", [1, 9])
def test_an_upload_the_store_forgot_is_begun_again_once(bench: Bench, method: str, times: int) -> None:
    gone = UploadGoneError("memory", "the upload is no longer open there")
    store = Watched(MemoryStore(), {method: [Fault(error=gone) for _ in range(times)]})
    data = bench.data(4 * PART)
    shipment = bench.shipment(bench.write("0001", data), bench.place(store))
    outcomes = bench.send(shipment)
    assert "forgot the upload" in bench.told()
    if times == 1:
        assert [o.status for o in outcomes] == [Status.DONE]
        assert "was detached, and read again after the others" in outcomes[0].notes
        assert opened(store.inner, shipment.keys[True]) == data
    else:
        assert [(o.status, o.error) for o in outcomes] == [(Status.FAILED, gone)]
    assert (bench.keys_resting(), bench.open_uploads(), list(store.inner.list_uploads())) == (0, [], [])
    bench.check_no_nonce_twice(store)


def test_two_runs_of_one_catalogue_do_not_share_an_upload(bench: Bench) -> None:
    """While a living run owns the upload, another fails with 'locked' and touches nothing."""
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(4 * PART)), bench.place(store))
    seen: list[object] = []

    def second_run() -> None:
        store.before.clear()
        with bench.context(is_dead=lambda owner: False) as other:
            from ecogsafe.transfer.pipeline import send_all

            seen.extend((o.status, type(o.error)) for o in send_all(other, [shipment]))

    store.before["put_part"] = second_run
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert seen == [(Status.FAILED, LockedError)]
    assert store.count("abort_upload") == 0
    assert store.sent_numbers() == [1, 2, 3, 4, 5]


def test_who_was_fenced_off_neither_completes_nor_aborts(bench: Bench) -> None:
    """A run that slept through its lease wakes up when another has taken its upload over."""
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(4 * PART)), bench.place(store))
    ends: list[object] = []

    def taken_over() -> None:
        store.before.clear()
        ends.extend(o.status for o in bench.send(shipment))

    store.before["finish_upload"] = taken_over
    first = bench.send(shipment)
    assert ends == [Status.DONE]
    assert [o.status for o in first] == [Status.DONE]
    store = Watched(MemoryStore("memory://2"))
    shipment = bench.shipment(bench.write("0002", bench.data(4 * PART)), bench.place(store, number=1))
    store.before["put_part"] = taken_over
    ends.clear()
    # one part in flight: what others of the sleeping run would still do meanwhile is not looked at here
    first = bench.send(shipment, pool=PartPool(1))
    assert ends == [Status.DONE]
    (outcome,) = first
    assert outcome.status is Status.FAILED
    # the ledger says so when the next part is noted, or the store when this one arrives
    assert isinstance(outcome.error, LockedError | UploadGoneError)
    assert store.count("abort_upload") == 0
    assert len(bench.copies()) == 2
    bench.check_no_nonce_twice(store)
