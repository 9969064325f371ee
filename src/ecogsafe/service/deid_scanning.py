"""``deid scan``: search any files for identifiers; with a subject, clear what is clean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, UsageError
from ecogsafe.deid.matching import Matcher
from ecogsafe.service.deid_clearing import note_subject, other_matcher, own_matcher
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import check_code, open_keys
from ecogsafe.service.running import Run
from ecogsafe.service.scanning import ScanTarget, finding_summary, record_clearances, scan_targets, targets_in


def scan(
    run: Run,
    paths: Sequence[Path],
    *,
    code: str | None,
    terms: Sequence[str],
    accepted: Sequence[str],
    password: PasswordSource,
    near: bool = False,
) -> None:
    """Search ``paths``; 0 if clean, 20 if anything was found that nobody accepted."""
    check_code(code)
    targets: list[ScanTarget] = []
    for found in targets_in(paths):
        if isinstance(found, EcogsafeError):
            run.fail(found)
        else:
            targets.append(found)
    if not targets and not run.tally.failed:
        raise UsageError("PATH", "holds no files", next="check the paths")
    matchers, clear = _searches(run, code, terms, password, near=near)
    outcome = scan_targets(run, targets, matchers, accepted=accepted, clear=clear)
    record_clearances(run, outcome)
    run.tally.done += outcome.clean
    run.tally.bytes += outcome.bytes_searched
    run.counts["findings"] = outcome.findings
    run.counts["cleared"] = len(outcome.cleared)
    run.message = finding_summary(outcome)


def _searches(
    run: Run, code: str | None, terms: Sequence[str], password: PasswordSource, *, near: bool
) -> tuple[list[Matcher], tuple[str, int] | None]:
    if code is None and terms:
        return [Matcher(None, also_terms=terms, near=near)], None
    key = open_keys(run.home, run.catalog, password).file.read()
    if code is None:
        if not key.persons:
            raise UsageError("the linking key", "knows nobody yet", next="say what to search for with --term")
        return [Matcher(None, others={p.code: p.identifiers for p in key.persons})], None
    person = key.person(code)
    if person is None:
        raise UsageError(code, "is not in the linking key", next="ecogsafe status shows the codes")
    note_subject(run, person)
    others = other_matcher(key, code)
    own = own_matcher(run, person, terms=terms, near=near)
    return [own, *([others] if others else [])], (code, person.revision)
