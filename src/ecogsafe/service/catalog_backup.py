"""``catalog backup``: a sealed snapshot to every destination, now; nothing that stands there is replaced or removed."""

from __future__ import annotations

from contextlib import ExitStack

from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.core.errors import EcogsafeError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.acts import note_act
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.folder_access import access_at
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.snapshot_copies import snapshots_in
from ecogsafe.service.snapshot_retention import LAST, beyond
from ecogsafe.service.snapshots import PREFIX, Snapshots
from ecogsafe.stores.vault_address import is_vault_url


def back_up(run: Run) -> None:
    """Put a sealed snapshot into every destination of the config; without any, into every store ever written to.

    Raises
    ------
    UsageError
        There is no such place, or the catalogue is on a server.
    StoreError
        All of them are out of reach, or refuse.
    RecipientsChangedError
        Somebody changed recipients.txt by hand.
    """
    if run.catalog.path is None:
        raise UsageError("the catalogue", "is on a server; its own backup keeps it", next="pg_dump")
    urls = _places(run)
    if not urls:
        raise UsageError(
            "the catalogue", "no place for a snapshot is known", next="name a [[destination]] in config.toml"
        )
    recipients = run.home.recipients(run.catalog)
    failures: list[EcogsafeError] = []
    with ExitStack() as stack:
        connections: list[Connection] = []
        for url in urls:
            try:
                connections.append(
                    stack.enter_context(
                        connected(
                            run.catalog, url, stop=run.stop, tell=run.tell, access=access_at(run.home.settings(), url)
                        )
                    )
                )
            except EcogsafeError as error:
                failures.append(error)
                run.fail(error)
        raise_if_all_failed(failures, len(urls))
        with run.catalog.write() as tx:
            note_act(tx, run, "catalog backup", result=f"to {len(connections)} of {len(urls)} places")
        Snapshots(run, connections, recipients).send()
        for connection in connections:
            _tell_number(run, connection)
    stored = len(connections) - run.counts.get("snapshots_failed", 0)
    run.tally.done += stored
    run.message = f"a sealed snapshot of the catalogue stands in {stored} of {len(urls)} places"


def _places(run: Run) -> list[str]:
    configured = dict.fromkeys(one_url(d.url) for d in run.home.settings().destination)
    if configured:
        return list(configured)
    with run.catalog.read() as tx:
        return [row.url for row in catalog_stores.all_stores(tx) if not is_vault_url(row.url)]


def _tell_number(run: Run, connection: Connection) -> None:
    """Say how many snapshots stand there: ecogsafe removes none, so they only get more."""
    try:
        sizes = [info.size for info in connection.store.list(PREFIX)]
        found = snapshots_in(connection.store)
    except EcogsafeError as error:
        run.fail(error)
        return
    message = f"{len(sizes):,} snapshots stand there by now"
    spare = [each.key for each in beyond(found)]
    if spare:
        message += (
            f"; {len(spare):,} of them are neither among the last {LAST} nor the first of a month: whoever administers "
            "the store may remove those (--json lists them)"
        )
    run.tell(
        Item(
            action="own",
            status="note",
            store=connection.store.name,
            bytes=sum(sizes),
            message=message,
            details={"snapshots": len(sizes), "spare": spare},
        )
    )
