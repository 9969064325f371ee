"""``backup`` as a run of its own, with a message to people at its end, whatever the end is."""

from __future__ import annotations

import threading

from ecogsafe.core.errors import EcogsafeError, ExitStatus, worst
from ecogsafe.core.events import ErrorEvent, EventSink, Summary
from ecogsafe.service.backup import BackupRequest, backup
from ecogsafe.service.home import Home
from ecogsafe.service.notifying import Notice, notify
from ecogsafe.service.running import running


def backup_and_notify(
    home: Home, request: BackupRequest, emit: EventSink, *, stop: threading.Event | None = None
) -> Summary:
    """Carry ``request`` out, tell the people of ``[notify]`` how it ended, and return the summary.

    A message that cannot be delivered makes a run that went well end with 3: nobody would know of the next
    one that does not.

    Raises
    ------
    EcogsafeError
        As `ecogsafe.service.backup.backup`; people were told.
    """
    try:
        with running(home, "backup", emit, stop=stop) as run:
            backup(run, request)
            summary = run.summary()
            statuses = set(run.tally.statuses)
    except EcogsafeError as error:
        _tell(home, Notice(status=error.exit_status, text=_text_of(error)), emit)
        raise
    except Exception:
        _tell(home, Notice(status=ExitStatus.BUG, text="met a bug in ecogsafe"), emit)
        raise
    status = ExitStatus(summary.exit_status)
    if _tell(home, Notice(status=status, text=summary.message), emit):
        return summary
    return Summary(
        command=summary.command,
        exit_status=int(worst({*statuses, ExitStatus.PARTIAL})),
        files=summary.files,
        bytes=summary.bytes,
        seconds=summary.seconds,
        counts=summary.counts,
        message=f"{summary.message}; nobody could be notified",
    )


def _tell(home: Home, notice: Notice, emit: EventSink) -> bool:
    """Return whether everybody was told who is to be."""
    try:
        notify(home.settings().notify, notice)
    except EcogsafeError as error:
        emit(ErrorEvent.of(error))
        return False
    return True


def _text_of(error: EcogsafeError) -> str:
    return f"{error.item}: {error.problem}. {error.safe}." + (f" Next: {error.next}" if error.next else "")
