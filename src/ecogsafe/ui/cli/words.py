"""Events as lines a person reads."""

from __future__ import annotations

from ecogsafe.core.events import ErrorEvent, Event, Finding, Item, Progress, Summary

_MARKS = {
    "done": "ok  ",
    "present": "same",
    "skipped": "skip",
    "failed": "FAIL",
    "left_behind": "left",
    "conflict": "CLASH",
    "planned": "plan",
    "note": "note",
}
#: marks of `doctor`
_CHECKED = {"done": "✓", "failed": "✗"}
#: actions whose message is the whole line
_TOLD = ("plan", "segment", "clock", "identifier", "audit")


def is_detail(event: Event) -> bool:
    """Return whether a line that sums up says enough of ``event`` for somebody who did not ask for everything."""
    if not isinstance(event, Item):
        return False
    return (
        event.action in ("identifier", "clock", "pace")
        or (event.action == "segment" and event.status == "note")
        or (event.action == "inventory" and event.key is not None and event.status in ("present", "note"))
        or (event.status == "left_behind" and event.details.get("by_rule") is True)
        or (event.status == "skipped" and event.details.get("told_together") is True)
    )


def count_bytes(count: float) -> str:
    """Return bytes in decimal units: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def count_time(seconds: float) -> str:
    """Return a duration: ``45 s``, ``12 min``, ``3 h 20 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count_bad(bad: int, replaced: int) -> list[str]:
    """Return how many copies are bad, and apart from them those that a good one stands beside: they alarm nobody."""
    alarming = [f"{bad - replaced:,} BAD"] if bad > replaced else []
    return alarming + ([f"{replaced:,} bad but replaced"] if replaced else [])


def share(done: int, total: int) -> str:
    """Return how much of the whole that is: `` 45 %``."""
    return f"{min(100, 100 * done // total) if total else 100:3} %"


def line_of(event: Event) -> str:
    """Return one event as text; a failure takes several lines."""
    if isinstance(event, Item):
        return _item(event)
    if isinstance(event, Progress):
        return _progress(event)
    if isinstance(event, Finding):
        state = "accepted" if event.accepted else "FOUND"
        place = f"{event.path} at byte {event.offset:,}" if event.offset >= 0 else event.path
        return f"{state}  {place}: {event.kind} {event.masked} ({event.encoding})  [{event.id}]"
    if isinstance(event, ErrorEvent):
        lines = [f"error[{event.code}]: {event.message}.", f"  safe: {event.safe}."]
        if event.next:
            lines.append(f"  next: {event.next}")
        return "\n".join(lines)
    return _summary(event)


def _item(item: Item) -> str:
    if item.action == "doctor":
        return _check(item)
    what = item.path or item.key or item.subject or ""
    size = f"  {count_bytes(item.bytes)}" if item.bytes is not None else ""
    message = f"  {item.message}" if item.message else ""
    # one run may work with several stores: every line says which one it is about
    store = item.store if item.store and item.store not in item.message else ""
    place = f"  {store}" if store else ""
    if item.details.get("next"):
        message += f" (next: {item.details['next']})"
    if item.action in _TOLD and item.status in ("note", "planned"):
        # these lines are read one below the other, as a table
        return f"{item.message}{f', {count_bytes(item.bytes)}' if item.bytes is not None else ''}"
    if item.status == "note":
        if not what:
            return f"{store}: {message.strip()}" if store and item.message else message.strip()
        # a line about a whole subject says itself what it is about
        return f"{what}{size}{place if item.path or item.key else ''}{message}".strip()
    return f"{_MARKS.get(item.status, item.status)}  {item.action:8} {what}{size}{place}{message}".rstrip()


def _check(item: Item) -> str:
    where = f"{item.store}: " if item.store else ""
    line = f"{_CHECKED.get(item.status, '-')} {where}{item.details.get('check', '')}: {item.message}"
    fix = item.details.get("fix")
    return f"{line}\n    fix: {fix}" if fix else line


def _progress(progress: Progress) -> str:
    files = f"{progress.files_done:,}" + (f" of {progress.files_total:,}" if progress.files_total is not None else "")
    total = f" of {count_bytes(progress.bytes_total)}" if progress.bytes_total is not None else ""
    return f"...   {files} files, {count_bytes(progress.bytes_done)}{total}, {pace_of(progress)}"


def pace_of(progress: Progress) -> str:
    """Return how fast it goes and how long it will last, or what it waits for; and what did not go smoothly."""
    if progress.waiting:
        words = [progress.waiting]
    else:
        words = [f"{count_bytes(progress.bytes_per_s)}/s"]
        if progress.seconds_left is not None:
            words.append(f"{count_time(progress.seconds_left)} left")
    if progress.retries:
        words.append(f"{progress.retries:,} repeated")
    return ", ".join(words)


def _summary(summary: Summary) -> str:
    counts = {name: n for name, n in {**summary.files, **summary.counts}.items() if n}
    told = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in counts.items())
    head = f"{summary.command}: {summary.message}" if summary.message else summary.command
    parts = [head, told, count_bytes(summary.bytes) if summary.bytes else "", f"{summary.seconds:.1f} s"]
    status = "" if summary.exit_status == 0 else f"  [exit status {summary.exit_status}]"
    return "; ".join(part for part in parts if part) + status
