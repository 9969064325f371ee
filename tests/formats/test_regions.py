"""Regions, patches and the equal-length edits behind every recipe."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from cleaned import apply, find_terms

from ecogsafe.formats.regions import (
    MARGIN_BYTES,
    WINDOW_BYTES,
    Patch,
    Region,
    blot,
    blot_stretch,
    difference,
    file_size,
    read_at,
    zero_stretch,
)
from ecogsafe.formats.request import CleaningRequest


def test_regions_and_patches_refuse_what_makes_no_sense() -> None:
    assert Region(3, 2).stop == 5
    assert Patch(3, b"ab", b"xx").stop == 5
    for offset, length in ((-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="region"):
            Region(offset, length)
    for offset, old, new in ((0, b"ab", b"x"), (-1, b"a", b"b"), (0, b"", b"")):
        with pytest.raises(ValueError, match="patch"):
            Patch(offset, old, new)


def test_a_patch_does_not_print_what_it_takes_out() -> None:
    assert "Odalys" not in repr(Patch(0, b"Odalys", b"xxxxxx"))


def test_requests_refuse_what_makes_no_sense() -> None:
    for code, mode in (("4711", "redact"), ("Abcd", "redact"), ("abcd1234", "blur")):
        with pytest.raises(ValueError, match=r"code|annotations"):
            CleaningRequest(code=code, stem="a_1", find=find_terms("q"), annotations=mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("buffering", [-1, 0])
def test_read_at_ends_with_the_file(tmp_path: Path, buffering: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(100)))
    with path.open("rb", buffering=buffering) as file:
        assert read_at(file, 90, 4) == bytes(range(90, 94))
        assert read_at(file, 90, 40) == bytes(range(90, 100))
        assert read_at(file, 200, 4) == b""
        assert file_size(file) == 100


def test_read_at_sees_what_was_written_through_the_same_file(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w+b") as file:
        file.write(b"abcdef")
        assert read_at(file, 2, 2) == b"cd"


@pytest.mark.parametrize("changes", [[], [0], [99], [0, 99], [5, 6, 20, 60], list(range(100))])
def test_difference_turns_old_into_new(changes: list[int]) -> None:
    old = bytes(100)
    new = bytes(1 if i in changes else 0 for i in range(100))
    assert apply(bytes(7) + old, difference(7, old, new)) == bytes(7) + new


def test_blot_repeats_until_nothing_is_found() -> None:
    def one_at_a_time(data: bytes) -> Iterator[tuple[int, int]]:
        at = data.find(b"ab")
        if at >= 0:
            yield at, at + 2

    assert blot(b"ab-ab-ab", one_at_a_time) == b"xx-xx-xx"
    assert blot(b"ab-ab", one_at_a_time, b"\0\0\1\1\1") == b"ab-ab"
    assert blot(b"xab", find_terms("x")) == b"xab"


@pytest.mark.parametrize("shift", [-9, -5, -1, 0, 1])
@pytest.mark.parametrize("edge", [WINDOW_BYTES, 2 * WINDOW_BYTES])
def test_names_across_windows_of_a_long_stretch_are_found(edge: int, shift: int) -> None:
    data = bytearray(b"." * (2 * WINDOW_BYTES + MARGIN_BYTES))
    data[7 + edge + shift : 7 + edge + shift + 5] = b"Vimbo"
    patches = blot_stretch(io.BytesIO(data), 7, len(data) - 7, find_terms("vimbo"))
    cleaned = apply(bytes(data), patches)
    assert cleaned == data.replace(b"Vimbo", b"xxxxx")


def test_an_empty_stretch_needs_no_patch() -> None:
    assert not list(blot_stretch(io.BytesIO(b"Vimbo"), 5, 0, find_terms("vimbo")))
    assert not list(zero_stretch(io.BytesIO(b"Vimbo"), 5, 0))


@pytest.mark.parametrize("length", [1, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 1])
def test_a_zeroed_stretch_is_zero_and_nothing_else(length: int) -> None:
    data = b"abc" + b"\0\1" * (length // 2 + 4)
    cleaned = apply(data, zero_stretch(io.BytesIO(data), 3, length))
    assert cleaned == b"abc" + bytes(length) + data[3 + length :]
