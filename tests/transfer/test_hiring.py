"""A machine on which no further process can be begun: everything is done in the one that there is."""

from __future__ import annotations

import errno
from contextlib import closing

import pytest

from ecogsafe.transfer import processes
from ecogsafe.transfer.hiring import hire_cutters, hire_workers
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.single import local_packer
from ecogsafe.transfer.work import Status

from .bench import PART, Bench
from .test_workers import check_stored, clips, folder_place


@pytest.fixture(autouse=True)
def no_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_command: object, **_options: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(processes.subprocess, "Popen", refuse)


def test_nobody_is_hired(bench: Bench) -> None:
    shipments = clips(bench, folder_place(bench, "a"), count=3)
    shipments += clips(bench, folder_place(bench, "a"), count=2, size=4 * PART)
    with bench.context() as context, Senders() as senders:
        packer = local_packer(context, shipments, senders)
        assert hire_workers(context, shipments, per_store=16, count=2, instead=packer) is None
        assert hire_cutters(context, shipments, senders, count=2) is None


@pytest.mark.parametrize("size", [500, 4 * PART], ids=["small files", "large files"])
def test_every_file_is_sent(bench: Bench, size: int) -> None:
    shipments = clips(bench, folder_place(bench, "a"), count=3, size=size)
    with bench.context() as context, closing(send_all(context, shipments, workers=2, cutters=2)) as ends:
        assert [o.status for o in ends] == [Status.DONE] * 3
    assert "the process that read it ended" not in bench.told()
    check_stored(bench, shipments)
