"""What a ``backup`` says at its end: of each subject, what is where and what is still missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ecogsafe.catalog import archives, copies
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import Item
from ecogsafe.service.backup_places import Goal
from ecogsafe.service.backup_subjects import Outbox
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.service.running import Run

#: tree, path, bytes, and the time of the file where it counts
_State = tuple[str, str, int, int | None]


def tell_whereabouts(run: Run, goals: Sequence[Goal], outbox: Outbox) -> int:
    """Tell a line for each subject, from the catalogue; return how many are complete at every destination.

    A subject that is not makes the run end with 3 at least: it never looks done while something is missing.
    """
    files: dict[tuple[str, str], list[OutgoingFile]] = {}
    for data_type, found in outbox.found.items():
        for file in found.files:
            files.setdefault((file.parts.code, data_type), []).append(file)
    whole = 0
    missing_total: Counter[str] = Counter()
    for code in outbox.subjects():
        present: dict[str, int] = {}
        missing: dict[str, int] = {}
        wanted: set[tuple[str, str]] = set()
        for goal in goals:
            due = [f for data_type in goal.destination.types for f in files.get((code, data_type), ())]
            if not due:
                continue
            wanted |= {(f.tree, f.path) for f in due}
            store_id = goal.store_id(run)
            with run.catalog.read() as tx:
                held = _held(tx, goal, store_id, code) if store_id else set()
            there = sum(not held.isdisjoint(_states(f)) for f in due)
            present[goal.name] = there
            if there < len(due):
                missing[goal.name] = len(due) - there
        missing_total.update(missing)
        whole += not missing
        run.tell(
            Item(
                action="backup",
                status="failed" if missing else "done",
                subject=code,
                message=_words(len(wanted), present, missing),
                details={"files": len(wanted), "present": present, "missing": missing},
            )
        )
    if missing_total:
        run.tally.note(ExitStatus.PARTIAL)
        run.counts["copies_missing"] = missing_total.total()
    return whole


def _states(file: OutgoingFile) -> tuple[_State, _State]:
    where, status = (file.tree, file.path), file.status
    return (*where, status.st_size, status.st_mtime_ns), (*where, status.st_size, None)


def _held(tx: Transaction, goal: Goal, store_id: str, code: str) -> set[_State]:
    """Return every file that a place holds good and whole.

    A file of an archive that was only touched since stays there as it is, under its old time.
    """
    if not goal.destination.archive:
        return {
            (file.tree, file.path, file.size, file.mtime_ns)
            for copy, file in copies.copies_in_store(tx, store_id, code)
            if copy.bad_at is None and file.superseded_at is None
        }
    volumes = archives.volumes_of(tx, subject=code, store_id=store_id, state="stored")
    return {
        (member.tree, member.path, member.source.size, None)
        for volume in volumes
        if archives.stands(tx, volume)
        for member in archives.members_of(tx, volume.volume_id)
    }


def _words(files: int, present: dict[str, int], missing: dict[str, int]) -> str:
    where = ", ".join(f"{name} {count}" for name, count in present.items())
    told = f"{files} files; there: {where}"
    if missing:
        told += "; MISSING: " + ", ".join(f"{count} at {name}" for name, count in missing.items())
    return told
