"""What a set of objects costs to send, to keep and to fetch. Pure: sizes in, money out.

A month is billed by the GB kept; requests by the thousand. The parts of an upload in parts, and its
beginning, are billed at the rates of the usual class (STANDARD, Hot); only the completion is billed at the class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from ecogsafe.service.price_table import GB, ClassPrice, PriceTable

_THOUSAND = Decimal(1000)
_DAYS_A_MONTH = Decimal(30)


@dataclass(frozen=True, slots=True)
class Weight:
    """One object to be priced."""

    size: int
    #: parts it is sent in; 1 = one request
    parts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepingCost:
    """What objects cost to send once and to keep."""

    objects: int
    bytes: int
    #: with the overhead and the least size that the class bills
    billed_bytes: int
    requests: Decimal
    month: Decimal
    #: billed even if it is deleted at once
    least: Decimal
    minimum_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchingCost:
    """What objects cost to get back."""

    tier: str
    retrieval: Decimal
    requests: Decimal
    #: at the usual class: the thawed copy while it is kept, or the first month of an object that moved there for good
    thawed_copy: Decimal
    egress: Decimal
    hours: tuple[float, float]
    #: what leaving the class costs at the most, if the object has not been in it for the least time; not in the total
    early: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """Everything together."""
        return self.retrieval + self.requests + self.thawed_copy + self.egress


def keeping_cost(table: PriceTable, storage_class: str | None, weights: Iterable[Weight]) -> KeepingCost | None:
    """Return what the objects cost at ``storage_class``; None where the table does not know it."""
    price, standard = table.of(storage_class), table.of(None)
    if price is None or standard is None:
        return None
    objects = size = billed = billed_standard = 0
    requests = Decimal(0)
    for weight in weights:
        objects += 1
        size += weight.size
        billed += max(weight.size, price.minimum_object_bytes) + price.overhead_bytes
        billed_standard += price.overhead_standard_bytes
        requests += price.put_per_1000 / _THOUSAND
        if weight.parts > 1:
            requests += standard.put_per_1000 * (weight.parts + 1) / _THOUSAND
    month = _gigabytes(billed) * price.gb_month + _gigabytes(billed_standard) * standard.gb_month
    return KeepingCost(
        objects=objects,
        bytes=size,
        billed_bytes=billed + billed_standard,
        requests=requests,
        month=month,
        least=month * price.minimum_days / _DAYS_A_MONTH,
        minimum_days=price.minimum_days,
    )


def early_deletion_cost(table: PriceTable, storage_class: str | None, size: int, kept_days: float) -> Decimal | None:
    """Return what is still billed for one object of ``size`` bytes that goes after ``kept_days``."""
    cost = keeping_cost(table, storage_class, [Weight(size)])
    if cost is None:
        return None
    left = max(Decimal(0), Decimal(cost.minimum_days) - Decimal(str(kept_days)))
    return cost.month * left / _DAYS_A_MONTH


def is_cold(price: ClassPrice) -> bool:
    """Return whether objects of the class must be thawed before they can be read."""
    return any(way.hours[1] > 0 for way in price.retrieval.values())


def fetching_cost(
    table: PriceTable,
    storage_class: str | None,
    tier: str,
    *,
    objects: int,
    size: int,
    days: int = 7,
    fetched: int | None = None,
    free_egress_bytes: int | None = None,
) -> FetchingCost | None:
    """Return what it costs to read objects back; None where the class does not offer ``tier``.

    Parameters
    ----------
    size
        Bytes that are thawed: whole objects.
    days
        How long the thawed copies are kept; without meaning where thawing is for good.
    fetched
        Bytes that are carried out of the provider (ranges of the objects); None for all of them.
    free_egress_bytes
        What is left of the month's free transfer; None for all of it.
    """
    price, standard = table.of(storage_class), table.of(None)
    if price is None or standard is None:
        return None
    way = price.retrieval.get(tier)
    if way is None and price.retrieval:
        return None
    out = size if fetched is None else fetched
    free = table.egress_free_gb_per_month * GB if free_egress_bytes is None else free_egress_bytes
    cold = is_cold(price)
    days_thawed = _DAYS_A_MONTH if table.thaws_for_good else Decimal(days)
    return FetchingCost(
        tier=tier,
        retrieval=_gigabytes(size) * way.per_gb if way else Decimal(0),
        requests=(way.per_1000 * objects / _THOUSAND if way else Decimal(0)) + price.get_per_1000 * objects / _THOUSAND,
        thawed_copy=_gigabytes(size) * standard.gb_month * days_thawed / _DAYS_A_MONTH if cold else Decimal(0),
        egress=_gigabytes(max(0, out - free)) * table.egress_gb,
        hours=way.hours if way else (0.0, 0.0),
        early=_gigabytes(size) * price.gb_month * price.minimum_days / _DAYS_A_MONTH
        if cold and table.thaws_for_good
        else Decimal(0),
    )


def tiers(table: PriceTable, storage_class: str | None) -> tuple[str, ...]:
    """Return the ways to get data out of a class, cheapest first; empty where it is read at once for nothing."""
    price = table.of(storage_class)
    if price is None:
        return ()
    return tuple(sorted(price.retrieval, key=lambda tier: price.retrieval[tier].per_gb))


def money(amount: Decimal, currency: str) -> str:
    """Return an amount as people read it: ``USD 18.00``, ``USD 0.03``, ``USD < 0.01``."""
    if amount and amount < Decimal("0.01"):
        return f"{currency} < 0.01"
    return f"{currency} {amount:,.2f}"


def hours_in_words(hours: tuple[float, float]) -> str:
    """Return a waiting time as people read it."""
    shortest, longest = hours
    if longest == 0:
        return "at once"
    if not shortest:
        return f"up to {longest:g} hours"
    if longest < 1:
        return f"{max(1, round(shortest * 60))}-{round(longest * 60)} minutes"
    return f"{shortest:g}-{longest:g} hours"


def _gigabytes(count: int) -> Decimal:
    return Decimal(count) / GB
