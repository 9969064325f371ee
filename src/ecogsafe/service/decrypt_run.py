"""``decrypt`` as a run of a home, with its line in the audit record; or on a machine that has no home."""

from __future__ import annotations

import threading

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import worst
from ecogsafe.core.events import EventSink, Summary, Tally
from ecogsafe.service.acts import Fetched, note_fetched
from ecogsafe.service.decrypting import Decrypting, DecryptRequest
from ecogsafe.service.running import Run
from ecogsafe.service.unlocking import UnlockKeys


def decrypt_in(run: Run, request: DecryptRequest, keys: UnlockKeys) -> None:
    """Open the files of ``request`` and note each in the audit record.

    Raises
    ------
    EcogsafeError
        As `Decrypting.run`.
    """
    work = Decrypting(request, keys, run.tell, run.stop, run.tally)
    try:
        run.message = work.run()
    finally:
        note_fetched(
            run, "decrypt", "", [Fetched(opened.subject, opened.name, opened.sha256) for opened in work.opened]
        )


def decrypt_alone(request: DecryptRequest, keys: UnlockKeys, emit: EventSink, stop: threading.Event) -> Summary:
    """Open the files of ``request`` where there is no home; nothing is noted.

    Raises
    ------
    EcogsafeError
        As `Decrypting.run`.
    """
    began = monotonic()
    tally = Tally()
    message = Decrypting(request, keys, emit, stop, tally).run()
    return Summary(
        command="decrypt",
        exit_status=int(worst(tally.statuses)),
        files=tally.files(),
        bytes=tally.bytes,
        seconds=round(monotonic() - began, 3),
        message=message,
    )
