"""Subject codes."""

from __future__ import annotations

import secrets

import pytest

from ecogsafe.deid.codes import is_code, new_code


def test_codes_have_the_form_and_differ() -> None:
    codes = {new_code(()) for _ in range(500)}
    assert len(codes) == 500
    assert all(is_code(c) for c in codes)
    assert {c[0] for c in codes} == set("abcdef")
    assert set("".join(c[1:] for c in codes)) == set("0123456789abcdef")


def test_a_taken_code_is_not_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([0x0000001, 0x0000001, 0x0000002])
    monkeypatch.setattr(secrets, "randbits", lambda _bits: next(draws))
    monkeypatch.setattr(secrets, "choice", lambda _letters: "b")
    first = new_code(())
    assert first == "b0000001"
    assert new_code({first}) == "b0000002"


@pytest.mark.parametrize(
    "text", ["", "1bcd1234", "ABCD1234", "gbcd1234", "abcd123", "abcd12345", "abcd123\n", "abcd1234\n"]
)
def test_what_is_no_code(text: str) -> None:
    assert not is_code(text)
