"""One stream of events, three ways to see it: a live terminal, plain lines, JSON Lines."""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import ErrorEvent, Event, Finding, Item, Progress, Summary, Tally
from ecogsafe.ui.cli.json_lines import write_line
from ecogsafe.ui.cli.streams import say, silence_terminal
from ecogsafe.ui.cli.words import count_bytes, is_detail, line_of, pace_of, share

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

#: seconds between two progress lines where there is no terminal
_LINE_EVERY_S = 10.0


class Seen:
    """What went by, for the summary of a run that failed."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._began = monotonic()

    def note(self, event: Event) -> None:
        """Count one event."""
        if not isinstance(event, Item):
            return
        name = {"done": "done", "present": "present", "skipped": "skipped", "failed": "failed"}.get(event.status)
        if event.status == "left_behind":
            name = "left_behind"
        if name is not None:
            setattr(self._tally, name, getattr(self._tally, name) + 1)
        if event.status == "done":
            self._tally.bytes += event.bytes or 0

    def files(self) -> dict[str, int]:
        """Return the counts."""
        return self._tally.files()

    @property
    def bytes(self) -> int:
        """Bytes of what was done."""
        return self._tally.bytes

    def seconds(self) -> float:
        """Return how long it went on."""
        return round(monotonic() - self._began, 3)


class Renderer(Protocol):
    """Shows events; used as a context around the work."""

    seen: Seen

    def emit(self, event: Event) -> None:
        """Show one event; called from several threads."""
        ...

    def note(self, text: str) -> None:
        """Show one line that is no event."""
        ...

    def paused(self) -> _Paused:
        """Hold still while something is typed."""
        ...

    def __enter__(self) -> Renderer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Paused(Protocol):
    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...


class _Base(ABC):
    def __init__(self) -> None:
        self.seen = Seen()
        # events come from sender and reader threads at once
        self._lock = threading.RLock()
        self._last_failure = ""

    def emit(self, event: Event) -> None:
        """Count and show one event."""
        with self._lock:
            self.seen.note(event)
            try:
                self._show(event)
            except OSError as error:
                # the terminal was closed while its live line was drawn
                if error.errno != errno.EIO:
                    raise
                silence_terminal()

    def _was_told(self, event: Event) -> bool:
        """Return whether ``event`` is the item of the failure that was told just before, and says no more than it."""
        if isinstance(event, ErrorEvent):
            self._last_failure = event.message
        if not isinstance(event, Item) or event.status != "failed" or not self._last_failure:
            return False
        return event.message.startswith(self._last_failure)

    @abstractmethod
    def _show(self, event: Event) -> None: ...

    def __enter__(self) -> _Base:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def note(self, text: str) -> None:
        say(f"ecogsafe: {text}", to_errors=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        yield


class JsonRenderer(_Base):
    """Every event as a line of JSON on standard output."""

    def __enter__(self) -> JsonRenderer:
        return self

    def _show(self, event: Event) -> None:
        write_line(event)


class LineRenderer(_Base):
    """Plain lines: results on standard output, failures on standard error; good for logs and cron."""

    def __init__(self, *, quiet: bool, verbose: bool = False) -> None:
        super().__init__()
        self._quiet = quiet
        self._verbose = verbose
        self._told = monotonic()

    def __enter__(self) -> LineRenderer:
        return self

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            if self._quiet or monotonic() - self._told < _LINE_EVERY_S:
                return
            self._told = monotonic()
        wrong = isinstance(event, ErrorEvent | Finding) or (
            isinstance(event, Item) and event.status in ("failed", "conflict")
        )
        failed = isinstance(event, Summary) and event.exit_status != ExitStatus.DONE
        if self._quiet and not (wrong or failed):
            return
        if self._was_told(event) or (is_detail(event) and not self._verbose):
            return
        line = line_of(event)
        if line:
            say(line, to_errors=wrong)


class TerminalRenderer(_Base):
    """A live line with files, bytes, rate and time left; below it what needs attention."""

    def __init__(self, *, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose
        self._bar: Bar | None = None

    def __enter__(self) -> TerminalRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_bar()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the live line away while something is typed."""
        self._stop_bar()
        yield

    def note(self, text: str) -> None:
        """Print above the live line."""
        self._print(f"ecogsafe: {text}")

    def _show(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._move_bar(event)
            return
        if isinstance(event, Summary):
            self._stop_bar()
        line = "" if self._was_told(event) or self._is_routine(event) else line_of(event)
        if line:
            self._print(line)

    def _is_routine(self, event: Event) -> bool:
        """Return whether the live line says enough of ``event``."""
        shown_by_the_line = (
            isinstance(event, Item)
            and event.status in ("done", "present")
            and event.action in ("upload", "download", "verify", "adopt", "apply", "undo", "reidentify", "free")
        )
        return not self._verbose and (shown_by_the_line or is_detail(event))

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            say(line, to_errors=True)

    def _move_bar(self, progress: Progress) -> None:
        if self._bar is None:
            self._start_bar()
        if self._bar is None:
            return
        files = f"{progress.files_done:,}" + (f"/{progress.files_total:,}" if progress.files_total is not None else "")
        total = "" if progress.bytes_total is None else f" of {count_bytes(progress.bytes_total)}"
        self._bar.update(
            self._bar.task_ids[0],
            completed=progress.bytes_done,
            total=progress.bytes_total,
            files=f"{files} files",
            size=f"{count_bytes(progress.bytes_done)}{total}",
            pace=pace_of(progress),
            now="  ".join(f"{share(f.bytes_done, f.bytes_total).strip()} {f.path}" for f in progress.current_files[:2])
            or progress.current,
        )

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = (
            BarColumn(bar_width=24),
            TextColumn("{task.fields[files]}  {task.fields[size]}  {task.fields[pace]}"),
            TextColumn("[dim]{task.fields[now]}"),
        )
        self._bar = RichProgress(*columns, console=Console(stderr=True), transient=True)
        self._bar.add_task("", total=None, files="", size="", pace="", now="")
        self._bar.start()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
