"""Who did what: one line of the audit record, with the actor of a run."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
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


def note_begun(run: Run, act: str, store_id: str, subjects: Iterable[str | None]) -> None:
    """Add a row for every subject of objects that are about to leave a store; ``subjects`` has one for each object.

    What leaves is noted one by one a little later (`note_fetched`); a run that is killed in between has said
    whose data it was after.
    """
    counts = Counter(subjects)
    _note(
        run,
        [
            audit.Act(act=f"{act} begins", subject=subject, store=store_id or None, result=f"{count} objects")
            for subject, count in counts.items()
        ],
    )


def note_fetched(run: Run, act: str, store_id: str, fetched: Iterable[Fetched]) -> None:
    """Add a row for every object that left a store: data that is opened again is out of its reach."""
    _note(
        run,
        [
            audit.Act(act=act, subject=row.subject, object=row.key, digest=row.sha256, store=store_id or None)
            for row in fetched
        ],
    )


def _note(run: Run, acts: Sequence[audit.Act]) -> None:
    if not acts:
        return
    with run.catalog.write() as tx:
        audit.append_all(tx, acts, run_id=run.run_id, who=run.actor.who, host=run.actor.host, version=run.actor.version)


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
