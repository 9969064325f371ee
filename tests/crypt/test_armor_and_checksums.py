"""The text form at its edges, and CRC-64/NVME as S3 writes it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import VerificationError
from ecogsafe.crypt import checksums
from ecogsafe.crypt.age_file import open_stream, seal
from ecogsafe.crypt.armor import armor, dearmor, dearmor_stream, is_armored
from ecogsafe.crypt.checksums import combine, crc64_from_b64, crc64_to_b64, crc64nvme
from ecogsafe.crypt.errors import ArmorError, HeaderError
from ecogsafe.crypt.keys import generate_identity


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200), piece=st.integers(1, 300))
def test_armor_round_trips_in_any_pieces(data: bytes, piece: int) -> None:
    text = armor(data)
    assert is_armored(text)
    assert dearmor(text) == data
    assert b"".join(dearmor_stream(text[i : i + piece] for i in range(0, len(text), piece))) == data


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" \n" * 600 + armor(b"x"),
        b"x" * 5000,
        armor(b"x").replace(b"-----END", b"-----DONE"),
        armor(b"x") + b"x",
        armor(b"x").replace(b"eA==", b"eB=="),
        armor(b"x").replace(b"eA==", b"e==="),
        armor(bytes(48)).replace(b"\n-----END", b"\n\n-----END"),
    ],
)
def test_what_is_not_canonical_is_refused(text: bytes) -> None:
    with pytest.raises(ArmorError):
        dearmor(text)


def test_text_form_is_recognised_behind_white_space() -> None:
    lab, recovery = generate_identity(), generate_identity()
    sealed = seal(b"text", [lab.recipient, recovery.recipient], armored=True)
    assert b"".join(open_stream(io.BytesIO(b"\r\n  \n" + sealed), [recovery])) == b"text"
    for other in (b"", b"RIFF....AVI ", b"age-encryption.org/v2\n"):
        with pytest.raises(HeaderError):
            list(open_stream(io.BytesIO(other), [lab]))


def test_crc64nvme_check_value() -> None:
    # the catalogue of parametrised CRC algorithms: check("123456789") of CRC-64/NVME
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888
    assert crc64_to_b64(0xAE8B14860A799888) == "rosUhgp5mIg="
    assert crc64_to_b64(1) == "AAAAAAAAAAE="


@settings(max_examples=40, deadline=None)
@given(parts=st.lists(st.binary(max_size=300), min_size=2, max_size=5))
def test_crc_of_parts_combines_to_the_whole(parts: list[bytes]) -> None:
    whole = crc64nvme(b"".join(parts))
    running, combined = 0, crc64nvme(b"")
    for part in parts:
        running = crc64nvme(memoryview(part), running)
        combined = combine(combined, crc64nvme(bytearray(part)), len(part))
    assert running == combined == whole
    assert crc64_from_b64(crc64_to_b64(whole)) == whole


def test_crc_of_more_than_one_call_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 3
    whole = crc64nvme(data)
    monkeypatch.setattr(checksums, "_CALL_BYTES", 100)
    assert crc64nvme(data) == whole
    assert crc64nvme(data[300:], crc64nvme(data[:300])) == whole


@pytest.mark.parametrize("text", ["", "rosUhgp5mIg", "rosUhgp5mI==", "AAAA", "ä"])
def test_a_checksum_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(VerificationError):
        crc64_from_b64(text)
