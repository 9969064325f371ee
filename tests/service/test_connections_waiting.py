"""A store in trouble is told of, and not by every thread."""

from __future__ import annotations

import pytest

from ecogsafe.core.events import Event, Item
from ecogsafe.service import connections
from ecogsafe.service.connections import telling_of_waits
from ecogsafe.stores.retrying import Wait


def wait(pause_s: float) -> Wait:
    return Wait(store="lab", problem="is busy (SlowDown)", code="store-busy", failures=2, pause_s=pause_s)


def test_a_store_in_trouble_is_told_of_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(connections, "monotonic", lambda: now)
    told: list[Event] = []
    on_wait = telling_of_waits(told.append)
    for pause_s in (0.2, 4.0, 8.0, 4.0):
        on_wait(wait(pause_s))
    assert told == [
        Item(action="store", status="note", store="lab", message="lab: is busy (SlowDown); trying again in 4 s")
    ]
    now += 11
    on_wait(wait(29.6))
    assert len(told) == 2 and "in 30 s" in str(told[1])


def test_every_store_is_told_of_by_itself() -> None:
    told: list[Event] = []
    for listener in (telling_of_waits(told.append), telling_of_waits(told.append)):
        listener(wait(2))
        listener(wait(2))
    assert len(told) == 2
