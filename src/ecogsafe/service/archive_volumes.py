"""One volume after the other sent to its store; a file that changes meanwhile is left out, and said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from ecogsafe.catalog import archives
from ecogsafe.catalog.archives import VolumeRow
from ecogsafe.core.errors import EcogsafeError, ExitStatus, SourceChangedError
from ecogsafe.core.events import Item
from ecogsafe.service.archive_planning import PlannedVolume
from ecogsafe.service.running import Run
from ecogsafe.service.store_failures import StoreFailures
from ecogsafe.transfer.archive.making import VolumeWork
from ecogsafe.transfer.archive.members import MemberLostError, MemberSource
from ecogsafe.transfer.archive.planning import plan_again, plan_volume
from ecogsafe.transfer.archive.sending import send_volume
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Outcome, Place, Status


class VolumeSender:
    """Sends the volumes of a run.

    Parameters
    ----------
    troubles
        Takes what is wrong with the store itself.
    others_go_on
        See `ecogsafe.transfer.archive.sending.send_volume`; None: there are no others.
    """

    def __init__(
        self,
        run: Run,
        context: TransferContext,
        place: Place,
        senders: Senders,
        troubles: StoreFailures,
        *,
        others_go_on: Callable[[], bool] | None = None,
    ) -> None:
        self._run = run
        self._troubles = troubles
        self._context = context
        self._place = place
        self._senders = senders
        self._failures: list[EcogsafeError] = []
        self._others_go_on = others_go_on or (lambda: False)
        self._detached: PlannedVolume | None = None

    def take_failures(self) -> list[EcogsafeError]:
        """Return why volumes failed since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def take_detached(self) -> PlannedVolume | None:
        """Return the volume of the last call, to be sent once more, if its store stalled while others went on."""
        detached, self._detached = self._detached, None
        return detached

    def send(self, planned: PlannedVolume) -> VolumeRow | None:
        """Send one volume and tell of it and its files; return it once it is stored."""
        members = [member.source for member in planned.members]
        row = planned.row
        while members:
            if row is not None:
                work = plan_again(row, self._place, members)
                row = None
            else:
                work = plan_volume(self._context.ledger, planned.name, self._place, members)
            try:
                outcome = send_volume(self._context, work, self._senders, others_go_on=self._others_go_on)
            except MemberLostError as lost:
                members = self._without_lost(members, lost)
                continue
            if outcome.status is Status.DETACHED:
                self._detach(planned, work)
                return None
            with self._run.counting:
                return self._note(work, outcome)
        with self._run.catalog.read() as tx:
            noted = archives.volumes_of(tx, subject=planned.name.subject, kind=planned.name.kind)
        gone = [volume.volume_id for volume in noted if volume.number == planned.name.number]
        with self._run.catalog.write() as tx:
            for volume_id in gone:
                archives.set_state(tx, volume_id, "abandoned")
        return None

    def _detach(self, planned: PlannedVolume, work: VolumeWork) -> None:
        kept = {member.entry.path for member in work.members}
        members = tuple(member for member in planned.members if member.source.entry.path in kept)
        self._detached = replace(planned, members=members, row=work.row)
        with self._run.counting:
            self._run.counts["detached"] = self._run.counts.get("detached", 0) + 1

    def _without_lost(self, members: Sequence[MemberSource], lost: MemberLostError) -> list[MemberSource]:
        """Return the members that still are what they were; the volume starts over with them, under a new key."""
        self._run.fail(lost.cause)
        kept: list[MemberSource] = []
        for position, member in enumerate(members):
            if position == lost.position:
                continue
            try:
                _check_unchanged(member)
            except EcogsafeError as error:
                self._run.fail(error)
                continue
            kept.append(member)
        message = "a file in it changed: the volume starts over under a new key, without that file"
        self._context.tell("archive", message, store=self._place.store.name)
        return kept

    def _note(self, work: VolumeWork, outcome: Outcome) -> VolumeRow | None:
        run, row = self._run, work.row
        if outcome.status in (Status.DONE, Status.PRESENT):
            for member in work.members:
                self._context.meter.file_done()
                run.tally.done += 1
                run.tally.bytes += member.entry.size
            run.counts["volumes"] = run.counts.get("volumes", 0) + 1
            if not outcome.proven:
                run.counts["stored_without_checksum"] = run.counts.get("stored_without_checksum", 0) + 1
            self._tell(work, outcome, "done")
            with run.catalog.read() as tx:
                return archives.volume(tx, row.volume_id)
        if outcome.status is Status.DIFFERENT:
            run.tally.skipped += len(work.members)
            run.tally.note(ExitStatus.PARTIAL)
        elif outcome.error is not None:
            self._troubles.note(outcome.error, self._place.store.url, files=len(work.members))
            self._failures.append(outcome.error)
        self._tell(work, outcome, "failed" if outcome.error is not None else "skipped")
        return None

    def _tell(self, work: VolumeWork, outcome: Outcome, status: str) -> None:
        row, store = work.row, self._place.store.name
        self._run.tell(
            Item(
                action="archive",
                status=status,
                subject=row.subject,
                key=row.key,
                store=store,
                bytes=sum(member.entry.size for member in work.members),
                digest=outcome.sha256,
                message=_words(outcome, len(work.members)),
                details={"files": len(work.members), "sent_bytes": outcome.sent_bytes},
            )
        )
        if status != "done":
            return
        with self._run.catalog.read() as tx:
            digests = archives.digests_of(archives.members_of(tx, row.volume_id))
        for position, member in enumerate(work.members):
            self._run.tell(
                Item(
                    action="archive",
                    status="done",
                    subject=row.subject,
                    segment=member.segment,
                    path=f"{member.tree}/{member.entry.path}",
                    key=row.key,
                    store=store,
                    bytes=member.entry.size,
                    digest=digests.get(position),
                )
            )


def _check_unchanged(member: MemberSource) -> None:
    with closing(member.open()) as source:
        if source.stat != member.stat:
            raise SourceChangedError(
                source.name,
                "changed while its archive was made",
                safe="nothing of this state of it is called stored",
                next="wait until nothing writes to it, then run the same command again",
            )


def _words(outcome: Outcome, files: int) -> str:
    notes = "".join(f"; {note}" for note in outcome.notes)
    if outcome.status in (Status.DONE, Status.PRESENT):
        proof = "the store's checksum is ours" if outcome.proven else "stored; this store tells no checksum"
        return f"{files} files; {proof}{notes}"
    if outcome.status is Status.DIFFERENT:
        return (
            "another object stands under this name and is never replaced: run again, its files go into a further volume"
        )
    if outcome.status is Status.PAUSED:
        return "interrupted: run the same command again to continue"
    return str(outcome.error)
