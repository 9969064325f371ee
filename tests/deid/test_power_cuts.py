"""The power goes at every step: nothing is lost, nothing uncleaned is seen, both ways lead out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
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

#: A disk without an atomic rename moves by link and unlink, and can be cut between the two.
WAYS = [(Mode.IN_PLACE, False), (Mode.IN_PLACE, True), (Mode.COPY, False), (Mode.ACROSS, False)]
WHENS: list[When] = ["before", "torn", "touched"]


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
    links: bool = False
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
        foreign = self.out if self.mode is Mode.ACROSS else None
        return PoweredDisk(power, foreign=foreign, links=self.links)

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

    def turn_back(self, power: Power) -> None:
        """Undo an apply that was cut; an undo that was cut can only be carried on."""
        journals = self.journals(power)
        name = journals.open_id(CODE)
        if name is not None and journals.read(name).kind is JournalKind.APPLY:
            self.undo(power)
        else:
            self.go_on(power)

    def journals(self, power: Power) -> PoweredJournals:
        return PoweredJournals.at(self.base / "journals", power)

    def check_safe(self) -> None:
        """What must hold at every moment."""
        assert not uncleaned(self.out)
        held = [data for data, _, _ in (*snapshot(self.root).values(), *snapshot(self.out).values())]
        for name, (data, _, _) in self.before.items():
            assert any(_is_version_of(data, other) for other in held), name

    def check_undone(self) -> None:
        assert snapshot(self.root) == self.before
        assert list(self.out.iterdir()) == []
        assert not open_marker(self.out, CODE).exists()

    def check_applied(self, wanted: Snapshot) -> None:
        assert snapshot(self.out) == wanted
        assert snapshot(self.root) == (self.before if self.mode is Mode.COPY else {})


def _is_version_of(original: bytes, other: bytes) -> bool:
    """Return whether only bytes of regions differ, and hold the old or the new value, torn ones either."""
    cleaned = original.replace(SECRET, CODE[: len(SECRET)].encode())
    if len(other) != len(original):
        return False
    return all(c in (o, n) for c, o, n in zip(other, original, cleaned, strict=True))


@contextmanager
def _site(mode: Mode, links: bool, **more: tuple[str, ...]) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as base:
        yield Site(Path(base), mode, links, **more)


def cut(run: Callable[[Power], None], power: Power) -> bool:
    """Return whether the power went before ``run`` ended."""
    try:
        run(power)
    except Crash:
        return True
    return False


def _moments(whole: Power) -> list[tuple[int, When]]:
    """Return every moment at which the run that ``whole`` saw can be cut, and one after its end."""
    assert whole.count > 30 and whole.tearable
    assert whole.touching
    moments: list[tuple[int, When]] = [(n, "before") for n in range(whole.count + 1)]
    return moments + [(n, "torn") for n in whole.tearable] + [(n, "touched") for n in whole.touching]


@pytest.mark.parametrize(("mode", "links"), WAYS)
def test_apply_cut_at_every_step_then_continued(mode: Mode, links: bool) -> None:
    whole = Power()
    with _site(mode, links) as site:
        site.apply(whole)
        wanted = snapshot(site.out)
    for step, when in _moments(whole):
        with _site(mode, links) as site:
            assert cut(site.apply, Power(step, when)) is (step < whole.count)
            site.check_safe()
            if site.journals(Power()).ids(CODE):
                site.go_on(Power())
            else:
                site.apply(Power())
            site.check_applied(wanted)


@pytest.mark.parametrize(("mode", "links"), WAYS)
def test_apply_cut_at_every_step_then_undone(mode: Mode, links: bool) -> None:
    whole = Power()
    with _site(mode, links) as site:
        site.apply(whole)
    for step, when in _moments(whole):
        with _site(mode, links) as site:
            cut(site.apply, Power(step, when))
            if site.journals(Power()).ids(CODE):
                site.undo(Power())
            site.check_undone()


@pytest.mark.parametrize(("mode", "links"), WAYS)
def test_undo_cut_at_every_step_then_continued(mode: Mode, links: bool) -> None:
    whole = Power()
    with _site(mode, links) as site:
        site.apply(Power())
        site.undo(whole)
    for step, when in _moments(whole):
        with _site(mode, links) as site:
            site.apply(Power())
            assert cut(site.undo, Power(step, when)) is (step < whole.count)
            site.check_safe()
            site.go_on(Power())
            if snapshot(site.out):
                site.undo(Power())
            site.check_undone()
            journals = site.journals(Power())
            assert [journals.read(i).kind for i in journals.ids(CODE)] == [JournalKind.APPLY, JournalKind.UNDO]


_STEM_POOL = ["Quxley_1", "Quxley_2", "quxley_3", f"{CODE}_1", f"{CODE}_2", "Qu\u0308xley", "Q\u00fcxley_7"]
#: names of study folders: half-renamed, permuted, the same in another Unicode form, no UTF-8
STEMS = st.lists(st.sampled_from([*_STEM_POOL, os.fsdecode(b"x\xffy_4")]), min_size=1, max_size=3, unique=True).map(
    tuple
)
_FILE_POOL = ["{}.eeg", "{}_001.erd", "{}_0000.avi", "{}_0001.AVI", f"{CODE}_2.stc", "Decimated/{}.erd"]
FILES = st.lists(st.sampled_from(_FILE_POOL), min_size=1, max_size=4, unique=True).map(tuple)
_CUTS = st.lists(st.tuples(st.integers(0, 90), st.sampled_from(WHENS), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from(WAYS), STEMS, FILES, _CUTS)
def test_any_names_cut_again_and_again(
    way: tuple[Mode, bool], stems: tuple[str, ...], files: tuple[str, ...], cuts: list[tuple[int, When, bool]]
) -> None:
    """Half-renamed and permuted names; after each cut the user goes on or back; at the end all is as it was."""
    with _site(*way, stems=stems, files=files) as site:
        at, when, _ = cuts[0]
        cut(site.apply, Power(at, when))
        for at, when, back in [*cuts[1:], (None, "before", False)]:
            site.check_safe()
            cut(site.turn_back if back else site.go_on, Power(at, when))
        site.check_safe()
        assert site.journals(Power()).open_id(CODE) is None
        if snapshot(site.out):
            assert len(snapshot(site.out)) == len(site.before)
            site.undo(Power())
        site.check_undone()


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
