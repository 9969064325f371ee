"""The power goes, and what was not durable with it: nothing is lost, nothing uncleaned shows, both ways lead out."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid.journal import Mode
from tests.deid.faulty_disk import Power
from tests.deid.lossy_disk import LossyDisk
from tests.deid.small_export import CODE, snapshot
from tests.deid.test_power_cuts import FILES, STEMS, WHENS, Site, When, cut

MODES = [Mode.IN_PLACE, Mode.COPY, Mode.ACROSS]


@dataclass
class LossySite(Site):
    """A site whose disk forgets."""

    lies: tuple[str, ...] = ()
    disks: list[LossyDisk] = field(default_factory=list)

    def disk(self, power: Power) -> LossyDisk:
        foreign = self.out if self.mode is Mode.ACROSS else None
        self.disks.append(LossyDisk(power, self.base, foreign=foreign, lies=self.lies))
        return self.disks[-1]

    def lose(self, chance: random.Random, share: float) -> list[str]:
        return self.disks[-1].lose(chance, share) if self.disks else []


@contextmanager
def site_of(mode: Mode, *, lies: tuple[str, ...] = (), **more: tuple[str, ...]) -> Iterator[LossySite]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as base:
        yield LossySite(Path(base), mode, lies=lies, **more)


def steps_of(mode: Mode, what: str) -> Power:
    """Return what a whole run of ``what`` did."""
    with site_of(mode) as site:
        if what == "undo":
            site.apply(Power())
        power = Power()
        getattr(site, what)(power)
    return power


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("mode", MODES)
def test_apply_cut_at_every_step_loses_what_was_not_durable(mode: Mode, share: float) -> None:
    whole = steps_of(mode, "apply")
    with site_of(mode) as site:
        site.apply(Power())
        wanted = snapshot(site.out)
    lost = 0
    for step in range(whole.count + 1):
        with site_of(mode) as site:
            cut(site.apply, Power(step))
            lost += len(site.lose(random.Random(step), share))
            site.check_safe()
            if step % 2:
                if site.journals(Power()).ids(CODE):
                    site.go_on(Power())
                else:
                    site.apply(Power())
                site.check_applied(wanted)
            if site.journals(Power()).ids(CODE):
                site.undo(Power())
            site.check_undone()
    assert lost > 20


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("mode", MODES)
def test_undo_cut_at_every_step_loses_what_was_not_durable(mode: Mode, share: float) -> None:
    whole = steps_of(mode, "undo")
    lost = 0
    for step in range(whole.count + 1):
        with site_of(mode) as site:
            site.apply(Power())
            site.disks.clear()
            cut(site.undo, Power(step))
            lost += len(site.lose(random.Random(step), share))
            site.check_safe()
            site.go_on(Power())
            if snapshot(site.out):
                site.undo(Power())
            site.check_undone()
    assert lost > 5


_CUTS = st.lists(
    st.tuples(st.integers(0, 110), st.sampled_from(WHENS), st.booleans(), st.sampled_from([0.0, 0.3, 1.0])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.sampled_from(MODES), STEMS, FILES, _CUTS, st.integers(0, 999))
def test_any_names_cut_again_and_again_on_a_disk_that_forgets(
    mode: Mode,
    stems: tuple[str, ...],
    files: tuple[str, ...],
    cuts: list[tuple[int, When, bool, float]],
    seed: int,
) -> None:
    chance = random.Random(seed)
    with site_of(mode, stems=stems, files=files) as site:
        at, when, _, share = cuts[0]
        if cut(site.apply, Power(at, when)):
            site.lose(chance, share)
        for at, when, back, share in cuts[1:]:
            site.check_safe()
            if cut(site.turn_back if back else site.go_on, Power(at, when)):
                site.lose(chance, share)
        site.check_safe()
        site.go_on(Power())
        assert site.journals(Power()).open_id(CODE) is None
        if snapshot(site.out):
            assert len(snapshot(site.out)) == len(site.before)
            site.undo(Power())
        site.check_undone()


@pytest.mark.parametrize("mode", MODES)
def test_what_has_ended_is_durable(mode: Mode) -> None:
    """After the last word of a run the power may go at once: no file moves any more, no byte changes."""
    with site_of(mode) as site:
        site.apply(Power())
        wanted = snapshot(site.out)
        site.lose(random.Random(0), 1.0)
        site.check_applied({name: state for name, state in wanted.items() if "ecogsafe-open" not in name})
        site.undo(Power())
        site.lose(random.Random(0), 1.0)
        assert snapshot(site.root) == site.before


@pytest.mark.parametrize(
    ("mode", "lie"), [(Mode.IN_PLACE, "sync"), (Mode.ACROSS, "sync"), (Mode.ACROSS, "sync_folder")]
)
def test_a_disk_that_lies_would_be_noticed(mode: Mode, lie: str) -> None:
    """The checks above fire where bytes or names are not durable when the next step relies on them."""
    broken = 0
    for step in range(steps_of(mode, "apply").count + 1):
        with site_of(mode, lies=(lie,)) as site:
            cut(site.apply, Power(step))
            site.lose(random.Random(step), 0.5)
            try:
                site.check_safe()
            except AssertionError:
                broken += 1
    assert broken > 0
