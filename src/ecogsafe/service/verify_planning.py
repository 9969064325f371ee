"""What one ``verify`` looks at and in which order, page by page from the catalogue."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ecogsafe.catalog import due
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.due import Line, Pair
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import UsageError
from ecogsafe.service.connections import one_url
from ecogsafe.service.verify_request import VerifyRequest
from ecogsafe.service.verify_sampling import Chosen, choose

_PAGE = 500


@dataclass(slots=True)
class Plan:
    """What is due.

    Attributes
    ----------
    places : mapping
        URL of every store in question by id.
    first : list
        Copies that are in doubt and do not wait for their turn.
    chosen : list or None
        The sample; None: everything in ``line``.
    """

    line: Line
    places: Mapping[str, str]
    files_total: int = 0
    bytes_total: int = 0
    first: list[Pair] = field(default_factory=list)
    chosen: list[Chosen] | None = None

    def put_first(self, pairs: Sequence[Pair]) -> None:
        """Let these not wait for their turn."""
        taken = {one.copy_id for one in self.chosen or ()}
        for copy, _ in pairs:
            looked_at = copy.read_at if self.line.deep else copy.asked_at
            is_counted = copy.id in taken if self.chosen is not None else looked_at <= self.line.until
            if not is_counted:
                self.files_total += 1
                self.bytes_total += copy.size
        self.first = list(pairs)

    def pairs(self, catalog: Catalog) -> Iterator[Pair]:
        """Yield every copy that is due, once; those in doubt first, then the oldest evidence."""
        yield from self.first
        met = {copy.id for copy, _ in self.first}
        rest = self._in_line(catalog) if self.chosen is None else self._sample(catalog, self.chosen)
        for pair in rest:
            if pair[0].id not in met:
                yield pair

    def _in_line(self, catalog: Catalog) -> Iterator[Pair]:
        after = None
        while True:
            # no transaction stays open while stores are asked
            with catalog.read() as tx:
                pairs, after = due.page(tx, self.line, after, _PAGE)
            if after is None:
                return
            yield from pairs

    def _sample(self, catalog: Catalog, chosen: Sequence[Chosen]) -> Iterator[Pair]:
        for start in range(0, len(chosen), _PAGE):
            with catalog.read() as tx:
                pairs = due.by_ids(tx, [one.copy_id for one in chosen[start : start + _PAGE]])
            yield from pairs


def plan_verify(catalog: Catalog, request: VerifyRequest) -> Plan:
    """Return what is due now.

    Raises
    ------
    UsageError
        Nothing is recorded of what was asked for.
    """
    now = utc_stamp()
    with catalog.write() as tx:
        due.distrust_future(tx, now)
    with catalog.read() as tx:
        places = _places(tx, request)
        stores = None if request.url is None else tuple(places)
        everything = Line(deep=request.deep, store_ids=stores, subject=request.subject, until=now)
        if not places or due.page(tx, everything, None, 1)[1] is None:
            raise UsageError(
                request.subject or "the catalogue",
                "has no recorded copy to verify" + (" at this store" if request.url else ""),
                next="ecogsafe status shows what is where",
            )
        line = replace(everything, until=request.until(now))
        if request.sample is not None:
            return _sampled(tx, request, line, places, request.sample)
        return Plan(line, places, *due.totals(tx, line))


def _places(tx: Transaction, request: VerifyRequest) -> dict[str, str]:
    url = None if request.url is None else one_url(request.url)
    met = None if url is None else catalog_stores.store_id_met_at(tx, url)
    stores = catalog_stores.all_stores(tx)
    return {s.store_id: url or s.url for s in stores if url is None or url == s.url or s.store_id == met}


def _sampled(tx: Transaction, request: VerifyRequest, line: Line, places: Mapping[str, str], percent: float) -> Plan:
    draw = random.Random(request.seed)  # noqa: S311  nothing is kept secret by it, and it can be drawn again
    chosen: list[Chosen] = []
    for code in due.codes(tx) if request.subject is None else [request.subject]:
        waiting = due.candidates(tx, replace(line, subject=code))
        for store_id in sorted(places):
            chosen += choose([one for one in waiting if one.store_id == store_id], percent, draw)
    chosen.sort()
    return Plan(line, places, len(chosen), sum(one.size for one in chosen), chosen=chosen)
