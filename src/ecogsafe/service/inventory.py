"""``inventory URL``: what a store really holds, against the catalogue; nothing is read but listings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from ecogsafe.catalog import audit, inventories
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.inventory_adopting import Adopting
from ecogsafe.service.inventory_comparing import Comparison
from ecogsafe.service.inventory_counts import WRONG, Counts, State
from ecogsafe.service.inventory_known import tell_known
from ecogsafe.service.inventory_listing import list_now
from ecogsafe.service.inventory_orphans import Orphans
from ecogsafe.service.inventory_withdrawn import tell_of_withdrawn
from ecogsafe.service.persons import Confirm
from ecogsafe.service.price_table import price_table_for
from ecogsafe.service.running import Run
from ecogsafe.service.snapshots import Snapshots
from ecogsafe.service.vault_inventory import known_vault_inventory, vault_inventory
from ecogsafe.stores.protocol import OWN_PREFIX
from ecogsafe.stores.vault_address import is_vault_url

#: an unfinished upload that the catalogue does not know is called lost after so long, days
LOST_AFTER_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryRequest:
    """What the user asked for."""

    url: str
    #: record what the catalogue does not know
    adopt: bool = False
    #: ask the catalogue only
    known: bool = False
    #: abort the unfinished uploads that nobody continues
    abort_orphans: bool = False
    #: of those that the catalogue does not know: only older ones, days
    older_than_days: int = LOST_AFTER_DAYS

    def check(self) -> None:
        """Raise UsageError for wishes that do not go together."""
        if self.known and (self.adopt or self.abort_orphans):
            raise UsageError("--known", "asks no store, so nothing can be adopted or aborted", next="leave one out")
        if is_vault_url(self.url) and (self.adopt or self.abort_orphans):
            raise UsageError(
                "a vault",
                "is only listed and read: its archives are recorded by every inventory of it",
                next="ecogsafe inventory URL, without --adopt and --abort-orphans",
            )
        if self.older_than_days < 1:
            raise UsageError("--older-than", "is at least one day", next=f"--older-than {LOST_AFTER_DAYS}")


def inventory(run: Run, request: InventoryRequest, confirm: Confirm) -> None:
    """List the store and hold it against the catalogue; the evidence is noted.

    Raises
    ------
    UsageError
        The wishes do not go together, or nothing is known of the store.
    StoreError
        The store cannot be listed, or is another one than the catalogue knows under this URL.
    ConfirmationNeededError
        Unfinished uploads were to be aborted and nobody said yes; all else is done.
    """
    request.check()
    if is_vault_url(request.url):
        (known_vault_inventory if request.known else vault_inventory)(run, request.url)
        return
    prices = price_table_for(request.url, run.home.root)
    if request.known:
        tell_known(run, request.url, prices)
        return
    as_of = utc_stamp()
    with connected(run.catalog, request.url, to_write=request.adopt, stop=run.stop, tell=run.tell) as connection:
        listing = list_now(connection, as_of=as_of)
        counts = Counts(prices)
        comparison = Comparison(run, listing, counts)
        comparison.carry_out()
        for item in counts.items(listing.name):
            run.tell(item)
        _tell_own(run, connection)
        orphans = Orphans(run, connection, prices, comparison.withdrawn)
        orphans.look()
        tell_of_withdrawn(
            run, listing, counts, comparison.withdrawn, Counter(u.subject for u in orphans.found if u.subject)
        )
        _note(run, connection, as_of, counts)
        run.message = _verdict(counts.states, connection.store.url, adopting=request.adopt)
        if prices is not None:
            run.message += f" ({prices.standing})"
        if request.adopt and comparison.unknown:
            Adopting(run, listing).adopt(comparison.unknown)
            Snapshots(run, [connection], run.home.recipients(run.catalog)).send()
        if request.abort_orphans:
            lost = orphans.to_abort(timedelta(days=request.older_than_days))
            if lost:
                confirm(orphans.question(lost))
                orphans.abort(lost)


def _tell_own(run: Run, connection: Connection) -> None:
    """Tell what stands below ``_ecogsafe/``: it is ours alone, and counted apart."""
    numbers: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for info in connection.store.list(OWN_PREFIX):
        what = info.key.removeprefix(OWN_PREFIX).partition("/")[0]
        kind = {"catalog": "catalogue snapshots", "keys": "key copies"}.get(what, "store id and other notes")
        numbers[kind] += 1
        sizes[kind] += info.size
    if numbers:
        words = ", ".join(f"{n:,} {kind}" for kind, n in sorted(numbers.items()))
        run.tell(
            Item(
                action="own",
                status="note",
                store=connection.store.name,
                bytes=sum(sizes.values()),
                message=f"below {OWN_PREFIX}, {sum(sizes.values()):,} bytes: {words}",
                details={"objects": dict(numbers), "bytes": dict(sizes)},
            )
        )


def _note(run: Run, connection: Connection, as_of: str, counts: Counts) -> None:
    """Count what came of it, and note that the whole store was listed."""
    states = counts.states
    wrong = sum(states[state] for state in WRONG)
    run.tally.present = states[State.PRESENT]
    run.tally.failed += wrong
    run.counts |= {state.value: n for state, n in states.items() if state is not State.PRESENT}
    if wrong:
        run.tally.note(ExitStatus.VERIFY_FAILED)
    with run.catalog.write() as tx:
        if connection.store_id:
            inventories.note_listed(tx, connection.store_id, as_of)
        audit.append(
            tx,
            run_id=run.run_id,
            who=run.actor.who,
            host=run.actor.host,
            version=run.actor.version,
            act="inventory",
            store=connection.store_id or None,
            result=", ".join(f"{n} {state.value}" for state, n in states.items()) or "empty",
        )


def _verdict(states: Counter[State], store: str, *, adopting: bool) -> str:
    recorded = states[State.PRESENT] + sum(states[state] for state in WRONG)
    if any(states[state] for state in WRONG):
        text = (
            f"{states[State.PRESENT]:,} of {recorded:,} recorded copies are there and the same; for the others: "
            f"ecogsafe verify --store {store}, then ecogsafe upload again from the source, "
            "or download from another store"
        )
    elif recorded:
        text = f"all {recorded:,} recorded copies are there, of the same size and ETag"
    else:
        text = "no copy is recorded here"
    if states[State.UNKNOWN]:
        what = "were not in the catalogue until now" if adopting else "are not in the catalogue (--adopt records them)"
        text += f"; {states[State.UNKNOWN]:,} objects of our form {what}"
    return text
