"""``audit``: who did what, what became of one object, and whether the record is as it was written."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.catalog import audit, meta
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.audit import AuditRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import connected
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.running import Run
from ecogsafe.service.snapshot_copies import snapshots_in, take

_TEMPORARY = ".audit-"
#: what an own check can never show
_BLIND = "somebody who may write the catalogue can make a whole record anew; that shows against a sealed snapshot only"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """What the user asked for."""

    check: bool = False
    #: the store whose newest snapshot the record is held against
    url: str | None = None
    #: a key, or a path below OUT
    object: str | None = None
    #: the newest so many
    last: int = 50

    def check_wishes(self) -> None:
        """Raise UsageError for wishes that do not go together."""
        if self.url is not None and not self.check:
            raise UsageError("--from", "belongs to --check", next="ecogsafe audit --check --from URL")
        if self.check and self.object is not None:
            raise UsageError("--check", "looks at the whole record", next="leave --object out")


def audit_acts(run: Run, request: AuditRequest, password: PasswordSource) -> None:
    """Show the newest acts, those of one object, or what is wrong with the record.

    Raises
    ------
    UsageError
        The wishes do not go together, or the store holds no snapshot.
    LabKeyError
        The snapshot is sealed and the lab key does not open.
    StoreError
        The store does not answer.
    """
    request.check_wishes()
    if request.check:
        _check(run, request.url, password)
    else:
        _show(run, request)


def _show(run: Run, request: AuditRequest) -> None:
    with run.catalog.read() as tx:
        rows = audit.recent(tx, request.last, object=request.object)
        in_all = audit.head(tx)
        urls = {row.store_id: row.url for row in catalog_stores.all_stores(tx)}
    for row in reversed(rows):
        run.tell(_item(row, urls.get(row.store or "", row.store)))
    if request.object is None:
        run.message = f"{len(rows):,} of {_acts(in_all)}, the newest last"
    elif rows:
        run.message = f"{_acts(len(rows))} on this object, the newest last"
    else:
        run.message = "no act on an object of this key or path is recorded"


def _item(row: AuditRow, store: str | None) -> Item:
    what = " ".join(word for word in (row.object or row.subject, f"at {store}" if store else "") if word)
    digest = f", SHA-256 {row.digest}" if row.digest else ""
    return Item(
        action="audit",
        status="note",
        subject=row.subject,
        key=row.object,
        store=store,
        digest=row.digest,
        message=f"{row.seq:6}  {row.at[:19]}Z  {row.who}@{row.host}  {row.act}: {row.result}  {what}{digest}".rstrip(),
        details={
            "seq": row.seq,
            "at": row.at,
            "who": row.who,
            "host": row.host,
            "version": row.version,
            "run": row.run_id,
            "act": row.act,
            "result": row.result,
        },
    )


def _check(run: Run, url: str | None, password: PasswordSource) -> None:
    with run.catalog.read() as tx:
        problems = audit.check(tx)
        rows = audit.head(tx)
    sealed = _against(run, url, password) if url is not None else None
    found = [*problems, *(sealed[1] if sealed else [])]
    for problem in found:
        run.tally.failed += 1
        run.tell(Item(action="audit", status="failed", message=problem))
    if found:
        run.tally.note(ExitStatus.VERIFY_FAILED)
        run.message = f"the record is not as it was written: {len(found):,} problem{'' if len(found) == 1 else 's'}"
    elif sealed is None:
        run.message = f"the chain of {_acts(rows)} is whole; not seen: {_BLIND} (--from URL, with the password)"
    else:
        run.message = (
            f"the chain of {_acts(rows)} is whole, and the same as in the sealed snapshot up to act {sealed[0]:,}; "
            f"not seen: whether what came after it ({_acts(rows - sealed[0])} now) was made anew or cut off"
        )


def _acts(number: int) -> str:
    return f"{number:,} act" if number == 1 else f"{number:,} acts"


def _against(run: Run, url: str, password: PasswordSource) -> tuple[int, list[str]]:
    """Hold the record against the newest snapshot of this catalogue at ``url``."""
    home = run.home
    identity = home.identity(password, home.recipients(run.catalog))
    with run.catalog.read() as tx:
        catalogue_id = meta.get(tx, "catalogue_id")
    target = Path(home.root) / f"{_TEMPORARY}{secrets.token_hex(4)}.sqlite"

    def is_ours(other: Catalog) -> bool:
        with other.read() as tx:
            return meta.get(tx, "catalogue_id") == catalogue_id

    try:
        with connected(run.catalog, url, to_write=False, stop=run.stop, tell=run.tell) as connection:
            found = snapshots_in(connection.store)
            if not found:
                raise UsageError(url, "holds no snapshot of a catalogue", next="name another store")
            taken, _ = take(connection.store, found, identity, target, run.tell, fits=is_ours)
        with taken.catalog as older, run.catalog.read() as tx, older.read() as other:
            compared = audit.against(tx, other)
        at = taken.snapshot.at.strftime("%Y-%m-%d %H:%M:%S UTC")
        run.tell(Item(action="snapshot", status="note", key=taken.snapshot.key, message=f"sealed {at}"))
        return compared
    finally:
        for piece in home.root.glob(f"{target.name}*"):
            piece.unlink()
