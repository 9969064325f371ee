"""An `upload` that stopped short of a file never ends 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ecogsafe.core.errors import ExitStatus
from ecogsafe.service import upload as upload_module
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.work import Outcome, Status
from tests.service.small_lab import SmallLab, StoresInMemory

URL = "s3://recordings"


def nothing(*_args: Any, **_options: Any) -> Iterator[Outcome]:
    """Send nothing, and say nothing."""
    yield from ()


def all_but_the_last(*args: Any, **options: Any) -> Iterator[Outcome]:
    yield from list(send_all(*args, **options))[:-1]


def paused_by_nobody(*args: Any, **options: Any) -> Iterator[Outcome]:
    for outcome in send_all(*args, **options):
        yield replace(outcome, status=Status.PAUSED)


@pytest.mark.parametrize("how", [nothing, all_but_the_last, paused_by_nobody])
def test_a_sender_with_a_bug_is_not_believed(
    small_lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch, how: Callable[..., Any]
) -> None:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    in_memory.add(URL)
    monkeypatch.setattr(upload_module, "send_all", how)
    ended = small_lab.upload("v", URL)
    assert ended.status is ExitStatus.BUG, "it ended well, and nobody said what became of a file"
    assert "came to no end" in str(ended.error)
