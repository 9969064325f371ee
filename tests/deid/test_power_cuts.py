"""The power goes at every step of apply and undo: nothing is lost, nothing uncleaned is seen, and both ways lead out."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.apply import ApplyOptions, apply_plan, continue_journal
from ecogsafe.deid.journal import JournalKind, Mode
from ecogsafe.deid.layout import open_marker
from ecogsafe.deid.undo import undo_apply
from tests.deid.faulty_disk import Crash, Power, PoweredDisk, PoweredJournals, When
from tests.deid.small_export import (
    CODE,
    SECRET,
    Heard,
    SmallExport,
    Snapshot,
    clean,
    journal_folder,
    snapshot,
    uncleaned,
)

MODES = [Mode.IN_PLACE, Mode.COPY, Mode.ACROSS]
WHENS: list[When] = ["before", "after", "torn"]


@pytest.fixture(autouse=True, scope="module")
def _quick_sync() -> Iterator[None]:
    """The power that goes here leaves the page cache alone; the order of the syncs has its own test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@dataclass
class Site:
    """Builds the same export again and again."""

    base: Path
    mode: Mode
    stems: tuple[str, ...] = ("Quxley_2", "Quxley_1")
    files: tuple[str, ...] = ("{}.eeg", "{}_0000.AVI")

    def __post_init__(self) -> None:
        self.root, self.out = self.base / "export", self.base / "out"
        self.root.mkdir()
        self.out.mkdir()
        self.export = SmallExport(self.root)
        for i, stem in enumerate(self.stems):
            self.export.study(stem, 3 * i, [f.format(stem) for f in self.files])
        self.export.recording("Quxley_9.edf", 0.0003)
        self.export.recording(f"{CODE}_1.EDF", 60)
        os.utime(self.root, ns=(5, 7_000_000_777))
        self.before = snapshot(self.root)

    def disk(self, power: Power) -> PoweredDisk:
        return PoweredDisk(power, foreign=self.out if self.mode is Mode.ACROSS else None)

    def apply(self, power: Power) -> None:
        plan = self.export.plan(self.out, copy=self.mode is Mode.COPY)
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

    def undo(self, power: Power) -> None:
        undo_apply(CODE, journals=self.journals(power), events=Heard(), disk=self.disk(power))

    def go_on(self, power: Power) -> None:
        """What the service does when it finds an open journal: carry it to its end, whichever way it goes."""
        journals = self.journals(power)
        name = journals.open_id(CODE)
        if name is not None:
            continue_journal(name, journals=journals, events=Heard(), disk=self.disk(power))

    def journals(self, power: Power) -> PoweredJournals:
        return PoweredJournals.at(self.base / "journals", power)

    def check_safe(self) -> None:
        """What must hold at every moment."""
        assert not uncleaned(self.out)
        held = [data for data, _, _ in (*snapshot(self.root).values(), *snapshot(self.out).values())]
        cleaned = {data.replace(SECRET, b"") for data in map(_uncode, held)}
        assert {data.replace(SECRET, b"") for data, _, _ in self.before.values()} <= cleaned

    def check_undone(self) -> None:
        assert snapshot(self.root) == self.before
        assert list(self.out.iterdir()) == []
        assert not open_marker(self.out, CODE).exists()

    def check_applied(self, wanted: Snapshot) -> None:
        assert snapshot(self.out) == wanted
        assert snapshot(self.root) == (self.before if self.mode is Mode.COPY else {})


def _uncode(data: bytes) -> bytes:
    """Cleaned regions hold the first letters of the stem; without them and SECRET only samples stay."""
    return data.replace(CODE[:6].encode(), b"")


@contextmanager
def _site(mode: Mode, **more: tuple[str, ...]) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as base:
        yield Site(Path(base), mode, **more)


def _cut(run: object, power: Power) -> bool:
    """Return whether the power went before ``run`` ended."""
    try:
        run(power)  # type: ignore[operator]
    except Crash:
        return True
    return False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("when", WHENS)
def test_apply_cut_at_every_step(mode: Mode, when: When) -> None:
    with _site(mode) as site:
        site.apply(Power())
        wanted = snapshot(site.out)
    step = 0
    while True:
        with _site(mode) as site:
            cut = _cut(site.apply, Power(step, when))
            site.check_safe()
            site.go_on(Power())
            site.apply(Power()) if not snapshot(site.out) else None
            site.check_applied(wanted)
            site.undo(Power())
            site.check_undone()
        with _site(mode) as site:
            assert _cut(site.apply, Power(step, when)) is cut
            if site.journals(Power()).ids(CODE):
                site.undo(Power())
            site.check_undone()
        if not cut:
            break
        step += 1
    assert step > 30


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("when", WHENS)
def test_undo_cut_at_every_step(mode: Mode, when: When) -> None:
    step = 0
    while True:
        with _site(mode) as site:
            site.apply(Power())
            cut = _cut(site.undo, Power(step, when))
            site.check_safe()
            site.go_on(Power())
            if snapshot(site.out):
                site.undo(Power())
            site.check_undone()
            kinds = [site.journals(Power()).read(i).kind for i in site.journals(Power()).ids(CODE)]
            assert kinds == [JournalKind.APPLY, JournalKind.UNDO]
        if not cut:
            break
        step += 1
    assert step > 20


_STEMS = st.lists(
    st.sampled_from(
        ["Quxley_1", "Quxley_2", "quxley_3", f"{CODE}_1", f"{CODE}_2", "Qu\u0308xley", "Q\u00fcxley_7", os.fsdecode(b"x\xffy_4")]
    ),
    min_size=1,
    max_size=3,
    unique=True,
)
_FILES = st.lists(
    st.sampled_from(["{}.eeg", "{}.erd", "{}_001.erd", "{}_0000.avi", "{}_0001.AVI", f"{CODE}_2.stc", "Decimated/{}.erd"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(MODES), _STEMS, _FILES, st.lists(st.tuples(st.integers(0, 90), st.sampled_from(WHENS)), max_size=4), st.booleans())
def test_any_names_any_cuts_either_way(
    mode: Mode, stems: list[str], files: list[str], cuts: list[tuple[int, When]], back: bool
) -> None:
    """Half-renamed and permuted names; the power goes again and again; at the end all is done, or as it was."""
    with _site(mode, stems=tuple(stems), files=tuple(files)) as site:
        runs = iter([*(Power(at, when) for at, when in cuts), *(Power() for _ in range(4))])
        _cut(site.apply, next(runs))
        site.check_safe()
        for power in runs:
            if back and random.Random(power.at or 0).random() < 0.5:
                _cut(_undo_if_open, power) if False else _cut(lambda p: _undo_or_go_on(site, p), power)
            else:
                _cut(site.go_on, power)
            site.check_safe()
        assert site.journals(Power()).open_id(CODE) is None
        if snapshot(site.out):
            assert all(not data.count(SECRET) for data, _, _ in snapshot(site.out).values())
            site.undo(Power())
        site.check_undone()


def _undo_or_go_on(site: Site, power: Power) -> None:
    journals = site.journals(power)
    name = journals.open_id(CODE)
    if name is None:
        return
    if journals.read(name).kind is JournalKind.APPLY:
        site.undo(power)
    else:
        site.go_on(power)


def _undo_if_open(power: Power) -> None:
    raise AssertionError


_CHILD = """
import sys
from pathlib import Path
from tests.deid.small_export import SmallExport, clean, journal_folder, Heard, CODE
from ecogsafe.deid.apply import apply_plan, continue_journal
base = Path(sys.argv[1])
export = SmallExport(base / "export")
export.hours = {name: float(i) * 3 for i, name in enumerate(sys.argv[2:])}
journals = journal_folder(base / "journals")
print("ready", flush=True)
name = journals.open_id(CODE)
if name:
    continue_journal(name, journals=journals, events=Heard())
else:
    apply_plan(export.plan(base / "out"), out=base / "out", journals=journals, clean=clean, events=Heard())
print("done", flush=True)
"""


def test_ten_real_kills(tmp_path: Path) -> None:
    """Signal 9 at moments spread over a real run, again and again until it is through; then all of it taken back."""
    export = SmallExport(tmp_path / "export")
    (tmp_path / "out").mkdir()
    (tmp_path / "export").mkdir()
    names = [f"Quxley_{i}" for i in range(12)]
    for name in names:
        export.study(name, 0, [f"{name}_{i:04d}.avi" for i in range(12)])
    before = snapshot(tmp_path / "export")
    kills = 0
    for attempt in range(40):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path), *names],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        if kills < 10:
            time.sleep(0.002 + 0.007 * attempt)
            child.send_signal(signal.SIGKILL)
        finished = child.communicate()[0] == b"done\n"
        assert not uncleaned(tmp_path / "out")
        kills += not finished
        if finished:
            break
    assert kills >= 3
    assert len(snapshot(tmp_path / "out")) == 144 and not snapshot(tmp_path / "export")
    undo_apply(CODE, journals=journal_folder(tmp_path / "journals"), events=Heard())
    assert snapshot(tmp_path / "export") == before and not list((tmp_path / "out").iterdir())
    with pytest.raises(UsageError):
        undo_apply(CODE, journals=journal_folder(tmp_path / "journals"), events=Heard())
