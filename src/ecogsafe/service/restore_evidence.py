"""What a restore proves: which copies and which files in archives were fetched, opened and had their digests."""

from __future__ import annotations

from collections.abc import Sequence

from ecogsafe.catalog import archives, copies
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import VerificationError
from ecogsafe.service.evidence import CONTENT
from ecogsafe.service.restore_request import Volume
from ecogsafe.service.running import Run


def note_restored(run: Run, store_id: str, volume: Volume, paths: Sequence[str]) -> None:
    """Note that the files ``paths`` came out of ``volume`` right; when all of them once have, its copy is restored."""
    if not paths or volume.copy is None or not store_id:
        return
    now = utc_stamp()
    with run.catalog.write() as tx:
        if volume.row is not None:
            positions = [volume.members[path].position for path in paths if path in volume.members]
            archives.mark_restored(tx, volume.row.volume_id, positions, now)
            members = archives.members_of(tx, volume.row.volume_id)
            is_whole = bool(members) and all(member.restored_at is not None for member in members)
        else:
            is_whole = volume.contents is not None and {wish.path for wish in volume.contents} <= set(paths)
        if is_whole:
            _restored(tx, volume.copy, now)


def note_proven(run: Run, proven: Sequence[CopyRow]) -> None:
    """Note that these copies were fetched, opened, and had their digests."""
    if not proven:
        return
    now = utc_stamp()
    with run.catalog.write() as tx:
        for copy in proven:
            _restored(tx, copy, now)


def _restored(tx: Transaction, copy: CopyRow, at: str) -> None:
    if copy.bad_at is None:
        copies.raise_level(tx, copy.id, "restored", at)
    else:
        copies.prove_good(tx, copy.id, "restored", at)


def note_bad(run: Run, volume: Volume, error: VerificationError) -> None:
    """Note that the copy of ``volume`` is damaged: it no longer counts."""
    if volume.copy is None:
        return
    with run.catalog.write() as tx:
        copies.mark_bad(tx, volume.copy.id, f"{CONTENT} {error.problem}", graver=True)
