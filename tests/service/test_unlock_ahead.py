"""The lab key opened before anybody asks: a guess that changes nothing but the time it takes."""

from __future__ import annotations

import pytest

from ecogsafe.core.errors import LabKeyError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.lab_key import LabKey, protect
from ecogsafe.service import unlock_ahead
from ecogsafe.service.unlock_ahead import UnlockAhead

PASSWORD, OTHER = Secret(b"correct horse"), Secret(b"another horse")
ONE, TWO = generate_identity(), generate_identity()


def sealed(identity: object = ONE, password: Secret = PASSWORD) -> bytes:
    return protect(identity, password, work_factor=4)  # type: ignore[arg-type]


def test_the_key_is_opened_once_however_often_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    real = unlock_ahead.open_lab_key

    def counting(data: bytes, password: Secret) -> LabKey:
        opened.append(data)
        return real(data, password)

    monkeypatch.setattr(unlock_ahead, "open_lab_key", counting)
    data = sealed()
    ahead = UnlockAhead(data, PASSWORD)
    assert [ahead.open(data, Secret(PASSWORD.reveal())).to_text() for _ in range(2)] == [ONE.to_text()] * 2
    assert opened == [data]


@pytest.mark.parametrize("guessed", ["another key file", "another password", "a damaged file"])
def test_a_guess_that_was_wrong_does_not_count(guessed: str) -> None:
    """Between the guess and the question the key may be rotated, or its password changed."""
    data = sealed()
    ahead = {
        "another key file": lambda: UnlockAhead(sealed(TWO), PASSWORD),
        "another password": lambda: UnlockAhead(data, OTHER),
        "a damaged file": lambda: UnlockAhead(b"no key", PASSWORD),
    }[guessed]()
    assert ahead.open(data, PASSWORD).to_text() == ONE.to_text()


def test_a_wrong_password_is_told_to_whoever_asks() -> None:
    data = sealed()
    ahead = UnlockAhead(data, OTHER)
    for _ in range(2):
        with pytest.raises(WrongPasswordError):
            ahead.open(data, OTHER)
    with pytest.raises(LabKeyError, match="damaged"):
        UnlockAhead(b"no key", PASSWORD).open(b"no key", PASSWORD)
