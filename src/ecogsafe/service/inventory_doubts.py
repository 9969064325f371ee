"""Copies of which a listing does not show that they are there and the same: asked about, judged, recorded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ecogsafe.catalog import audit, copies, inventories
from ecogsafe.catalog.audit import Act
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.inventories import NO_VERSION
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError
from ecogsafe.service.copy_check import MISSING, CopyCheck, Verdict
from ecogsafe.service.evidence import is_proven_good
from ecogsafe.service.inventory_counts import State
from ecogsafe.service.inventory_listing import StoreListing
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.meter import Meter

_JOBS = 8

Tell = Callable[[State, CopyRow, FileRow, ObjectInfo | None, str], None]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A copy that was not listed, or not as it was."""

    copy: CopyRow
    file: FileRow
    #: None: not listed
    info: ObjectInfo | None


@dataclass(frozen=True, slots=True)
class _Judged:
    doubt: Doubt
    state: State
    #: one clause, nothing private
    why: str
    verdict: Verdict | None = None


class DoubtSolver:
    """Asks the store about doubtful copies, several at a time."""

    def __init__(self, run: Run, listing: StoreListing, tell: Tell) -> None:
        self._run = run
        self._tell = tell
        # a check counts whole objects; nothing of them moves here
        silent = Meter(lambda _event: None, files_total=None, bytes_total=None)
        self._check = CopyCheck(listing.connection, None, silent, stop=run.stop, deep=False)

    def solve(self, doubts: Sequence[Doubt], withdrawn: Collection[str]) -> None:
        """Judge ``doubts``, record what came of them in one commit, and tell of each."""
        with ThreadPoolExecutor(_JOBS, thread_name_prefix="inventory") as pool:
            answers = list(pool.map(self._ask, doubts))
        judged: list[_Judged] = []
        for doubt, answer in zip(doubts, answers, strict=True):
            if isinstance(answer, InterruptedRunError):
                continue
            if isinstance(answer, EcogsafeError):
                self._run.fail(answer)
                judged.append(_Judged(doubt, State.UNJUDGED, answer.problem))
            else:
                judged.append(self._judge(doubt, answer, is_withdrawn=doubt.file.subject in withdrawn))
        with self._run.catalog.write() as tx:
            for one in judged:
                self._record(tx, one)
        for one in judged:
            self._tell(one.state, one.doubt.copy, one.doubt.file, one.doubt.info, one.why)

    def _ask(self, doubt: Doubt) -> Verdict | EcogsafeError:
        if self._run.stop.is_set():
            return InterruptedRunError("inventory", "was interrupted")
        try:
            return self._check.judge(doubt.copy, doubt.file)
        except EcogsafeError as error:
            return error

    def _judge(self, doubt: Doubt, verdict: Verdict, *, is_withdrawn: bool) -> _Judged:
        copy, info = doubt.copy, doubt.info
        if verdict.bad == MISSING and is_withdrawn:
            return self._removed(doubt)
        if verdict.bad is not None:
            return _Judged(doubt, State.MISSING if verdict.bad == MISSING else State.DIFFERENT, verdict.bad)
        is_told = verdict.level == "checksum" or (verdict.info is not None and verdict.info.token == copy.token)
        if not is_told and info is not None and copy.bad_at is None:
            why = "its ETag is not the one recorded, and the store tells nothing else of it"
            return _Judged(doubt, State.DIFFERENT, why)
        if not is_proven_good(copy, verdict.level):
            return _Judged(doubt, State.BAD, copy.bad_reason or "")
        why = "listed with another ETag, the same bytes" if info else "the listing left it out, the store has it"
        return _Judged(doubt, State.PRESENT, why, verdict)

    @staticmethod
    def _removed(doubt: Doubt) -> _Judged:
        if doubt.copy.version_id in (None, NO_VERSION):
            return _Judged(doubt, State.REMOVED, "gone, after the withdrawal of its subject")
        why = "not listed any more; whether its recorded version is gone too, list-object-versions shows"
        return _Judged(doubt, State.UNJUDGED, why)

    def _record(self, tx: Transaction, one: _Judged) -> None:
        copy, verdict, now = one.doubt.copy, one.verdict, utc_stamp()
        result: str = one.state.value
        if one.state is State.REMOVED:
            inventories.note_removed(tx, copy.id, now)
        elif one.state in (State.MISSING, State.DIFFERENT):
            if copy.bad_at is not None:
                return
            copies.mark_bad(tx, copy.id, one.why)
        elif one.state is State.PRESENT and verdict is not None:
            result = verdict.level
            if copy.bad_at is not None:
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
        else:
            return
        act = Act(
            act="inventory",
            subject=one.doubt.file.subject,
            object=copy.key,
            digest=one.doubt.file.sha256,
            store=copy.store_id,
            result=result,
        )
        actor = self._run.actor
        audit.append_all(tx, [act], run_id=self._run.run_id, who=actor.who, host=actor.host, version=actor.version)
