"""The end of ``deid apply``: everything of the subject below OUT that is not cleared is searched, and cleared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.catalog import clearances, subjects
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.core.clock import monotonic
from ecogsafe.core.events import Item, Progress
from ecogsafe.deid.layout import subject_folders
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.scan import SCANNER_VERSION
from ecogsafe.formats.kinds import ALWAYS_SEALED
from ecogsafe.service.date_shifts import true_date_spellings
from ecogsafe.service.deid_planning import site_zone
from ecogsafe.service.running import Run
from ecogsafe.service.scanning import (
    ScanTarget,
    keeps_native_content,
    record_clearances,
    scan_targets,
    target_below_out,
)

#: files searched between two looks at Ctrl-C; their clearances are durable then
_BATCH = 256


@dataclass(slots=True)
class Cleared:
    """What a search came to."""

    clean: int = 0
    cleared: int = 0
    findings: int = 0
    #: Natus files whose content was left as it was
    kept: int = 0

    @property
    def words(self) -> str:
        """The verdict in a few words; empty where nothing had to be searched."""
        told = []
        if self.findings:
            told.append(f"{self.findings} identifiers FOUND")
        if self.clean or self.findings:
            told.append(f"{self.clean} files clean, {self.cleared} cleared to go unencrypted")
        if self.kept:
            told.append(f"{self.kept} Natus files keep their content and only go sealed")
        return "; ".join(told)


@dataclass(slots=True)
class _Pending:
    """What has to be searched."""

    fresh: list[ScanTarget] = field(default_factory=list)
    #: stood here before: their clearance has lapsed, or an earlier run was cut before it searched them
    earlier: list[ScanTarget] = field(default_factory=list)
    #: Natus files whose content was left as it was
    kept: int = 0


def note_subject(run: Run, person: Person) -> None:
    """Make the subject and the revision of its identifiers known to the catalogue: older clearances lapse."""
    with run.catalog.write() as tx:
        subjects.add_subject(tx, person.code, revision=person.revision)
        subjects.set_revision(tx, person.code, person.revision)


def own_matcher(run: Run, person: Person, *, terms: Sequence[str] = (), near: bool = False) -> Matcher:
    """Return the search for the person: identifiers, and the true dates of service where dates are shifted."""
    dates = true_date_spellings(run, person, site_zone(run))
    return Matcher(person.identifiers, also_terms=terms, near=near, service_dates=dates)


def other_matcher(key: LinkingKey, code: str) -> Matcher | None:
    """Return the search for everybody else in the linking key; None where there is nobody."""
    others = key.others(code)
    return Matcher(None, others=others) if others else None


def clear_standing(
    run: Run,
    out: Path,
    person: Person,
    key: LinkingKey,
    *,
    fresh: Collection[str],
    keep_native: bool,
    near: bool = False,
) -> Cleared:
    """Search every file of ``person`` below ``out`` that has no current clearance, and clear what is clean.

    Parameters
    ----------
    fresh
        Paths below OUT that this run has moved in.
    keep_native
        Contents of Natus files were left as they were: those are not searched and never cleared.
    near
        Spellings one letter off, and short forms of first names, count too, in free text.
    """
    with run.catalog.read() as tx:
        rows = clearances.clearances_of(tx, person.code)
    pending = _pending(out.absolute(), person, rows, fresh=fresh, keep_native=keep_native)
    if pending.earlier:
        text = (
            f"{len(pending.earlier)} files that stood below OUT before have no current clearance: they are searched too"
        )
        run.tell(Item(action="apply", status="note", subject=person.code, message=text))
    result = _search(run, [*pending.fresh, *pending.earlier], person, key, near=near)
    result.kept = pending.kept
    run.counts["cleared"] = run.counts.get("cleared", 0) + result.cleared
    run.counts["findings"] = run.counts.get("findings", 0) + result.findings
    _tell_lapsed(run, out, person, rows)
    return result


def standing_files(out: Path, code: str) -> list[ScanTarget]:
    """Return the files of the subject ``code`` below ``out``, of the form that apply gives them."""
    found: list[ScanTarget] = []
    for name in subject_folders(code):
        for path in sorted((out / name).rglob("*")):
            target = target_below_out(path)
            if target is not None and path.is_file() and not path.is_symlink():
                found.append(target)
    return found


def _pending(
    out: Path,
    person: Person,
    rows: dict[tuple[str, str], ClearanceRow],
    *,
    fresh: Collection[str],
    keep_native: bool,
) -> _Pending:
    pending = _Pending()
    for target in standing_files(out, person.code):
        is_fresh = target.shown in fresh
        row = rows.get((target.tree or "", target.relpath))
        if row is not None and _is_current(row, person, target.path.stat().st_size):
            continue
        if target.kind in ALWAYS_SEALED and not is_fresh:
            continue
        if (keep_native or not is_fresh) and keeps_native_content(target):
            pending.kept += 1
        else:
            (pending.fresh if is_fresh else pending.earlier).append(target)
    return pending


def _is_current(row: ClearanceRow, person: Person, size: int) -> bool:
    return (row.revision, row.scanner_version, row.size) == (person.revision, str(SCANNER_VERSION), size)


def _search(run: Run, targets: list[ScanTarget], person: Person, key: LinkingKey, *, near: bool) -> Cleared:
    result = Cleared()
    if not targets:
        return result
    others = other_matcher(key, person.code)
    matchers = [own_matcher(run, person, near=near), *([others] if others else [])]
    searched, began = 0, monotonic()
    for start in range(0, len(targets), _BATCH):
        run.check_stop(safe="What was moved stands, and what was searched is cleared")
        batch = targets[start : start + _BATCH]
        outcome = scan_targets(run, batch, matchers, clear=(person.code, person.revision))
        record_clearances(run, outcome)
        result.clean += outcome.clean
        result.cleared += len(outcome.cleared)
        result.findings += outcome.findings
        searched += outcome.bytes_searched
        if len(targets) > _BATCH:
            run.tell(_progress(start + len(batch), len(targets), searched, monotonic() - began))
    return result


def _progress(done: int, total: int, searched: int, seconds: float) -> Progress:
    rate = searched / max(seconds, 1e-3)
    left = seconds / done * (total - done)
    return Progress(
        files_done=done,
        files_total=total,
        bytes_done=searched,
        bytes_total=None,
        bytes_per_s=rate,
        seconds_left=left,
    )


def _tell_lapsed(run: Run, out: Path, person: Person, rows: dict[tuple[str, str], ClearanceRow]) -> None:
    """Say how many clearances of files elsewhere have lapsed."""
    here = {(target.tree, target.relpath) for target in standing_files(out.absolute(), person.code)}
    lapsed = sum(1 for place, row in rows.items() if row.revision != person.revision and place not in here)
    if lapsed:
        text = (
            f"{lapsed} files that were cleared elsewhere must be searched again, because more identifiers are known "
            f"now: ecogsafe deid scan DIR --subject {person.code}"
        )
        run.tell(Item(action="apply", status="note", subject=person.code, message=text))
