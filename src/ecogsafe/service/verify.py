"""``verify``: is every copy still there, whole and ours? By the store's checksum, or by reading it all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ecogsafe.catalog import copies
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.errors import (
    EcogsafeError,
    LockedError,
    StoreError,
    StoreUnreachableError,
    UsageError,
    WrongStoreError,
)
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.deid.codes import is_code
from ecogsafe.service.connections import connected, one_url
from ecogsafe.service.copy_check import CopyCheck, Verdict
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.snapshots import snapshot_everywhere
from ecogsafe.service.verdicts import record_verdict
from ecogsafe.transfer.meter import Meter

_JOBS = 8
_DEEP_JOBS = 2
#: a store that could not be reached for so many copies, each tried again and again, is not asked for more
_ENOUGH_FAILURES = 3

_Pair = tuple[CopyRow, FileRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What the user asked for."""

    subject: str | None = None
    url: str | None = None
    #: download, decrypt and compare digests
    deep: bool = False


@dataclass(frozen=True, slots=True)
class _Work:
    """The copies of one store."""

    url: str
    store_id: str
    pairs: Sequence[_Pair]


def verify(run: Run, request: VerifyRequest, password: PasswordSource) -> None:
    """Check every copy the catalogue knows, and record the evidence with its time.

    Raises
    ------
    UsageError
        There is no such copy.
    StoreError, LabKeyError
        No store could be reached; nothing could be opened.
    """
    if request.subject is not None and not is_code(request.subject):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
    with run.catalog.read() as tx:
        work = [w for w in _work(tx, request) if w.pairs]
    work = [w for w in _held(run, request, work) if w.pairs]
    if not work:
        raise UsageError(
            request.subject or "the catalogue",
            "has no recorded copy to verify" + (" at this store" if request.url else ""),
            next="ecogsafe status shows what is where",
        )
    identities = None
    if request.deep and any(copy.sealed for w in work for copy, _ in w.pairs):
        identities = [run.home.identity(password, run.home.recipients(run.catalog))]
    pairs_total = sum(len(w.pairs) for w in work)
    bytes_total = sum(copy.size for w in work for copy, _ in w.pairs)
    meter = Meter(run.tell, files_total=pairs_total, bytes_total=bytes_total)
    failed: list[EcogsafeError] = []
    for w in work:
        try:
            failed += _verify_store(run, w, request, identities, meter)
        except StoreError as error:
            run.fail(error)
            run.tally.failed += len(w.pairs) - 1
            failed += [error] * len(w.pairs)
    run.tell(meter.now())
    snapshot_everywhere(run)
    raise_if_all_failed(failed, pairs_total)
    run.check_stop(safe="What was checked is recorded")
    bad = run.counts.get("bad", 0)
    how = "read, opened and compared" if request.deep else "compared with the store's own checksum"
    without = run.counts.get("without_checksum", 0)
    run.message = f"{run.tally.done - without} of {pairs_total} copies {how}"
    if without:
        run.message += f"; {without} are there, but their store tells no checksum"
    if bad:
        run.message += f"; {bad} BAD"


def _work(tx: Transaction, request: VerifyRequest) -> list[_Work]:
    url = None if request.url is None else one_url(request.url)
    met = None if url is None else catalog_stores.store_id_met_at(tx, url)
    found: list[_Work] = []
    for store in catalog_stores.all_stores(tx):
        if url is None or url == store.url or store.store_id == met:
            pairs = copies.copies_in_store(tx, store.store_id, request.subject)
            found.append(_Work(url or store.url, store.store_id, pairs))
    return found


def _held(run: Run, request: VerifyRequest, work: list[_Work]) -> list[_Work]:
    """Hold every subject, shared; without one that another run changes now, unless just that one was asked for."""
    locked: set[str] = set()
    for code in sorted({file.subject for w in work for _, file in w.pairs}):
        try:
            run.hold_subject(code, shared=True)
        except LockedError as error:
            if request.subject is not None:
                raise
            run.fail(error)
            locked.add(code)
    return [_Work(w.url, w.store_id, [p for p in w.pairs if p[1].subject not in locked]) for w in work]


def _verify_store(
    run: Run, work: _Work, request: VerifyRequest, identities: Sequence[Identity] | None, meter: Meter
) -> list[EcogsafeError]:
    """Check the copies of one store; return why some could not be judged."""
    failed: list[EcogsafeError] = []
    unanswered: list[StoreUnreachableError] = []
    with connected(run.catalog, work.url, to_write=False, stop=run.stop, tell=run.tell) as connection:
        if connection.store_id != work.store_id:
            raise WrongStoreError(work.url, "is another store than the one that holds these copies")
        checker = CopyCheck(connection, identities, meter, stop=run.stop, deep=request.deep)

        def check(pair: _Pair) -> Verdict | EcogsafeError | None:
            if run.stop.is_set():
                return None
            if len(unanswered) >= _ENOUGH_FAILURES:
                return unanswered[0]
            try:
                return checker.judge(*pair)
            except StoreUnreachableError as error:
                unanswered.append(error)
                return error
            except EcogsafeError as error:
                return error

        with ThreadPoolExecutor(_DEEP_JOBS if request.deep else _JOBS, "verifier") as pool:
            for pair, verdict in zip(work.pairs, pool.map(check, work.pairs), strict=True):
                if verdict is None:
                    continue
                if isinstance(verdict, EcogsafeError):
                    failed.append(verdict)
                record_verdict(run, connection, pair[0], pair[1], verdict)
                meter.file_done()
    return failed
