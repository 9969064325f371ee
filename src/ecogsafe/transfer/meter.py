"""How far a run is: counted as bytes arrive, told of twice a second, with the rate of the last moments."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

from ecogsafe.core.clock import monotonic, utc_now
from ecogsafe.core.events import EventSink, FileProgress, Item, Progress
from ecogsafe.core.pacing import DailyWindow

#: least time between two progress events, seconds
PROGRESS_EVERY_S = 0.5
#: a run in which nothing moves is told of this often, seconds
_STILL_EVERY_S = 2.0
#: the rate is that of so many seconds
RATE_OVER_S = 20.0
#: files named in one event
_MOST_FILES = 8


class SlidingRate:
    """Bytes per second over the last moments; `RATE_OVER_S` after everything stopped it is 0."""

    def __init__(self, at: float, *, over_s: float = RATE_OVER_S) -> None:
        self._over_s = over_s
        #: time and bytes until then
        self._samples: deque[tuple[float, int]] = deque([(at, 0)])

    def per_s(self, moved: int, at: float) -> float:
        """Return the rate at the time ``at``, when ``moved`` bytes have moved since the beginning."""
        samples = self._samples
        if at - samples[-1][0] >= self._over_s / 100:
            samples.append((at, moved))
        # the newest that is old enough stays, so that the rate always spans the whole time
        while len(samples) > 1 and samples[1][0] <= at - self._over_s:
            samples.popleft()
        since, before = samples[0]
        return (moved - before) / max(at - since, 1e-3)


class Meter:
    """Counts files and bytes of a run and tells of it now and then.

    As a context it has a thread that tells, also when nothing moves; else whoever moves bytes tells.
    """

    def __init__(
        self,
        emit: EventSink,
        *,
        files_total: int | None,
        bytes_total: int | None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._emit = emit
        self._now = now
        self._lock = threading.Lock()
        self._told = 0.0
        self._moved = 0
        self._rate = SlidingRate(now())
        self._under_way: dict[str, list[int]] = {}
        self._ticker: threading.Thread | None = None
        self._ended = threading.Event()
        self.files_total = files_total
        self.bytes_total = bytes_total
        self.files_done = 0
        self.bytes_done = 0
        #: there before this run, and not in the totals
        self.files_present = 0
        self.bytes_present = 0
        self.retries = 0
        self.current = ""
        self.waiting = ""
        #: the time of day in which bytes move; None: all of it
        self.window: DailyWindow | None = None

    def file_begins(self, path: str, size: int) -> None:
        """Note that bytes of ``path`` will move, ``size`` in all; `file_done` ends that."""
        with self._lock:
            self._under_way[path] = [0, size]

    def bytes_moved(self, count: int, *, current: str = "", over_the_wire: bool = True) -> None:
        """Add ``count`` bytes; those that were already there do not count for the rate."""
        with self._lock:
            self.bytes_done += count
            if over_the_wire:
                self._moved += count
            self.current = current or self.current
            if (under_way := self._under_way.get(current)) is not None:
                under_way[0] += count
        self._tell()

    def file_done(self, path: str = "") -> None:
        """Add one finished file."""
        with self._lock:
            self.files_done += 1
            self._under_way.pop(path, None)
        self._tell()

    def was_present(self, size: int) -> None:
        """Add one file of ``size`` bytes that need not move."""
        with self._lock:
            self.files_present += 1
            self.bytes_present += size

    def asked_again(self) -> None:
        """Note that a request is repeated."""
        with self._lock:
            self.retries += 1

    def wait_for(self, what: str) -> None:
        """Note what the run waits for, such as ``waiting until 18:00``; "" when it goes on."""
        with self._lock:
            before, self.waiting = self.waiting, what
            progress = self._state()
        self._emit(Item(action="wait", status="note", message=what or f"going on ({before.removeprefix('waiting ')})"))
        self._emit(progress)

    def now(self) -> Progress:
        """Return the present state."""
        with self._lock:
            return self._state()

    def _state(self) -> Progress:
        rate = self._rate.per_s(self._moved, self._now())
        total = self.bytes_total
        done = self.bytes_done if total is None else min(self.bytes_done, total)
        left_s = (total - done) / rate if total is not None and rate > 0 and not self.waiting else None
        if left_s is not None and self.window is not None:
            left_s = self.window.seconds_for(left_s, utc_now())
        files = [
            FileProgress(path=path, bytes_done=min(moved, size), bytes_total=size)
            for path, (moved, size) in list(self._under_way.items())[:_MOST_FILES]
        ]
        return Progress(
            files_done=self.files_done,
            files_total=self.files_total,
            bytes_done=done,
            bytes_total=total,
            bytes_per_s=rate,
            seconds_left=left_s,
            current=self.current,
            files_present=self.files_present,
            bytes_present=self.bytes_present,
            current_files=tuple(files),
            waiting=self.waiting,
            retries=self.retries,
        )

    def _tell(self) -> None:
        if self._ticker is not None:
            return
        with self._lock:
            if self._now() - self._told < PROGRESS_EVERY_S:
                return
            self._told = self._now()
            progress = self._state()
        self._emit(progress)

    def __enter__(self) -> Meter:
        self._ended.clear()
        self._ticker = threading.Thread(target=self._tick, name="meter", daemon=True)
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ticker, self._ticker = self._ticker, None
        self._ended.set()
        if ticker is not None:
            ticker.join()

    def _tick(self) -> None:
        told, before = self._now(), (-1, -1)
        while not self._ended.wait(PROGRESS_EVERY_S):
            progress = self.now()
            counts = (progress.bytes_done, progress.files_done)
            if counts != before or self._now() - told >= _STILL_EVERY_S:
                told, before = self._now(), counts
                self._emit(progress)
