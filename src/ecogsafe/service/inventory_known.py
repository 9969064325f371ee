"""``inventory URL --known``: what the catalogue knows a store to hold, at once, with the age of its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby, repeat

from ecogsafe.catalog import inventories
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.inventories import Recorded
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import one_url
from ecogsafe.service.inventory_counts import STANDARD
from ecogsafe.service.price_estimates import Weight, keeping_cost, money
from ecogsafe.service.price_table import PriceTable
from ecogsafe.service.running import Run


def tell_known(run: Run, url: str, prices: PriceTable | None) -> None:
    """Tell what is recorded of the store at ``url``; no store is asked.

    Raises
    ------
    UsageError
        The catalogue has never met that store.
    """
    named = one_url(url)
    with run.catalog.read() as tx:
        row = catalog_stores.store_by_url(tx, named)
        store_id = row.store_id if row is not None else catalog_stores.store_id_met_at(tx, named)
        if store_id is None:
            raise UsageError(
                "the store", "is not known to the catalogue", next="ecogsafe inventory URL, without --known, lists it"
            )
        found = inventories.recorded(tx, store_id)
        listed_at = inventories.listed_at(tx, store_id)
    for code, of in groupby(found, key=lambda recorded: recorded.subject):
        run.tell(_item(code, named, list(of), prices))
    copies = sum(recorded.copies for recorded in found)
    run.tally.present = copies
    run.counts |= {"bad": sum(recorded.bad for recorded in found)}
    listed = f"the whole store was last listed {_moment(listed_at)} UTC" if listed_at else "never listed whole"
    run.message = f"{copies:,} copies are recorded; {listed}; the store was not asked"


def _item(code: str, url: str, of: Sequence[Recorded], prices: PriceTable | None) -> Item:
    levels = {name: sum(getattr(r, name) for r in of) for name in ("restored", "checksum", "stored", "bad")}
    classes: Counter[str] = Counter()
    usual = STANDARD if prices is None else prices.usual
    for recorded in of:
        classes[recorded.storage_class or usual] += recorded.copies
    proofs = [recorded.oldest_evidence for recorded in of if recorded.oldest_evidence]
    seen = [recorded.newest_seen for recorded in of if recorded.newest_seen]
    words = ", ".join(f"{n:,} {name if name != 'stored' else 'stored only'}" for name, n in levels.items() if n)
    text = f"{sum(r.copies for r in of):,} recorded: {words}"
    if proofs:
        text += f"; proven since {_moment(min(proofs))}"
    text += f"; last listed {_moment(max(seen))}" if seen else "; never listed"
    details = {
        **levels,
        "copies": sum(r.copies for r in of),
        "storage_classes": dict(classes),
        "oldest_evidence": min(proofs, default=None),
        "newest_listing": max(seen, default=None),
    }
    if prices is not None:
        text += "; " + ", ".join(f"{n:,} {name}" for name, n in sorted(classes.items()))
        costs = [_month(prices, recorded) for recorded in of]
        if None not in costs:
            month = sum((cost for cost in costs if cost is not None), Decimal(0))
            text += f"; about {money(month, prices.currency)} a month"
    return Item(
        action="known",
        status="note",
        subject=code,
        store=url,
        bytes=sum(r.bytes for r in of),
        message=text,
        details=details,
    )


def _month(prices: PriceTable, recorded: Recorded) -> Decimal | None:
    """Return what the objects cost a month, taken to be of one size; None where the table does not know the class."""
    each = Weight(recorded.bytes // recorded.copies)
    cost = keeping_cost(prices, recorded.storage_class, repeat(each, recorded.copies))
    return None if cost is None else cost.month


def _moment(stamp: str) -> str:
    return stamp[:16].replace("T", " ")
