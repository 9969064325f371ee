"""Sealed snapshots of the catalogue, put beside the data at the end of each run; never overwritten."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from ecogsafe.catalog.snapshots import snapshot_to
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.connections import Connection
from ecogsafe.service.running import Run

PREFIX = "_ecogsafe/catalog/"


def send_snapshot(run: Run, connections: Sequence[Connection], recipients: Sequence[Recipient]) -> None:
    """Seal a consistent copy of the catalogue and put it into every store; a failure is told and counted."""
    temporary = run.home.root / f".snapshot-{secrets.token_hex(4)}.sqlite"
    try:
        snapshot_to(run.catalog, temporary)
        sealed = seal(temporary.read_bytes(), recipients)
    finally:
        temporary.unlink(missing_ok=True)
    stamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
    key = f"{PREFIX}{stamp}-{secrets.token_hex(4)}.sqlite.age"
    for connection in connections:
        try:
            connection.store.put(key, sealed, crc64=crc64nvme(sealed), token=secrets.token_hex(16))
        except EcogsafeError as error:
            run.tally.note(ExitStatus.PARTIAL)
            run.counts["snapshots_failed"] = run.counts.get("snapshots_failed", 0) + 1
            message = f"the snapshot of the catalogue could not be stored: {error}"
            run.tell(Item(action="snapshot", status="failed", store=connection.store.name, message=message))
        else:
            run.tell(
                Item(
                    action="snapshot",
                    status="done",
                    key=key,
                    store=connection.store.name,
                    bytes=len(sealed),
                    message="sealed copy of the catalogue",
                )
            )
