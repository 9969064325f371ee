"""What a check found out about a copy: into the catalogue, the audit and the ears of the user."""

from __future__ import annotations

from ecogsafe.catalog import adoptions, audit, copies, due
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, ExitStatus, InterruptedRunError, StillColdError, VerificationError
from ecogsafe.core.events import ErrorEvent, Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.copy_check import Verdict
from ecogsafe.service.evidence import CONTENT, is_proven_good
from ecogsafe.service.running import Run

_WORDS = {"stored": "there, no checksum to compare", "checksum": "checksum equal", "restored": "opened, digest equal"}


def record_verdict(
    run: Run,
    connection: Connection,
    copy: CopyRow,
    file: FileRow,
    verdict: Verdict | EcogsafeError,
    *,
    deep: bool = False,
    will_repair: bool = False,
) -> None:
    """Note and tell ``verdict``; an error is a copy that could not be judged.

    Parameters
    ----------
    deep
        All of the copy was to be read.
    will_repair
        What is bad is not yet a failure: this run tries to send it again.
    """
    if isinstance(verdict, InterruptedRunError):
        return
    if isinstance(verdict, EcogsafeError):
        if isinstance(verdict, StillColdError):
            # it had its turn: others shall not wait behind it in every run
            with run.catalog.write() as tx:
                copies.note_asked(tx, copy.id, utc_stamp(), was_read=deep)
        run.fail(verdict)
        return
    digest = file.sha256 or (verdict.content.sha256 if verdict.content is not None else None)
    still_bad = verdict.bad is None and not is_proven_good(copy, verdict.level)
    is_bad = verdict.bad is not None or still_bad
    with run.catalog.write() as tx:
        _note(tx, copy, verdict, still_bad=still_bad, deep=deep)
        is_replaced = is_bad and due.is_replaced(tx, copy.id)
        audit.append(
            tx,
            run_id=run.run_id,
            who=run.actor.who,
            host=run.actor.host,
            version=run.actor.version,
            act="verify",
            subject=file.subject,
            object=copy.key,
            digest=digest,
            store=connection.store_id,
            result="bad" if is_bad else verdict.level,
        )
    if is_bad:
        reason = verdict.bad or copy.bad_reason or "bad"
        if is_replaced:
            _tell_replaced(run, connection, copy, file, reason)
        else:
            _tell_bad(run, connection, copy, file, reason, will_repair=will_repair)
        return
    run.tally.done += 1
    run.tally.bytes += copy.size
    if verdict.level == "stored":
        run.counts["without_checksum"] = run.counts.get("without_checksum", 0) + 1
    run.tell(
        Item(
            action="verify",
            status="done",
            subject=file.subject,
            key=copy.key,
            store=connection.store.name,
            bytes=copy.size,
            digest=digest,
            message=_words_of_unknown(verdict) if _is_unknown(file) else _WORDS[verdict.level],
            details={"level": verdict.level},
        )
    )


def _is_unknown(file: FileRow) -> bool:
    # a volume has no digest of its own: its members have, and its manifest is recorded with it
    return file.sha256 is None and file.tree != "archive"


def _words_of_unknown(verdict: Verdict) -> str:
    if verdict.content is None:
        return "there, its content is not known yet"
    return "opened; its digest is recorded now"


def _note(tx: Transaction, copy: CopyRow, verdict: Verdict, *, still_bad: bool, deep: bool) -> None:
    now = utc_stamp()
    copies.note_asked(tx, copy.id, now, was_read=deep)
    if verdict.bad is not None:
        copies.mark_bad(tx, copy.id, verdict.bad, graver=verdict.bad.startswith(CONTENT))
        return
    if copy.bad_at is not None and not still_bad:
        copies.prove_good(tx, copy.id, verdict.level, now)
    info = verdict.info
    copies.raise_level(
        tx,
        copy.id,
        verdict.level,
        now,
        etag=info.etag if info else None,
        version_id=info.version_id if info else None,
        storage_class=info.storage_class if info else None,
        store_date=info.store_date.isoformat() if info and info.store_date else None,
    )
    if not still_bad:
        copies.see_again(tx, [copy.id], now)
    if verdict.content is not None:
        # of an adopted copy; what is known of any other one was compared with it
        held = verdict.content
        adoptions.learn_content(tx, copy, sha256=held.sha256, size=held.size, crc64=held.crc64)


def _tell_bad(
    run: Run, connection: Connection, copy: CopyRow, file: FileRow, reason: str, *, will_repair: bool
) -> None:
    run.counts["bad"] = run.counts.get("bad", 0) + 1
    if not will_repair:
        run.tally.failed += 1
        run.tally.note(ExitStatus.VERIFY_FAILED)
    run.tell(
        ErrorEvent.of(
            VerificationError(
                f"{connection.store.name}/{copy.key}",
                reason,
                safe="The other copies of this file are not affected",
                next="nothing: this run looks for a good copy and sends it again"
                if will_repair
                else f"ecogsafe verify {file.subject} --store {connection.store.url} --repair sends it again from a "
                "good copy, beside the bad one",
            )
        )
    )


def _tell_replaced(run: Run, connection: Connection, copy: CopyRow, file: FileRow, reason: str) -> None:
    """Tell of a bad copy beside which a good one stands: known, and no loss."""
    run.counts["replaced"] = run.counts.get("replaced", 0) + 1
    run.tally.present += 1
    run.tell(
        Item(
            action="verify",
            status="note",
            subject=file.subject,
            key=copy.key,
            store=connection.store.name,
            bytes=copy.size,
            message=f"bad, and a good copy stands beside it: {reason}",
        )
    )
