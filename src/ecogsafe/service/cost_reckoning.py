"""What is kept and what fetching it would cost, from sums of objects. Pure: sums and a price table in, money out.

A month is billed by the GB kept. A class may bill a least size for each object, something on top of it, and a least
time: what goes earlier is billed to its end all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ecogsafe.catalog.billed import HeldObjects
from ecogsafe.service.price_estimates import FetchingCost, fetching_cost, tiers
from ecogsafe.service.price_table import GB, PriceTable

#: in place of a tier where a class is read at once
AT_ONCE = "Standard"
_DAYS_A_MONTH = Decimal(30)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCost:
    """What objects of one class cost as they stand."""

    objects: int
    bytes: int
    billed_bytes: int
    month: Decimal
    #: billed all the same if everything went today
    still_billed: Decimal

    def __add__(self, other: KeptCost) -> KeptCost:
        return KeptCost(
            objects=self.objects + other.objects,
            bytes=self.bytes + other.bytes,
            billed_bytes=self.billed_bytes + other.billed_bytes,
            month=self.month + other.month,
            still_billed=self.still_billed + other.still_billed,
        )


NOTHING = KeptCost(objects=0, bytes=0, billed_bytes=0, month=Decimal(0), still_billed=Decimal(0))


def kept_cost(table: PriceTable, held: HeldObjects, limits: Sequence[int], today: date) -> KeptCost | None:
    """Return what ``held`` costs; None where the table does not know its class.

    Parameters
    ----------
    limits
        Those that ``held.small`` was counted for.
    """
    price, usual = table.of(held.storage_class), table.of(None)
    if price is None or usual is None:
        return None
    few, their_bytes = (0, 0)
    if price.minimum_object_bytes:
        few, their_bytes = held.small[limits.index(price.minimum_object_bytes)]
    billed = held.bytes - their_bytes + few * price.minimum_object_bytes + held.objects * price.overhead_bytes
    billed_usual = held.objects * price.overhead_standard_bytes
    month = (Decimal(billed) * price.gb_month + Decimal(billed_usual) * usual.gb_month) / GB
    left = 0
    if held.day:
        # a clock that went back proves no age
        age = max(0, (today - date.fromisoformat(held.day)).days)
        left = max(0, price.minimum_days - age)
    return KeptCost(
        objects=held.objects,
        bytes=held.bytes,
        billed_bytes=billed + billed_usual,
        month=month,
        still_billed=month * left / _DAYS_A_MONTH,
    )


def fetching_ways(
    table: PriceTable, storage_class: str | None, *, objects: int, size: int, days: int
) -> list[FetchingCost]:
    """Return what each way of getting the objects out of their class costs, cheapest first, transfer out left out."""
    ways = tiers(table, storage_class) or (AT_ONCE,)
    found = (
        fetching_cost(table, storage_class, tier, objects=objects, size=size, days=days, fetched=0) for tier in ways
    )
    return sorted((cost for cost in found if cost is not None), key=lambda cost: cost.total)


def transfer_out(table: PriceTable, size: int) -> Decimal:
    """Return what carrying ``size`` bytes out in one month costs, after what is free."""
    charged = max(0, size - table.egress_free_gb_per_month * GB)
    return Decimal(charged) * table.egress_gb / GB


def least_sizes(tables: Iterable[PriceTable]) -> tuple[int, ...]:
    """Return every least size that a class bills, ascending: below these, objects must be counted apart."""
    sizes = {price.minimum_object_bytes for table in tables for price in table.classes.values()}
    return tuple(sorted(sizes - {0}))


def longest_least_time(tables: Iterable[PriceTable]) -> int:
    """Return the longest least time of any class, days; what is older can go without a rest."""
    return max((price.minimum_days for table in tables for price in table.classes.values()), default=0)
