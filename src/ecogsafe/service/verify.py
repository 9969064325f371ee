"""``verify``: is every copy still there, whole and ours? By the store's checksum, or by reading it all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from ecogsafe.catalog import audit, copies
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.copies import CopyRow, Level
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.stores import StoreRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    StoreError,
    UsageError,
    VerificationError,
)
from ecogsafe.core.events import ErrorEvent, Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.running import Run
from ecogsafe.transfer.context import Meter
from ecogsafe.transfer.receiving import Reception, digest_object

_JOBS = 8
#: how a reason begins that only a full read can take back
_CONTENT = "its content"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What the user asked for."""

    subject: str | None = None
    url: str | None = None
    #: download, decrypt and compare digests
    deep: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one copy turned out to be; ``bad`` is the reason, None for a good one."""

    level: Level
    bad: str | None = None


def verify(run: Run, request: VerifyRequest, password: PasswordSource) -> None:
    """Check every copy the catalogue knows, and record the evidence with its time."""
    with run.catalog.read() as tx:
        stores = [s for s in catalog_stores.all_stores(tx) if request.url is None or s.url == request.url.rstrip("/")]
        work = [(s, copies.copies_in_store(tx, s.store_id, request.subject)) for s in stores]
    work = [(store, pairs) for store, pairs in work if pairs]
    if not work:
        raise UsageError(
            request.subject or request.url or "the catalogue",
            "has no recorded copy to verify",
            next="ecogsafe status shows what is where",
        )
    sealed = any(copy.sealed for _, pairs in work for copy, _ in pairs)
    identities = None
    if request.deep and sealed:
        identities = [run.home.identity(password, run.home.recipients(run.catalog))]
    pairs_total = sum(len(pairs) for _, pairs in work)
    bytes_total = sum(copy.size for _, pairs in work for copy, _ in pairs)
    meter = Meter(run.tell, files_total=pairs_total, bytes_total=bytes_total)
    unreachable: list[StoreError] = []
    for store, pairs in work:
        try:
            _verify_store(run, store, pairs, request, identities, meter)
        except StoreError as error:
            unreachable.append(error)
            run.fail(error)
            run.tally.failed += len(pairs) - 1
    run.tell(meter.now())
    if unreachable and len(unreachable) == len(work):
        raise unreachable[0]
    if run.stop.is_set():
        raise InterruptedRunError("verify", "was interrupted", safe="What was checked is recorded", next="run it again")
    bad = run.counts.get("bad", 0)
    how = "read, opened and compared" if request.deep else "compared with the store's own checksum"
    run.message = f"{run.tally.done} of {pairs_total} copies {how}" + (f"; {bad} BAD" if bad else "")


def _verify_store(
    run: Run,
    store: StoreRow,
    pairs: Sequence[tuple[CopyRow, FileRow]],
    request: VerifyRequest,
    identities: Sequence[Identity] | None,
    meter: Meter,
) -> None:
    with ExitStack() as stack:
        connection = stack.enter_context(connected(run.catalog, store.url))
        pool = stack.enter_context(ThreadPoolExecutor(_JOBS if not request.deep else 2, "verifier"))

        def check(pair: tuple[CopyRow, FileRow]) -> Verdict | EcogsafeError | None:
            if run.stop.is_set():
                return None
            try:
                return _judge(connection, pair[0], pair[1], identities, run, meter, deep=request.deep)
            except EcogsafeError as error:
                return error

        for (copy, file), verdict in zip(pairs, pool.map(check, pairs), strict=True):
            if verdict is not None:
                _record(run, connection, copy, file, verdict)
                meter.file_done()


def _judge(
    connection: Connection,
    copy: CopyRow,
    file: FileRow,
    identities: Sequence[Identity] | None,
    run: Run,
    meter: Meter,
    *,
    deep: bool,
) -> Verdict:
    info = connection.store.head(copy.key, checksum=True)
    if info is None:
        return Verdict("stored", "it is missing from the store")
    if info.size != copy.size:
        return Verdict("stored", f"it has {info.size:,} bytes instead of {copy.size:,}")
    if info.crc64 is not None and copy.crc64 is not None and info.crc64 != copy.crc64:
        return Verdict("stored", "the store's checksum is not the one recorded when it was sent")
    if not deep:
        meter.bytes_moved(copy.size, over_the_wire=False)
        return Verdict("checksum" if info.crc64 is not None and copy.crc64 is not None else "stored")
    reception = Reception(
        connection.store,
        info,
        identities=identities if copy.sealed else None,
        on_bytes=lambda count: meter.bytes_moved(count, current=copy.key),
        stop=run.stop,
    )
    try:
        received = digest_object(reception)
    except VerificationError as error:
        return Verdict("stored", f"{_CONTENT} {error.problem}")
    if file.sha256 is not None and received.sha256 != file.sha256:
        return Verdict("stored", f"{_CONTENT} is not the file that was sent")
    if copy.crc64 is not None and received.crc64 != copy.crc64:
        return Verdict("stored", f"{_CONTENT} is not the object that was sent")
    return Verdict("restored")


def _record(run: Run, connection: Connection, copy: CopyRow, file: FileRow, verdict: Verdict | EcogsafeError) -> None:
    if isinstance(verdict, InterruptedRunError):
        return
    if isinstance(verdict, EcogsafeError):
        run.fail(verdict)
        return
    now = utc_stamp()
    only_deep_helps = copy.bad_at is not None and (copy.bad_reason or "").startswith(_CONTENT)
    still_bad = verdict.bad is None and only_deep_helps and verdict.level != "restored"
    with run.catalog.write() as tx:
        if verdict.bad is not None:
            copies.mark_bad(tx, copy.id, verdict.bad)
        elif copy.bad_at is not None and not still_bad and verdict.level != "stored":
            copies.prove_good(tx, copy.id, verdict.level, now)
        else:
            copies.raise_level(tx, copy.id, verdict.level, now)
        audit.append(
            tx,
            run_id=run.run_id,
            who=run.actor.who,
            host=run.actor.host,
            version=run.actor.version,
            act="verify",
            subject=file.subject,
            object=copy.key,
            digest=file.sha256,
            store=connection.store_id,
            result="bad" if verdict.bad or still_bad else verdict.level,
        )
    reason = verdict.bad or (copy.bad_reason if still_bad else None)
    if reason is not None:
        _tell_bad(run, connection, copy, reason)
        return
    run.tally.done += 1
    run.tally.bytes += copy.size
    run.tell(
        Item(
            action="verify",
            status="done",
            subject=file.subject,
            key=copy.key,
            store=connection.store.name,
            bytes=copy.size,
            digest=file.sha256,
            message={"stored": "there, no checksum to compare", "checksum": "checksum equal"}.get(
                verdict.level, "opened, digest equal"
            ),
            details={"level": verdict.level},
        )
    )


def _tell_bad(run: Run, connection: Connection, copy: CopyRow, reason: str) -> None:
    run.tally.failed += 1
    run.counts["bad"] = run.counts.get("bad", 0) + 1
    run.tally.note(ExitStatus.VERIFY_FAILED)
    run.tell(
        ErrorEvent.of(
            VerificationError(
                f"{connection.store.name}/{copy.key}",
                reason,
                safe="The other copies of this file are not affected",
                next="ecogsafe upload again from the source with --new-version, or download from another store",
            )
        )
    )
