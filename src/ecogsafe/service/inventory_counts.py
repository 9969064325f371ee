"""What an inventory counts: objects by subject, by what became of them and by class, and what they cost a month."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from ecogsafe.core.events import Item
from ecogsafe.service.price_estimates import Weight, keeping_cost, money
from ecogsafe.service.price_table import PriceTable

#: what S3 calls the class of an object of which it tells none
STANDARD = "STANDARD"


class State(StrEnum):
    """What an object is, against the catalogue."""

    #: the object that the catalogue speaks of
    PRESENT = "present"
    #: in the catalogue, not in the store
    MISSING = "missing"
    #: another object stands under the key
    DIFFERENT = "different"
    #: it is there, and was called bad before
    BAD = "bad"
    #: bad or missing, and a good copy of the same content stands beside it
    REPLACED = "replaced"
    #: of our form, not in the catalogue
    UNKNOWN = "unknown"
    #: not of our form: somebody else's, and its name may be a person's
    FOREIGN = "foreign"
    #: in the catalogue, not in the store, and its subject withdrew
    REMOVED = "removed"
    #: the store did not answer when it was asked about it
    UNJUDGED = "unjudged"


#: objects of these end the command with 30
WRONG = (State.MISSING, State.DIFFERENT, State.BAD)


@dataclass(slots=True)
class SubjectCount:
    """The objects of one subject, or those of nobody that is known."""

    #: None for objects that are not of our form
    subject: str | None
    states: Counter[State] = field(default_factory=Counter)
    #: sizes of what stands there by storage class, bytes
    sizes: dict[str, array[int]] = field(default_factory=dict)

    def add(self, state: State, size: int | None, storage_class: str | None) -> None:
        """Count one object, whose size is None if it does not stand in the store."""
        self.states[state] += 1
        if size is not None:
            self.sizes.setdefault(storage_class or STANDARD, array("q")).append(size)

    @property
    def objects(self) -> int:
        """What stands in the store."""
        return sum(map(len, self.sizes.values()))

    @property
    def bytes(self) -> int:
        """Bytes of what stands in the store."""
        return sum(map(sum, self.sizes.values()))


class Counts:
    """The objects of one store; ``prices`` is None for a store that sends no bill (a folder)."""

    def __init__(self, prices: PriceTable | None) -> None:
        self._prices = prices
        self._subjects: dict[str | None, SubjectCount] = {}

    def add(self, subject: str | None, state: State, size: int | None, storage_class: str | None) -> None:
        """Count one object, whose size is None if it does not stand in the store."""
        count = self._subjects.get(subject)
        if count is None:
            count = self._subjects[subject] = SubjectCount(subject)
        count.add(state, size, storage_class)

    @property
    def states(self) -> Counter[State]:
        """How many objects there are of each state, over all subjects."""
        return sum((count.states for count in self._subjects.values()), Counter())

    def standing(self, subject: str) -> int:
        """Return how many objects of ``subject`` stand in the store."""
        count = self._subjects.get(subject)
        return 0 if count is None else count.objects

    def items(self, store: str) -> Iterator[Item]:
        """Yield one line a subject by code, one for what is nobody's, and one for all."""
        counts = sorted(self._subjects.values(), key=lambda count: count.subject or "~")
        months: list[Decimal | None] = []
        for count in counts:
            month = self._month(count)
            months.append(month)
            lead = "" if count.subject else f"others, names not shown (they may be private), {count.bytes:,} bytes: "
            yield Item(
                action="inventory",
                status="note",
                subject=count.subject,
                store=store,
                bytes=count.bytes,
                message=lead + self._words(count.states, _numbers(count.sizes), month),
                details=self._details(count.states, _numbers(count.sizes), month),
            )
        classes: Counter[str] = Counter()
        for count in counts:
            classes.update(_numbers(count.sizes))
        total = None if None in months else sum((m for m in months if m is not None), Decimal(0))
        size = sum(count.bytes for count in counts)
        yield Item(
            action="inventory",
            status="note",
            store=store,
            bytes=size,
            message=f"in all {size:,} bytes: {self._words(self.states, classes, total)}",
            details={"total": True, **self._details(self.states, classes, total)},
        )

    def _month(self, count: SubjectCount) -> Decimal | None:
        """Return what the objects cost a month; None where the table does not know one of their classes."""
        if self._prices is None:
            return None
        total = Decimal(0)
        for storage_class, sizes in count.sizes.items():
            cost = keeping_cost(self._prices, storage_class, map(Weight, sizes))
            if cost is None:
                return None
            total += cost.month
        return total

    def _words(self, states: Mapping[State, int], classes: Mapping[str, int], month: Decimal | None) -> str:
        told = [f"{n:,} {_WORDS.get(state, state.value)}" for state in State if (n := states.get(state, 0))]
        text = ", ".join(told) or "nothing"
        if classes and self._prices is not None:
            text += "; " + ", ".join(f"{n:,} {name}" for name, n in sorted(classes.items()))
            price = "price not known" if month is None else f"{money(month, self._prices.currency)} a month"
            text += f"; {price}"
        return text

    def _details(
        self, states: Mapping[State, int], classes: Mapping[str, int], month: Decimal | None
    ) -> dict[str, Any]:
        details: dict[str, Any] = {state.value: states.get(state, 0) for state in State}
        details["storage_classes"] = dict(classes)
        if month is not None and self._prices is not None:
            details |= {"cost_month": str(month), "currency": self._prices.currency}
        return details


_WORDS = {
    State.MISSING: "MISSING",
    State.DIFFERENT: "DIFFERENT",
    State.BAD: "known to be BAD",
    State.REPLACED: "bad and replaced",
    State.FOREIGN: "not of our form",
    State.REMOVED: "removed after the withdrawal",
    State.UNJUDGED: "not judged",
}


def _numbers(sizes: Mapping[str, Iterable[int]]) -> dict[str, int]:
    return {name: sum(1 for _ in of) for name, of in sizes.items()}
