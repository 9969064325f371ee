"""What a restore costs and how long it takes, by tier, before anything is asked of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.price_estimates import FetchingCost, fetching_cost, hours_in_words, is_cold, money, tiers
from ecogsafe.service.price_table import PriceTable
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.stores.thawing import TIERS, Tier

#: where no price table tells: the slowest there is
_LONGEST_HOURS = 48.0
#: less is not worth a question
_WORTH_ASKING = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Objects of one storage class that are fetched, some of which must be thawed first; sizes in bytes."""

    storage_class: str | None
    objects: int
    size: int
    #: that leave the store
    fetched: int
    is_frozen: bool
    #: a request for them is under way
    is_thawing: bool = False


def group(
    objects: Mapping[str, tuple[ObjectInfo, int]], frozen: frozenset[str], thawing: frozenset[str] = frozenset()
) -> list[Group]:
    """Return ``objects`` (what the store says and how many bytes leave it, by key) by class and state."""
    found: dict[tuple[str | None, bool, bool], Group] = {}
    for key, (info, fetched) in objects.items():
        kind = (info.storage_class, key in frozen, key in thawing)
        before = found.get(kind) or Group(
            storage_class=kind[0], objects=0, size=0, fetched=0, is_frozen=kind[1], is_thawing=kind[2]
        )
        found[kind] = replace(
            before, objects=before.objects + 1, size=before.size + info.size, fetched=before.fetched + fetched
        )
    return [found[kind] for kind in sorted(found, key=str)]


class Offers:
    """Prices and times for the objects of one restore.

    Parameters
    ----------
    is_priced
        Whether the store is one that the price table speaks of.
    """

    def __init__(self, run: Run, request: RestoreRequest, table: PriceTable, *, is_priced: bool) -> None:
        self._run = run
        self._request = request
        self._table = table
        self._is_priced = is_priced

    def tier_for(self, storage_class: str | None) -> Tier:
        """Return how objects of a class are thawed: as asked, else in the cheapest way, which ``Bulk`` means too.

        Raises
        ------
        UsageError
            The class is not thawed in the way that was asked for.
        """
        offered = [tier for tier in TIERS if tier in tiers(self._table, storage_class)]
        wanted = self._request.tier
        if wanted is None or (wanted == "Bulk" and offered):
            return next(iter(offered), "Bulk")
        if offered and wanted not in offered:
            raise UsageError(
                "--tier",
                f"{storage_class} is not thawed by {wanted}, only by {' or '.join(offered)}",
                next=f"run again with --tier {offered[-1]}, or without --tier",
            )
        return wanted

    def longest_hours(self, storage_class: str | None, tier: str) -> float:
        """Return after how many hours objects of a class are readable at the latest."""
        price = self._table.of(storage_class)
        way = price.retrieval.get(tier) if price is not None else None
        return way.hours[1] if way is not None else _LONGEST_HOURS

    def tell(self, groups: list[Group]) -> None:
        """Tell what every way costs and how long it takes."""
        if not self._is_priced:
            return
        for each in groups:
            offered = tiers(self._table, each.storage_class) if each.is_frozen else ()
            for tier in offered or (self._way(each),):
                cost = self._cost(each, tier)
                if cost is not None:
                    self._tell(each, cost)
        self._tell_moving(groups)
        self._run.tell(Item(action="price", status="note", message=f"prices: {self._table.standing}"))

    def _way(self, each: Group) -> str:
        return next(iter(tiers(self._table, each.storage_class)), "")

    def _cost(self, each: Group, tier: str) -> FetchingCost | None:
        price = self._table.of(each.storage_class)
        # what is thawed already was paid for
        is_thawed = not each.is_frozen and price is not None and is_cold(price)
        return fetching_cost(
            self._table,
            None if is_thawed else each.storage_class,
            tier,
            objects=each.objects,
            size=each.size,
            days=self._request.days,
            fetched=each.fetched,
        )

    def _tell(self, each: Group, cost: FetchingCost) -> None:
        currency, usual = self._table.currency, self._table.usual
        what = f"{each.objects} objects of {each.storage_class or usual}"
        if each.is_frozen:
            what += f" by {self._named(each.storage_class, cost.tier)}: ready {self._wait(cost)};"
        else:
            what += ": thawing already;" if each.is_thawing else ": can be read at once;"
        for_good = self._table.thaws_for_good
        parts = {
            "retrieval": cost.retrieval,
            "requests": cost.requests,
            f"a month in {usual}" if for_good else f"thawed copy for {self._request.days} days": cost.thawed_copy,
            "transfer out": cost.egress,
        }
        shown = ", ".join(f"{name} {money(amount, currency)}" for name, amount in parts.items() if amount)
        text = f"{what} {money(cost.total, currency)}" + (f" ({shown})" if shown else "")
        self._run.tell(
            Item(
                action="price",
                status="note",
                message=text,
                details={
                    "storage_class": each.storage_class or usual,
                    "tier": cost.tier if each.is_frozen else "",
                    "objects": each.objects,
                    "stored_bytes": each.size,
                    "fetched_bytes": each.fetched,
                    "total": str(cost.total),
                    "currency": currency,
                    "hours": list(cost.hours),
                },
            )
        )

    def _named(self, storage_class: str | None, tier: str) -> str:
        """Return the tier, with the provider's own word for it where that is another."""
        price = self._table.of(storage_class)
        way = price.retrieval.get(tier) if price is not None else None
        return f"{tier} ({way.name})" if way is not None and way.name else tier

    def _tell_moving(self, groups: list[Group]) -> None:
        """Tell what thawing for good means, where the store thaws no copy."""
        frozen = [each for each in groups if each.is_frozen]
        costs = [cost for each in frozen if (cost := self._cost(each, self.tier_for(each.storage_class))) is not None]
        early = sum((cost.early for cost in costs), Decimal(0))
        if not self._table.thaws_for_good or not costs:
            return
        message = f"what is thawed moves to {self._table.usual} and stays there until somebody moves it back"
        if early:
            days = max(price.minimum_days for each in frozen if (price := self._table.of(each.storage_class)))
            message += (
                f"; what has been there for less than {days} days costs the rest of them, here at most "
                f"{money(early, self._table.currency)} more"
            )
        self._run.tell(Item(action="price", status="note", message=message, details={"early": str(early)}))

    def _wait(self, cost: FetchingCost) -> str:
        words = hours_in_words(cost.hours)
        return words if words.startswith(("up to", "at once")) else f"in {words}"

    def question(self, groups: list[Group]) -> str | None:
        """Return what a person must agree to; None where nothing is asked of the store that costs."""
        frozen = [each for each in groups if each.is_frozen]
        costs = [self._cost(each, self.tier_for(each.storage_class)) for each in frozen] if self._is_priced else []
        fees = [cost.retrieval for each in groups if self._is_priced and (cost := self._cost(each, self._way(each)))]
        if not frozen and sum(fees, Decimal(0)) < _WORTH_ASKING:
            return None
        price = ""
        if self._is_priced and (known := [cost for cost in costs if cost is not None]):
            price = f" for about {money(sum((cost.total for cost in known), Decimal(0)), self._table.currency)}"
        if not frozen:
            return f"Fetch for about {money(sum(fees, Decimal(0)), self._table.currency)} of retrieval. Go on?"
        count = sum(each.objects for each in frozen)
        ways = ", ".join(dict.fromkeys(self.tier_for(each.storage_class) for each in frozen))
        for_good = self._is_priced and self._table.thaws_for_good
        hours = max(self.longest_hours(each.storage_class, self.tier_for(each.storage_class)) for each in frozen)
        kept = f"moved to {self._table.usual} for good" if for_good else f"kept for {self._request.days} days"
        return (
            f"Thaw {count} objects ({sum(each.size for each in frozen):,} bytes) by {ways}{price}, "
            f"ready within {hours:g} hours, {kept}. Go on?"
        )
