"""Small files read whole: what is read, and what is left to those who can say what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from ecogsafe.transfer.file_order import Cleared, FileOrder
from ecogsafe.transfer.folder_reading import FolderReading
from ecogsafe.transfer.source import folder_below

MOST = 1000


class Files:
    """A folder to send from, open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def write(self, path: str, data: bytes) -> FileOrder:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)
        return FileOrder(self.root, path, path)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    yield made
    os.close(made.root)


@pytest.fixture
def reading() -> Iterator[FolderReading]:
    made = FolderReading()
    yield made
    made.close()


def test_files_of_several_folders_come_as_they_are(files: Files, reading: FolderReading) -> None:
    orders = [files.write(path, os.urandom(n * 300)) for n, path in enumerate(("a/1/x", "a/1/y", "a/2/x", "top"))]
    for order in (*orders, orders[0]):
        found = reading.read(order, MOST)
        assert found is not None
        state, plain = found
        with order.open() as source:
            assert (state, plain) == (source.stat, b"".join(source.pieces()))


def test_a_folder_is_opened_once_for_all_of_its_files(
    files: Files, reading: FolderReading, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [files.write(f"a/b/{n}", b"x") for n in range(3)] + [files.write(f"a/c/{n}", b"x") for n in range(3)]
    entered: list[tuple[str, ...]] = []

    def entering(root: int, parts: tuple[str, ...]) -> AbstractContextManager[int]:
        entered.append(parts)
        return folder_below(root, parts)

    monkeypatch.setattr("ecogsafe.transfer.folder_reading.folder_below", entering)
    before = len(os.listdir("/dev/fd"))
    assert all(reading.read(order, MOST) for order in orders)
    assert entered == [("a", "b"), ("a", "c")]
    reading.close()
    reading.close()
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("wrong", ["missing", "link", "link-above", "fifo", "large", "folder", "not-cleared"])
def test_what_is_not_as_it_should_be_is_left_to_others(files: Files, reading: FolderReading, wrong: str) -> None:
    order = files.write("a/right", b"right")
    other = FileOrder(files.root, f"a/{wrong}", "x")
    path = files.folder / "a" / wrong
    if wrong == "link":
        path.symlink_to("right")
    elif wrong == "link-above":
        (files.folder / "b").symlink_to("a")
        other = FileOrder(files.root, "b/right", "x")
    elif wrong == "fifo":
        os.mkfifo(path)
    elif wrong == "large":
        path.write_bytes(bytes(MOST + 1))
    elif wrong == "folder":
        path.mkdir()
    elif wrong == "not-cleared":
        path.write_bytes(b"right")
        with order.open() as source:
            other = FileOrder(files.root, f"a/{wrong}", "x", Cleared((), "", source.stat))
    assert reading.read(other, MOST) is None
    found = reading.read(order, MOST)
    assert found is not None
    assert found[1] == b"right"


@pytest.mark.parametrize("change", ["grows", "is replaced", "goes away"])
def test_a_file_that_changes_while_it_is_read_is_left_to_others(
    files: Files, reading: FolderReading, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = files.write("a/x", b"before")
    path = files.folder / order.relative
    pread = os.pread

    def meanwhile(descriptor: int, size: int, offset: int) -> bytes:
        data = pread(descriptor, size, offset)
        if change == "grows":
            path.write_bytes(b"before, and after")
        else:
            path.unlink()
        if change == "is replaced":
            path.write_bytes(b"after!")
        return data

    monkeypatch.setattr(os, "pread", meanwhile)
    assert reading.read(order, MOST) is None


def test_one_cleared_as_it_is_now_is_read(files: Files, reading: FolderReading) -> None:
    order = files.write("a/x", b"text")
    with order.open() as source:
        cleared = replace(order, cleared=Cleared((), "", source.stat))
    found = reading.read(cleared, MOST)
    assert found is not None
    assert found[1] == b"text"
