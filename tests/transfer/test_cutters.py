"""Large files by processes that cut and put them: real ones, on real folders; some of them are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ecogsafe.core.errors import SourceChangedError
from ecogsafe.formats.regions import Region
from ecogsafe.formats.text_digest import digest_of
from ecogsafe.stores.store_id import STORE_ID_KEY
from ecogsafe.transfer import cutters, file_job, hiring
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.cutter_link import CutterLink
from ecogsafe.transfer.file_order import Cleared, FileOrder
from ecogsafe.transfer.lane import Lane
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.source import Source, source_stat
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status

from .bench import PART, SMALL, Bench, opened, read
from .test_batches import states
from .test_workers import folder_place

FILES = 5
#: several parts each, the last one short
SIZE = 4 * PART


@pytest.fixture(autouse=True)
def nothing_is_read_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files that were read in this process all the same."""
    here: list[str] = []
    real = file_job._read_here

    def read_here(crew: Crew, source: Source, lanes: list[Lane]) -> str | None:
        here.append(crew.shipment.path)
        return real(crew, source, lanes)

    monkeypatch.setattr(file_job, "_read_here", read_here)
    return here


def clips(bench: Bench, *places: Place, count: int = FILES, size: int = SIZE) -> list[Shipment]:
    made = []
    for n in range(1, count + 1):
        relative = bench.write(f"{n:04}", bench.data(size + n))
        made.append(ordered(bench, bench.shipment(relative, *places)))
    return made


def ordered(bench: Bench, shipment: Shipment, cleared: Cleared | None = None) -> Shipment:
    order = FileOrder(bench.root, shipment.path, shipment.path, cleared)
    return replace(shipment, order=order, open_source=order.open, text_watch=order.watch)


def send(bench: Bench, shipments: list[Shipment], *, count: int = 2, pool: PartPool | None = None) -> list[Outcome]:
    pool = pool or PartPool()
    with bench.context(pool=pool) as context, closing(send_all(context, shipments, cutters=count)) as ends:
        outcomes = list(ends)
    assert pool.used == 0, "room in the pool was not given back"
    return outcomes


def check_stored(bench: Bench, shipments: list[Shipment]) -> None:
    for shipment in shipments:
        data = (bench.out / shipment.path).read_bytes()
        for place in shipment.places:
            key = shipment.keys[place.sealed]
            assert (opened if place.sealed else read)(place.store, key) == data
    assert {c.level for c in bench.copies()} == {"checksum"}
    assert bench.open_uploads() == []
    assert bench.keys_resting() == 0


def when(monkeypatch: pytest.MonkeyPatch, method: str, call: Callable[[CutterLink], None]) -> list[int]:
    """Call ``call`` with the link, once, when ``method`` of it is first called."""
    real = getattr(CutterLink, method)
    pids: list[int] = []

    def once(self: CutterLink, *given: object) -> object:
        if not pids:
            pids.append(self._process.pid)
            call(self)
        return real(self, *given)

    monkeypatch.setattr(CutterLink, method, once)
    return pids


def test_they_read_once_and_serve_every_place(bench: Bench, nothing_is_read_here: list[str]) -> None:
    places = [folder_place(bench, "a"), folder_place(bench, "b"), folder_place(bench, "c", sealed=False)]
    shipments = clips(bench, *places)
    outcomes = send(bench, shipments)
    assert Counter((o.status, o.proven) for o in outcomes) == {(Status.DONE, True): 3 * FILES}
    check_stored(bench, shipments)
    for shipment in shipments:
        # one sealing of a file for all
        assert read(places[0].store, shipment.keys[True]) == read(places[1].store, shipment.keys[True])
    assert states(bench) == {"done": 3 * FILES}
    assert nothing_is_read_here == []


@pytest.mark.parametrize("size", [SMALL + 1, 2 * PART - 700, 2 * PART, 3 * 65_536, 9 * 65_536 + 1])
def test_any_size_comes_back(bench: Bench, size: int, nothing_is_read_here: list[str]) -> None:
    shipments = clips(bench, folder_place(bench, "a"), folder_place(bench, "b", sealed=False), count=2, size=size)
    assert {o.status for o in send(bench, shipments)} == {Status.DONE}
    check_stored(bench, shipments)
    assert nothing_is_read_here == []


def test_a_pool_for_one_part_at_a_time_is_enough(bench: Bench) -> None:
    shipments = clips(bench, folder_place(bench, "a"), folder_place(bench, "b", sealed=False))
    pool = PartPool(capacity=PART + 1000)
    assert {o.status for o in send(bench, shipments, pool=pool)} == {Status.DONE}
    check_stored(bench, shipments)
    # one more than the pool holds: the part of the other lane, which only a process that goes on can complete
    assert pool.peak < 3 * PART


def test_a_list_of_processes_shows_neither_names_nor_places(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], int]] = []

    def look(link: CutterLink) -> None:
        line = Path(f"/proc/{link._process.pid}/cmdline").read_bytes().decode().split("\0")
        seen.append((line, os.getpgid(link._process.pid)))

    when(monkeypatch, "put", look)
    send(bench, clips(bench, folder_place(bench, "a")))
    ((line, group),) = seen
    assert line[1:4] == ["-P", "-m", "ecogsafe.transfer.cutter"]
    assert line[4].isdigit()
    assert line[5:] == [""]
    # Ctrl-C at the terminal goes to the foreground group: it is for the parent to judge
    assert group != os.getpgrp()


@pytest.mark.parametrize("moment", ["room", "hear", "put", "forget"])
@pytest.mark.parametrize("count", [1, 2])
def test_one_that_is_killed_costs_nothing_but_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str, count: int
) -> None:
    """Before a part is made, while one is made, before and after one was put; with another left, and with none."""

    def kill(link: CutterLink) -> None:
        link._process.send_signal(signal.SIGKILL)
        link._process.wait()

    pids = when(monkeypatch, moment, kill)
    shipments = clips(bench, folder_place(bench, "a"), folder_place(bench, "b", sealed=False))
    outcomes = send(bench, shipments, count=count)
    assert len(pids) == 1
    assert Counter(o.status for o in outcomes) == {Status.DONE: 2 * FILES}
    check_stored(bench, shipments)
    assert states(bench) == {"done": 2 * FILES}
    assert "the process that read it ended" in bench.told()


def test_none_that_can_be_begun_is_done_without(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("ecogsafe.transfer.processes.subprocess.Popen", none)
    shipments = clips(bench, folder_place(bench, "a"))
    assert {o.status for o in send(bench, shipments)} == {Status.DONE}
    check_stored(bench, shipments)


def test_one_that_cannot_open_the_stores_is_done_without(bench: Bench, nothing_is_read_here: list[str]) -> None:
    place = folder_place(bench, "a")
    marker = bench.folder / "a" / STORE_ID_KEY
    marker.write_bytes(marker.read_bytes().replace(place.store_id.encode(), b"0" * 32))
    shipments = clips(bench, place)
    assert {o.status for o in send(bench, shipments)} == {Status.DONE}
    check_stored(bench, shipments)
    assert len(nothing_is_read_here) == FILES


def test_a_file_for_a_place_that_they_do_not_know_is_read_here(bench: Bench, nothing_is_read_here: list[str]) -> None:
    """One that grew since it was planned: when they were begun it was small, and nobody told them of its place."""
    large = clips(bench, folder_place(bench, "a"), count=2)
    relative = bench.write("0009", bench.data(100))
    grown = ordered(bench, bench.shipment(relative, folder_place(bench, "b")))
    bench.write("0009", bench.data(SIZE))
    outcomes = send(bench, [*large, grown])
    assert {o.status for o in outcomes} == {Status.DONE}
    check_stored(bench, [*large, grown])
    assert nothing_is_read_here == [grown.path]


def test_a_place_of_this_process_alone_needs_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutters, "Cutters", None)
    here = replace(folder_place(bench, "b"), order=None)
    shipments = clips(bench, folder_place(bench, "a"), here)
    assert {o.status for o in send(bench, shipments)} == {Status.DONE}


def test_little_to_read_needs_none_and_much_gets_one_a_file_at_most(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    real = cutters.Cutters.__init__

    def count(self: cutters.Cutters, begin: object, descriptors: object, wanted: int, **more: object) -> None:
        begun.append(wanted)
        real(self, begin, descriptors, wanted, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(cutters.Cutters, "__init__", count)
    monkeypatch.setattr(hiring, "_processors", lambda: 16)
    few = clips(bench, folder_place(bench, "a"), count=2)
    with bench.context() as context:
        list(send_all(context, few))
    assert begun == []
    monkeypatch.setattr(hiring, "LEAST_FOR_CUTTERS", 2 * SIZE)
    for wanted, number in ((2, 2), (FILES, 4)):
        shipments = clips(bench, folder_place(bench, f"b{wanted}"), count=wanted)
        with bench.context() as context:
            assert {o.status for o in send_all(context, shipments)} == {Status.DONE}
        assert begun.pop() == number
    monkeypatch.setattr(hiring, "_processors", lambda: 1)
    with bench.context() as context:
        list(send_all(context, clips(bench, folder_place(bench, "c"))))
    assert begun == []


def test_a_file_that_changes_meanwhile_is_not_stored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder_place(bench, "a")
    shipments = clips(bench, place)
    path = bench.out / shipments[0].path

    def write(_: CutterLink) -> None:
        with path.open("r+b") as file:
            file.seek(SIZE - 5)
            file.write(b"later")

    when(monkeypatch, "hear", write)
    outcomes = send(bench, shipments, count=1)
    failed = [o for o in outcomes if o.status is not Status.DONE]
    assert [(o.shipment.path, type(o.error)) for o in failed] == [(shipments[0].path, SourceChangedError)]
    assert not (bench.folder / "a" / shipments[0].keys[True]).exists()
    check_stored(bench, shipments[1:])


def test_text_that_is_not_the_cleared_one_is_not_sent(bench: Bench) -> None:
    """The gate's watch goes with the order: what goes plain goes as it was cleared, or not at all."""
    shipments = clips(bench, folder_place(bench, "a", sealed=False))
    regions = (Region(0, 40), Region(2 * PART, 200))
    for n, shipment in enumerate(shipments):
        path = bench.out / shipment.path
        with path.open("rb") as file:
            cleared = Cleared(regions, digest_of(file, regions), source_stat(path.stat()))
        if n == 2:
            cleared = replace(cleared, text_sha256="0" * 64)
        shipments[n] = ordered(bench, shipment, cleared)
    outcomes = send(bench, shipments)
    failed = [o for o in outcomes if o.status is not Status.DONE]
    assert [(o.shipment.path, str(o.error and o.error.problem)) for o in failed] == [
        (shipments[2].path, "changed after it was cleared")
    ]
    assert len(list(shipments[0].places[0].store.list())) == FILES - 1


def test_a_file_that_is_gone_fails_alone(bench: Bench) -> None:
    shipments = clips(bench, folder_place(bench, "a"))
    (bench.out / shipments[1].path).unlink()
    outcomes = send(bench, shipments)
    assert Counter(o.status for o in outcomes) == {Status.DONE: FILES - 1, Status.FAILED: 1}
    check_stored(bench, [s for n, s in enumerate(shipments) if n != 1])


def test_what_a_store_answers_them_is_judged_here(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, nothing_is_read_here: list[str]
) -> None:
    """A store forgets an upload under their hands: that file begins again there, and the other place goes on."""
    good, forgetful = folder_place(bench, "good"), folder_place(bench, "forgetful")
    shipments = clips(bench, good, forgetful, count=2)

    def forget(_: CutterLink) -> None:
        for row in bench.open_uploads():
            if row.store_id == forgetful.store_id and row.upload_id is not None:
                forgetful.store.abort_upload(row.key, row.upload_id)

    when(monkeypatch, "put", forget)
    outcomes = send(bench, shipments, count=1)
    done = Counter((o.shipment.path, o.place.store_id) for o in outcomes if o.status is Status.DONE)
    assert done == {(s.path, p.store_id): 1 for s in shipments for p in (good, forgetful)}
    assert "the store forgot the upload" in bench.told()
    check_stored(bench, shipments)
    assert nothing_is_read_here == []


def test_stop_is_heard_and_the_next_run_sends_only_what_is_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipments = clips(bench, folder_place(bench, "a"), size=12 * PART)
    puts: list[int] = []
    real = CutterLink.put

    with bench.context() as context:

        def stop(self: CutterLink, part: int, request: object) -> object:
            puts.append(part)
            if len(puts) == 5:
                context.stop.set()
            return real(self, part, request)  # type: ignore[arg-type]

        monkeypatch.setattr(CutterLink, "put", stop)
        outcomes = list(send_all(context, shipments, cutters=2))
        assert context.pool.used == 0
    assert {o.status for o in outcomes} <= {Status.DONE, Status.PAUSED}
    done = {o.shipment.path for o in outcomes if o.status is Status.DONE}
    assert len(done) < FILES
    again = [s for s in shipments if s.path not in done]
    outcomes = send(bench, again)
    assert {o.status for o in outcomes} == {Status.DONE}
    check_stored(bench, shipments)
    parts = sum(-(-s.size // PART) + 1 for s in shipments)
    assert len(puts) <= parts, "parts that were there were sent again"
    assert any("were already there" in note for o in outcomes for note in o.notes)


def test_a_bug_is_told_without_its_message(bench: Bench) -> None:
    """A message may name something private; where it happened does not."""
    shipments = clips(bench, folder_place(bench, "a"))
    order = FileOrder(bench.root, 17, shipments[2].path)  # type: ignore[arg-type]
    shipments[2] = replace(shipments[2], order=order)
    outcomes: list[Outcome] = []
    with bench.context() as context, pytest.raises(Exception, match=r"at .*\.py:\d+ ") as caught:
        for outcome in send_all(context, shipments, cutters=2):
            outcomes.append(outcome)
    assert type(caught.value).__name__ == "WorkerBugError"
    assert Counter(o.status for o in outcomes) == {Status.DONE: FILES - 1, Status.FAILED: 1}
    assert states(bench) == {"done": FILES - 1}
