"""``verify --repair``: what is bad is sent again from a good copy, as a new object; the bad one is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import groupby

from ecogsafe.catalog import audit, due, uploads
from ecogsafe.catalog.due import Pair
from ecogsafe.core.config import Destination
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    StoreError,
    VerificationError,
    WrongStoreError,
)
from ecogsafe.core.events import ErrorEvent, Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.folder_access import access_of
from ecogsafe.service.outgoing import marked_subjects
from ecogsafe.service.presence import Listing, base_of
from ecogsafe.service.repair_archives import advice
from ecogsafe.service.repair_sources import NO_GOOD_COPY, GoodCopies, GoodCopy
from ecogsafe.service.running import Run, unfinished_journal
from ecogsafe.service.upload import context_of
from ecogsafe.service.verify_planning import Plan
from ecogsafe.service.withdrawal import refuse_withdrawn
from ecogsafe.transfer.completion import matches, record_stored
from ecogsafe.transfer.file_job import send_file
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Place, Shipment, Status

_SAFE = "What was sent again until now is recorded; what is bad was left as it is"


def repair(run: Run, plan: Plan, identities: Callable[[], Sequence[Identity]]) -> None:
    """Send every bad copy of ``plan`` again that has no good one beside it; tell what cannot be repaired and why.

    Parameters
    ----------
    identities
        Gives the keys that open sealed copies; called when one is to be read.
    """
    with run.catalog.read() as tx:
        bad = due.bad(tx, tuple(plan.places), plan.line.subject)
    if not bad:
        return
    with ExitStack() as stack:
        repairs = _Repairs(run, plan, identities, stack)
        bad.sort(key=lambda pair: (pair[1].subject, pair[0].store_id, pair[0].key))
        for code, pairs in groupby(bad, key=lambda pair: pair[1].subject):
            repairs.of_subject(code, list(pairs))


class _Repairs:
    def __init__(self, run: Run, plan: Plan, identities: Callable[[], Sequence[Identity]], stack: ExitStack) -> None:
        self._run = run
        self._plan = plan
        self._stack = stack
        self._settings = run.home.settings()
        ledger = stack.enter_context(closing(Ledger(run.catalog)))
        self._context = context_of(run, ledger, run.home.recipients(run.catalog))
        self._senders = stack.enter_context(Senders(pace=self._context.pace))
        self._sources = GoodCopies(run, self._settings, identities, stack)
        self._open: dict[str, Connection | StoreError] = {}

    def of_subject(self, code: str, pairs: Sequence[Pair]) -> None:
        """Repair what is bad of one subject, which nobody else touches meanwhile."""
        run = self._run
        try:
            run.release_subject(code)
            run.hold_subject(code, shared=False)
            run.refuse_open_journal(code)
            refuse_withdrawn(run, [code])
            outbox = self._sources.outbox
            if outbox is not None and code in marked_subjects(outbox):
                raise unfinished_journal(code)
        except EcogsafeError as error:
            for pair in pairs:
                self._give_up(pair, error.problem, error.next)
            return
        listings: dict[str, Listing] = {}
        for pair in pairs:
            run.check_stop(safe=_SAFE)
            self._one(pair, listings)

    def _one(self, pair: Pair, listings: dict[str, Listing]) -> None:
        copy, file = pair
        if file.tree == "archive":
            with self._run.catalog.read() as tx:
                self._give_up(pair, *advice(tx, copy, file))
            return
        try:
            connection = self._connection(copy.store_id)
            place, key = self._goal(pair, connection, listings)
            if self._was_sent_before(pair, place, listings[copy.store_id]):
                return
            problem = NO_GOOD_COPY
            for good in self._sources.of(pair):
                outcome = send_file(self._context, _shipment(pair, place, key, good), self._senders)[0]
                if outcome.status in (Status.DONE, Status.PRESENT):
                    self._tell(pair, place, key, f"sent again from {good.name}")
                    return
                if outcome.status is Status.PAUSED:
                    self._run.check_stop(safe=_SAFE)
                self._sources.note_failure(good, outcome.error)
                problem = f"could not be sent again from {good.name}"
                if outcome.error is not None:
                    problem += f": {outcome.error.problem}"
        except InterruptedRunError:
            raise
        except EcogsafeError as error:
            self._give_up(pair, f"could not be sent again: {error.item} {error.problem}", error.next)
            return
        self._give_up(pair, self._sources.why_not(pair) or problem, "")

    def _goal(self, pair: Pair, connection: Connection, listings: dict[str, Listing]) -> tuple[Place, str]:
        """Return where the good one goes: the name of the bad one if that is free, else a version of it."""
        copy, file = pair
        known = self._destination(connection.store.url)
        place = Place(
            store=connection.store,
            store_id=copy.store_id,
            sealed=copy.sealed,
            storage_class=copy.storage_class if known is None else known.storage_class,
        )
        if copy.store_id not in listings:
            listings[copy.store_id] = Listing(self._run.catalog, connection)
        listing = listings[copy.store_id]
        listing.read(copy.key.split("/", 1)[0] + "/", file.subject)
        if connection.store.head(copy.key) is None:
            return place, copy.key
        return place, listing.next_version(base_of(copy.key)[0])

    def _was_sent_before(self, pair: Pair, place: Place, listing: Listing) -> bool:
        """Recognise what an earlier repair stored and did not live to record."""
        copy, file = pair
        for candidate in listing.candidates(base_of(copy.key)[0]):
            if candidate.copy is not None and candidate.key != copy.key:
                continue
            info = place.store.head(candidate.key, checksum=True)
            with self._run.catalog.read() as tx:
                announced = uploads.intents_for(tx, copy.store_id, candidate.key)
            ours = (i for i in announced if i.sha256 == file.sha256 and i.token != copy.token)
            intent = next((i for i in ours if info is not None and matches(info, i)), None)
            if info is None or intent is None:
                continue
            record_stored(self._context, _shipment(pair, place, candidate.key, None), place, intent, info)
            self._tell(pair, place, candidate.key, "an earlier run had sent it")
            return True
        return False

    def _connection(self, store_id: str) -> Connection:
        if store_id not in self._open:
            run, url = self._run, self._plan.places[store_id]
            known = self._destination(url)
            try:
                opened = self._stack.enter_context(
                    connected(
                        run.catalog,
                        url,
                        sse=known.sse if known else None,
                        stop=run.stop,
                        tell=run.tell,
                        access=access_of(known) if known else None,
                    )
                )
                if opened.store_id != store_id:
                    raise WrongStoreError(url, "is another store than the one that holds these copies")
                self._open[store_id] = opened
            except StoreError as error:
                self._open[store_id] = error
        opened_or_not = self._open[store_id]
        if isinstance(opened_or_not, StoreError):
            raise opened_or_not
        return opened_or_not

    def _destination(self, url: str) -> Destination | None:
        return next((d for d in self._settings.destination if one_url(d.url) == one_url(url)), None)

    def _tell(self, pair: Pair, place: Place, key: str, how: str) -> None:
        """Note and tell that a good copy stands in the store."""
        copy, file = pair
        run = self._run
        with run.catalog.write() as tx:
            audit.append(
                tx,
                run_id=run.run_id,
                who=run.actor.who,
                host=run.actor.host,
                version=run.actor.version,
                act="repair",
                subject=file.subject,
                object=copy.key,
                digest=file.sha256,
                store=copy.store_id,
                result="sent-again" if key == copy.key else f"replaced by {key}",
            )
        run.tally.done += 1
        run.counts["repaired"] = run.counts.get("repaired", 0) + 1
        run.tell(
            Item(
                action="repair",
                status="done",
                subject=file.subject,
                segment=file.segment,
                key=key,
                store=place.store.name,
                bytes=file.size,
                digest=file.sha256,
                message=how if key == copy.key else f"{how}, beside the bad {copy.key}, which is left as it is",
                details={"bad": copy.key},
            )
        )

    def _give_up(self, pair: Pair, problem: str, next_step: str) -> None:
        """Tell why a copy stays bad."""
        copy, _ = pair
        run = self._run
        run.tally.failed += 1
        run.tally.note(ExitStatus.VERIFY_FAILED)
        run.counts["not_repaired"] = run.counts.get("not_repaired", 0) + 1
        run.tell(
            ErrorEvent.of(
                VerificationError(
                    f"{self._plan.places[copy.store_id]}/{copy.key}",
                    f"is bad and was not repaired: {problem}",
                    safe="It was left as it is, and it does not count",
                    next=next_step or "ecogsafe status shows which copies are left",
                )
            )
        )


def _shipment(pair: Pair, place: Place, key: str, good: GoodCopy | None) -> Shipment:
    copy, file = pair
    return Shipment(
        tree=file.tree,
        path=file.path,
        subject=file.subject,
        segment=file.segment,
        size=file.size,
        keys={copy.sealed: key},
        places=(place,),
        open_source=_nothing_to_open if good is None else good.open,
        text_watch=None if good is None else good.watch,
        content_id=file.id,
    )


def _nothing_to_open() -> Source:
    raise TypeError("this object stands already: nothing is read for it")
