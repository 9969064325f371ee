"""What an archive will cost, told before a byte is sent: to send, to keep, at the least, and to bring back."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from ecogsafe.core.events import Item
from ecogsafe.service.archive_planning import ArchivePlan
from ecogsafe.service.price_estimates import (
    Weight,
    fetching_cost,
    hours_in_words,
    keeping_cost,
    money,
    tiers,
)
from ecogsafe.service.price_table import PriceTable
from ecogsafe.transfer.archive.volumes import PART_BYTES

_AT_ONCE = "Standard"


def cost_items(plan: ArchivePlan, table: PriceTable, *, storage_class: str | None, store: str) -> Iterator[Item]:
    """Yield what is to be told of the money; nothing where the table does not know the class."""
    weights = [Weight(volume.packed, max(1, -(-volume.packed // PART_BYTES))) for volume in plan.volumes]
    keeping = keeping_cost(table, storage_class, weights)
    if keeping is None or not weights:
        return
    currency = table.currency
    yield _item(
        store,
        f"{storage_class or table.usual}: about {money(keeping.requests, currency)} to send, "
        f"{money(keeping.month, currency)} a month to keep ({keeping.billed_bytes:,} bytes billed)"
        + (
            f"; billed for {keeping.minimum_days} days at least: {money(keeping.least, currency)}"
            if keeping.least
            else ""
        ),
        requests=keeping.requests,
        month=keeping.month,
        least=keeping.least,
        minimum_days=keeping.minimum_days,
        billed_bytes=keeping.billed_bytes,
    )
    for tier in tiers(table, storage_class) or (_AT_ONCE,):
        fetching = fetching_cost(table, storage_class, tier, objects=len(weights), size=keeping.bytes)
        if fetching is None:
            continue
        yield _item(
            store,
            f"to bring all of it back ({tier}, {hours_in_words(fetching.hours)}): about "
            f"{money(fetching.total, currency)}, of it {money(fetching.egress, currency)} for carrying it out",
            tier=tier,
            total=fetching.total,
            egress=fetching.egress,
        )
    yield _item(store, table.standing)


def _item(store: str, message: str, **details: Decimal | int | str) -> Item:
    told = {name: float(value) if isinstance(value, Decimal) else value for name, value in details.items()}
    return Item(action="cost", status="note", store=store, message=message, details=told)
