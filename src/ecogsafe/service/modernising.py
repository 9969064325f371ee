"""``modernise``: old copies in, today's copies out. The old ones are read and never touched.

Each old copy is opened, proven whole and laid out below a folder that the user names; then everything there
goes sealed to the destinations, as ``upload`` sends it. A killed run goes on: old copies that were laid out
are not read again, and what is stored is not sent again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.config import Destination
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    SourceUnreadableError,
    StoreError,
    UsageError,
)
from ecogsafe.core.events import Item
from ecogsafe.service.acts import Fetched, note_fetched
from ecogsafe.service.modernise_notes import ModerniseNotes
from ecogsafe.service.modernise_sources import LocalCopy, StoredCopy, old_copies_in
from ecogsafe.service.old_copies import OldCopyTaker
from ecogsafe.service.outgoing import find_outgoing
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.unlocking import UnlockKeys
from ecogsafe.service.upload import upload
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.service.withdrawn import withdrawn_on
from ecogsafe.transfer.meter import Meter

_TYPES = ("v", "e")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerniseRequest:
    """What the user asked for."""

    #: paths of files and folders, URLs of stores
    sources: tuple[str, ...]
    #: where the old copies are laid out
    folder: Path
    #: default: the destinations of config.toml
    urls: tuple[str, ...] = ()
    dry_run: bool = False

    def check(self) -> None:
        """Raise UsageError where the folder is not there."""
        if not self.folder.is_dir():
            raise UsageError("-d", "there is no such folder", next="make it (mkdir) where there is room for all of it")


def modernise(run: Run, request: ModerniseRequest, keys: UnlockKeys) -> None:
    """Carry ``request`` out and tell of every file.

    Raises
    ------
    UsageError
        There is nothing to do, or nowhere to send it; nothing was done.
    LabKeyError
        The password opens none of the old copies.
    StoreError
        No destination can be reached; what was laid out is kept.
    InterruptedRunError
        The run was told to stop; the next one goes on.
    """
    request.check()
    places = _places(run, request)
    work = _LayingOut(run, request, keys)
    if request.dry_run:
        work.tell_plan()
        return
    work.run_all()
    sent = _send(run, request.folder, places)
    run.message = f"{work.opened} old copies opened, {work.known} were opened before; {sent}"


def _places(run: Run, request: ModerniseRequest) -> list[Destination]:
    """Return where everything goes; what only takes files in the clear, or volumes, is told and left out."""
    if request.urls:
        return [Destination(name=url, url=url) for url in request.urls]
    places = []
    for destination in run.home.settings().destination:
        if destination.plain or destination.archive:
            command = "ecogsafe archive" if destination.archive else "ecogsafe deid scan, then ecogsafe upload --plain"
            _note(run, f"is not filled from old copies: {command} does that afterwards", destination.name)
        else:
            places.append(destination)
    if not places:
        raise UsageError(
            "config.toml",
            "has no destination that old copies can be sent to sealed",
            next="name one with --to URL, or add a [[destination]]",
        )
    return places


def _note(run: Run, message: str, store: str | None = None) -> None:
    run.tell(Item(action="modernise", status="note", store=store, key=store, message=message))


class _LayingOut:
    def __init__(self, run: Run, request: ModerniseRequest, keys: UnlockKeys) -> None:
        self._run = run
        self._request = request
        self._notes = ModerniseNotes(request.folder)
        self._meter = Meter(run.tell, files_total=None, bytes_total=None)
        self._taker = OldCopyTaker(
            request.folder,
            keys,
            with_trees=True,
            action="modernise",
            tell=run.tell,
            tally=run.tally,
            stop=run.stop,
        )
        self._failures: list[EcogsafeError] = []
        self._withdrawn = withdrawn_on(run)
        self.opened = 0
        self.known = 0

    def tell_plan(self) -> None:
        """Tell of every old copy that would be opened."""
        count = size = 0
        for source in self._request.sources:
            for copy in old_copies_in(self._run, source):
                is_known = self._notes.laid_out(copy.identity) is not None
                self._tell(copy, "present" if is_known else "planned", "opened before" if is_known else "")
                count += not is_known
                size += 0 if is_known else copy.size
        self._run.message = f"{count} old copies, {size:,} bytes would be opened"

    def run_all(self) -> None:
        """Open every old copy; one that fails is told and the others go on."""
        found = 0
        with self._meter:
            for source in self._request.sources:
                for copy in old_copies_in(self._run, source):
                    found += 1
                    self._run.check_stop(safe="What was laid out is kept; the old copies are not touched")
                    self._one(copy)
        if not found:
            raise UsageError("SOURCE", "holds no old copies (files that end with .enc)", next="name the files")
        raise_if_all_failed(self._failures, found)

    def _one(self, copy: LocalCopy | StoredCopy) -> None:
        run = self._run
        if copy.subject in self._withdrawn:
            self._tell(copy, "left_behind", f"was withdrawn on {self._withdrawn[copy.subject]}: it is not opened")
            return
        if (known := self._notes.laid_out(copy.identity)) is not None:
            self.known += 1
            run.tally.left_behind += known.left_behind
            if known.left_behind:
                run.tally.note(ExitStatus.NOT_UNDERSTOOD)
            left = f"; {known.left_behind} files of it were left behind" if known.left_behind else ""
            self._tell(copy, "note", f"was opened before{left}")
            return
        try:
            with copy.opened(self._meter, run.stop) as opened:
                taken = self._taker.take(opened, key=copy.shown)
        except InterruptedRunError:
            raise
        except EcogsafeError as error:
            self._fail(error)
            return
        except OSError as error:
            self._fail(SourceUnreadableError(copy.shown, f"cannot be read ({os.strerror(error.errno or 0)})"))
            return
        if not taken.different:
            self._notes.add(copy.identity, taken.paths, taken.left_behind)
        self.opened += 1
        note_fetched(run, "modernise", copy.store_id, [Fetched(taken.code or copy.subject, copy.shown, taken.sha256)])

    def _fail(self, error: EcogsafeError) -> None:
        self._failures.append(error)
        self._run.fail(error)

    def _tell(self, copy: LocalCopy | StoredCopy, status: str, message: str) -> None:
        self._run.tell(
            Item(
                action="modernise",
                status=status,
                subject=copy.subject,
                path=copy.shown,
                bytes=copy.size,
                message=message,
            )
        )


def _send(run: Run, folder: Path, places: list[Destination]) -> str:
    """Send everything below ``folder`` to every place, sealed; return what came of it."""
    kinds = [data_type for data_type in _TYPES if find_outgoing(folder, data_type).files]
    failures: list[EcogsafeError] = []
    sent = 0
    for place in places:
        for data_type in kinds:
            if data_type not in place.types:
                continue
            request = UploadRequest(folder=folder, url=place.url, data_type=data_type, encrypt=data_type == "e")
            try:
                upload(run, request)
            except StoreError as error:
                # the others go on, and the next run makes up for it
                failures.append(error)
                run.fail(error)
            else:
                sent += 1
    if failures and not sent:
        raise failures[0]
    return f"sealed copies at {len(places)} places" if not failures else f"{len(failures)} transfers failed"
