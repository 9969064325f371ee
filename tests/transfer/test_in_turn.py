"""What an earlier run left is digested from the disk, and never believed: also where nobody knows the digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import StoreUnreachableError, VerificationError
from ecogsafe.stores.memory import MemoryStore

from .test_receiving import TARGET, carry_out, files_in, into, put, reception
from .test_receiving_ranges import (
    LARGE,
    LARGE_SHA,
    NOTES,
    PART,
    RANGE_BYTES,
    Watched,
    is_sealed,
    large,
    receive_large,
    short_ranges,
)

__all__ = ["into", "large", "short_ranges"]


def unfinished(into: Path, store: Watched, **more: Any) -> None:
    """Leave a file with two ranges."""
    store.ranges.clear()
    store.breaks_after = 2
    with pytest.raises(StoreUnreachableError):
        receive_large(into, store, connections=1, **more)
    store.breaks_after = 100
    store.ranges.clear()


def noted(into: Path) -> list[list[int]]:
    return [json.loads(line) for line in (into / NOTES).read_text().splitlines()[1:]]


def write_notes(into: Path, ranges: list[list[int]]) -> None:
    first = (into / NOTES).read_text().splitlines()[0]
    (into / NOTES).write_text("".join(f"{line}\n" for line in [first, *map(json.dumps, ranges)]))


def spoil(part: Path, how: str) -> None:
    if how == "gone":
        part.unlink()
        return
    with part.open("r+b") as file:
        if how == "shortened":
            file.truncate(RANGE_BYTES + 100)
        elif how == "holes":
            file.truncate(100)
            file.truncate(len(LARGE))
        else:
            file.seek(RANGE_BYTES + 5)
            file.write(b"x")


@pytest.mark.parametrize("how", ["damaged", "holes", "shortened", "gone"])
def test_what_was_left_is_not_believed_where_nobody_knows_the_digest(large: Watched, into: Path, how: str) -> None:
    unfinished(into, large, expected=None)
    spoil(into / PART, how)
    receive_large(into, large, expected=None)
    assert (into / TARGET).read_bytes() == LARGE
    assert files_in(into) == [str(TARGET)]


def test_it_goes_on_where_nobody_knows_the_digest(large: Watched, into: Path) -> None:
    unfinished(into, large, expected=None)
    receive_large(into, large, expected=None)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) == 2


def test_notes_of_a_run_that_knew_the_digest_do_not_prove_anything_to_one_that_does_not(
    large: Watched, into: Path
) -> None:
    unfinished(into, large)
    assert all(len(each) == 2 for each in noted(into))
    spoil(into / PART, "damaged")
    receive_large(into, large, expected=None)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) == 4, "what could not be looked at was gone on with"


def test_a_run_that_knows_the_digest_goes_on_with_either_notes(large: Watched, into: Path) -> None:
    unfinished(into, large, expected=None)
    assert all(len(each) == 3 for each in noted(into))
    receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) == 2


@pytest.mark.parametrize("what", ["some without", "wrong", "nonsense"])
def test_notes_that_do_not_tell_of_every_range_are_not_gone_on_with(large: Watched, into: Path, what: str) -> None:
    unfinished(into, large, expected=None)
    ranges = noted(into)
    spoil(into / PART, "damaged")
    ranges[1] = {"some without": ranges[1][:2], "wrong": [*ranges[1][:2], 7], "nonsense": [*ranges[1], 1]}[what]
    write_notes(into, ranges)
    receive_large(into, large, expected=None)
    assert (into / TARGET).read_bytes() == LARGE


def test_an_object_that_is_wrong_has_no_file_whoever_left_its_beginning(into: Path) -> None:
    """Neither the digest nor the store's checksum is of these bytes; twice is enough."""
    store = MemoryStore()
    put(store, LARGE)
    watched = Watched(store)
    unfinished(into, watched, expected=None, sealed=False)
    with pytest.raises(VerificationError):
        receive_large(into, watched, expected="0" * 64, sealed=False)
    assert files_in(into) == []


def test_only_what_came_in_one_run_came_whole(large: Watched, into: Path) -> None:
    def asked() -> Any:
        return reception(large, into, expected=LARGE_SHA, content_size=len(LARGE), sealed=is_sealed(large))

    unfinished(into, large)
    second = asked()
    carry_out(second)
    assert not second.came_whole
    (into / TARGET).unlink()
    unfinished(into, large)
    spoil(into / PART, "damaged")
    third = asked()
    carry_out(third)
    assert third.came_whole, "what was left was thrown away, all of it came again"
