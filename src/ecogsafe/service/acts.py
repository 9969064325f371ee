"""Who did what: one line of the audit record, with the actor of a run."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from ecogsafe.catalog import audit
from ecogsafe.catalog.database import Transaction
from ecogsafe.service.owner import actor_here
from ecogsafe.service.running import Run


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object that was brought back from a store; nothing in it is private."""

    subject: str | None
    key: str
    #: SHA-256 of what was written here, opened
    sha256: str | None


def note_act(tx: Transaction, run: Run, act: str, *, subject: str | None = None, result: str) -> None:
    """Add ``act`` to the audit record, in the transaction of what it changes. Nothing in it is private."""
    audit.append(
        tx,
        run_id=run.run_id,
        who=run.actor.who,
        host=run.actor.host,
        version=run.actor.version,
        act=act,
        subject=subject,
        result=result,
    )


def note_fetched(run: Run, act: str, store_id: str, fetched: Iterable[Fetched]) -> None:
    """Add a row for every object that left a store: data that is opened again is out of its reach."""
    rows = list(fetched)
    if not rows:
        return
    with run.catalog.write() as tx:
        for row in rows:
            audit.append(
                tx,
                run_id=run.run_id,
                who=run.actor.who,
                host=run.actor.host,
                version=run.actor.version,
                act=act,
                subject=row.subject,
                object=row.key,
                digest=row.sha256,
                store=store_id or None,
            )


def note_home(tx: Transaction, act: str, recipients_digest: str) -> None:
    """Note that a home was made or recovered: before there is a home there is no run."""
    actor = actor_here()
    audit.append(
        tx,
        run_id=secrets.token_hex(16),
        who=actor.who,
        host=actor.host,
        version=actor.version,
        act=act,
        object="recipients.txt",
        digest=recipients_digest,
    )
