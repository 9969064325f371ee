"""Uploads that an earlier run left open and that nobody needs: an object stands under their key."""

from __future__ import annotations

from ecogsafe.catalog import leases, uploads
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.leases import Lease
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.errors import EcogsafeError, LockedError
from ecogsafe.transfer.completion import end_upload
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.in_parts import LEASE_S, lease_name
from ecogsafe.transfer.unfinished import clear_doubtful_begin
from ecogsafe.transfer.work import Place


def keys_left_open(context: TransferContext, place: Place) -> set[str]:
    """Return the keys at ``place`` for which the catalogue knows an upload in parts that has not ended."""
    return context.ledger.read(lambda tx: uploads.keys_with_open_uploads(tx, place.store_id))


def abandon_needless(context: TransferContext, place: Place, key: str) -> None:
    """Abort our uploads of ``key``, under which an object stands: they could never be completed.

    With the last upload of a sealing its file key is erased. What another living run works on is left alone, and
    what the store does not abort now stays in the catalogue for a later run.
    """
    for row in context.ledger.read(lambda tx: uploads.open_uploads(tx, place.store_id, key)):
        try:
            lease = context.ledger.record(lambda tx, row=row: _take(context, tx, row))  # type: ignore[misc]
        except LockedError:
            continue
        try:
            if row.upload_id is None:
                clear_doubtful_begin(context, place.store, row)
            else:
                place.store.abort_upload(key, row.upload_id)
            context.ledger.record(lambda tx, row=row: end_upload(tx, row.token, done=False))  # type: ignore[misc]
        except EcogsafeError as error:
            message = f"an earlier upload could not be aborted yet, a later run tries again: {error}"
            context.tell("upload", message, key=key, store=place.store.name)
        finally:
            context.ledger.record(lambda tx, lease=lease: leases.release(tx, lease))  # type: ignore[misc]


def _take(context: TransferContext, tx: Transaction, row: UploadRow) -> Lease:
    lease = leases.acquire(tx, lease_name(row.token), context.owner, LEASE_S, shared=False, gone=context.is_dead)
    uploads.take_over(tx, row.token, owner=context.owner, fence=lease.fence)
    return lease
