"""What `free` relies on: every copy asked for again, just before a file is deleted (DESIGN 4, 5.10).

A copy counts only if its store tells now, by a checksum, that it is the object that was sent; a store on a disk
that the files to be deleted lie on is not even asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ecogsafe.catalog import archives, audit, copies, files
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.stores import StoreRow
from ecogsafe.core.clock import monotonic, utc_stamp
from ecogsafe.core.config import Settings
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, WrongStoreError
from ecogsafe.core.events import ErrorEvent
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.copy_check import CopyCheck, Verdict
from ecogsafe.service.disks import disks_of, same_disk
from ecogsafe.service.evidence import is_proven_good
from ecogsafe.service.policy import Location
from ecogsafe.service.running import Run
from ecogsafe.service.safety import locations_of
from ecogsafe.transfer.meter import Meter

_JOBS = 8
#: a store that failed so often is asked no more in this run
_ENOUGH_FAILURES = 3
#: the volume of an archive proves all its members; it is asked for again after so long, seconds
_VOLUME_S = 300.0


@dataclass(frozen=True, slots=True)
class Claim:
    """One copy that is said to hold a file: its own object, or the volume of an archive."""

    copy: CopyRow
    #: what the object is: the file itself, or the volume
    holder: FileRow
    #: the file was fetched from there and was equal
    was_restored: bool
    #: a good copy of the same content stands beside it: what became of this one matters no more
    is_replaced: bool = False


@dataclass(slots=True)
class Proof:
    """What the copies of one file turned out to be."""

    #: stores whose copy is proven now
    proven: set[str] = field(default_factory=set)
    #: (store, key, reason) of copies that are bad
    bad: list[tuple[str, str, str]] = field(default_factory=list)
    #: (store, reason) of copies that could not be judged, or prove nothing
    unproven: list[tuple[str, str]] = field(default_factory=list)
    #: those of the proven stores that hold it within an archive only
    in_volumes: set[str] = field(default_factory=set)


def claims_of(tx: Transaction, file: FileRow) -> list[Claim]:
    """Return every copy recorded of the content of ``file``."""
    found = [Claim(copy, file, copy.level == "restored") for copy in copies.copies_of_file(tx, file.id)]
    for member, volume in archives.volumes_holding(tx, [file.id]):
        holder = files.file(tx, volume.volume_id)
        if holder is None or volume.state != "stored" or member.sha256 != file.sha256:
            continue
        found += [
            Claim(copy, holder, copy.level == "restored" or member.restored_at is not None)
            for copy in copies.copies_of_file(tx, volume.volume_id)
        ]
    good = {claim.copy.store_id for claim in found if claim.copy.bad_at is None}
    return [
        replace(claim, is_replaced=claim.copy.bad_at is not None and claim.copy.store_id in good) for claim in found
    ]


class Witnesses:
    """The stores of one `free`, opened when first asked.

    Parameters
    ----------
    devices
        ``st_dev`` of everything that may be deleted.
    """

    def __init__(self, run: Run, settings: Settings, devices: Iterable[int]) -> None:
        self._run = run
        self._settings = settings
        self._disks = set().union(*(disks_of(device) for device in devices))
        self._names = {d.url: d.name for d in settings.destination}
        self._stack = ExitStack()
        self._open: dict[str, Connection | str] = {}
        self._rows: Mapping[str, StoreRow] = {}
        self._failures: dict[str, int] = {}
        self._volumes: dict[int, tuple[float, Verdict]] = {}
        #: as the stores themselves tell it now
        self.locations: dict[str, Location] = {}

    def __enter__(self) -> Witnesses:
        with self._run.catalog.read() as tx:
            self._rows = {row.store_id: row for row in catalog_stores.all_stores(tx)}
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    def prove(self, wanted: Mapping[int, Sequence[Claim]]) -> dict[int, Proof]:
        """Ask for every copy of these files, by their ids; note what they turned out to be, and return it."""
        asked = [(file_id, claim) for file_id, claims in wanted.items() for claim in claims if not claim.is_replaced]
        for store_id in sorted({claim.copy.store_id for _, claim in asked}):
            self._connect(store_id)
        once = {claim.copy.id: claim for _, claim in asked}
        with ThreadPoolExecutor(_JOBS, "witness") as pool:
            verdicts = dict(zip(once, pool.map(self._judge, once.values()), strict=True))
        self._run.check_stop(safe="What was freed is noted; everything else is as it was")
        self._note([(once[copy_id], verdict) for copy_id, verdict in verdicts.items()])
        proofs = {file_id: Proof() for file_id in wanted}
        for file_id, claim in asked:
            self._weigh(proofs[file_id], claim, verdicts[claim.copy.id])
        return proofs

    def url_of(self, store_id: str) -> str:
        """Return where a store is."""
        row = self._rows.get(store_id)
        return row.url if row else store_id

    def _connect(self, store_id: str) -> None:
        if store_id in self._open:
            return
        row = self._rows[store_id]
        try:
            name = self._names.get(row.url)
            context = connected(
                self._run.catalog, row.url, name=name, to_write=False, stop=self._run.stop, tell=self._run.tell
            )
            connection = self._stack.enter_context(context)
            if connection.store_id != store_id:
                raise WrongStoreError(row.url, "is another store than the one that holds these copies")
        except EcogsafeError as error:
            self._run.tell(ErrorEvent.of(error))
            self._open[store_id] = f"cannot be asked ({error.problem})"
            return
        place = connection.store.place
        if same_disk(place, self._disks):
            self._open[store_id] = "lies on the same disk as the files to be freed"
            return
        self._open[store_id] = connection
        known = locations_of([row], self._settings)[store_id]
        self.locations[store_id] = Location(store_id, place, known.offsite)

    def _judge(self, claim: Claim) -> Verdict | EcogsafeError | str:
        """Return what the copy is now; text: why its store was not asked."""
        store_id = claim.copy.store_id
        connection = self._open[store_id]
        if isinstance(connection, str):
            return connection
        if self._failures.get(store_id, 0) >= _ENOUGH_FAILURES:
            return "does not answer"
        is_volume = claim.holder.tree == "archive"
        at, known = self._volumes.get(claim.copy.id, (0.0, None)) if is_volume else (0.0, None)
        if known is not None and monotonic() - at < _VOLUME_S:
            return known
        meter = Meter(lambda _event: None, files_total=None, bytes_total=None)
        try:
            verdict = CopyCheck(connection, None, meter, stop=self._run.stop, deep=False).judge(
                claim.copy, claim.holder
            )
        except InterruptedRunError as error:
            return error
        except EcogsafeError as error:
            self._failures[store_id] = self._failures.get(store_id, 0) + 1
            return error
        if is_volume:
            self._volumes[claim.copy.id] = (monotonic(), verdict)
        return verdict

    def _note(self, found: Sequence[tuple[Claim, Verdict | EcogsafeError | str]]) -> None:
        """Record the evidence with its time, as `verify` does."""
        run, now = self._run, utc_stamp()
        judged = [(claim.copy, claim.holder, verdict) for claim, verdict in found if isinstance(verdict, Verdict)]
        acts = []
        with run.catalog.write() as tx:
            for copy, holder, verdict in judged:
                good = verdict.bad is None and is_proven_good(copy, verdict.level)
                if verdict.bad is not None:
                    copies.mark_bad(tx, copy.id, verdict.bad)
                elif copy.bad_at is not None and good:
                    copies.prove_good(tx, copy.id, verdict.level, now)
                else:
                    copies.raise_level(tx, copy.id, verdict.level, now)
                if good:
                    copies.see_again(tx, [copy.id], now)
                acts.append(
                    audit.Act(
                        act="verify",
                        subject=holder.subject,
                        object=copy.key,
                        digest=holder.sha256,
                        store=copy.store_id,
                        result=verdict.level if good else "bad",
                    )
                )
            actor = run.actor
            audit.append_all(tx, acts, run_id=run.run_id, who=actor.who, host=actor.host, version=actor.version)

    def _weigh(self, proof: Proof, claim: Claim, verdict: Verdict | EcogsafeError | str) -> None:
        url = self.url_of(claim.copy.store_id)
        if isinstance(verdict, str):
            proof.unproven.append((url, verdict))
        elif isinstance(verdict, EcogsafeError):
            proof.unproven.append((url, verdict.problem))
        elif verdict.bad is not None:
            proof.bad.append((url, claim.copy.key, verdict.bad))
        elif not is_proven_good(claim.copy, verdict.level):
            proof.bad.append((url, claim.copy.key, claim.copy.bad_reason or "it was called bad before"))
        elif verdict.level != "checksum":
            proof.unproven.append((url, "its store tells no checksum"))
        elif self._settings.policy.level == "restored" and not claim.was_restored:
            proof.unproven.append((url, "it was never brought back, which the policy asks for"))
        else:
            store_id = claim.copy.store_id
            if claim.holder.tree != "archive":
                proof.in_volumes.discard(store_id)
            elif store_id not in proof.proven:
                proof.in_volumes.add(store_id)
            proof.proven.add(store_id)
