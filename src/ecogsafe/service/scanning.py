"""Searching files for identifiers, and the clearances that follow (DESIGN 5.5)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecogsafe.catalog import audit, clearances
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.catalog.files import Tree as TreeName
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, ExitStatus, MalformedFileError, SourceUnreadableError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.core.private import mask
from ecogsafe.deid.layout import TargetParts, Tree, parse_target
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.member_scan import scan_any
from ecogsafe.deid.scan import SCANNER_VERSION, ScanResult, scan_file, scan_name
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.kinds import ALWAYS_SEALED, NATUS_KINDS, Kind, kind_of_name, kind_of_text
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.service.running import Run
from ecogsafe.service.unsearched import tell_unsearched

_JOBS = 4
_HEAD = 4096
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class ScanTarget:
    """One file to be searched."""

    path: Path
    #: what messages call it; nothing private
    shown: str
    kind: Kind
    #: where it stands below OUT; None if it is no file of ours
    tree: Tree | None = None
    relpath: str = ""
    parts: TargetParts | None = None


@dataclass(slots=True)
class ScanOutcome:
    """What a search of several files came to."""

    clean: int = 0
    bytes_searched: int = 0
    findings: int = 0
    accepted: int = 0
    unreadable: list[EcogsafeError] = field(default_factory=list)
    #: kinds that cannot be searched (MP4 …): they are always sealed
    not_searchable: int = 0
    #: parts of containers that could not be opened
    not_searched: int = 0
    #: clean, but Natus files whose content was left as it was: they are never cleared
    native: int = 0
    cleared: list[ClearanceRow] = field(default_factory=list)
    #: (tree, path) of files that an earlier clearance no longer speaks for
    withdrawn: list[tuple[TreeName, str]] = field(default_factory=list)


def target_below_out(path: Path) -> ScanTarget | None:
    """Return the target of a path of the form ``…/OUT/<tree>/…``; None if it has not that form."""
    parts = path.absolute().parts
    for index in range(len(parts) - 2, 0, -1):
        if parts[index] in (t.value for t in Tree):
            relpath = "/".join(parts[index + 1 :])
            found = parse_target(parts[index], relpath)
            if found is not None:
                tree = Tree(parts[index])
                return ScanTarget(path, f"{tree.value}/{relpath}", found.kind, tree, relpath, found)
    return None


def targets_in(paths: Iterable[Path]) -> Iterator[ScanTarget | EcogsafeError]:
    """Yield every regular file at or below ``paths``; what cannot be entered is yielded as an error."""
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError("PATH", "one of the paths given does not exist", next="check the paths")
        # what lies behind a link that was named is meant; and where it really is tells whether it is below OUT
        yield from _walk(path.resolve())


def _walk(path: Path) -> Iterator[ScanTarget | EcogsafeError]:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            for entry in sorted(path.iterdir()):
                yield from _walk(entry)
            return
        if stat.S_ISREG(mode) and not path.name.startswith(".ecogsafe-"):
            yield target_below_out(path) or _foreign(path)
    except OSError as error:
        yield SourceUnreadableError(mask(path.name), f"cannot be read ({os.strerror(error.errno or 0)})")


def _foreign(path: Path) -> ScanTarget:
    kind = kind_of_name(path.name)
    if path.suffix.lower() == ".txt":
        with path.open("rb") as file:
            kind = kind_of_text(file.read(_HEAD))
    return ScanTarget(path, mask(path.name), kind)


def scan_targets(
    run: Run,
    targets: Sequence[ScanTarget],
    matchers: Sequence[Matcher],
    *,
    accepted: Sequence[str] = (),
    clear: tuple[str, int] | None = None,
    on_done: Callable[[int], None] = lambda _size: None,
) -> ScanOutcome:
    """Search ``targets``, tell of every finding, and return what came of it.

    Parameters
    ----------
    accepted
        Ids of findings that a person has judged harmless.
    clear
        (code, revision) of the subject whose clean files are cleared; rows are returned, not yet recorded.
    """
    outcome = ScanOutcome()

    def search(target: ScanTarget) -> ScanResult | EcogsafeError:
        try:
            return _search(target, matchers)
        except EcogsafeError as error:
            return error

    with ThreadPoolExecutor(_JOBS, thread_name_prefix="scanner") as pool:
        for target, result in zip(targets, pool.map(search, targets), strict=True):
            _note(run, outcome, target, result, accepted=accepted, clear=clear)
            on_done(result.size if isinstance(result, ScanResult) else 0)
    return outcome


def _search(target: ScanTarget, matchers: Sequence[Matcher]) -> ScanResult:
    try:
        with os.fdopen(os.open(target.path, _OPEN_FLAGS), "rb", buffering=0) as file:
            if target.tree is None:
                result = scan_any(target.kind, file, matchers, path=target.shown)
            else:
                result = scan_file(target.kind, file, matchers, path=target.shown)
    except OSError as error:
        raise _unreadable(target, error) from error
    except MalformedFileError as error:
        raise MalformedFileError(
            target.shown, error.problem, safe="It is not cleared", next="it can only be sent sealed"
        ) from error
    names = scan_name(target.relpath or target.path.name, matchers)
    return replace(result, findings=(*names, *result.findings))


def keeps_native_content(target: ScanTarget) -> bool:
    """Return whether ``target`` is a Natus file that was not cleaned (``--keep-native-content``).

    Judged by its structure alone, whoever it is about; what cannot be walked counts as not cleaned.
    """
    if target.kind not in NATUS_KINDS or target.parts is None or not target.path.stat().st_size:
        return False
    request = CleaningRequest(code=target.parts.code, stem=target.parts.stem, find=lambda _text: ())
    try:
        with os.fdopen(os.open(target.path, _OPEN_FLAGS), "rb") as file:
            return any(True for _ in patches(target.kind, file, request))
    except MalformedFileError:
        return True
    except OSError as error:
        raise _unreadable(target, error) from error


def _unreadable(target: ScanTarget, error: OSError) -> SourceUnreadableError:
    return SourceUnreadableError(
        target.shown, f"cannot be read ({os.strerror(error.errno or 0)})", next="check its permissions (ls -l)"
    )


def _note(
    run: Run,
    outcome: ScanOutcome,
    target: ScanTarget,
    result: ScanResult | EcogsafeError,
    *,
    accepted: Sequence[str],
    clear: tuple[str, int] | None,
) -> None:
    subject = target.parts.code if target.parts else None
    if isinstance(result, EcogsafeError):
        if target.kind in ALWAYS_SEALED and isinstance(result, MalformedFileError):
            outcome.not_searchable += 1
            message = "cannot be searched; it is only ever sent sealed"
            run.tell(Item(action="scan", status="note", subject=subject, path=target.shown, message=message))
            return
        outcome.unreadable.append(result)
        run.fail(result)
        _withdraw(outcome, target, by=clear is not None)
        return
    outcome.bytes_searched += result.size
    outcome.not_searched += len(result.not_searched)
    tell_unsearched(run, result, shown=target.shown, subject=subject)
    accepted = [*accepted, *_accepted_before(run, target, result)] if result.findings else accepted
    for finding in result.findings:
        is_accepted = finding.id in accepted
        outcome.accepted += is_accepted
        outcome.findings += not is_accepted
        run.tell(finding.as_event(subject=subject, accepted=is_accepted))
    if not result.is_clean(accepted):
        _withdraw(outcome, target, by=clear is not None or any(f.owner for f in result.open_findings(accepted)))
        return
    outcome.clean += 1
    if clear is not None and target.tree is not None and target.parts is not None and target.parts.code == clear[0]:
        if keeps_native_content(target):
            outcome.native += 1
            message = "is clean of known identifiers, but its content was never de-identified: it only goes sealed"
            run.tell(Item(action="scan", status="note", subject=subject, path=target.shown, message=message))
            _withdraw(outcome, target, by=True)
            return
        outcome.cleared.append(
            ClearanceRow(
                subject=clear[0],
                tree=target.tree.value,
                path=target.relpath,
                size=result.size,
                text_sha256=result.text_sha256,
                revision=clear[1],
                scanner_version=str(SCANNER_VERSION),
                at=utc_stamp(),
                accepted=tuple(f.id for f in result.findings),
            )
        )


def _withdraw(outcome: ScanOutcome, target: ScanTarget, *, by: bool) -> None:
    """Take an earlier clearance of ``target`` back, if this search was one that could have given it."""
    if by and target.tree is not None:
        outcome.withdrawn.append((target.tree.value, target.relpath))


def _accepted_before(run: Run, target: ScanTarget, result: ScanResult) -> tuple[str, ...]:
    """Return what a person called harmless in this file before, if its text is the same still."""
    if target.tree is None:
        return ()
    with run.catalog.read() as tx:
        row = clearances.clearance_for(tx, target.tree.value, target.relpath)
    return row.accepted if row is not None and row.text_sha256 == result.text_sha256 else ()


def record_clearances(run: Run, outcome: ScanOutcome) -> None:
    """Make the clearances durable, and the acceptance of findings part of the audit."""
    with run.catalog.write() as tx:
        known = [clearances.clearance_for(tx, row.tree, row.path) for row in outcome.cleared]
        clearances.withdraw_clearances(tx, outcome.withdrawn)
        clearances.record_clearances(tx, outcome.cleared)
        for row, before in zip(outcome.cleared, known, strict=True):
            # what was accepted earlier was noted then, with the one who did
            for finding in (f for f in row.accepted if before is None or f not in before.accepted):
                audit.append(
                    tx,
                    run_id=run.run_id,
                    who=run.actor.who,
                    host=run.actor.host,
                    version=run.actor.version,
                    act="accept-finding",
                    subject=row.subject,
                    object=f"{row.tree}/{row.path}",
                    digest=row.text_sha256,
                    result=finding,
                )
    if outcome.findings:
        run.tally.note(ExitStatus.IDENTIFIERS)


def finding_summary(outcome: ScanOutcome) -> str:
    """Return the verdict in one line."""
    verdict = f"{outcome.clean} files clean" if not outcome.findings else f"{outcome.findings} identifiers FOUND"
    more = f", {outcome.accepted} accepted" if outcome.accepted else ""
    more += f", {outcome.not_searched} parts NOT searched" if outcome.not_searched else ""
    return f"{verdict}{more}, {len(outcome.cleared)} cleared to go unencrypted"
