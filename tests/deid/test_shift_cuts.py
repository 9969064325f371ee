"""The power goes at every step of an apply that shifts dates: file times end where they should, both ways."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ecogsafe.deid.apply import ApplyOptions, apply_plan
from ecogsafe.deid.date_shift import shifted_plan
from ecogsafe.deid.journal import Mode
from tests.deid.faulty_disk import Power
from tests.deid.small_export import CODE, Heard, clean, snapshot
from tests.deid.test_power_cuts import Site, cut

DAYS = -400
SHIFT_NS = DAYS * 86_400 * 10**9


class ShiftedSite(Site):
    """An export of which one study needs no patch, so that its file times alone tell how far apply came."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.export.study("Quxley_3", 9, ["Quxley_3.eeg", "Quxley_3_0000.AVI"], secrets=0)
        os.utime(self.root, ns=(5, 7_000_000_777))
        self.before = snapshot(self.root)

    def apply(self, power: Power) -> None:
        plan = shifted_plan(self.export.plan(self.out, copy=self.mode is Mode.COPY), DAYS)
        if plan.moves:
            apply_plan(
                plan,
                out=self.out,
                journals=self.journals(power),
                clean=clean,
                events=Heard(),
                options=ApplyOptions(copy=self.mode is Mode.COPY),
                disk=self.disk(power),
            )

    def check_times(self) -> None:
        journals = self.journals(Power())
        (name,) = journals.ids(CODE)
        for entry in journals.read(name).entries:
            state = (self.out / entry.place).stat()
            assert state.st_mtime_ns == entry.mtime_ns + SHIFT_NS, entry.place


@pytest.fixture(autouse=True, scope="module")
def _quick_sync() -> Iterator[None]:
    """The power that goes here leaves the page cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@contextmanager
def _site(mode: Mode) -> Iterator[ShiftedSite]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as base:
        yield ShiftedSite(Path(base), mode, stems=("Quxley_1",))


def _steps(mode: Mode) -> list[int]:
    whole = Power()
    with _site(mode) as site:
        site.apply(whole)
        site.check_times()
    assert whole.count > 30
    return list(range(whole.count + 1))


@pytest.mark.parametrize("mode", Mode)
def test_cut_at_every_step_then_continued(mode: Mode) -> None:
    for step in _steps(mode):
        with _site(mode) as site:
            cut(site.apply, Power(step, "before"))
            site.check_safe()
            if site.journals(Power()).ids(CODE):
                site.go_on(Power())
            else:
                site.apply(Power())
            site.check_times()


@pytest.mark.parametrize("mode", Mode)
def test_cut_at_every_step_then_undone(mode: Mode) -> None:
    for step in _steps(mode):
        with _site(mode) as site:
            cut(site.apply, Power(step, "before"))
            if site.journals(Power()).ids(CODE):
                site.undo(Power())
            site.check_undone()


@pytest.mark.parametrize("mode", Mode)
def test_undo_cut_at_every_step_then_continued(mode: Mode) -> None:
    whole = Power()
    with _site(mode) as site:
        site.apply(Power())
        site.undo(whole)
    for step in range(whole.count + 1):
        with _site(mode) as site:
            site.apply(Power())
            cut(site.undo, Power(step, "before"))
            site.check_safe()
            site.go_on(Power())
            if site.journals(Power()).ids(CODE) and any(site.out.iterdir()):
                site.undo(Power())
            site.check_undone()
