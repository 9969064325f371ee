"""A store that asks for fewer requests during a run gets half as many, and the run tells of it."""

from __future__ import annotations

from ecogsafe.core.errors import StoreBusyError
from ecogsafe.core.events import Item
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.retrying import Retrying
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.work import Status

from .bench import PART, Bench


def test_slow_down_halves_what_a_store_gets_and_every_file_arrives(bench: Bench) -> None:
    busy = [None, None, *[Fault(error=StoreBusyError("lab", "is busy (SlowDown)"))] * 3]
    inner = Faulty(MemoryStore("memory://1"), {"put_part": busy})
    store = Retrying(inner, pause=lambda _seconds: None)
    shipments = [bench.shipment(bench.write(f"000{n}", bench.data(4 * PART)), bench.place(store)) for n in (1, 2, 3)]
    with bench.context() as context:
        outcomes = list(send_all(context, shipments))
        assert context.meter.retries == 3
        assert context.meter.now().retries == 3
    assert [o.status for o in outcomes] == [Status.DONE] * 3
    told = [e.message for e in bench.events if isinstance(e, Item) and e.action == "pace"]
    assert told == ["up to 4 requests at once were worth it; halved 1 x, as it asked for"]
