"""Which subjects a ``backup`` sends: what stops one leaves the others to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, LockedError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.outgoing import NOTHING_LEFT, Outgoing, OutgoingFile, find_outgoing, marked_subjects
from ecogsafe.service.running import Run, unfinished_journal
from ecogsafe.service.upload import tell_left
from ecogsafe.service.withdrawal import refuse_withdrawn


@dataclass(slots=True)
class Outbox:
    """What waits below DIR, by type (``v``, ``e``), and which subjects of it stay here this time."""

    folder: Path
    found: dict[str, Outgoing]
    #: why, by code
    refused: dict[str, EcogsafeError] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)

    def subjects(self) -> list[str]:
        """Return every code found, withdrawn ones left out, sorted."""
        codes = {code for outgoing in self.found.values() for code in outgoing.subjects()}
        return sorted(codes - self.withdrawn)

    def files(self, data_type: str) -> list[OutgoingFile]:
        """Return the files of one type that may be sent."""
        return self.of_subjects(data_type).files

    def of_subjects(self, data_type: str) -> Outgoing:
        """Return what was found of one type, without the subjects that stay here."""
        found = self.found[data_type]
        kept = [f for f in found.files if f.parts.code not in self.refused and f.parts.code not in self.withdrawn]
        return Outgoing(found.root, kept)

    def refuse(self, run: Run, code: str, error: EcogsafeError) -> None:
        """Send nothing more of ``code`` in this run, and tell why."""
        self.refused[code] = error
        run.counts["subjects_refused"] = len(self.refused)
        run.fail(error)
        run.release_subject(code)


def find_outbox(run: Run, folder: Path, types: Iterable[str]) -> Outbox:
    """Return what waits below ``folder`` of the types that any destination takes; tell what is not of the form.

    Raises
    ------
    UsageError
        There is no such folder, or nothing of a subject in it.
    EcogsafeError
        It cannot be looked at.
    """
    outbox = Outbox(folder, {data_type: find_outgoing(folder, data_type) for data_type in sorted(types)})
    told: set[tuple[str, str]] = set()
    for outgoing in outbox.found.values():
        # a folder that is one tree is walked once for each type, and what is left there was told before
        outgoing.left = [entry for entry in outgoing.left if _below(entry[0]) not in told]
        told |= {_below(shown) for shown, _ in outgoing.left}
        tell_left(run, outgoing, "backup")
    if all(outgoing.is_rightly_empty for outgoing in outbox.found.values()):
        run.tell(Item(action="backup", status="note", message=NOTHING_LEFT))
    elif not any(outgoing.files for outgoing in outbox.found.values()):
        unreadable = [error for outgoing in outbox.found.values() for error in outgoing.unreadable]
        if unreadable:
            raise unreadable[0]
        raise UsageError(
            "DIR",
            "holds nothing of a subject in the layout of ecogsafe deid apply",
            safe="Nothing was sent",
            next="check DIR, or outbox in config.toml; or run ecogsafe deid apply first",
        )
    return outbox


def _below(shown: str) -> tuple[str, str]:
    """Return a masked path without its tree, which is only guessed for what is not of the form."""
    first, _, rest = shown.partition("/")
    return ("", rest) if rest else (first, "")


def admit_subjects(run: Run, outbox: Outbox) -> None:
    """Keep `deid` away from the subjects that are sent; those it is at work on stay here this time."""
    marked = marked_subjects(outbox.folder)
    for code in outbox.subjects():
        try:
            refuse_withdrawn(run, [code])
        except UsageError as error:
            outbox.withdrawn.add(code)
            message = f"{error.problem.split(':')[0]}: nothing of it is sent"
            run.tell(Item(action="backup", status="left_behind", subject=code, message=message))
            continue
        try:
            run.hold_subject(code, shared=True)
            # only now: until the lease is ours, an apply may begin
            run.refuse_open_journal(code)
            if code in marked:
                raise unfinished_journal(code)
        except LockedError as error:
            outbox.refuse(run, code, error)


def raise_if_all_refused(outbox: Outbox) -> None:
    """Raise why, if every subject has to stay here: that stops the run."""
    codes: Mapping[str, EcogsafeError] = outbox.refused
    if codes and set(outbox.subjects()) <= set(codes):
        raise next(iter(codes.values()))
