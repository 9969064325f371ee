"""``verify``: is every copy still there, whole and ours? By listing, by the store's checksum, or by reading it all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from ecogsafe.catalog import due
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.snapshots import snapshot_everywhere
from ecogsafe.service.verify_listing import Listings
from ecogsafe.service.verify_planning import Plan, plan_verify
from ecogsafe.service.verify_repair import repair
from ecogsafe.service.verify_request import VerifyRequest
from ecogsafe.service.verify_work import Checks
from ecogsafe.transfer.meter import Meter

__all__ = ["VerifyRequest", "verify"]


def verify(run: Run, request: VerifyRequest, password: PasswordSource) -> None:
    """Check the copies that are due, and record the evidence with its time.

    Without limits every copy is due. With limits (``request.is_limited``) the stores are listed first: what is
    no longer there as it was is checked now, the rest by its age.

    Raises
    ------
    UsageError
        There is no such copy.
    StoreError, LabKeyError
        No store could be reached; nothing could be opened.
    """
    request.check()
    deadline = request.deadline()
    plan = plan_verify(run.catalog, request)
    keys = _Keys(run, password)
    if request.deep and _reads_sealed(run, plan):
        keys.identities()
    meter = Meter(run.tell, files_total=None, bytes_total=None)
    with closing(Checks(run, request, plan, keys.known, meter, deadline)) as checks:
        if request.is_limited:
            _put_first(run, plan, checks, Listings(run, deadline))
        if plan.chosen is not None:
            _tell_sample(run, request, plan)
        meter.files_total, meter.bytes_total = plan.files_total, plan.bytes_total
        checks.check(plan.pairs(run.catalog))
    run.tell(meter.now())
    run.check_stop(safe="What was checked is recorded")
    if request.repair:
        repair(run, plan, keys.identities)
    snapshot_everywhere(run)
    raise_if_all_failed(checks.failed, plan.files_total)
    run.check_stop(safe="What was checked is recorded")
    run.message = _verdict(run, request, plan, checks.left)


class _Keys:
    """The lab key, opened when it is first needed: a run that reads nothing sealed asks for no password."""

    def __init__(self, run: Run, password: PasswordSource) -> None:
        self._run = run
        self._password = password
        self.known: Sequence[Identity] | None = None

    def identities(self) -> Sequence[Identity]:
        if self.known is None:
            self.known = [self._run.home.identity(self._password, self._run.home.recipients(self._run.catalog))]
        return self.known


def _reads_sealed(run: Run, plan: Plan) -> bool:
    with run.catalog.read() as tx:
        return due.holds_sealed(tx, tuple(plan.places), plan.line.subject)


def _put_first(run: Run, plan: Plan, checks: Checks, listings: Listings) -> None:
    """List every store; what is in doubt, and what was bad before, does not wait for its turn."""
    with run.catalog.read() as tx:
        codes = due.codes(tx) if plan.line.subject is None else [plan.line.subject]
        bad = [copy.id for copy, _ in due.bad(tx, tuple(plan.places), plan.line.subject)]
    doubts: list[int] = []
    for store_id in plan.places:
        connection = checks.connection(store_id)
        if connection is not None:
            doubts += listings.doubts(connection, codes)
    with run.catalog.read() as tx:
        plan.put_first(due.by_ids(tx, list(dict.fromkeys(doubts + bad))))
    if doubts:
        run.counts["in_doubt"] = len(doubts)


def _tell_sample(run: Run, request: VerifyRequest, plan: Plan) -> None:
    whose, where = request.subject or "every subject", request.url or "every store"
    message = (
        f"a sample of {request.sample:g} % of {whose} at {where}: {len(plan.chosen or ()):,} copies, the "
        f"oldest evidence first, drawn with --seed {request.seed}"
    )
    run.tell(Item(action="verify", status="note", message=message, details={"seed": request.seed}))


def _verdict(run: Run, request: VerifyRequest, plan: Plan, left: int) -> str:
    counts = run.counts
    if not plan.files_total and not run.tally.failed:
        return "nothing is due: every copy was looked at since then"
    how = "read, opened and compared" if request.deep else "compared with the store's own checksum"
    without = counts.get("without_checksum", 0)
    words = [f"{run.tally.done - without - counts.get('repaired', 0)} of {plan.files_total} copies {how}"]
    if without:
        words.append(f"{without} are there, but their store tells no checksum")
    if left:
        counts["remaining"] = left
        words.append(f"time is up: {left} remain, and the next run begins with them")
    if counts.get("replaced"):
        words.append(f"{counts['replaced']} bad ones have a good one beside them")
    if counts.get("bad"):
        words.append(f"{counts['bad']} BAD")
    if request.repair:
        words.append(f"{counts.get('repaired', 0)} sent again from a good copy")
    return "; ".join(words)
