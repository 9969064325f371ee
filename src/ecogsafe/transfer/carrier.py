"""One destination of one file while bytes are under way to it, and all destinations of a file together.

A destination that stalls is detached: it lets go of the bytes that others wait for, and gets the file
again later. The last one that could go on is never detached.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError
from ecogsafe.stores.protocol import Buffer
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.pool import LOOK_EVERY_S, PooledPart
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status
from ecogsafe.transfer.worker_errors import WorkerGoneError


class Crew:
    """The destinations of one file, fed by one read of it.

    Parameters
    ----------
    others_go_on
        Tells whether others, who are fed apart but from the same memory, could go on without them.
    """

    def __init__(
        self,
        context: TransferContext,
        shipment: Shipment,
        senders: Senders,
        *,
        others_go_on: Callable[[], bool] = lambda: False,
    ) -> None:
        self.context = context
        self.shipment = shipment
        self.senders = senders
        self._others_go_on = others_go_on
        self.members: list[Carrier] = []
        #: parts that have room in the pool and are not whole yet, one for each lane at most
        self.parts_begun = 0

    def may_leave_behind(self, carrier: Carrier) -> bool:
        """Return whether another destination could go on without ``carrier``."""
        return self._others_go_on() or any(
            not (other.over or other.is_stalled) for other in self.members if other is not carrier
        )

    def settle(self) -> None:
        """Wait until nothing is under way, detaching who stalls; raise what a sender met and nobody expected."""
        while any(member.is_busy for member in self.members):
            for member in self.members:
                member.wait_a_moment()
                member.detach_if_stalled()
        for member in self.members:
            member.settled()
            if member.bug is not None:
                raise member.bug


class Carrier:
    """Carries the bytes of one file to one place; its methods are called from several threads."""

    def __init__(self, crew: Crew, place: Place) -> None:
        self.crew = crew
        self.context = crew.context
        self.shipment = crew.shipment
        self.place = place
        self.key = crew.shipment.keys[place.sealed]
        self.error: EcogsafeError | None = None
        #: what is no `EcogsafeError`: `Crew.settle` raises it in the thread that reads the file
        self.bug: BaseException | None = None
        self.detached = False
        #: the run was stopped before every part had left
        self.paused = False
        self.sent_bytes = 0
        self._held: set[PooledPart] = set()
        self._moved = monotonic()
        self._changed = threading.Condition()

    @property
    def over(self) -> bool:
        """True once no further part should be sent here."""
        return self.error is not None or self.bug is not None or self.detached or self.paused

    @property
    def is_busy(self) -> bool:
        """True while a request is waited for."""
        return bool(self._held) and not self.detached

    @property
    def is_stalled(self) -> bool:
        """True if it holds parts and none was finished for long."""
        since = max(self._moved, self.context.pace.closed_at)
        return self.is_busy and monotonic() - since > self.context.pool.stall_s

    def fail(self, error: EcogsafeError) -> None:
        """Remember the first failure; not that of a place which was left behind and gets the file again."""
        with self._changed:
            if isinstance(error, InterruptedRunError):
                self.paused = True
            elif not self.detached:
                self.error = self.error or error

    def _break(self, bug: BaseException) -> None:
        """Remember what nobody expected, for the thread that reads the file."""
        with self._changed:
            if not self.detached:
                self.bug = bug
                return
        if not isinstance(bug, WorkerGoneError):
            # the file went on without this place: told at the end of the run
            self.crew.senders.bugs.append(bug)

    def carry(self, pooled: PooledPart, send: Callable[[Buffer | DistantPart], None]) -> None:
        """Let ``send`` have the bytes of ``pooled`` on a thread of this store; if it raises, they were let go of."""
        with self._changed:
            is_late = self.detached
            if not self._held:
                self._moved = monotonic()
            if not is_late:
                self._held.add(pooled)
        if is_late:
            # whoever left this place behind let go of what it held, and of this too
            pooled.drop(self, is_through=True)
            return
        try:
            self.crew.senders.send(self.place.store_id, self._carry, pooled, send)
        except BaseException:
            # a thread may take it all the same, and finds nothing; without this everybody would wait for it
            self._let_go(pooled, is_through=False)
            raise

    def _carry(self, pooled: PooledPart, send: Callable[[Buffer | DistantPart], None]) -> int:
        """Return the bytes that were sent."""
        is_through = False
        sent = 0
        try:
            if self.context.stop.is_set():
                self.paused = True
            body = None if self.over else pooled.body_for(self)
            if body is not None:
                send(body)
                sent = len(body)
            is_through = True
        except EcogsafeError as error:
            self.fail(error)
        except BaseException as error:  # noqa: BLE001  told by the thread that reads the file
            self._break(error)
        finally:
            self._let_go(pooled, is_through=is_through)
        return sent

    def _let_go(self, pooled: PooledPart, *, is_through: bool) -> None:
        pooled.drop(self, is_through=is_through)
        with self._changed:
            self._held.discard(pooled)
            self._moved = monotonic()
            self._changed.notify_all()

    def settled(self) -> None:
        """Take note that nothing is under way any more; failures are remembered, not raised."""

    def wait_a_moment(self) -> None:
        """Return when nothing is under way, or after a moment."""
        with self._changed:
            if self.is_busy:
                self._changed.wait(timeout=LOOK_EVERY_S)

    def detach_if_stalled(self) -> None:
        """Let go of everything held if nothing moved for long and another destination could go on."""
        if self.over or not self.is_stalled or not self.crew.may_leave_behind(self):
            return
        with self._changed:
            if self.over:
                return
            self.detached = True
            held = list(self._held)
            self._changed.notify_all()
        for pooled in held:
            pooled.drop(self)
        self.context.tell(
            "upload",
            "stalled: the other destinations go on, this one gets the file again later",
            key=self.key,
            store=self.place.store.name,
        )

    def ended(self) -> Outcome:
        """Return the end of what did not come to its end."""
        unfinished = Status.DETACHED if self.detached else Status.PAUSED
        status = unfinished if self.error is None else Status.FAILED
        return Outcome(
            shipment=self.shipment, place=self.place, status=status, error=self.error, sent_bytes=self.sent_bytes
        )
