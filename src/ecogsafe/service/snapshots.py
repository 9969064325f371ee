"""Sealed snapshots of the catalogue, put beside the data during and at the end of a run; never overwritten."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.snapshots import snapshot_to
from ecogsafe.core.clock import monotonic, utc_now
from ecogsafe.core.errors import EcogsafeError, ExitStatus, NoSpaceError
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.folder_access import access_at
from ecogsafe.service.running import Run
from ecogsafe.service.snapshot_sending import Destination, send_sealed
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Backoff

PREFIX = "_ecogsafe/catalog/"
#: DESIGN 5.11: every 15 minutes within a run, seconds
EVERY_S = 900.0
#: what a run that was killed may have left in the home
_TEMPORARY = ".snapshot-"
_LEFT_OVER_S = 86_400.0
#: a place that the run itself does not need is not waited for
_BRIEFLY = Backoff(attempts=2)
_LEFT_OPEN = "; what it took of it is an unfinished upload there: ecogsafe inventory {url} --abort-orphans"


class Snapshots:
    """The snapshots of one run, for every store it works with.

    Parameters
    ----------
    pass_over
        URLs of destinations that failed in this run: they are not tried once more.
    """

    def __init__(
        self,
        run: Run,
        connections: Sequence[Connection],
        recipients: Sequence[Recipient],
        *,
        pass_over: Iterable[str] = (),
    ) -> None:
        self._run = run
        self._stores = [connection.store for connection in connections]
        self._recipients = recipients
        self._passed_over = {one_url(url) for url in pass_over}
        self._sent = monotonic()

    def leave_out(self, connection: Connection) -> None:
        """Send none to a place that failed meanwhile: it would be asked for minutes once more."""
        self._stores = [store for store in self._stores if store is not connection.store]
        self._passed_over.add(one_url(connection.store.url))

    def send_if_due(self) -> None:
        """Send one if the newest of this run is old; called when something new is in the catalogue."""
        if monotonic() - self._sent >= EVERY_S:
            self.send()

    def finish(self) -> None:
        """Do `send` at the end of the run, for every other destination of the config too (DESIGN 5.11).

        That a place this run does not work with is out of reach does not spoil it, but is told.
        """
        self._send(self._elsewhere())

    def send(self) -> None:
        """Seal a consistent copy of the catalogue and put it into every store; a failure is told and counted."""
        self._send(())

    def _send(self, elsewhere: Sequence[str]) -> None:
        self._sent = monotonic()
        if not self._stores and not elsewhere:
            return
        self._run.add_up()
        if self._run.catalog.path is None:
            message = "the catalogue is on a server, whose own backup keeps it: no snapshot was stored"
            self._run.tell(Item(action="snapshot", status="note", message=message))
            return
        stamp = utc_now().strftime("%Y%m%dT%H%M%SZ")
        key = f"{PREFIX}{stamp}-{secrets.token_hex(4)}.sqlite.zst.age"
        with ExitStack() as stack:
            try:
                path = stack.enter_context(self._copied())
            except NoSpaceError as error:
                places: Sequence[Store | None] = self._stores or (None,)
                for place in places:
                    self._fail(error, place)
                return
            destinations = [Destination(store) for store in self._stores]
            for url in elsewhere:
                try:
                    connection = stack.enter_context(self._connected(url))
                except EcogsafeError as error:
                    self._tell_of_none(error, url)
                else:
                    destinations.append(Destination(connection.store, is_of_run=False))
            size = send_sealed(path, key, self._recipients, destinations)
            for destination in destinations:
                self._tell_of(destination, key, size)

    def _connected(self, url: str) -> AbstractContextManager[Connection]:
        access = access_at(self._run.home.settings(), url)
        return connected(self._run.catalog, url, stop=self._run.stop, backoff=_BRIEFLY, access=access)

    def _tell_of(self, destination: Destination, key: str, size: int) -> None:
        store, error = destination.store, destination.error
        rest = _LEFT_OPEN.format(url=store.url) if destination.is_left_open else ""
        if error is None:
            message = "sealed copy of the catalogue"
            item = Item(action="snapshot", status="done", key=key, store=store.name, bytes=size, message=message)
            self._run.tell(item)
        elif destination.is_of_run:
            self._fail(error, store, rest)
        else:
            self._tell_of_none(error, store.url, rest)

    def _tell_of_none(self, error: EcogsafeError, url: str, rest: str = "") -> None:
        message = f"no snapshot of the catalogue there this time: {error.problem}{rest}"
        self._run.tell(Item(action="snapshot", status="note", store=url, message=message))

    def _elsewhere(self) -> list[str]:
        """Return the other destinations of the config that this lab has met: nobody else's folder gets an id."""
        urls = dict.fromkeys(one_url(d.url) for d in self._run.home.settings().destination)
        at_hand = {store.url for store in self._stores} | self._passed_over
        with self._run.catalog.read() as tx:
            return [url for url in urls if url not in at_hand and catalog_stores.store_by_url(tx, url) is not None]

    @contextmanager
    def _copied(self) -> Iterator[Path]:
        """Copy the catalogue into the home, compressed, for as long as it is sealed.

        Raises
        ------
        NoSpaceError, DamagedCatalogueError
            As `snapshot_to` and `zip_snapshot`.
        """
        # loaded when there is something to compress: no run waits for it before it begins
        from ecogsafe.service.snapshot_zipping import zip_snapshot

        root = self._run.home.root
        now = utc_now().timestamp()
        for left_over in [*root.glob(f"{_TEMPORARY}*"), *root.glob(f".{_TEMPORARY}*")]:
            with suppress(FileNotFoundError):
                if now - left_over.stat().st_mtime > _LEFT_OVER_S:
                    left_over.unlink()
        temporary = root / f"{_TEMPORARY}{secrets.token_hex(4)}.sqlite"
        zipped = temporary.with_suffix(".sqlite.zst")
        try:
            snapshot_to(self._run.catalog, temporary, meanwhile=lambda copy: zip_snapshot(copy, zipped))
            temporary.unlink()
            yield zipped
        finally:
            temporary.unlink(missing_ok=True)
            zipped.unlink(missing_ok=True)

    def _fail(self, error: EcogsafeError, store: Store | None = None, rest: str = "") -> None:
        run = self._run
        run.tally.note(ExitStatus.PARTIAL)
        run.counts["snapshots_failed"] = run.counts.get("snapshots_failed", 0) + 1
        message = f"the snapshot of the catalogue could not be stored: {error}{rest}"
        run.tell(Item(action="snapshot", status="failed", store=store.name if store else None, message=message))


def snapshot_everywhere(run: Run) -> None:
    """Send one to every destination of the config, after a run that learned something but sends nothing.

    What keeps it from that is told; the run is none the worse.
    """
    if run.stop.is_set():
        return
    try:
        Snapshots(run, (), run.home.recipients(run.catalog)).finish()
    except EcogsafeError as error:
        run.tell(Item(action="snapshot", status="note", message=f"no snapshot of the catalogue: {error.problem}"))
