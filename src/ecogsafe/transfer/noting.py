"""The catalogue's row of the file that is being sent."""

from __future__ import annotations

from collections.abc import Sequence

from ecogsafe.catalog import files
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import SeenFile
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Shipment


def seen(shipment: Shipment, stat: SourceStat, *, sha256: str | None) -> SeenFile:
    """Return the file as it was opened, with its digest once it is known."""
    return SeenFile(
        tree=shipment.tree,
        path=shipment.path,
        subject=shipment.subject,
        segment=shipment.segment,
        size=stat.size,
        mtime_ns=stat.mtime_ns,
        inode=stat.inode,
        device=stat.device,
        sha256=sha256,
    )


def note_files(tx: Transaction, read: Sequence[tuple[Shipment, SourceStat, str]]) -> list[int]:
    """Note files as they were read, with their SHA-256; return the ids of their rows in this order.

    A row that is given (`Shipment.content_id`) stays as it is.
    """
    here = [(shipment, stat, sha256) for shipment, stat, sha256 in read if shipment.content_id is None]
    ids = iter(files.upsert_files(tx, [seen(shipment, stat, sha256=sha256) for shipment, stat, sha256 in here]))
    return [next(ids) if shipment.content_id is None else shipment.content_id for shipment, _, _ in read]


def note_content(shipment: Shipment, stat: SourceStat, sha256: str, tx: Transaction) -> int:
    """Do `note_files` for one file; return the id of its row."""
    return note_files(tx, [(shipment, stat, sha256)])[0]


def note_file(context: TransferContext, shipment: Shipment, source: Source, *, sha256: str | None) -> int:
    """Note the file in a commit of its own; return the id of its row."""
    if shipment.content_id is not None:
        return shipment.content_id
    return context.ledger.record(lambda tx: files.upsert_file(tx, seen(shipment, source.stat, sha256=sha256)))
