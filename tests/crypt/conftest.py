"""What the tests of sealing share: the stock `age` command and data of any size."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from ecogsafe.core.private import Secret


@pytest.fixture(scope="session")
def stock_age() -> str:
    """Path of the `age` command; skips without it unless ECOGSAFE_TEST_REQUIRE names age."""
    path = shutil.which("age")
    if path is None:
        if "age" in os.environ.get("ECOGSAFE_TEST_REQUIRE", "").split(","):
            pytest.fail("the age command is required and not installed")
        pytest.skip("the age command is not installed")
    return path


@pytest.fixture
def ask_age(stock_age: str) -> Callable[..., None]:
    """Run `age` on a terminal, answering each question with the password."""

    def run(*arguments: str | Path, password: Secret, questions: int = 1) -> None:
        command = pexpect.spawn(stock_age, [str(a) for a in arguments], timeout=30)
        for _ in range(questions):
            command.expect("passphrase")
            command.sendline(password.reveal().decode())
        command.expect(pexpect.EOF)
        command.close()
        assert command.exitstatus == 0, "age failed"

    return run


@pytest.fixture(scope="session")
def data_of() -> Callable[[int], bytes]:
    """Make bytes without repeats, the same for the same size."""
    return lambda size: hashlib.shake_128(b"ecogsafe test data").digest(size)
