"""``subjects import``: the lab's existing table of codes, put into the linking key whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ecogsafe.catalog import subjects
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import LockedError, PlanConflictError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.code_table import CodeTable, read_code_table
from ecogsafe.deid.code_table_merging import Fate, Merged, RowFate, merge_table
from ecogsafe.deid.linking_key import LinkingKey
from ecogsafe.service.acts import note_act
from ecogsafe.service.deid_journals import tell_key_backup
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import Confirm, OpenedKeys, open_keys
from ecogsafe.service.running import Run

_ITEM = "the code table"
#: a table of codes is some kilobytes
_MOST_BYTES = 16 << 20
_SHOWN = 20


def import_subjects(run: Run, path: Path, password: PasswordSource, confirm: Confirm, *, dry_run: bool) -> None:
    """Take every row of the table ``path``, or none.

    Raises
    ------
    UsageError
        The file cannot be read, is no table of codes, or a row does not fit.
    PlanConflictError
        A row contradicts the linking key, or another row.
    ConfirmationNeededError
        Some rows may be somebody who is known, and nobody said whether they are.
    """
    table = _read(run, path)
    keys = open_keys(run.home, run.catalog, password)
    now = utc_stamp()
    merged = merge_table(keys.file.read(), table.rows, now=now)
    _refuse_conflicts(run, merged)
    for fate in merged.fates:
        run.tell(_row_item(fate, dry_run=dry_run))
    told = f"{len(merged.of(Fate.NEW))} new, {len(merged.of(Fate.MERGED))} added to, {len(merged.of(Fate.KNOWN))} known"
    if dry_run:
        run.message = f"{told}; nothing was written"
        return
    if merged.doubts:
        rows = "; ".join(f"row {d.number} ({d.code}) {d.doubt}" for d in merged.doubts[:_SHOWN])
        confirm(f"{len(merged.doubts)} row(s) are not certain: {rows}. Is it as the table says?")
    key = _enter(keys, table, merged, now)
    _note(run, key, merged)
    run.tally.done += len(merged.of(Fate.NEW)) + len(merged.of(Fate.MERGED))
    run.tally.present += len(merged.of(Fate.KNOWN))
    tell_key_backup(run)
    run.message = f"{told}; the linking key holds the table now, sealed: remove the unencrypted one"


def _read(run: Run, path: Path) -> CodeTable:
    table = read_code_table(_text(run, path))
    for problem in table.problems:
        message = f"row {problem.number}: {problem.problem}"
        run.tell(Item(action="import", status="conflict", message=message, details={"row": problem.number}))
    if table.problems:
        numbers = ", ".join(str(p.number) for p in table.problems[:_SHOWN])
        more = f" and {len(table.problems) - _SHOWN} more" if len(table.problems) > _SHOWN else ""
        raise UsageError(
            _ITEM,
            f"{len(table.problems)} row(s) do not fit ({numbers}{more})",
            safe="No row was taken",
            next="mend these rows, or take them out, then run again",
        )
    if table.ignored_columns:
        numbers = ", ".join(map(str, table.ignored_columns))
        message = (
            f"columns not understood and not taken: {numbers} (what identifies somebody goes into a column named also)"
        )
        run.tell(Item(action="import", status="note", message=message, details={"columns": table.ignored_columns}))
    return table


def _text(run: Run, path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        # "from None" and no path: it may be named after somebody
        raise UsageError(_ITEM, "cannot be opened", next="check that it is there, yours, and no link") from None
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise UsageError(_ITEM, "is not a plain file", next="save the table as CSV (UTF-8)")
        with os.fdopen(fd, "rb", closefd=False) as file:
            data = file.read(_MOST_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > _MOST_BYTES:
        raise UsageError(_ITEM, "is too large to be a table of codes", next="save the table as CSV (UTF-8)")
    if state.st_mode & 0o077:
        message = "warning: other people of this computer may read the table of codes: chmod 600 it, or remove it after"
        run.tell(Item(action="import", status="note", message=message))
    try:
        # spreadsheets save "Unicode text" as UTF-16
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(_ITEM, "is not UTF-8 text", next="save the table as CSV UTF-8, then run again") from None


def _refuse_conflicts(run: Run, merged: Merged) -> None:
    with run.catalog.read() as tx:
        in_catalogue = {row.code for row in subjects.subjects(tx)}
    problems = [(f, f.reason) for f in merged.of(Fate.CONFLICT)]
    lost = "is in the catalogue, but not in the linking key, which is not the newest one"
    problems += [(f, lost) for f in merged.of(Fate.NEW) if f.code in in_catalogue]
    for fate, reason in problems:
        run.tell(
            Item(
                action="import",
                status="conflict",
                subject=fate.code,
                message=f"row {fate.number}: {reason}",
                details={"row": fate.number},
            )
        )
    if problems:
        numbers = ", ".join(str(f.number) for f, _ in problems[:_SHOWN])
        raise PlanConflictError(
            _ITEM,
            f"{len(problems)} row(s) contradict the linking key or one another ({numbers})",
            safe="No row was taken",
            next="mend these rows, then run again",
        )


def _row_item(fate: RowFate, *, dry_run: bool) -> Item:
    status = {Fate.NEW: "done", Fate.MERGED: "done", Fate.KNOWN: "present"}[fate.fate]
    words = {Fate.NEW: "a new person", Fate.MERGED: "known; identifiers added", Fate.KNOWN: "known already"}
    return Item(
        action="import",
        status="planned" if dry_run and status == "done" else status,
        subject=fate.code,
        message=f"row {fate.number}: {words[fate.fate]}" + (f" ({fate.doubt})" if fate.doubt else ""),
        details={"row": fate.number, "fate": fate.fate.value},
    )


def _enter(keys: OpenedKeys, table: CodeTable, planned: Merged, now: str) -> LinkingKey:
    """Put the rows into the newest linking key, under its lock, if they come to the same there."""

    def change(key: LinkingKey) -> LinkingKey:
        again = merge_table(key, table.rows, now=now)
        if again.fates != planned.fates:
            raise LockedError("linking-key.age", "another run has just changed it", next="run the same command again")
        return again.key

    return keys.file.change(change)


def _note(run: Run, key: LinkingKey, merged: Merged) -> None:
    with run.catalog.write() as tx:
        for code in dict.fromkeys(fate.code for fate in merged.fates):
            person = key.person(code)
            if person is not None:
                subjects.add_subject(tx, code, revision=person.revision)
                subjects.set_revision(tx, code, person.revision)
        told = f"{len(merged.of(Fate.NEW))} new, {len(merged.of(Fate.MERGED))} added to"
        note_act(tx, run, "subjects import", result=told)
