"""Files out of a volume through its index: every frame is fetched once, whatever files share it.

Threads fetch, open and decompress neighbouring frames together; one thread takes them in the order of the
tar stream, digests and writes. What waits is bounded in bytes. An interrupted file goes on at the first
frame that is not on the disk.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.archive.frame_fetching import FrameFetcher
from ecogsafe.transfer.archive.unpacked import Arrival, Wish

#: neighbouring frames are fetched together up to these sizes, of the zstd stream and of the tar stream
_BATCH_ZSTD_BYTES = 8 << 20
_BATCH_TAR_BYTES = 16 << 20
#: requests under way at once, at most: with their frames opened that is about 200 MiB
_MOST_CONNECTIONS = 4
#: steps that wait for no frame (what an earlier run left) are looked ahead of no further than this
_MOST_STEPS = 1024


@dataclass(frozen=True, slots=True)
class _Step:
    """One frame's share of one file; ``number`` None for an empty file."""

    arrival: Arrival
    number: int | None
    #: it is on the disk already
    is_landed: bool
    is_last: bool


class Unpacking:
    """Brings ``wishes`` into ``folder``.

    Parameters
    ----------
    fetcher
        Of the volume, open.
    volume
        What the store says of its object.
    on_kept
        Called with the count of bytes of files that an earlier run had received.
    """

    def __init__(
        self,
        fetcher: FrameFetcher,
        volume: ObjectInfo,
        folder: Path,
        *,
        connections: int,
        stop: threading.Event,
        on_kept: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._fetcher = fetcher
        self._index = fetcher.index
        self._volume = volume
        self._folder = folder
        self._connections = max(1, min(connections, _MOST_CONNECTIONS))
        self._stop = stop
        self._on_kept = on_kept
        self._offsets = {member.path: member.data_offset for member in self._index.members}

    def run(self, wishes: Iterable[Wish]) -> Iterator[Arrival]:
        """Carry out ``wishes`` and yield each when it has ended, whatever became of it (`Arrival.error`).

        After ``stop`` nothing more is yielded; what came of unfinished files is kept for the next run.
        """
        again: list[Wish] = []
        for arrival, is_to_repeat in self._pass(wishes, anew=False):
            if is_to_repeat:
                again.append(arrival.wish)
            else:
                yield arrival
        for arrival, _ in self._pass(again, anew=True):
            yield arrival

    def _pass(self, wishes: Iterable[Wish], *, anew: bool) -> Iterator[tuple[Arrival, bool]]:
        with ThreadPoolExecutor(self._connections, "unpacker") as pool:
            flight = _Flight(self._fetcher, pool)
            waiting: deque[_Step] = deque()
            coming = self._steps(wishes, anew=anew)
            try:
                while not self._stop.is_set():
                    while not waiting or (flight.count <= self._connections and len(waiting) < _MOST_STEPS):
                        step = next(coming, None)
                        if step is None:
                            break
                        if step.number is not None and not step.is_landed:
                            flight.want(step.number)
                        waiting.append(step)
                    if not waiting:
                        return
                    step = waiting.popleft()
                    self._take(step, flight)
                    if step.is_last:
                        yield step.arrival, step.arrival.end()
            finally:
                flight.cancel()
                coming.close()
                for arrival in dict.fromkeys(step.arrival for step in waiting):
                    arrival.interrupt()
                if self._begun is not None:
                    self._begun.interrupt()

    #: the file whose last step was not given yet
    _begun: Arrival | None = None

    def _steps(self, wishes: Iterable[Wish], *, anew: bool) -> Generator[_Step, None, None]:
        for wish in sorted(wishes, key=lambda wish: self._offsets[wish.path]):
            numbers = self._numbers(wish)
            arrival = Arrival(self._folder, wish, self._volume, in_frames=len(numbers) > 1)
            if len(numbers) > 1:
                # the others are opened when their one frame is there: thousands may share it
                self._begun = arrival
                arrival.open(anew=anew)
            for number in numbers:
                is_last = number == numbers[-1] or arrival.error is not None
                if is_last:
                    self._begun = None
                yield _Step(arrival, number, number in arrival.landed, is_last)
                if is_last:
                    break
            if not numbers:
                yield _Step(arrival, None, is_landed=False, is_last=True)

    def _numbers(self, wish: Wish) -> Sequence[int]:
        """Return the frames that hold a file."""
        if not wish.size:
            return range(0)
        start = self._offsets[wish.path]
        frames = self._index.frames
        first = bisect_right(frames, start, key=lambda frame: frame.tar_start) - 1
        last = bisect_right(frames, start + wish.size - 1, key=lambda frame: frame.tar_start) - 1
        return range(first, last + 1)

    def _take(self, step: _Step, flight: _Flight) -> None:
        arrival = step.arrival
        arrival.open()
        if step.number is None or arrival.error is not None:
            return
        frame = self._index.frames[step.number]
        start = self._offsets[arrival.wish.path]
        begin = max(frame.tar_start, start) - frame.tar_start
        end = min(frame.tar_stop, start + arrival.wish.size) - frame.tar_start
        if step.is_landed:
            arrival.take_landed(end - begin)
            self._on_kept(end - begin)
            return
        try:
            data = flight.frame(step.number)
        except Exception as error:  # noqa: BLE001  it is the file's result, and its caller raises it
            arrival.fail(error)
            return
        arrival.take(memoryview(data)[begin:end], step.number)


class _Flight:
    """Frames that are being fetched, in the order in which they are wanted."""

    def __init__(self, fetcher: FrameFetcher, pool: ThreadPoolExecutor) -> None:
        self._fetcher = fetcher
        self._frames = fetcher.index.frames
        self._pool = pool
        self._batch: list[int] = []
        self._sent: deque[tuple[list[int], Future[list[bytes]]]] = deque()
        self._newest = -1

    @property
    def count(self) -> int:
        """Requests that were begun and not used up."""
        return len(self._sent)

    def want(self, number: int) -> None:
        """Fetch frame ``number``, which is not before the newest one that is wanted."""
        if number == self._newest:
            return
        self._newest = number
        if self._batch and not self._fits(number):
            self._send()
        self._batch.append(number)

    def _fits(self, number: int) -> bool:
        first, last, new = self._frames[self._batch[0]], self._frames[self._batch[-1]], self._frames[number]
        return (
            number == self._batch[-1] + 1
            and new.tar_stop - first.tar_start <= _BATCH_TAR_BYTES
            and new.zstd_stop - first.zstd_start <= _BATCH_ZSTD_BYTES
            and new.zstd_start >= last.zstd_stop
        )

    def _send(self) -> None:
        numbers, self._batch = self._batch, []
        frames = [self._frames[number] for number in numbers]
        self._sent.append((numbers, self._pool.submit(self._fetcher.fetch, frames)))

    def frame(self, number: int) -> bytes:
        """Return the tar bytes of a frame that is wanted; those before it are forgotten."""
        if self._batch and number >= self._batch[0]:
            self._send()
        while self._sent and number > self._sent[0][0][-1]:
            self._sent.popleft()
        numbers, future = self._sent[0]
        return future.result()[number - numbers[0]]

    def cancel(self) -> None:
        """Begin nothing more."""
        for _, future in self._sent:
            future.cancel()
