"""``ecogsafe status``."""

from __future__ import annotations

import click

from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.service.status import RunAtWork, StatusReport, as_items, status
from ecogsafe.ui.cli.shell import Shell
from ecogsafe.ui.cli.streams import say
from ecogsafe.ui.cli.words import count_bytes, count_time, share

_WATCH_S = 2.0


@click.command("status")
@click.argument("code", required=False)
@click.option("--watch", is_flag=True, help="Show again every two seconds until Ctrl-C.")
@click.option("--check", is_flag=True, help="End 3 if anything falls short of the policy.")
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
        else:
            if watch:
                click.clear()
            say("\n".join(lines_of(report)))
        if not watch or shell.stop.wait(_WATCH_S):
            break
    ended = ExitStatus.PARTIAL if check and report.unsafe else ExitStatus.DONE
    if shell.as_json:
        for problem in report.problems:
            emit(Item(action="problem", status="note", message=problem))
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
    return "safe: every file has its proven copies" if report.states else "nothing is recorded yet"


def lines_of(report: StatusReport) -> list[str]:
    """Return the matrix subjects x stores as lines of text."""
    lines = [f"{'subject':10} {'data':6} {'files':>7} {'size':>10}  copies"]
    for state in report.states:
        head = f"{state.subject:10} {state.tree:6} {state.files:7,} {count_bytes(state.bytes):>10}"
        if not state.cells:
            lines.append(f"{head}  none")
        for index, cell in enumerate(state.cells):
            proof = _proof(cell.stored, cell.checksum, cell.restored, cell.bad)
            age = f" since {cell.oldest_evidence[:16].replace('T', ' ')}" if cell.oldest_evidence else ""
            lead = head if index == 0 else " " * len(head)
            lines.append(f"{lead}  {cell.files:,} at {cell.store}: {proof}{age}")
    for row in report.running:
        lines += _lines_of_run(row)
    return lines


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


def _proof(stored: int, checksum: int, restored: int, bad: int) -> str:
    words = []
    if restored:
        words.append(f"{restored:,} restored")
    if checksum:
        words.append(f"{checksum:,} checksum")
    if stored:
        words.append(f"{stored:,} stored only")
    if bad:
        words.append(f"{bad:,} BAD")
    return ", ".join(words) or "none good"
