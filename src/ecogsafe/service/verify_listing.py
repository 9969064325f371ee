"""What a listing of the stores tells before any copy is asked about: what is there as it was, and what is in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from ecogsafe.catalog import copies, due, meta
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import StoreError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.running import Run
from ecogsafe.service.verify_request import Deadline
from ecogsafe.stores.protocol import ObjectInfo

_PAGE = 500
#: listing takes at most this share of a run, so that something is asked about in every run
_SHARE = 0.5
#: name in the table ``meta`` of the last subject that was listed where time was up, before the store's id
_LISTED = "verify-listed "


class Listings:
    """Lists stores and notes which copies are there, with the size and ETag they had (DESIGN 5.10).

    A listing that shows nothing, or something else, proves nothing either: it puts a copy in doubt, and its
    store is asked about it.
    """

    def __init__(self, run: Run, deadline: Deadline) -> None:
        self._run = run
        self._deadline = deadline

    def doubts(self, connection: Connection, codes: Sequence[str]) -> list[int]:
        """List what a store holds of these subjects; return the ids of the copies in doubt.

        A store that cannot be listed is told of: what is due there is asked about all the same.
        """
        found: list[int] = []
        try:
            for code in self._in_turn(connection, codes):
                found += self._list(connection, code)
        except StoreError as error:
            self._run.tell(
                Item(
                    action="verify",
                    status="note",
                    store=connection.store.name,
                    message=f"could not be listed ({error.problem}): every copy that is due is asked about",
                )
            )
        return found

    def _in_turn(self, connection: Connection, codes: Sequence[str]) -> Iterator[str]:
        """Yield subjects as long as there is time, beginning behind the one where time was up before."""
        name = f"{_LISTED}{connection.store_id}"
        with self._run.catalog.read() as tx:
            before = meta.get(tx, name) or ""
        last = ""
        for code in sorted(codes, key=lambda c: (c <= before, c)):
            if self._deadline.is_over(_SHARE) or self._run.stop.is_set():
                break
            yield code
            last = code
        else:
            last = ""
        if last != before:
            with self._run.catalog.write() as tx:
                meta.set(tx, name, last)

    def _list(self, connection: Connection, code: str) -> list[int]:
        began = utc_stamp()
        for infos in _pages(connection.store.list(code)):
            sizes = {info.key: (info.size, info.etag) for info in infos}
            with self._run.catalog.write() as tx:
                same = due.listed_as_known(tx, connection.store_id, sizes)
                copies.see_again(tx, same, began)
        with self._run.catalog.read() as tx:
            return due.unseen(tx, connection.store_id, code, began)


def _pages(infos: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    listed = iter(infos)
    while page := list(islice(listed, _PAGE)):
        yield page
