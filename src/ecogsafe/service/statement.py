"""A dated page per subject for an ethics board or a data-use file: what was done, from records, not from memory."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecogsafe import __version__
from ecogsafe.catalog import audit, clearances, files, subjects
from ecogsafe.catalog.audit import AuditRow
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.catalog.files import FileTotals
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import UsageError
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.layout import parse_target
from ecogsafe.formats.kinds import NATUS_KINDS, RECORDING_KINDS, TEXT_KINDS, Kind
from ecogsafe.service.date_shifts import KEPT, SHIFTED
from ecogsafe.service.running import Run

#: audit acts that the statement rests on
LEFT_BEHIND = "deid left-behind"
OPTIONS = "deid options"
_WIDTH = 78
_KEPT_WORDS = f"{KEPT.capitalize()}."
_SHIFTED_WORDS = (
    f"{SHIFTED.capitalize()}: in headers, Natus times, text outputs and file times; dates in annotations became x. "
    "Times of day and intervals are the true ones."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The facts of one page."""

    subject: str
    at: str
    revision: int
    segments: int
    totals: tuple[FileTotals, ...]
    #: by kind: files searched and found clean for all identifiers known now
    cleared: dict[str, int]
    lapsed: int
    accepted: int
    #: every date is moved by one whole number of days
    is_shifted: bool
    first_cleared: str
    last_cleared: str
    #: what apply was asked to do, oldest first: (time, words)
    options: tuple[tuple[str, str], ...]
    #: what stayed in the export, oldest first: (time, words)
    left_behind: tuple[tuple[str, str], ...]
    versions: tuple[str, ...]


def make_statement(run: Run, code: str) -> Statement:
    """Return the statement of ``code``; needs no password and holds no identifier.

    Raises
    ------
    UsageError
        Nobody has that code, or nothing of it was ever de-identified here.
    """
    if not is_code(code):
        # it may be a name, typed by mistake: not repeated
        raise UsageError("CODE", "is not a subject code", next="ecogsafe subjects list")
    with run.catalog.read() as tx:
        subject = subjects.subject(tx, code)
        rows = clearances.clearances_of(tx, code)
        totals = tuple(files.file_totals(tx, code))
        numbers = subjects.segments_of(tx, code)
        acts = [r for r in reversed(audit.of_subject(tx, code)) if r.act.startswith("deid ")]
    if subject is None or not acts:
        raise UsageError(code, "was never de-identified by this home", next="ecogsafe subjects list")
    current = {place: row for place, row in rows.items() if row.revision == subject.revision}
    times = sorted(row.at for row in current.values())
    return Statement(
        subject=code,
        at=utc_stamp(),
        revision=subject.revision,
        segments=sum(1 for row in numbers if row.kinds),
        totals=totals,
        cleared=dict(sorted(Counter(_group(place) for place in current).items())),
        lapsed=len(rows) - len(current),
        accepted=sum(len(row.accepted) for row in current.values()),
        is_shifted=any(row.act == OPTIONS and row.result.startswith(SHIFTED) for row in acts),
        first_cleared=times[0] if times else "",
        last_cleared=times[-1] if times else "",
        options=_told(acts, OPTIONS),
        left_behind=_told(acts, LEFT_BEHIND),
        versions=_versions(acts, current.values()),
    )


def _told(acts: Sequence[AuditRow], act: str) -> tuple[tuple[str, str], ...]:
    return tuple((row.at, row.result) for row in acts if row.act == act)


def _versions(acts: Sequence[AuditRow], rows: Iterable[ClearanceRow]) -> tuple[str, ...]:
    scanners = {f"scanner {row.scanner_version}" for row in rows}
    return (*sorted({f"ecogsafe {row.version}" for row in acts}), *sorted(scanners))


def _group(place: tuple[str, str]) -> str:
    parts = parse_target(*place)
    kind = parts.kind if parts else Kind.OTHER
    if kind in RECORDING_KINDS:
        return "EDF and BDF recordings"
    if kind in NATUS_KINDS:
        return "Natus study files"
    return "text outputs" if kind in TEXT_KINDS else "video clips (their text; never picture or sound)"


def page(statement: Statement) -> str:
    """Return the statement as one page of plain text."""
    lines = [
        f"De-identification statement for subject {statement.subject}",
        f"Made {statement.at[:19].replace('T', ' ')} UTC by ecogsafe {__version__} from its records",
        "",
        f"Segments: {statement.segments}. Revision of the identifiers searched for: {statement.revision}.",
        "",
        "What was removed or replaced, at equal length, in every file that was moved:",
        *_bullets(
            "file and folder names (by the subject's code and the segment's number)",
            "EDF/BDF: patient and recording field, reserved field; identifiers in signal texts and annotations",
            "Natus: names, record number and internal ids of every header; file names inside .stc, .vtc, .vt2; "
            "device serials; every text of .eeg and .ent whose key is not known to be harmless",
            "AVI: every text chunk. Text outputs: names and all words that are not the tools' own",
        ),
        "",
        "Searched afterwards, byte by byte, for all identifiers known of the subject and for the names, record "
        "numbers and birth dates of every other subject, and found clean:",
        *_bullets(*(f"{count} {group}" for group, count in statement.cleared.items())),
    ]
    if statement.first_cleared:
        lines.append(f"  between {statement.first_cleared[:10]} and {statement.last_cleared[:10]}")
    if statement.accepted:
        lines.append(f"  {statement.accepted} harmless findings were accepted by a person (see the audit)")
    if statement.lapsed:
        lines.append(f"  NOT CURRENT: {statement.lapsed} files were searched before further identifiers became known")
    lines += ["", _SHIFTED_WORDS if statement.is_shifted else _KEPT_WORDS]
    lines += ["", "How it was asked for:", *_bullets(*(f"{at[:10]}: {words}" for at, words in statement.options))]
    lines += ["", "Left behind in the export, never passed on:"]
    lines += _bullets(*(f"{at[:10]}: {words}" for at, words in statement.left_behind)) or ["  nothing"]
    dates = "hold true intervals and times of day" if statement.is_shifted else "may hold dates of service"
    lines += [
        "",
        f"What this does not claim: the data are coded and {dates}; they are at best a limited "
        'data set (45 CFR 164.514(e)), never "HIPAA de-identified". Video shows face and voice and stays '
        "protected health information however its files are named. Samples are numbers and were not searched.",
        "",
        f"Versions: {', '.join(statement.versions)}",
    ]
    return "\n".join(wrapped for line in lines for wrapped in _wrap(line)) + "\n"


def write_page(text: str, path: Path) -> None:
    """Write ``text`` to the new file ``path``.

    Raises
    ------
    UsageError
        It exists, or cannot be written.
    """
    try:
        write_atomically(path, text.encode(), mode=0o640, replace=False)
    except OSError as error:
        raise UsageError(
            "-o", f"the file cannot be written ({os.strerror(error.errno or 0)})", next="name a new file"
        ) from error


def _bullets(*texts: str) -> list[str]:
    return [f"  - {text}" for text in texts]


def _wrap(line: str) -> list[str]:
    indent = "    " if line.startswith("  - ") else ""
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent) or [""]
