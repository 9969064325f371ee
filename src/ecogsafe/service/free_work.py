"""The work of `free`: a handful of files read, proven elsewhere, noted, and deleted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from ecogsafe.catalog import audit, files
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.config import Settings
from ecogsafe.core.errors import ExitStatus, SourceChangedError, SourceUnreadableError, VerificationError
from ecogsafe.core.events import ErrorEvent, Item
from ecogsafe.service.free_evidence import Proof, Witnesses, claims_of
from ecogsafe.service.free_local import LocalFile
from ecogsafe.service.free_note import Gone, Note
from ecogsafe.service.free_planning import Candidate, Outlook
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.service.policy import distinct, enough
from ecogsafe.service.running import Run
from ecogsafe.transfer.meter import Meter

#: files, and bytes, that are read before their copies are asked for: the evidence is never older than their deletion
_BATCH_FILES = 32
_BATCH_BYTES = 4 * 1024**3
_KEPT = "What was deleted is noted; everything else is as it was"


class Freeing:
    """Frees files, and counts and tells what became of each."""

    def __init__(self, run: Run, settings: Settings, note: Note, *, dry_run: bool) -> None:
        self._run = run
        self._policy = settings.policy
        self._note = note
        self._dry_run = dry_run
        self._gone: dict[tuple[str, str], Gone] = {}
        self._files = self._bytes = 0
        self._told_bad: set[tuple[str, str]] = set()
        #: by reason and what to do: how many files stay for it, and the first of them
        self._kept: dict[tuple[str, str], tuple[int, str]] = {}
        self._meter = Meter(run.tell, files_total=None, bytes_total=None)

    def free_subject(self, outlook: Outlook, witnesses: Witnesses, root: int) -> None:
        """Free what of one subject is proven to be elsewhere.

        Raises
        ------
        InterruptedRunError
            The run was told to stop.
        """
        for batch in _batches(outlook.candidates):
            self._run.check_stop(safe=_KEPT)
            with ExitStack() as opened:
                self._free_some(outlook, witnesses, self._read(batch, root, opened))

    def keep(self, file: OutgoingFile, reason: str, next_step: str, *, together: str | None = None) -> None:
        """Tell that a file stays, and why.

        Parameters
        ----------
        together
            What to do about all files that stay for this reason, which are told by `tell_kept`; None: the reason is
            this file's own.
        """
        self._run.tally.skipped += 1
        self._run.tally.note(ExitStatus.PARTIAL)
        details: dict[str, object] = {"next": next_step}
        if together is not None:
            count, first = self._kept.get((reason, together), (0, file.shown))
            self._kept[reason, together] = count + 1, first
            details["told_together"] = True
        self._tell(file, "skipped", reason, details=details)

    def tell_kept(self) -> None:
        """Tell once of all files that stay for one reason: a store that cannot be asked keeps thousands."""
        for (reason, next_step), (count, first) in self._kept.items():
            what = "stays" if count == 1 else f"{count:,} files stay (-v lists them)"
            self._run.tell(
                Item(
                    action="free",
                    status="note",
                    path=first if count == 1 else None,
                    message=f"{what}: {reason}",
                    details={"files": count, "next": next_step},
                )
            )
        self._kept.clear()

    def finish(self) -> None:
        """Write the note as it stays."""
        if self._gone:
            self._note.write(self._gone, ended=True)

    def verdict(self, total: int) -> str:
        """Return the last word."""
        counts = self._run.counts
        if not total and not self._run.tally.statuses:
            return "nothing of ours stands here: there is nothing to free"
        done = "would be deleted" if self._dry_run else "deleted here, proven elsewhere"
        text = f"{self._files:,} of {total:,} files ({self._bytes:,} bytes) {done}; {total - self._files:,} stay"
        if counts.get("bad"):
            text += f"; {counts['bad']:,} BAD copies"
        return text

    def _read(self, batch: Sequence[Candidate], root: int, opened: ExitStack) -> list[LocalFile]:
        """Open the files and read each; those that are not what was sent stay."""
        same: list[LocalFile] = []
        for candidate in batch:
            try:
                local = LocalFile(root, candidate.file, candidate.row)
                opened.callback(local.close)
                if self._dry_run or local.is_what_was_sent(self._meter, self._run.stop):
                    same.append(local)
                else:
                    self.keep(candidate.file, "it is not what was sent", "ecogsafe upload --new-version")
            except (SourceChangedError, SourceUnreadableError) as error:
                self.keep(candidate.file, error.problem, error.next)
        return same

    def _free_some(self, outlook: Outlook, witnesses: Witnesses, local: Sequence[LocalFile]) -> None:
        with self._run.catalog.read() as tx:
            claims = {one.row.id: claims_of(tx, one.row) for one in local}
        proofs = witnesses.prove(claims)
        ready = [one for one in local if self._is_safe(one, proofs[one.row.id], outlook, witnesses)]
        if self._dry_run:
            for one in ready:
                self._count(one, "planned", "would be deleted: proven elsewhere just now")
        elif ready:
            self._delete(ready, proofs, witnesses)

    def _is_safe(self, local: LocalFile, proof: Proof, outlook: Outlook, witnesses: Witnesses) -> bool:
        """Return whether the policy is met by what was just proven; tell why not."""
        sampled = outlook.sampled(proof.proven)
        if not proof.bad and sampled and enough(sampled, witnesses.locations, self._policy):
            return True
        file, code = local.file, outlook.subject
        if proof.bad:
            self._run.tally.failed += 1
            self._run.tally.note(ExitStatus.VERIFY_FAILED)
            url, key, reason = proof.bad[0]
            repair = f"ecogsafe verify {code} --store {url} --repair"
            self._tell(file, "failed", f"its copy {key} at {url} is bad: {reason}", details={"next": repair})
            for each in proof.bad:
                self._tell_bad(*each, repair)
            return False
        held, away = distinct(sampled, witnesses.locations)
        why = [f"proven now in {held} of {max(self._policy.copies, 1)} places"]
        if away < self._policy.offsite:
            why.append(f"{away} of {self._policy.offsite} off site")
        unsampled = sorted(proof.proven - sampled)
        why += [f"too little was brought back lately from {witnesses.url_of(store)}" for store in unsampled]
        why += [f"{url} {reason}" for url, reason in proof.unproven]
        # `status` may be content with places that did not answer now: what supplies the proof is told here
        deep = [f"ecogsafe verify {code} --store {witnesses.url_of(store)} --deep" for store in unsampled]
        if deep:
            self.keep(file, "; ".join(why), deep[0], together=deep[0])
        else:
            self.keep(file, "; ".join(why), f"ecogsafe status {code}", together="ecogsafe status")
        return False

    def _tell_bad(self, url: str, key: str, reason: str, repair: str) -> None:
        if (url, key) in self._told_bad:
            return
        self._told_bad.add((url, key))
        self._run.counts["bad"] = self._run.counts.get("bad", 0) + 1
        safe = "The local file and the other copies are as they were"
        self._run.tell(ErrorEvent.of(VerificationError(f"{url}/{key}", reason, safe=safe, next=repair)))

    def _delete(self, ready: Sequence[LocalFile], proofs: dict[int, Proof], witnesses: Witnesses) -> None:
        """Note what is about to go, delete it file by file, and note what came of it."""
        for one in ready:
            gone = self._gone.setdefault((one.row.subject, one.row.tree), Gone())
            proof = proofs[one.row.id]
            alone = [witnesses.url_of(store) for store in proof.proven - proof.in_volumes]
            gone.add(one.file, one.row.size, alone, [witnesses.url_of(store) for store in proof.in_volumes])
        self._note.write(self._gone, ended=False)
        with self._run.catalog.write() as tx:
            files.mark_freed(tx, [one.row.id for one in ready])
            self._audit(tx, [(one, "begun") for one in ready])
        ended: list[tuple[LocalFile, str]] = []
        stay = {one.row.id for one in ready}
        try:
            for one in ready:
                result = self._delete_one(one)
                ended.append((one, result))
                if result == "deleted":
                    stay.discard(one.row.id)
                else:
                    self._gone[one.row.subject, one.row.tree].take_back(one.row.size)
        finally:
            with self._run.catalog.write() as tx:
                files.mark_back(tx, sorted(stay))
                self._audit(tx, ended)

    def _delete_one(self, local: LocalFile) -> str:
        try:
            local.delete()
        except SourceChangedError as error:
            self.keep(local.file, error.problem, error.next)
            return "left: it changed"
        except OSError as error:
            reason = f"cannot be deleted ({os.strerror(error.errno or 0)})"
            self.keep(local.file, reason, "check the permissions of its folder")
            return "left: the disk refused"
        self._count(local, "done", "deleted here: proven elsewhere just now")
        return "deleted"

    def _count(self, local: LocalFile, status: str, message: str) -> None:
        self._files += 1
        self._bytes += local.row.size
        if not self._dry_run:
            self._run.tally.done += 1
            self._run.tally.bytes += local.row.size
        self._tell(local.file, status, message, size=local.row.size, digest=local.row.sha256)

    def _tell(
        self,
        file: OutgoingFile,
        status: str,
        message: str,
        *,
        size: int | None = None,
        digest: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        self._run.tell(
            Item(
                action="free",
                status=status,
                subject=file.parts.code,
                segment=file.parts.number,
                path=file.shown,
                bytes=size,
                digest=digest,
                message=message,
                details=details or {},
            )
        )

    def _audit(self, tx: Transaction, ended: Sequence[tuple[LocalFile, str]]) -> None:
        run = self._run
        acts = [
            audit.Act(act="free", subject=one.row.subject, object=one.row.path, digest=one.row.sha256, result=result)
            for one, result in ended
        ]
        actor = run.actor
        audit.append_all(tx, acts, run_id=run.run_id, who=actor.who, host=actor.host, version=actor.version)


def _batches(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    size = 0
    for candidate in candidates:
        if batch and (len(batch) >= _BATCH_FILES or size + candidate.row.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(candidate)
        size += candidate.row.size
    if batch:
        yield batch
