"""Subjects that withdrew: whether a store still holds anything of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ecogsafe.catalog import audit, inventories
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import Item
from ecogsafe.service.inventory_counts import Counts
from ecogsafe.service.inventory_listing import StoreListing
from ecogsafe.service.running import Run

#: ``act`` of the audit row
PROVEN = "withdrawal proven"


def tell_of_withdrawn(
    run: Run, listing: StoreListing, counts: Counts, withdrawn: Collection[str], unfinished: Counter[str]
) -> None:
    """Say of each subject that withdrew what stands of it; where nothing does, note that in the audit record.

    Only subjects of which this store was ever known to hold something are told of.

    Parameters
    ----------
    unfinished
        Unfinished uploads by subject.
    """
    for code in sorted(withdrawn):
        with run.catalog.read() as tx:
            gone = [row for row in inventories.removed(tx, code) if row.store_id == listing.store_id]
            kept = inventories.versions_kept(tx, listing.store_id, code)
            told = [row for row in audit.of_subject(tx, code) if row.store == listing.store_id]
        standing = counts.standing(code) + unfinished[code]
        if standing:
            run.counts["of_withdrawn_subjects"] = run.counts.get("of_withdrawn_subjects", 0) + standing
            run.tally.note(ExitStatus.PARTIAL)
            message = f"withdrew, and {standing:,} objects or unfinished uploads of it are still there: "
            message += f"ecogsafe subjects withdraw {code} lists the commands that remove them"
        elif kept:
            message = f"withdrew; nothing of it is listed, but {kept:,} copies had versions, which this listing does "
            message += f"not show: ecogsafe subjects withdraw {code} prints the check"
        elif gone:
            message = "withdrew, and is proven gone from this store: "
            message += f"all {len(gone):,} recorded copies are gone, and nothing of it is listed"
            if not any(row.act == PROVEN and row.at > _newest(gone) for row in told):
                _note_proven(run, listing, code, len(gone))
        else:
            continue
        proven = bool(gone) and not standing and not kept
        run.tell(
            Item(
                action="withdrawn",
                status="note",
                subject=code,
                store=listing.name,
                message=message,
                details={"proven_gone": proven},
            )
        )


def _newest(gone: list[CopyRow]) -> str:
    return max(row.bad_at or "" for row in gone)


def _note_proven(run: Run, listing: StoreListing, code: str, copies: int) -> None:
    with run.catalog.write() as tx:
        audit.append(
            tx,
            run_id=run.run_id,
            who=run.actor.who,
            host=run.actor.host,
            version=run.actor.version,
            act=PROVEN,
            subject=code,
            store=listing.store_id,
            result=f"{copies} copies gone, nothing listed",
        )
