"""``catalog rebuild --from URL``: the newest snapshot that opens becomes the catalogue, then the store is listed.

Nothing that a catalogue knows is thrown away: one that holds work is never replaced, and an empty or damaged one
is kept beside the new one. Until the very last rename the home is as it was.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ecogsafe.catalog import audit, leases, meta
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.replacing import holds_work, numbers, put_in_place
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    DamagedCatalogueError,
    ExitStatus,
    LockedError,
    NotInitialisedError,
    RecipientsChangedError,
    UsageError,
)
from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.service.connections import telling_of_waits
from ecogsafe.service.home import RECIPIENTS_DIGEST, Home, PasswordSource
from ecogsafe.service.inventory import InventoryRequest, inventory
from ecogsafe.service.owner import actor_here, is_dead, owner_here
from ecogsafe.service.persons import Confirm
from ecogsafe.service.running import LEASE_S, RUN_LEASE, running
from ecogsafe.service.snapshot_copies import Snapshot, Taken, snapshots_in, take
from ecogsafe.stores.open import open_store
from ecogsafe.stores.store_id import read_store_id

_TEMPORARY = ".rebuild-"
#: name of the catalogue that was replaced, and the time
KEPT = "catalog.sqlite.before-rebuild-"


def rebuild(
    home: Home,
    url: str,
    password: PasswordSource,
    confirm: Confirm,
    emit: EventSink,
    stop: threading.Event,
    *,
    snapshot: str | None = None,
) -> Summary:
    """Make the catalogue of ``home`` anew from a snapshot in the store at ``url``, and hold the store against it.

    Parameters
    ----------
    snapshot
        The name of the one to take, in place of the newest that opens.

    Raises
    ------
    UsageError
        The catalogue holds work, or the store no snapshot to take without asking.
    LockedError
        Another command works with the catalogue.
    LabKeyError
        The lab key does not open, or recipients.txt is not the one the catalogue knows.
    VerificationError
        No snapshot there can be used.
    """
    home.require()
    if home.catalog_url is not None:
        raise UsageError(
            "ECOGSAFE_CATALOG",
            "names a catalogue outside the home, which its own backup brings back",
            next="run again without that variable to make one in the home",
        )
    home.create_folder()
    with home.locked():
        for left_over in home.root.glob(f"{_TEMPORARY}*"):
            left_over.unlink()
        known = _known_recipients(home)
        target = home.root / f"{_TEMPORARY}{secrets.token_hex(4)}.sqlite"
        try:
            older = _replace(home, url, password, emit, stop, target=target, known=known, wanted=snapshot)
        finally:
            for piece in home.root.glob(f"{target.name}*"):
                piece.unlink()
    with running(home, "catalog rebuild", emit, stop=stop) as run:
        if older:
            run.tally.note(ExitStatus.PARTIAL)
        inventory(run, InventoryRequest(url=url), confirm)
        run.message = f"the catalogue is back; {run.message}"
        return run.summary()


def _replace(
    home: Home,
    url: str,
    password: PasswordSource,
    emit: EventSink,
    stop: threading.Event,
    *,
    target: Path,
    known: str | None,
    wanted: str | None,
) -> bool:
    """Put the snapshot in place; return whether something was wrong with it, or it is not the newest."""
    store = open_store(url, stop=stop, on_wait=telling_of_waits(emit))
    try:
        found = snapshots_in(store)
        candidates = [s for s in found if wanted in (None, s.name, s.key)]
        if not candidates:
            problem = "holds no snapshot of that name" if wanted and found else "holds no snapshot of a catalogue"
            raise UsageError(
                url, problem, next="name another store; ecogsafe inventory URL --adopt records what stands in one"
            )
        recipients = parse_recipients(home.recipient_lines().decode("utf-8", "replace"))
        identity = home.identity(password, recipients)
        taken, spoiled = take(store, candidates, identity, target, emit)
        met = read_store_id(store)
    finally:
        store.close()
    try:
        if wanted is None:
            _refuse_stranger(taken, found, url)
        spoiled = _prepare(home, taken, known, met.store_id if met else None, emit) or spoiled
        with taken.catalog.read() as tx:
            files, copies = numbers(tx)
    finally:
        taken.catalog.close()
    with _nobody_else(home):
        kept = home.root / f"{KEPT}{utc_now().strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(2)}"
        was_there = put_in_place(target, home.catalog_path, kept)
    at = taken.snapshot.at.strftime("%Y-%m-%d %H:%M:%S UTC")
    message = f"put back as of {at}: {files:,} files, {copies:,} copies" + (
        f"; the one before it is kept as {kept.name}" if was_there else ""
    )
    emit(Item(action="catalogue", status="done", key=taken.snapshot.key, store=url, message=message))
    return spoiled


def _refuse_stranger(taken: Taken, found: list[Snapshot], url: str) -> None:
    """Raise where older snapshots are of an earlier catalogue: the newest of a new one would bury all of it."""
    with taken.catalog.read() as tx:
        created = meta.get(tx, "created_at")
    if created is None:
        return
    begun = datetime.fromisoformat(created)
    begun = begun.replace(microsecond=0)
    earlier = next((s for s in found if s.at < begun and s != taken.snapshot), None)
    if earlier is not None:
        again = f"ecogsafe catalog rebuild --from {url} --snapshot"
        raise UsageError(
            taken.snapshot.name,
            f"the newest snapshot is of a catalogue that was begun on {created[:10]} and knows nothing from before; "
            f"{earlier.name} is the last of the one before it",
            safe="The home is as it was",
            next=f"{again} {earlier.name} for the earlier one, or {again} {taken.snapshot.name}",
        )


def _prepare(home: Home, taken: Taken, known: str | None, store_id: str | None, emit: EventSink) -> bool:
    """Check the snapshot against this home, and note in it what is done; return whether its audit record is broken."""
    digest = hashlib.sha256(home.recipient_lines()).hexdigest()
    catalog = taken.catalog
    with catalog.read() as tx:
        problems = audit.check(tx)
        theirs = meta.get(tx, RECIPIENTS_DIGEST)
        if store_id is not None and store_id not in {row.store_id for row in catalog_stores.all_stores(tx)}:
            store_id = None
    if known not in (None, digest) or (known is None and theirs != digest):
        raise RecipientsChangedError(
            "recipients.txt",
            "is not the file that the catalogue knows: data could be sealed to a stranger",
            safe="The home is as it was",
            next="ecogsafe init --recover SHEET with another --home, then catalog rebuild there",
        )
    for problem in problems[:3]:
        message = f"the audit record in the snapshot is not whole: {problem}"
        emit(Item(action="audit", status="failed", message=message))
    actor = actor_here()
    with catalog.write() as tx:
        meta.set(tx, RECIPIENTS_DIGEST, digest)
        audit.append(
            tx,
            run_id=secrets.token_hex(16),
            who=actor.who,
            host=actor.host,
            version=actor.version,
            act="catalog rebuild",
            object=taken.snapshot.key,
            digest=taken.sha256,
            store=store_id,
        )
    return bool(problems)


def _known_recipients(home: Home) -> str | None:
    """Return the digest of recipients.txt that the present catalogue knows; None where there is none that opens.

    Raises
    ------
    UsageError
        It holds work: nothing is to be rebuilt.
    LockedError
        Another command works with it.
    """
    catalog = _present(home)
    if catalog is None:
        return None
    try:
        with catalog.read() as tx:
            for held in leases.holders(tx, RUN_LEASE):
                if not is_dead(held.owner):
                    raise LockedError("the catalogue", "another command works with it", next="wait until it has ended")
            if holds_work(tx):
                raise UsageError(
                    "the catalogue",
                    "is whole and holds work, which an older snapshot would lose",
                    safe="It is as it was",
                    next="ecogsafe inventory URL --adopt records what a store holds beyond it",
                )
            return meta.get(tx, RECIPIENTS_DIGEST)
    finally:
        catalog.close()


def _present(home: Home) -> Catalog | None:
    try:
        return Catalog.open(home.catalog_path)
    except (NotInitialisedError, DamagedCatalogueError):
        return None


@contextmanager
def _nobody_else(home: Home) -> Iterator[None]:
    """Keep other commands out of the present catalogue; each of them takes a lease in it before it works."""
    catalog = _present(home)
    if catalog is None:
        yield
        return
    try:
        with catalog.write() as tx:
            leases.acquire(tx, RUN_LEASE, owner_here(secrets.token_hex(16)), LEASE_S, shared=False, gone=is_dead)
            if holds_work(tx):
                raise LockedError("the catalogue", "was worked with meanwhile", next="ecogsafe status")
    finally:
        # closed before it is renamed: then its log is folded into it
        catalog.close()
    yield
