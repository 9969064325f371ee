"""A listing held against the catalogue, object by object; what it leaves in doubt, the store is asked about.

The listing is read first and the catalogue after it: an upload that goes on meanwhile can make an object
look missing, which the store then denies, but never make one look like somebody else's for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from ecogsafe.catalog import copies, inventories, subjects, summaries
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.inventories import REMOVED, Pair
from ecogsafe.core.events import Item
from ecogsafe.service.inventory_counts import STANDARD, Counts, State
from ecogsafe.service.inventory_doubts import Doubt, DoubtSolver
from ecogsafe.service.inventory_listing import StoreListing
from ecogsafe.service.object_keys import KeyParts, parse_key
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.meter import Meter

T = TypeVar("T")

#: objects that are looked up, and noted, together
_BATCH = 500
#: DESIGN 5.12
_CLOCKS_DIFFER = timedelta(minutes=5)


class Comparison:
    """One listing against the catalogue; every object is told of, and the evidence noted.

    Attributes
    ----------
    unknown : list of (KeyParts, ObjectInfo)
        Objects of our form that the catalogue does not know.
    withdrawn : set of str
        The codes of the subjects that withdrew.
    """

    def __init__(self, run: Run, listing: StoreListing, counts: Counts) -> None:
        self._run = run
        self._listing = listing
        self._counts = counts
        self._doubts: list[Doubt] = []
        self._seen: set[int] = set()
        self._clock_told = False
        self.unknown: list[tuple[KeyParts, ObjectInfo]] = []
        with run.catalog.read() as tx:
            self._replaced = summaries.repaired_copies(tx)
            self.withdrawn = {row.code for row in subjects.subjects(tx) if row.withdrawn_at is not None}

    def carry_out(self) -> None:
        """Compare everything.

        Raises
        ------
        InterruptedRunError
            The run was told to stop; what was seen until then is noted.
        StoreError
            The store could not be listed to its end.
        """
        meter = Meter(self._run.tell, files_total=None, bytes_total=None)
        for batch in _batches(self._listing.objects, _BATCH):
            self._compare(batch)
            for info in batch:
                meter.bytes_moved(info.size, over_the_wire=False)
                meter.file_done()
            self._run.check_stop(safe="What was seen until then is noted")
        self._look_for_missing()
        solver = DoubtSolver(self._run, self._listing, self._tell)
        for doubts in _batches(self._doubts, _BATCH):
            solver.solve(doubts, self.withdrawn)
            self._run.check_stop(safe="What was seen until then is noted")

    def _compare(self, batch: Sequence[ObjectInfo]) -> None:
        known = self._known([info.key for info in batch])
        same: list[tuple[CopyRow, ObjectInfo]] = []
        for info in batch:
            self._compare_clocks(info)
            if info.key not in known:
                self._note_unknown(info)
                continue
            copy, file = known[info.key]
            self._seen.add(copy.id)
            is_doubtful = copy.bad_reason == REMOVED or not _is_same(copy, info)
            if is_doubtful and not self._is_replaced(copy):
                self._doubts.append(Doubt(copy, file, info))
                continue
            if not is_doubtful:
                same.append((copy, info))
            self._tell(self._state_of(copy), copy, file, info)
        self._renew(same)

    def _known(self, keys: list[str]) -> dict[str, Pair]:
        if not self._listing.store_id:
            return {}
        with self._run.catalog.read() as tx:
            return inventories.copies_by_key(tx, self._listing.store_id, keys)

    def _state_of(self, copy: CopyRow) -> State:
        if copy.bad_at is None:
            return State.PRESENT
        return State.REPLACED if self._is_replaced(copy) else State.BAD

    def _is_replaced(self, copy: CopyRow) -> bool:
        return copy.bad_at is not None and (copy.store_id, copy.key) in self._replaced

    def _renew(self, same: Sequence[tuple[CopyRow, ObjectInfo]]) -> None:
        """Note what was seen: equal size and ETag renew "same object" (DESIGN 5.10)."""
        moved = [(c.id, i.storage_class) for c, i in same if i.storage_class and _class_of(c) != i.storage_class]
        with self._run.catalog.write() as tx:
            copies.see_again(tx, [copy.id for copy, _ in same], self._listing.as_of)
            for copy_id, storage_class in moved:
                inventories.note_storage_class(tx, copy_id, storage_class)

    def _note_unknown(self, info: ObjectInfo) -> None:
        parts = parse_key(info.key)
        if parts is None:
            self._counts.add(None, State.FOREIGN, info.size, info.storage_class)
            return
        self.unknown.append((parts, info))
        self._counts.add(parts.subject, State.UNKNOWN, info.size, info.storage_class)
        withdrew = parts.subject in self.withdrawn
        self._run.tell(
            Item(
                action="inventory",
                status="note",
                subject=parts.subject,
                segment=parts.segment,
                key=info.key,
                store=self._listing.name,
                bytes=info.size,
                message="not in the catalogue" + (", and its subject withdrew" if withdrew else ""),
                details={"finding": State.UNKNOWN.value, "storage_class": info.storage_class or STANDARD},
            )
        )

    def _look_for_missing(self) -> None:
        if not self._listing.store_id:
            return
        with self._run.catalog.read() as tx:
            ids = inventories.ids_in_store(tx, self._listing.store_id)
        for batch in _batches((i for i in ids if i not in self._seen), _BATCH):
            with self._run.catalog.read() as tx:
                pairs = inventories.copies_by_id(tx, batch)
            for copy, file in pairs:
                if copy.bad_reason == REMOVED:
                    self._tell(State.REMOVED, copy, file, None, REMOVED)
                elif self._is_replaced(copy) and file.subject not in self.withdrawn:
                    self._tell(State.REPLACED, copy, file, None)
                else:
                    self._doubts.append(Doubt(copy, file, None))

    def _tell(self, state: State, copy: CopyRow, file: FileRow, info: ObjectInfo | None, why: str = "") -> None:
        """Count one recorded copy and tell of it."""
        size = copy.size if info is None else info.size
        told_class = info.storage_class if info is not None and info.storage_class else copy.storage_class
        stands = info is not None or state is State.PRESENT
        self._counts.add(file.subject, state, size if stands else None, told_class)
        status = {State.PRESENT: "present", State.MISSING: "failed", State.DIFFERENT: "failed", State.BAD: "failed"}
        self._run.tell(
            Item(
                action="inventory",
                status=status.get(state, "note"),
                subject=file.subject,
                segment=file.segment,
                key=copy.key,
                store=self._listing.name,
                bytes=size,
                message=why or (copy.bad_reason or "" if state is State.BAD else ""),
                details={"finding": state.value, "level": copy.level, "storage_class": told_class or STANDARD},
            )
        )

    def _compare_clocks(self, info: ObjectInfo) -> None:
        if self._clock_told or info.store_date is None or info.checked_at is None:
            return
        apart = abs(info.store_date - info.checked_at)
        if apart > _CLOCKS_DIFFER:
            self._clock_told = True
            message = f"the clock of the store and ours are {apart.total_seconds() / 60:.0f} minutes apart"
            self._run.tell(Item(action="clock", status="failed", store=self._listing.name, message=message))


def _is_same(copy: CopyRow, info: ObjectInfo) -> bool:
    other_tag = info.etag and copy.etag and info.etag != copy.etag
    return info.size == copy.size and not other_tag


def _class_of(copy: CopyRow) -> str:
    return copy.storage_class or STANDARD


def _batches(of: Iterable[T], size: int) -> Iterator[list[T]]:
    waiting = iter(of)
    while batch := list(islice(waiting, size)):
        yield batch
