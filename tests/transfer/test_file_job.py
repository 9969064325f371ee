"""One file that must be begun again: under a new key, or without the process that read it."""

from __future__ import annotations

from typing import Any

import pytest

from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer import file_job
from ecogsafe.transfer.work import Status
from ecogsafe.transfer.worker_errors import WorkerGoneError

from .bench import Bench, Watched, opened
from .killing import SIZE, die_at


def test_a_file_that_changed_and_whose_process_then_ends_is_sent_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says that it starts again, and so it does."""
    store = Watched(MemoryStore())
    relative = bench.write("0001", bench.data(SIZE))
    shipment = bench.shipment(relative, bench.place(store))
    die_at(bench, shipment, store, "put_part", 3)
    changed = bench.data(SIZE)
    bench.write("0001", changed)
    feed, fed = file_job._feed, []

    def die_first(*given: Any) -> str | None:
        fed.append(given)
        if len(fed) == 1:
            raise WorkerGoneError
        return feed(*given)

    monkeypatch.setattr(file_job, "_feed", die_first)
    assert [(o.status, o.error) for o in bench.send(shipment)] == [(Status.DONE, None)]
    assert len(fed) == 3
    told = bench.told()
    assert told.index("the process that read it ended") < told.index("starts again under a new key")
    assert opened(store, shipment.keys[True]) == changed
    bench.check_no_nonce_twice(store)
