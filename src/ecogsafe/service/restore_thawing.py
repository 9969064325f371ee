"""Cold objects on their way to be readable: looked at, asked for once, remembered, waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from ecogsafe.catalog import thaws
from ecogsafe.catalog.thaws import ThawRow
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import EcogsafeError, ExitStatus, ObjectMissingError, StillColdError, StoreUnreachableError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.restore_offers import Offers
from ecogsafe.service.restore_request import RestoreRequest, may_be_cold
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.stores.thawing import ThawState, Tier, thawing_store

_STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
_AT_ONCE = 8
#: a waiting run looks this often: after a twentieth of what is left, but within these bounds, seconds
LOOK_AGAIN_LEAST_S = 20.0
LOOK_AGAIN_MOST_S = 900.0
_SHARE = 20.0


class Thawing:
    """The cold ones among the objects of one restore."""

    def __init__(self, run: Run, connection: Connection, request: RestoreRequest, offers: Offers) -> None:
        self._run = run
        self._store = connection.store
        self._store_id = connection.store_id
        self._request = request
        self._offers = offers
        self._sizes: dict[str, int] = {}
        self._states: dict[str, ObjectInfo] = {}
        self._rows: dict[str, ThawRow] = {}
        #: requests that failed
        self._failed: set[str] = set()

    def look(self, objects: Iterable[ObjectInfo]) -> None:
        """Ask the store for the state of every object that may be cold.

        Raises
        ------
        StoreError
            As `Store.head`.
        """
        with self._run.catalog.read() as tx:
            self._rows = thaws.thaws_in_store(tx, self._store_id)
        self._ask([info.key for info in objects if may_be_cold(info)])
        if self.frozen and not self._is_really_frozen(min(self.frozen)):
            # a server that keeps the name of the class and nothing else
            self._states.clear()

    def _ask(self, keys: list[str]) -> None:
        def look(key: str) -> ObjectInfo | None:
            self._run.check_stop(safe="Complete files are kept, and the requests to thaw stand")
            return self._store.head(key)

        with ThreadPoolExecutor(_AT_ONCE, "looker") as pool:
            for key, info in zip(keys, pool.map(look, keys), strict=True):
                if info is None:
                    raise ObjectMissingError(key, "was listed a moment ago, and is not there any more")
                self._states[key] = info
        self._note_expiries(keys)

    def _is_really_frozen(self, key: str) -> bool:
        try:
            next(iter(self._store.read(key, 0, 1)), b"")
        except StillColdError:
            return True
        return False

    def _note_expiries(self, keys: Iterable[str]) -> None:
        with self._run.catalog.write() as tx:
            for key in keys:
                thaw, row = self._states[key].thaw, self._rows.get(key)
                if row is not None and thaw is not None and thaw.expires is not None:
                    stamp = thaw.expires.astimezone(UTC).strftime(_STAMP)
                    if row.expires_at != stamp:
                        thaws.note_expiry(tx, self._store_id, key, stamp)

    def _in(self, state: ThawState) -> frozenset[str]:
        return frozenset(
            key for key, info in self._states.items() if info.thaw is not None and info.thaw.state is state
        )

    @property
    def frozen(self) -> frozenset[str]:
        """Keys that nobody asked for yet, or whose thawed copy is gone."""
        return self._in(ThawState.FROZEN)

    @property
    def pending(self) -> frozenset[str]:
        """Keys that cannot be read yet and will be."""
        return (self._in(ThawState.THAWING) | self.frozen) - self._failed

    def is_readable(self, key: str) -> bool:
        """Return whether the object can be read now."""
        return key not in self.frozen and key not in self._in(ThawState.THAWING)

    def tell_expired(self) -> None:
        """Tell which objects were thawed before, and froze again before they were fetched."""
        for key in sorted(self.frozen):
            row = self._rows.get(key)
            if row is not None and utc_now() > _when(row.expires_at or row.expected_at):
                message = f"was thawed on {_shown(_when(row.expected_at))} and froze again: it is asked for once more"
                self._run.tell(
                    Item(action="thaw", status="note", key=key, subject=self._request.subject, message=message)
                )

    def request(self) -> None:
        """Ask for every frozen object, and remember it.

        Raises
        ------
        StoreRefusedError
            Every one was refused.
        """
        keys = sorted(self.frozen)
        failures: list[EcogsafeError] = []
        with ThreadPoolExecutor(_AT_ONCE, "thawer") as pool:
            for start in range(0, len(keys), 4 * _AT_ONCE):
                batch = keys[start : start + 4 * _AT_ONCE]
                self._run.check_stop(safe="What was asked for until then is remembered, and is not asked for again")
                rows: list[ThawRow] = []
                for key, outcome in zip(batch, pool.map(self._request_one, batch), strict=True):
                    if isinstance(outcome, EcogsafeError):
                        failures.append(outcome)
                        self._failed.add(key)
                    else:
                        rows.append(outcome)
                with self._run.catalog.write() as tx:
                    thaws.record_thaws(tx, rows)
                self._rows |= {row.key: row for row in rows}
        raise_if_all_failed(failures, len(keys))
        for error in failures:
            self._run.fail(error)

    def _request_one(self, key: str) -> ThawRow | EcogsafeError:
        storage_class = self._states[key].storage_class
        tier: Tier = self._offers.tier_for(storage_class)
        now = utc_now()
        store = thawing_store(self._store)
        try:
            if store is None:
                raise StillColdError(key, "is said to be cold by a store that thaws nothing", safe="It is intact")
            store.request_thaw(key, tier=tier, days=self._request.days)
        except EcogsafeError as error:
            return error
        return ThawRow(
            store_id=self._store_id,
            key=key,
            tier=tier,
            requested_at=now.strftime(_STAMP),
            expected_at=(now + timedelta(hours=self._offers.longest_hours(storage_class, tier))).strftime(_STAMP),
            days=self._request.days,
        )

    def come_back_at(self) -> datetime:
        """Return when everything that is pending is ready at the latest."""
        now = utc_now()
        expected = [self._expected(key, now) for key in self.pending]
        return max(expected, default=now)

    def _expected(self, key: str, now: datetime) -> datetime:
        row = self._rows.get(key)
        if row is None:
            # somebody else asked for it, nobody knows when
            hours = self._offers.longest_hours(self._states[key].storage_class, "Bulk")
            return now + timedelta(hours=hours)
        # a provider that is late is asked again in an hour
        expected = _when(row.expected_at)
        return expected if expected > now else now + timedelta(hours=1)

    def tell_pending(self) -> None:
        """Tell what is still cold and when to come back, and let the run end so."""
        now = utc_now()
        for key in sorted(self.pending):
            row, expected = self._rows.get(key), self._expected(key, now)
            asked = f"asked for by {row.tier} on {_shown(_when(row.requested_at))}" if row else "asked for elsewhere"
            self._run.tell(
                Item(
                    action="thaw",
                    status="note",
                    key=key,
                    subject=self._request.subject,
                    store=self._store.name,
                    bytes=self._states[key].size,
                    message=f"is thawing, {asked}; ready by {_shown(expected)}",
                    details={"come_back_at": expected.strftime(_STAMP), "tier": row.tier if row else ""},
                )
            )
        self._run.counts["still_cold"] = len(self.pending)
        self._run.tally.note(ExitStatus.COLD)

    def wait(self) -> None:
        """Sleep until it is worth looking again, and look.

        Raises
        ------
        InterruptedRunError
            The run was told to stop; every request stands.
        """
        left = (self.come_back_at() - utc_now()).total_seconds()
        pause = min(max(left / _SHARE, LOOK_AGAIN_LEAST_S), LOOK_AGAIN_MOST_S)
        message = f"waiting for {len(self.pending)} cold objects, ready by {_shown(self.come_back_at())}"
        self._run.tell(Item(action="thaw", status="note", message=message))
        self._run.stop.wait(pause)
        self._run.check_stop(safe="The requests to thaw stand, and complete files are kept")
        try:
            self._ask(sorted(self.pending))
        except StoreUnreachableError as error:
            # it was two days to wait, and one broken hour of a network is no reason to give up
            self._run.tell(Item(action="thaw", status="note", message=f"{error}; asked again later"))

    @property
    def states(self) -> Mapping[str, ObjectInfo]:
        """What the store says of each object that may be cold, by key."""
        return self._states


def _when(stamp: str) -> datetime:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def _shown(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def shown_time(when: datetime) -> str:
    """Return a time as people read it."""
    return _shown(when)
