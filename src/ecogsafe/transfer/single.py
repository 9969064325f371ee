"""A small file alone, that was opened already: a batch of one, packed in this process."""

from __future__ import annotations

from dataclasses import dataclass

from ecogsafe.transfer.batch import Batch
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.packing import LocalPacker
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Outcome, Shipment, TextWatch


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """The file of a shipment, to be read in this process."""

    shipment: Shipment
    #: opened before; None: to be opened now
    source: Source | None = None

    def open(self) -> Source:
        """Return the open file."""
        return self.source or self.shipment.open_source()

    def watch(self) -> TextWatch | None:
        """Return what follows the read of it, if it goes plain."""
        return self.shipment.text_watch() if self.shipment.text_watch else None


def local_packer(context: TransferContext, shipments: list[Shipment], senders: Senders) -> LocalPacker:
    """Return a packer for all places of ``shipments`` in this process."""
    stores = {place.store_id: place.store for shipment in shipments for place in shipment.places}
    return LocalPacker(stores, context.recipients, senders, context.stop)


def send_whole(crew: Crew, source: Source) -> list[Outcome]:
    """Read a small file and send it to every place in one request each.

    The intents are durable before the first byte leaves. A later process never sends these bytes again: it
    seals under a new file key. What was sent before a bug was met is recorded.
    """
    context, shipment = crew.context, crew.shipment
    batch = Batch(context, local_packer(context, [shipment], crew.senders), crew.senders, [shipment])
    ended = batch.run([ShippedFile(shipment, source)], most=source.size)
    if ended.bugs:
        raise ended.bugs[0]
    return ended.outcomes
