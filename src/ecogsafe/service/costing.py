"""``cost``: what the copies cost a month by store, class and subject, or what bringing all of them back would.

It speaks of what the catalogue records, at list prices of a dated table. A store that the table does not know is
named with its bytes, and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ecogsafe.catalog import inventories
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.billed import HeldObjects, held_objects
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import is_code
from ecogsafe.service.copy_check import MISSING
from ecogsafe.service.cost_reckoning import (
    NOTHING,
    KeptCost,
    fetching_ways,
    kept_cost,
    least_sizes,
    longest_least_time,
    transfer_out,
)
from ecogsafe.service.price_estimates import FetchingCost, hours_in_words, money
from ecogsafe.service.price_table import PriceTable, price_table_for
from ecogsafe.service.running import Run

#: how long `restore` keeps a thawed copy unless told otherwise
_DAYS = 7
_NOT_COUNTED = (
    "not in it: requests, snapshots and key copies, earlier versions that a bucket keeps, unfinished uploads and what "
    "others put there (ecogsafe inventory URL counts those)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRequest:
    """What the user asked for."""

    subject: str | None = None
    #: what bringing it back would cost, in place of what keeping it does
    restore: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One store and what it holds."""

    url: str
    #: None: nobody sends a bill that we know of
    table: PriceTable | None
    held: list[HeldObjects]


def tell_cost(run: Run, request: CostRequest) -> None:
    """Tell what the recorded copies cost.

    Raises
    ------
    UsageError
        Nothing of the subject, or nothing at all, is recorded.
    ConfigError
        The lab's own price table does not have the form.
    """
    if request.subject is not None and not is_code(request.subject):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
    places, limits = _places(run, request.subject)
    if not places:
        raise UsageError(
            request.subject or "the catalogue", "has no recorded copy", next="ecogsafe status shows what is where"
        )
    if request.restore:
        _tell_fetching(run, places)
    else:
        _Keeping(run, places, limits).tell()
    for table in {table.standing: table for place in places if (table := place.table)}.values():
        run.tell(Item(action="cost", status="note", message=f"prices: {table.standing} ({table.source})"))
    if not request.restore:
        run.tell(Item(action="cost", status="note", message=_NOT_COUNTED))


def _places(run: Run, subject: str | None) -> tuple[list[_Place], tuple[int, ...]]:
    with run.catalog.read() as tx:
        urls = {row.store_id: row.url for row in catalog_stores.all_stores(tx)}
    priced = {store_id: price_table_for(url, run.home.root) for store_id, url in urls.items()}
    tables = [table for table in priced.values() if table is not None]
    limits = least_sizes(tables)
    since = (utc_now() - timedelta(days=longest_least_time(tables))).strftime("%Y-%m-%d")
    gone = (inventories.REMOVED, MISSING)
    held: dict[str, list[HeldObjects]] = {}
    with run.catalog.read() as tx:
        for each in held_objects(tx, gone=gone, since=since, limits=limits, subject=subject):
            held.setdefault(each.store_id, []).append(each)
    places = [_Place(url=urls[s], table=priced[s], held=found) for s, found in held.items() if s in urls]
    return sorted(places, key=lambda place: place.url), limits


class _Keeping:
    """The bill of a month, added up by store and class, and by subject."""

    def __init__(self, run: Run, places: list[_Place], limits: tuple[int, ...]) -> None:
        self._run = run
        self._places = places
        self._limits = limits
        #: by subject, then by currency
        self._subjects: dict[str, dict[str, Decimal]] = {}
        self._subject_bytes: dict[str, list[int]] = {}
        #: by currency
        self._months: dict[str, KeptCost] = {}
        self._unpriced = NOTHING

    def tell(self) -> None:
        for place in self._places:
            for storage_class, held in _by_class(place).items():
                self._tell_class(place, storage_class, held)
        for code, months in sorted(self._subjects.items()):
            objects, size = self._subject_bytes[code]
            total = " and ".join(money(month, currency) for currency, month in months.items()) or "no known price"
            self._run.tell(
                Item(
                    action="cost",
                    status="note",
                    subject=code,
                    bytes=size,
                    message=f"{total} a month for {objects:,} objects",
                    details={
                        "objects": objects,
                        "month": {currency: float(month) for currency, month in months.items()},
                    },
                )
            )
        self._conclude()

    def _tell_class(self, place: _Place, storage_class: str | None, held: list[HeldObjects]) -> None:
        cost = NOTHING
        is_known = True
        today = utc_now().date()
        table = place.table
        for each in held:
            count = self._subject_bytes.setdefault(each.subject, [0, 0])
            count[0] += each.objects
            count[1] += each.bytes
            months = self._subjects.setdefault(each.subject, {})
            one = None if table is None else kept_cost(table, each, self._limits, today)
            if one is None or table is None:
                is_known = False
                continue
            cost += one
            months[table.currency] = months.get(table.currency, Decimal(0)) + one.month
        if table is None or not is_known:
            self._tell_unpriced(place, storage_class, held)
            return
        self._months[table.currency] = self._months.get(table.currency, NOTHING) + cost
        name = storage_class or table.usual
        message = (
            f"{place.url} {name}: {cost.objects:,} objects, {cost.bytes:,} bytes: "
            f"about {money(cost.month, table.currency)} a month"
        )
        price = table.of(storage_class)
        if cost.still_billed and price is not None:
            message += (
                f"; if it were removed today, {money(cost.still_billed, table.currency)} would be billed all the same "
                f"({price.minimum_days} days at least)"
            )
        self._run.tell(
            Item(
                action="cost",
                status="note",
                store=place.url,
                bytes=cost.bytes,
                message=message,
                details={
                    "storage_class": name,
                    "objects": cost.objects,
                    "billed_bytes": cost.billed_bytes,
                    "currency": table.currency,
                    "month": float(cost.month),
                    "still_billed": float(cost.still_billed),
                    "minimum_days": price.minimum_days if price is not None else 0,
                    "prices_of": table.date.isoformat(),
                },
            )
        )

    def _tell_unpriced(self, place: _Place, storage_class: str | None, held: list[HeldObjects]) -> None:
        objects, size = sum(each.objects for each in held), sum(each.bytes for each in held)
        unpriced = KeptCost(objects=objects, bytes=size, billed_bytes=0, month=Decimal(0), still_billed=Decimal(0))
        self._unpriced += unpriced
        self._run.tell(_unpriced_item(place, storage_class, objects, size))

    def _conclude(self) -> None:
        run, unpriced = self._run, self._unpriced
        parts = [
            f"about {money(cost.month, currency)} a month for {cost.objects:,} objects, {cost.bytes:,} bytes"
            for currency, cost in self._months.items()
        ]
        if unpriced.objects:
            parts.append(f"{unpriced.objects:,} objects, {unpriced.bytes:,} bytes without a known price are not in it")
        run.message = "; ".join(parts)


def _tell_fetching(run: Run, places: list[_Place]) -> None:
    """Tell, store by store, what bringing everything back from it would cost and take."""
    verdicts = []
    for place in places:
        table = place.table
        sums = {
            storage_class: (sum(h.objects for h in held), sum(h.bytes for h in held))
            for storage_class, held in _by_class(place).items()
        }
        ways = {
            storage_class: []
            if table is None
            else fetching_ways(table, storage_class, objects=objects, size=size, days=_DAYS)
            for storage_class, (objects, size) in sums.items()
        }
        for storage_class, (objects, size) in sums.items():
            if table is None or not ways[storage_class]:
                run.tell(_unpriced_item(place, storage_class, objects, size))
            for cost in ways[storage_class]:
                if table is not None:
                    run.tell(_way_item(place.url, table, storage_class, cost, objects, size))
        if table is None or not all(ways.values()):
            continue
        out = transfer_out(table, sum(size for _, size in sums.values()))
        cheap = [found[0] for found in ways.values()]
        fast = [min(found, key=lambda cost: (cost.hours[1], cost.total)) for found in ways.values()]
        verdicts.append(_tell_store(run, place.url, table, cheap, fast, out))
    run.message = "; ".join(verdicts) if verdicts else "no price is known for any store that holds copies"


def _tell_store(
    run: Run, url: str, table: PriceTable, cheap: list[FetchingCost], fast: list[FetchingCost], out: Decimal
) -> str:
    currency = table.currency
    least, most = (out + sum((cost.total for cost in each), Decimal(0)) for each in (cheap, fast))
    slow, quick = (max(cost.hours for cost in each) for each in (cheap, fast))
    text = f"all that stands at {url}: about {money(least, currency)} ({hours_in_words(slow)})"
    if quick != slow:
        text += f", or {money(most, currency)} ({hours_in_words(quick)})"
    message = f"{text}; of it {money(out, currency)} for carrying it out, and the time that the line takes comes on top"
    early = sum((cost.early for cost in cheap), Decimal(0))
    if early:
        message += f"; leaving the class too early would add {money(early, currency)} at most"
    run.tell(
        Item(
            action="cost",
            status="note",
            store=url,
            message=message,
            details={
                "currency": currency,
                "cheapest": float(least),
                "cheapest_hours": list(slow),
                "fastest": float(most),
                "fastest_hours": list(quick),
                "egress": float(out),
                "early": float(early),
                "prices_of": table.date.isoformat(),
            },
        )
    )
    return text


def _way_item(
    url: str, table: PriceTable, storage_class: str | None, cost: FetchingCost, objects: int, size: int
) -> Item:
    name, currency = storage_class or table.usual, table.currency
    parts = {
        "retrieval": cost.retrieval,
        "requests": cost.requests,
        f"a month in {table.usual}" if table.thaws_for_good else f"thawed copy for {_DAYS} days": cost.thawed_copy,
    }
    shown = ", ".join(f"{word} {money(amount, currency)}" for word, amount in parts.items() if amount)
    by = f" by {cost.tier}" if cost.hours[1] else ""
    return Item(
        action="cost",
        status="note",
        store=url,
        bytes=size,
        message=f"{url} {name}{by}: {objects:,} objects, {size:,} bytes, {hours_in_words(cost.hours)}: about "
        f"{money(cost.total, currency)}" + (f" ({shown})" if shown else "") + ", transfer out not counted",
        details={
            "storage_class": name,
            "tier": cost.tier,
            "objects": objects,
            "hours": list(cost.hours),
            "currency": currency,
            "total": float(cost.total),
            "retrieval": float(cost.retrieval),
            "requests": float(cost.requests),
            "thawed_copy": float(cost.thawed_copy),
        },
    )


def _unpriced_item(place: _Place, storage_class: str | None, objects: int, size: int) -> Item:
    why = "the table has no price for this class" if place.table is not None else "the table has no price for it"
    name = f"{place.url} {storage_class}" if storage_class else place.url
    return Item(
        action="cost",
        status="note",
        store=place.url,
        bytes=size,
        message=f"{name}: {objects:,} objects, {size:,} bytes: {why}",
        details={"storage_class": storage_class or "", "objects": objects, "priced": False},
    )


def _by_class(place: _Place) -> dict[str | None, list[HeldObjects]]:
    """Return what is held by class; what the store told no class of is in its usual one."""
    found: dict[str | None, list[HeldObjects]] = {}
    for each in place.held:
        usual = place.table.usual if place.table is not None else None
        found.setdefault(each.storage_class or usual, []).append(each)
    return found
