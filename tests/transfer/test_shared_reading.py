"""One read for two: every byte is read once, nobody runs away, nobody waits for ever, and both get the same bytes."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from ecogsafe.core.errors import SourceChangedError
from ecogsafe.transfer import shared_reading
from ecogsafe.transfer.shared_reading import SharedReading, SharedSource, Side
from ecogsafe.transfer.source import FileSource

BLOCK = 1000
#: blocks that one may be ahead
AHEAD = 4
FILES, ARCHIVE = Side.FILES, Side.ARCHIVE


class Folder:
    """Files in a folder, read by two sides; what was read from the disk is counted."""

    def __init__(self, folder: Path, *sizes: int) -> None:
        self.folder = folder
        self.root = os.open(folder, os.O_RDONLY)
        self.sizes = sizes
        self.contents = [random.Random(number).randbytes(size) for number, size in enumerate(sizes)]
        for number, data in enumerate(self.contents):
            (folder / f"{number}.avi").write_bytes(data)
        self.stop = threading.Event()
        self.left: list[Side] = []
        self.patience_s = 30.0
        self.reading = self.anew()

    def anew(self) -> SharedReading:
        self.reading = SharedReading(
            self.sizes,
            stop=self.stop,
            patience_s=self.patience_s,
            left_behind=self.left.append,
            window=AHEAD * BLOCK,
        )
        return self.reading

    def open(self, side: Side, number: int) -> SharedSource:
        name = f"{number}.avi"
        return self.reading.source(side, number, FileSource(self.root, PurePosixPath(name), name=name))

    def read(self, side: Side, number: int, *, slow: random.Random | None = None) -> bytes:
        """Read a file as the side does: by pieces, or by ranges of any size."""
        numbers = slow or random.Random(number)
        source = self.open(side, number)
        try:
            if side is FILES:
                pieces = []
                for piece in source.pieces():
                    pieces.append(piece)
                    if slow is not None:
                        time.sleep(slow.random() / 1000)
                data = b"".join(pieces)
            else:
                into = bytearray(source.size)
                done = 0
                while done < source.size:
                    count = min(numbers.randrange(1, 3 * BLOCK), source.size - done)
                    source.read_into(memoryview(into)[done : done + count], done)
                    done += count
                    if slow is not None:
                        time.sleep(slow.random() / 1000)
                data = bytes(into)
            source.check_unchanged()
        finally:
            source.close()
        return data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr(shared_reading, "READ_SIZE", BLOCK)
    made = Folder(tmp_path, 10 * BLOCK, 0, 7 * BLOCK + 1, 1, 3 * BLOCK - 1, 12 * BLOCK)
    yield made
    os.close(made.root)


def both(*works: object) -> None:
    """Run these at once."""
    threads = [threading.Thread(target=work) for work in works]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"


@pytest.mark.parametrize("seed", range(4))
def test_both_get_every_byte_and_the_disk_is_read_once(folder: Folder, seed: int) -> None:
    got: dict[Side, list[bytes]] = {FILES: [], ARCHIVE: []}

    def reads(side: Side) -> None:
        slow = random.Random(2 * seed + side)
        got[side] += [folder.read(side, number, slow=slow) for number in range(len(folder.sizes))]
        folder.reading.leave(side)

    both(lambda: reads(FILES), lambda: reads(ARCHIVE))
    assert got[FILES] == got[ARCHIVE] == folder.contents
    assert folder.reading.bytes_read == sum(folder.sizes)
    assert folder.left == []


def test_two_threads_of_the_files_side_beside_one_archive(folder: Folder) -> None:
    got: dict[int, bytes] = {}
    numbers = iter(range(len(folder.sizes)))
    lock = threading.Lock()

    def files() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            got[number] = folder.read(FILES, number, slow=random.Random(number))

    def archive() -> None:
        for number in range(len(folder.sizes)):
            assert folder.read(ARCHIVE, number) == folder.contents[number]

    both(files, files, archive)
    assert [got[number] for number in range(len(folder.sizes))] == folder.contents
    assert folder.reading.bytes_read == sum(folder.sizes)


@pytest.mark.parametrize("side", [FILES, ARCHIVE])
def test_nobody_runs_away_from_the_other(folder: Folder, side: Side) -> None:
    runner = threading.Thread(target=lambda: folder.read(side, 0))
    runner.start()
    time.sleep(0.3)
    assert folder.reading.bytes_read <= AHEAD * BLOCK
    assert runner.is_alive(), "it did not wait"
    folder.read(side.other, 0)
    runner.join(10)
    assert folder.reading.bytes_read == folder.sizes[0]


@pytest.mark.parametrize("side", [FILES, ARCHIVE])
def test_one_that_does_not_move_is_left_behind_and_reads_by_itself(folder: Folder, side: Side) -> None:
    folder.patience_s = 0.1
    folder.anew()
    assert folder.read(side, 0) == folder.contents[0]
    assert folder.left == [side.other]
    # nothing is kept for it, and nobody waits for it again
    began = time.monotonic()
    assert folder.read(side, 2) == folder.contents[2]
    assert time.monotonic() - began < 5
    assert folder.read(side.other, 0) == folder.contents[0]
    assert folder.reading.bytes_read == 2 * folder.sizes[0] + folder.sizes[2]


def test_what_one_passes_over_is_not_waited_for(folder: Folder) -> None:
    folder.reading.finish(FILES, 0, 1)
    assert folder.read(ARCHIVE, 0) == folder.contents[0]
    # the archive goes on at file 4: those before it are not waited for either
    both(lambda: folder.read(ARCHIVE, 4), lambda: [folder.read(FILES, number) for number in (2, 3, 4)])
    assert folder.left == []
    assert folder.reading.bytes_read == sum(folder.sizes[:5]), "each of them once, by whoever wanted it"


def test_a_look_at_a_file_is_no_read_of_it(folder: Folder) -> None:
    """An archive looks at all of its files anew when one of them changed."""
    for number in range(3):
        folder.open(ARCHIVE, number).close()
    both(lambda: folder.read(ARCHIVE, 2), lambda: [folder.read(FILES, number) for number in range(3)])
    assert folder.reading.bytes_read == sum(folder.sizes[:3])


def test_an_archive_that_goes_on_in_the_middle_of_a_file(folder: Folder) -> None:
    into = bytearray(2 * BLOCK)

    def archive() -> None:
        source = folder.open(ARCHIVE, 0)
        source.read_into(memoryview(into), 8 * BLOCK)
        source.close()

    both(archive, lambda: folder.read(FILES, 0))
    assert bytes(into) == folder.contents[0][8 * BLOCK :]
    assert folder.reading.bytes_read == folder.sizes[0]


def test_whoever_begins_again_reads_alone(folder: Folder) -> None:
    def archive() -> None:
        source = folder.open(ARCHIVE, 0)
        source.read_into(memoryview(bytearray(6 * BLOCK)), 0)
        source.close()
        assert folder.read(ARCHIVE, 0) == folder.contents[0]

    both(archive, lambda: folder.read(FILES, 0))
    assert folder.reading.bytes_read <= 2 * folder.sizes[0]
    assert folder.left == []


def test_two_states_of_one_file_are_not_mixed(folder: Folder) -> None:
    first = folder.open(FILES, 0)
    pieces = first.pieces()
    before = [next(pieces) for _ in range(2)]
    path = folder.folder / "0.avi"
    path.write_bytes(folder.contents[0][::-1])
    os.utime(path, (1, 1))
    assert folder.read(ARCHIVE, 0) == folder.contents[0][::-1]
    assert before == [folder.contents[0][:BLOCK], folder.contents[0][BLOCK : 2 * BLOCK]]
    with pytest.raises(SourceChangedError):
        first.check_unchanged()
    first.close()


def test_a_file_that_ends_early_is_told_to_both(folder: Folder) -> None:
    sources = [folder.open(side, 0) for side in Side]
    os.truncate(folder.folder / "0.avi", BLOCK // 2)
    failed: list[Side] = []

    def read(side: Side) -> None:
        try:
            for _ in sources[side].pieces():
                sources[side].check_unchanged()
        except SourceChangedError:
            failed.append(side)
        sources[side].close()

    both(lambda: read(FILES), lambda: read(ARCHIVE))
    assert sorted(failed) == [FILES, ARCHIVE]


def test_a_run_that_stops_keeps_nobody_waiting(folder: Folder) -> None:
    runner = threading.Thread(target=lambda: folder.read(ARCHIVE, 0))
    runner.start()
    time.sleep(0.1)
    folder.stop.set()
    runner.join(5)
    assert not runner.is_alive()
