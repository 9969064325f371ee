"""The indexes of volumes, sealed, in a warm place; one that is lost is made again from the journal."""

from __future__ import annotations

from collections.abc import Sequence

from ecogsafe.catalog import archives
from ecogsafe.catalog.archives import VolumeRow
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    StoreForbiddenError,
    StoreFullError,
    StoreUnreachableError,
)
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.running import Run
from ecogsafe.service.store_failures import StoreFailures
from ecogsafe.transfer.archive.indexing import index_of, index_shipment
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.file_job import send_file
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Place, Status


class Indexes:
    """Sends the indexes of a run.

    Parameters
    ----------
    warm
        Where they go; None if it could not be reached: a later run sends them.
    troubles
        Takes what is wrong with that place itself.
    """

    def __init__(
        self, run: Run, context: TransferContext, senders: Senders, warm: Connection | None, troubles: StoreFailures
    ) -> None:
        self._run = run
        self._context = context
        self._senders = senders
        self._warm = warm
        self._troubles = troubles

    def make_up(self, rows: Sequence[VolumeRow]) -> None:
        """Send the indexes of stored volumes that have none, or whose index is no longer there."""
        for row in rows:
            if row.index_store_id is None or self._is_lost(row):
                self.send(row)

    def _is_lost(self, row: VolumeRow) -> bool:
        warm = self._warm
        if warm is None or row.index_key is None or row.index_store_id != warm.store_id:
            return False
        try:
            return warm.store.head(row.index_key) is None
        except EcogsafeError as error:
            self._troubles.note(error, warm.store.url)
            return False

    def send(self, row: VolumeRow) -> None:
        """Seal and send the index of ``row``; a failure is told and counted, the volume stands all the same."""
        warm, run = self._warm, self._run
        if warm is None or warm.store_id in self._context.lost:
            message = "its index has nowhere to go now: the next run makes and sends it"
            self._context.tell("index", message, key=row.key)
            return
        place = Place(store=warm.store, store_id=warm.store_id, sealed=True, order=warm.order)
        try:
            with run.catalog.read() as tx:
                index = index_of(tx, row)
        except EcogsafeError as error:
            run.fail(error)
            return
        shipment = index_shipment(row, index, place)
        (outcome,) = send_file(self._context, shipment, self._senders)
        key = shipment.keys[True]
        if outcome.status not in (Status.DONE, Status.PRESENT):
            if outcome.error is not None:
                self._troubles.note(outcome.error, warm.store.url)
                if isinstance(outcome.error, StoreUnreachableError | StoreFullError | StoreForbiddenError):
                    # each further one would wait for minutes for the same answer
                    self._warm = None
            else:
                run.tally.note(ExitStatus.PARTIAL)
                message = "could not be stored; the next run tries again"
                run.tell(Item(action="index", status="skipped", key=key, store=warm.store.name, message=message))
            return
        with run.catalog.write() as tx:
            archives.set_index(tx, row.volume_id, warm.store_id, key)
        run.tell(
            Item(
                action="index",
                status="done",
                subject=row.subject,
                key=key,
                store=warm.store.name,
                bytes=shipment.size,
                digest=outcome.sha256,
                message=f"index of {row.key}",
            )
        )
