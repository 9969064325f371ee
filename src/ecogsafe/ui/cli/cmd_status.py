"""``ecogsafe status``."""

from __future__ import annotations

from datetime import datetime

import click

from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.service.status import RunAtWork, StatusReport, StoreCell, SubjectState, as_items, status
from ecogsafe.ui.cli.shell import Shell
from ecogsafe.ui.cli.streams import say
from ecogsafe.ui.cli.words import count_bad, count_bytes, count_time, share

_WATCH_S = 2.0
#: what is missing is told so often before it is only counted
_MOST_TOLD = 20
#: ages up to two days are told in hours
_HOURS_TOLD = 48


@click.command("status")
@click.argument("code", required=False)
@click.option("--watch", is_flag=True, help="Show again every two seconds until Ctrl-C.")
@click.option("--check", is_flag=True, help="End 3 if anything falls short of the policy, 30 if a copy is bad.")
@click.pass_obj
def command(shell: Shell, code: str | None, watch: bool, check: bool) -> int:  # noqa: FBT001
    """Show which subject is where and how that was proven, from the catalogue alone."""
    return shell.show("status", lambda emit: _status(shell, code, emit, watch=watch, check=check))


def _status(shell: Shell, code: str | None, emit: EventSink, *, watch: bool, check: bool) -> Summary:
    while True:
        report = status(shell.home, code)
        if shell.as_json:
            for item in as_items(report):
                emit(item)
        elif not (shell.quiet and check and not report.unsafe):
            # from cron, good news makes no mail
            if watch:
                click.clear()
            say("\n".join(lines_of(report)))
        if not watch or shell.stop.wait(_WATCH_S):
            break
    ended = ExitStatus.DONE
    if check and report.unsafe:
        ended = ExitStatus.VERIFY_FAILED if report.bad_found else ExitStatus.PARTIAL
    if shell.as_json:
        for lack in report.lacks:
            told = {"next": lack.next, "bad": lack.is_bad}
            emit(Item(action="problem", status="note", subject=lack.subject, message=lack.message, details=told))
    return Summary(
        command="status",
        exit_status=int(ended),
        files={"done": sum(s.files for s in report.states)},
        bytes=0,
        seconds=0.0,
        counts={"unsafe": len(report.problems)},
        message=verdict(report),
    )


def verdict(report: StatusReport) -> str:
    """Return in one line whether everything is safe, with the first things that are not."""
    if report.problems:
        more = f"; and {len(report.problems) - 3} more" if len(report.problems) > 3 else ""
        return "not safe yet: " + "; ".join(report.problems[:3]) + more
    return "safe: the policy is met for every file" if report.states else "nothing is recorded yet"


def lines_of(report: StatusReport) -> list[str]:
    """Return the matrix subjects x destinations as lines of text, what is missing, and what is at work."""
    names = report.names or {}
    heads = [names.get(url, url) for url in report.stores]
    rows = []
    for state in report.states:
        cells = {cell.store: cell for cell in state.cells}
        freed = f" ({state.freed_files:,} freed here)" if state.freed_files else ""
        start = [state.subject, state.tree, f"{state.files:,}{freed}", count_bytes(state.bytes)]
        rows.append([*start, *(_cell(state, cells.get(url), report.at) for url in report.stores)])
    lines = _table(["subject", "data", "files", "size", *heads], rows)
    lines += [f"{names[url]}: {url}" for url in report.stores if url in names]
    if report.lacks:
        lines.append("missing to be safe:")
        lines += [f"  {lack.message}\n    next: {lack.next}" for lack in report.lacks[:_MOST_TOLD]]
        if len(report.lacks) > _MOST_TOLD:
            lines.append(f"  and {len(report.lacks) - _MOST_TOLD:,} more: ecogsafe status CODE, or --json")
    for row in report.running:
        lines += _lines_of_run(row)
    return lines


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *rows]
    ]


def _cell(state: SubjectState, cell: StoreCell | None, now: datetime | None) -> str:
    """Return what one store holds of one tree: how many of its files, the lowest level, how old its oldest proof is."""
    if cell is None:
        return "-"
    words = []
    if cell.files:
        levels = [(cell.restored, "restored"), (cell.checksum, "checksum"), (cell.stored, "stored only")]
        lowest = next(word for number, word in reversed(levels) if number)
        share_of = "" if cell.files == state.files else f"{cell.files:,} of {state.files:,} "
        words.append(f"{share_of}{lowest}{_age(cell.oldest_evidence, now)}")
    words += count_bad(cell.bad, cell.replaced)
    if cell.removed:
        words.append(f"{cell.removed:,} removed")
    return ", ".join(words)


def _age(stamp: str | None, now: datetime | None) -> str:
    if stamp is None or now is None:
        return ""
    hours = (now - datetime.fromisoformat(stamp)).total_seconds() / 3600
    if hours < 0:
        return " (of the future: check the clock)"
    if hours >= _HOURS_TOLD:
        return f" {hours // 24:.0f} d"
    return f" {hours // 1:.0f} h" if hours >= 1 else " <1 h"


def _lines_of_run(row: RunAtWork) -> list[str]:
    files = f"{row.files_done:,}" + (f" of {row.files_total:,}" if row.files_total is not None else "")
    total = f" of {count_bytes(row.bytes_total)}" if row.bytes_total is not None else ""
    now = [row.waiting] if row.waiting else [f"{count_bytes(row.bytes_per_s)}/s"]
    if row.seconds_left is not None and not row.waiting:
        now.append(f"{count_time(row.seconds_left)} left")
    if row.files_present:
        now.append(f"{row.files_present:,} files ({count_bytes(row.bytes_present)}) were there")
    if row.retries:
        now.append(f"{row.retries:,} requests repeated")
    size = f"{count_bytes(row.bytes_done)}{total}"
    head = f"running: {row.command} since {row.started_at[11:19]} UTC, {files} files, {size}"
    under_way = [f"  {share(done, total)} {path}" for path, done, total in row.files_under_way()]
    return [f"{head}, {', '.join(now)}", *(under_way or ([f"       {row.current}"] if row.current else []))]
