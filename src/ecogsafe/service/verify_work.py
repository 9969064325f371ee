"""The copies of a ``verify`` judged, several at once, at every store that they are at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from ecogsafe.catalog.due import Pair
from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    LockedError,
    StoreError,
    StoreUnreachableError,
    WrongStoreError,
)
from ecogsafe.core.events import ErrorEvent
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.copy_check import CopyCheck, Verdict
from ecogsafe.service.running import Run
from ecogsafe.service.verdicts import record_verdict
from ecogsafe.service.verify_planning import Plan
from ecogsafe.service.verify_request import Deadline, VerifyRequest
from ecogsafe.transfer.meter import Meter

_JOBS = 8
_DEEP_JOBS = 2
#: a store that could not be reached for so many copies, each tried again and again, is not asked for more
_ENOUGH_FAILURES = 3

_Judged = Verdict | EcogsafeError | None


@dataclass(slots=True)
class _Place:
    """One store of the run."""

    connection: Connection
    checker: CopyCheck
    unanswered: list[StoreUnreachableError] = field(default_factory=list)


class Checks:
    """Judges copies and records what they turned out to be.

    Attributes
    ----------
    failed : list of EcogsafeError
        Why some copies could not be judged.
    left : int
        Copies that time was too short for.
    """

    def __init__(
        self,
        run: Run,
        request: VerifyRequest,
        plan: Plan,
        identities: Sequence[Identity] | None,
        meter: Meter,
        deadline: Deadline,
    ) -> None:
        self._run = run
        self._request = request
        self._plan = plan
        self._identities = identities
        self._meter = meter
        self._deadline = deadline
        self._open = ExitStack()
        self._places: dict[str, _Place | StoreError] = {}
        self._locked: set[str] = set()
        self._held: set[str] = set()
        self._ended = 0
        self.failed: list[EcogsafeError] = []
        self.left = 0

    def connection(self, store_id: str) -> Connection | None:
        """Return the open store; None if it cannot be opened, which is told once."""
        place = self._place(store_id)
        return place.connection if isinstance(place, _Place) else None

    def check(self, pairs: Iterable[Pair]) -> None:
        """Judge ``pairs`` in about their order until time is up, or until the run is stopped."""
        jobs = _DEEP_JOBS if self._request.deep else _JOBS
        under_way: deque[tuple[Pair, _Place, Future[_Judged]]] = deque()
        with ThreadPoolExecutor(jobs, "verifier") as pool:
            for pair in pairs:
                if self._run.stop.is_set() or self._deadline.is_over():
                    break
                if self._reads(pair) and not self._deadline.has_time_for(pair[0].store_id, pair[0].size):
                    continue
                place = self._place(pair[0].store_id) if self._may_touch(pair[1].subject) else None
                if isinstance(place, StoreError):
                    self._ended += 1
                    self._run.tally.failed += 1
                    self.failed.append(place)
                elif place is not None:
                    under_way.append((pair, place, pool.submit(self._judge, place, pair)))
                if len(under_way) >= 2 * jobs:
                    self._take(*under_way.popleft())
            while under_way:
                self._take(*under_way.popleft())
        if not self._run.stop.is_set():
            self.left = self._plan.files_total - self._ended

    def close(self) -> None:
        """Let go of the stores."""
        self._open.close()

    def _reads(self, pair: Pair) -> bool:
        """Return whether judging it reads all of it: a folder has no checksum at hand."""
        return self._request.deep or self._plan.places[pair[0].store_id].startswith("file://")

    def _may_touch(self, code: str) -> bool:
        """Hold a subject, shared; false for one that another run changes now, which is told once."""
        if code in self._held:
            return True
        if code not in self._locked:
            try:
                self._run.hold_subject(code, shared=True)
            except LockedError as error:
                if self._request.subject is not None:
                    raise
                self._run.fail(error)
                self._locked.add(code)
            else:
                self._held.add(code)
                return True
        self._plan.files_total -= 1
        return False

    def _place(self, store_id: str) -> _Place | StoreError:
        if store_id not in self._places:
            try:
                self._places[store_id] = self._opened(store_id)
            except StoreError as error:
                # it counts for every copy there that is due
                self._run.tally.note(ExitStatus.PARTIAL)
                self._run.tell(ErrorEvent.of(error))
                self._places[store_id] = error
        return self._places[store_id]

    def _opened(self, store_id: str) -> _Place:
        run, url = self._run, self._plan.places[store_id]
        connection = self._open.enter_context(connected(run.catalog, url, to_write=False, stop=run.stop, tell=run.tell))
        if connection.store_id != store_id:
            raise WrongStoreError(url, "is another store than the one that holds these copies")
        checker = CopyCheck(connection, self._identities, self._meter, stop=run.stop, deep=self._request.deep)
        return _Place(connection, checker)

    def _judge(self, place: _Place, pair: Pair) -> _Judged:
        if self._run.stop.is_set():
            return None
        if len(place.unanswered) >= _ENOUGH_FAILURES:
            return place.unanswered[0]
        began = monotonic()
        try:
            verdict = place.checker.judge(*pair)
        except StoreUnreachableError as error:
            place.unanswered.append(error)
            return error
        except EcogsafeError as error:
            return error
        if verdict.bad is None and self._reads(pair):
            self._deadline.note(pair[0].store_id, pair[0].size, monotonic() - began)
        return verdict

    def _take(self, pair: Pair, place: _Place, future: Future[_Judged]) -> None:
        verdict = future.result()
        if verdict is None:
            return
        self._ended += 1
        if isinstance(verdict, EcogsafeError):
            self.failed.append(verdict)
        request = self._request
        record_verdict(self._run, place.connection, *pair, verdict, deep=request.deep, will_repair=request.repair)
        self._meter.file_done()
