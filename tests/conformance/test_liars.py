"""The suite is worth something: it fails every store that lies."""

from __future__ import annotations

import pytest

from ecogsafe.stores.check_uploads import CHECKS, failed_checks
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.retrying import Retrying
from tests.conformance.liars import LIARS, ShortRead


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_a_lying_store_fails_the_suite(liar: type[MemoryStore]) -> None:
    failures = failed_checks(liar(), "check/")
    assert LIARS[liar] in failures


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_a_wrapper_does_not_hide_a_lie(liar: type[MemoryStore]) -> None:
    store = Retrying(liar(), pause=lambda seconds: None)
    assert LIARS[liar] in failed_checks(store, "check/")


def test_every_check_fails_for_some_liar() -> None:
    failed: set[str] = set()
    for liar in LIARS:
        failed |= failed_checks(liar(), "check/").keys()
    assert {check.__name__ for check in CHECKS} == failed


def test_an_honest_store_fails_none() -> None:
    assert failed_checks(MemoryStore(), "check/") == {}


def test_a_failure_names_the_store_and_the_promise() -> None:
    error = failed_checks(ShortRead("memory://lab"), "check/")["objects_come_back"]
    assert error.item == "memory://lab"
    assert "put stores the object: the bytes come back" in error.problem
