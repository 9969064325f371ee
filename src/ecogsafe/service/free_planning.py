"""What of a folder could be freed, as far as the catalogue tells; nothing is asked of a store, nothing is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.catalog import files
from ecogsafe.catalog import sums as catalog_sums
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.clock import utc_now
from ecogsafe.core.config import Settings
from ecogsafe.service.outgoing import Outgoing, OutgoingFile, find_outgoing
from ecogsafe.service.policy import Sample, samples
from ecogsafe.service.running import Run


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file below DIR, and the content of it that was sent."""

    file: OutgoingFile
    row: FileRow


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that stays, and why."""

    file: OutgoingFile
    reason: str
    next: str
    #: many files stay for this reason: they are told together
    is_common: bool = False


@dataclass(slots=True)
class Outlook:
    """What could be freed of one subject."""

    subject: str
    candidates: list[Candidate] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    #: what was brought back, by store id
    samples: dict[str, Sample] = field(default_factory=dict)

    def sampled(self, stores: set[str]) -> set[str]:
        """Return those of the stores from which enough of the subject was brought back lately."""
        return {store_id for store_id in stores if store_id in self.samples and self.samples[store_id].is_enough}


def find_local(folder: Path) -> Outgoing:
    """Return everything of our form below ``folder``: OUT, a tree of it, or one subject's folder in a tree.

    Raises
    ------
    UsageError
        The folder does not exist or cannot be read.
    """
    both = [find_outgoing(folder, data_type) for data_type in ("v", "e")]
    found = Outgoing(folder)
    found.files = [file for each in both for file in each.files]
    found.left = list(dict.fromkeys(left for each in both for left in each.left))
    shown = {str(error): error for each in both for error in each.unreadable}
    found.unreadable = list(shown.values())
    return found


def outlook_of(run: Run, settings: Settings, subject: str, found: Sequence[OutgoingFile]) -> Outlook:
    """Return what of the files ``found`` of a subject was sent as it stands here, as far as sizes tell."""
    outlook = Outlook(subject)
    with run.catalog.read() as tx:
        rows = {(row.tree, row.path): row for row in files.files_of(tx, subject)}
        for each in catalog_sums.sums(tx, subject):
            outlook.samples = samples(each.files, settings.policy, utc_now())
    for file in found:
        row = rows.get((file.tree, file.path))
        if row is None or row.sha256 is None:
            how = "ecogsafe upload or ecogsafe backup"
            outlook.kept.append(Kept(file, "no copy of it is recorded", how, is_common=True))
        elif row.size != file.status.st_size:
            reason = "it is not what was sent: its size is another one"
            outlook.kept.append(Kept(file, reason, "ecogsafe upload --new-version"))
        else:
            outlook.candidates.append(Candidate(file, row))
    return outlook
