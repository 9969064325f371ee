"""Subjects as text: the list, the page of one, and the script that removes what withdrew."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ecogsafe.service.subject_holdings import Holding
from ecogsafe.service.subject_showing import SubjectPage, parts_of
from ecogsafe.service.withdrawal import Removable, Withdrawal
from ecogsafe.ui.cli.words import count_bad, count_bytes, count_time


def _moment(stamp: str | None) -> str:
    """Return a time to the minute, and its zone where it has one."""
    if not stamp:
        return "-"
    zone = " UTC" if stamp.endswith(("Z", "+00:00")) else ""
    return stamp[:16].replace("T", " ") + zone


def list_lines(found: list[Holding]) -> Iterator[str]:
    """Yield the list of subjects as a table."""
    yield f"{'code':8}  {'created':20}  {'segments':>8}  {'files':>7}  {'size':>9}  {'copies':>7}  stores"
    for h in found:
        bad = "".join(f", {words}" for words in count_bad(h.bad_copies, h.replaced_copies))
        withdrawn = f"  WITHDRAWN {h.withdrawn[:10]}" if h.withdrawn else ""
        yield (
            f"{h.code:8}  {_moment(h.created):20}  {h.segments:8,}  {h.files:7,}  {count_bytes(h.bytes):>9}  "
            f"{h.copies:7,}  {h.stores}{bad}{withdrawn}"
        )


def page_lines(page: SubjectPage, *, reveal: bool) -> Iterator[str]:
    """Yield the page of one subject; identifiers as they are only with ``reveal``."""
    created = page.row.created_at if page.row else None
    yield f"subject {page.code}, since {_moment(created)}"
    if page.row is not None and page.row.withdrawn_at:
        yield f"  WITHDRAWN {_moment(page.row.withdrawn_at)}: nothing of it is sent"
    yield "identifiers" + ("" if reveal else " (masked: the output is no terminal)")
    if page.person is None:
        yield "  none: the linking key has no entry under this code"
    for name, value in page.identifiers(reveal=reveal):
        yield f"  {name:12} {value}"
    if page.person is not None:
        yield f"  {page.dates}"
    for at, what in page.history:
        yield f"  {_moment(at):20} {what}"
    yield f"segments (by the clinic's clock{', shifted dates' if page.is_shifted else ''})"
    for segment in page.segments:
        duration = count_time(segment.duration_s) if segment.duration_s is not None else "unknown length"
        start = _moment(segment.start_local or segment.start_utc)
        yield f"  {segment.number:3}  {start:20}  {duration:>14}  {', '.join(parts_of(segment)) or 'nothing'}"
    yield "files sent, and their copies"
    for total in page.files:
        freed = f", {total.freed_files:,} freed here" if total.freed_files else ""
        yield f"  {total.tree:6} {total.files:,} files, {count_bytes(total.bytes)}{freed}"
        for url, copy in page.copies:
            if copy.tree == total.tree:
                bad = "".join(f", {words}" for words in count_bad(copy.bad, copy.replaced))
                yield (
                    f"         {copy.files:,} at {url}: {copy.restored:,} restored, {copy.checksum:,} checksum, "
                    f"{copy.stored:,} stored only{bad}; proven since {_moment(copy.oldest_evidence)}"
                )
    yield "journals"
    for journal in page.journals:
        undoes = f", takes back {journal.undoes}" if journal.undoes else ""
        yield f"  {_moment(journal.created_at):20} {journal.kind:5} {journal.id}  {journal.state}{undoes}"
    yield "cleared to go unencrypted"
    for state in page.clearances:
        lapsed = f", {state.lapsed:,} LAPSED (more identifiers are known now)" if state.lapsed else ""
        accepted = f", {state.accepted:,} findings accepted" if state.accepted else ""
        yield (
            f"  {state.tree:6} {state.current:,} files searched and clean{lapsed}{accepted}; "
            f"{_moment(state.oldest)} to {_moment(state.newest)}, scanner {', '.join(state.scanner_versions)}"
        )


def removal_lines(withdrawal: Withdrawal) -> Iterator[str]:
    """Yield a shell script that an administrator reads, then runs; all but the commands are comments."""
    yield f"# subject {withdrawal.code}, withdrawn {_moment(withdrawal.withdrawn_at)}: what is recorded in stores"
    yield "# Run it with rights to delete, and the AWS profile and endpoint with which the data were sent."
    for store, items in groupby(withdrawal.items, key=lambda item: item.store):
        of_store = list(items)
        size = count_bytes(sum(item.bytes for item in of_store))
        yield f"\n# {store}: {len(of_store)} objects, {size}; retention {of_store[0].retention}"
        for item in of_store:
            yield f"# {_facts(item)}"
            yield item.command or f"# remove it by hand: {item.key}"
    for store, number, at in withdrawal.gone:
        yield f"\n# {store}: {number:,} objects are proven gone, noted {_moment(at)} by ecogsafe inventory"
    if not withdrawal.items:
        yield f"# no {'further ' if withdrawal.gone else ''}copy is recorded in any store"
    for store, command in withdrawal.checks:
        yield f"\n# afterwards nothing may be left at {store}, older versions and archives included:"
        yield command
    yield "\n# local files are not recorded by place; below every OUT folder and download folder remove:"
    for folder in withdrawal.local_folders:
        yield f"#   {folder}"
    yield "# the checks above show then that they are gone; ecogsafe inventory URL proves and records it."
    yield f"# The linking key keeps {withdrawal.code}."


def _facts(item: Removable) -> str:
    facts = [
        count_bytes(item.bytes),
        item.level,
        item.storage_class or "storage class not told",
        f"version {item.version_id}" if item.version_id else "no version id",
        f"stored {_moment(item.stored_at)}",
        *(["an older content of the file"] if item.superseded else []),
    ]
    return ", ".join(facts)
