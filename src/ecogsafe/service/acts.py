"""Who did what: one line of the audit record, with the actor of a run."""

from __future__ import annotations

from ecogsafe.catalog import audit
from ecogsafe.catalog.database import Transaction
from ecogsafe.service.running import Run


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
