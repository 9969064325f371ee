"""``free``: local files deleted, each only when the policy is met by evidence of this very moment (DESIGN 4, 5.10).

For a handful of files at a time: each is read once through one descriptor and compared with what was sent; every
copy is asked for at its store; what is about to be deleted is durable in the catalogue and the audit record; then
each file is looked at once more and its name removed. Whatever moment a run is killed at, the disk tells what is
still there, and the same command goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, ExitStatus, LockedError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.free_evidence import Witnesses
from ecogsafe.service.free_keys import linking_key_is_elsewhere
from ecogsafe.service.free_note import Note
from ecogsafe.service.free_planning import Outlook, find_local, outlook_of
from ecogsafe.service.free_work import Freeing
from ecogsafe.service.outgoing import Outgoing, marked_subjects
from ecogsafe.service.persons import Confirm
from ecogsafe.service.running import Run, raise_if_all_failed, unfinished_journal
from ecogsafe.service.snapshots import snapshot_everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeRequest:
    """What the user asked for."""

    #: OUT, a tree of it, or one subject's folder in a tree
    folder: Path
    #: ask the stores, tell what would be deleted, delete nothing
    dry_run: bool = False


def free(run: Run, request: FreeRequest, confirm: Confirm) -> None:
    """Delete what is proven to be safe elsewhere, and tell of every file that stays.

    Raises
    ------
    UsageError
        DIR cannot be freed, or nobody said yes; nothing was deleted.
    LockedError
        The subject is being de-identified or worked on.
    InterruptedRunError
        The run was told to stop; what was deleted is noted.
    """
    found = find_local(request.folder)
    _tell_left(run, found)
    note = Note(request.folder, version=run.actor.version)
    outlooks = _outlooks(run, found)
    work = Freeing(run, run.home.settings(), note, dry_run=request.dry_run)
    try:
        _free(run, request, confirm, work, outlooks)
    finally:
        work.tell_kept()
    run.message = work.verdict(len(found.files))


def _free(run: Run, request: FreeRequest, confirm: Confirm, work: Freeing, outlooks: Sequence[Outlook]) -> None:
    settings = run.home.settings()
    candidates = [candidate for outlook in outlooks for candidate in outlook.candidates]
    for outlook in outlooks:
        for kept in outlook.kept:
            work.keep(kept.file, kept.reason, kept.next, together=kept.next if kept.is_common else None)
    if candidates and not linking_key_is_elsewhere(run):
        how = "ecogsafe status tells what to do"
        for candidate in candidates:
            work.keep(candidate.file, "the linking key has no second copy", how, together=how)
        candidates = []
    if candidates:
        size = sum(candidate.row.size for candidate in candidates)
        if not request.dry_run:
            subjects = len({candidate.row.subject for candidate in candidates})
            confirm(
                f"Delete up to {len(candidates):,} files ({size:,} bytes, {subjects} subjects) in this folder, each "
                "only after its copies elsewhere are proven now?"
            )
        with descriptor_of(request.folder) as root:
            devices = {os.fstat(root).st_dev, *(candidate.file.status.st_dev for candidate in candidates)}
            with Witnesses(run, settings, devices) as witnesses:
                for outlook in outlooks:
                    work.free_subject(outlook, witnesses, root)
        work.finish()
        if run.tally.done:
            snapshot_everywhere(run)


def _tell_left(run: Run, found: Outgoing) -> None:
    """Tell of what is not of our form: it stays, so that the folder is not empty afterwards."""
    for shown, reason in found.left:
        run.tally.left_behind += 1
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(Item(action="free", status="left_behind", path=shown, message=reason))
    for error in found.unreadable:
        run.fail(error)


def _outlooks(run: Run, found: Outgoing) -> list[Outlook]:
    """Hold every subject alone, and return what could be freed of each; those that others work on are left out."""
    marked = marked_subjects(found.root)
    settings = run.home.settings()
    outlooks: list[Outlook] = []
    locked: list[EcogsafeError] = []
    for code in found.subjects():
        try:
            if code in marked:
                raise unfinished_journal(code)
            run.refuse_open_journal(code)
            run.hold_subject(code, shared=False)
            # an apply may have begun between the first look and the lease
            run.refuse_open_journal(code)
        except LockedError as error:
            locked.append(error)
            continue
        outlooks.append(outlook_of(run, settings, code, [f for f in found.files if f.parts.code == code]))
    raise_if_all_failed(locked, len(found.subjects()))
    for refusal in locked:
        run.fail(refusal)
    return outlooks


@contextmanager
def descriptor_of(folder: Path) -> Iterator[int]:
    """Give a descriptor of DIR; it may be given as a link."""
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError("DIR", f"cannot be opened ({os.strerror(error.errno or 0)})") from error
    try:
        yield root
    finally:
        os.close(root)
