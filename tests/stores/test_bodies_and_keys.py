"""Bodies, their checksum and its text; which texts are keys."""

from __future__ import annotations

import pytest
from awscrt.checksums import combine_crc64nvme
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.stores.bodies import (
    body_crc64,
    body_size,
    buffers,
    crc64_from_text,
    crc64_of,
    crc64_to_text,
)
from ecogsafe.stores.keys import check_key, is_listed, key_problem

#: check value of CRC-64/NVME, https://reveng.sourceforge.io/crc-catalogue/all.htm
CHECK_VALUE = 0xAE8B14860A799888
bodies = st.lists(st.binary(max_size=40), max_size=6)


def test_crc64nvme_has_its_check_value() -> None:
    assert body_crc64(b"123456789") == CHECK_VALUE
    assert crc64_to_text(CHECK_VALUE) == "rosUhgp5mIg="


@given(bodies)
@settings(max_examples=60)
def test_buffers_count_as_one_body(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert body_size(pieces) == len(whole)
    assert b"".join(buffers(pieces)) == whole
    assert body_crc64(pieces) == body_crc64(whole) == crc64_of(pieces)


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=40)
def test_checksums_of_parts_combine(first: bytes, second: bytes) -> None:
    combined = combine_crc64nvme(body_crc64(first), body_crc64(second), len(second))
    assert combined == body_crc64([first, second])


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=40)
def test_checksum_text_comes_back(crc64: int) -> None:
    assert crc64_from_text(crc64_to_text(crc64)) == crc64


@pytest.mark.parametrize("text", [None, "", "rosUhgp5mIg=-2", "rosUhgp5mA==", "not base64!", "é"])
def test_what_is_no_whole_checksum_is_none(text: str | None) -> None:
    assert crc64_from_text(text) is None


def test_wide_memoryviews_are_counted_in_bytes() -> None:
    view = memoryview(bytearray(24)).cast("I")
    assert body_size(view) == 24
    assert body_size([view, b"x"]) == 25


@pytest.mark.parametrize("key", ["a", "a/b.edf", "~2/x y.age", "...", "..a", "é", "_ecogsafe/store.json", "n" * 255])
def test_keys(key: str) -> None:
    check_key(key, store="s3://bucket")


NO_KEYS = ["", "/", "a/", "/a", "a//b", "..", "a/..", "./a", "a\x00", "a\x7fb", "a\u2028b", "a\ud800"]


@pytest.mark.parametrize("key", [*NO_KEYS, "n" * 256, "a/.ecogsafe-x/b", "/".join(["n" * 200] * 6)])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(StoreRefusedError) as caught:
        check_key(key, store="s3://bucket")
    assert caught.value.item == "s3://bucket"


def test_the_prefix_counts_for_the_length() -> None:
    key = "/".join(["n" * 200] * 5)
    assert key_problem(key) is None
    assert key_problem(key, prefix="p" * 30) is not None


def test_own_keys_are_listed_only_when_asked_for() -> None:
    assert is_listed("_ecogsafe/store.json", "_ecogsafe/")
    assert is_listed("_ecogsafe/catalog/1", "_ecogsafe/cat")
    assert not is_listed("_ecogsafe/store.json", "")
    assert not is_listed("_ecogsafe/store.json", "_")
    assert is_listed("_ecogsafe2", "")
