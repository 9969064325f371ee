"""`apply_plan`: a plan carried out under a journal; `continue_journal`: whatever was cut, carried to its end.

The order of DESIGN 5.4: look at everything, check the room, write the journal, read it back, and only then
touch the first file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ecogsafe import __version__
from ecogsafe.core.clock import utc_now, utc_stamp
from ecogsafe.core.errors import (
    LockedError,
    PlanConflictError,
    SourceUnreadableError,
    UsageError,
)
from ecogsafe.core.events import EventSink
from ecogsafe.deid.backward import go_back
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.export_place import folder_inode
from ecogsafe.deid.forward import go_forward
from ecogsafe.deid.journal import Journal, JournalKind
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.planned import DeidPlan
from ecogsafe.deid.prepare import (
    Clean,
    check_places,
    check_room,
    choose_mode,
    missing_folders,
    prepare,
    source_folders,
)
from ecogsafe.deid.work import Stop, Work, check_marker, reason_of, set_marker


def never() -> bool:
    """Return False: nobody asks the run to stop."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """How a plan is carried out."""

    #: the sources stay as they are
    copy: bool = False
    #: files modified in the last so many seconds are left
    settle_s: float = 60.0
    #: contents of Natus files stay; such files never go plain
    keep_native_content: bool = False


def apply_plan(
    plan: DeidPlan,
    *,
    out: Path,
    journals: JournalFolder,
    clean: Clean,
    events: EventSink,
    options: ApplyOptions | None = None,
    disk: Disk | None = None,
    stop: Stop = never,
    now: Callable[[], datetime] = utc_now,
) -> Outcome:
    """Carry ``plan`` out; the caller holds the subject's exclusive lock.

    Parameters
    ----------
    out
        An existing folder.
    clean
        What must change in a file; raises MalformedFileError where nobody can tell.
    stop
        Asked between two segments.

    Returns
    -------
    Outcome
        ``journal`` is None where nothing could move.

    Raises
    ------
    PlanConflictError
        The plan has conflicts; nothing was changed.
    UsageError
        OUT does not exist, lies inside EXPORT, or has a link on the way.
    LockedError
        A journal of the subject is open: continue it first (`continue_journal`).
    NoSpaceError
        OUT or the home has too little room; nothing was changed.
    InterruptedRunError, SourceUnreadableError
        Cut on the way; the journal stays open.
    """
    options = options or ApplyOptions()
    disk = disk or Disk()
    root, out = plan.root.absolute(), out.absolute()
    if journals.open_id(plan.code) is not None:
        raise LockedError(plan.code, "an earlier run was cut and must be continued first")
    if plan.conflicts:
        count = len(plan.conflicts)
        raise PlanConflictError(
            plan.code,
            f"the plan has {count} conflict{'s' if count > 1 else ''}",
            next="ecogsafe deid plan shows them; move one of the sources out of EXPORT",
        )
    if not out.is_dir():
        raise UsageError("OUT", "is not a folder", next="make it first")
    check_places(root, out)
    try:
        check_marker(disk, journals, out, plan.code)
        journal, outcome = _begin(plan, root, out, journals, clean, options, disk, now)
    except OSError as error:
        raise SourceUnreadableError("EXPORT", f"could not be prepared ({reason_of(error)})") from None
    for left in outcome.not_done:
        events(left.event("apply", plan.code, root))
    if journal is None:
        return outcome
    journals.write(journal)
    try:
        set_marker(disk, journal, first=True)
    except FileExistsError:
        journals.end(journal.id)
        raise LockedError(plan.code, "another run has just begun to work on it") from None
    finished = _carry(Work.of(journal, journals=journals, disk=disk, events=events, stop=stop))
    finished.not_done = [*outcome.not_done, *finished.not_done]
    return finished


def _begin(
    plan: DeidPlan,
    root: Path,
    out: Path,
    journals: JournalFolder,
    clean: Clean,
    options: ApplyOptions,
    disk: Disk,
    now: Callable[[], datetime],
) -> tuple[Journal | None, Outcome]:
    mode = choose_mode(disk, plan, out, copy=options.copy)
    now_ns = int(now().timestamp() * 1e9)
    prepared = prepare(
        plan,
        disk=disk,
        clean=clean,
        mode=mode,
        settled_before_ns=now_ns - int(options.settle_s * 1e9),
        now_ns=now_ns,
        keep_native_content=options.keep_native_content,
    )
    outcome = Outcome(not_done=prepared.not_done)
    if not prepared.entries:
        return None, outcome
    check_room(disk, out, prepared.entries, mode)
    journal = Journal(
        id=journals.new_id(plan.code),
        subject=plan.code,
        kind=JournalKind.APPLY,
        mode=mode,
        tool=__version__,
        created=utc_stamp(),
        export_root=root,
        export_inode=folder_inode(disk, root),
        out_root=out,
        entries=tuple(prepared.entries),
        folders_created=missing_folders(disk, out, prepared.entries),
        source_folders=source_folders(disk, prepared.entries),
    )
    return journal, outcome


def continue_journal(
    name: str,
    *,
    journals: JournalFolder,
    events: EventSink,
    disk: Disk | None = None,
    stop: Stop = never,
) -> Outcome:
    """Carry the open journal ``name`` to its end, apply or undo; safe to repeat, also on one that has ended.

    Raises
    ------
    UsageError, VerificationError, LabKeyError
        It cannot be read.
    InterruptedRunError, NoSpaceError, SourceUnreadableError
        Cut again; it stays open.
    """
    journal = journals.read(name)
    return _carry(Work.of(journal, journals=journals, disk=disk or Disk(), events=events, stop=stop))


def _carry(work: Work) -> Outcome:
    try:
        return go_forward(work) if work.journal.kind is JournalKind.APPLY else go_back(work)
    except OSError as error:
        # the chain would carry a source path
        raise SourceUnreadableError(
            work.journal.subject,
            f"the disk refused ({reason_of(error)})",
            safe="The journal stays open and holds every byte that was changed",
            next="mend the disk, then run the same command again",
        ) from None
