"""When a file is safe (DESIGN 5.10): data in, verdict out; no disk, no store, no clock of its own.

A copy counts when it is good, proven at the level of the policy, by a proof that is not of the future, in a
place of its own, and when enough of its subject was brought back from its store lately. Copies in one bucket,
container or device count once: they would be lost together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ecogsafe.catalog.copies import LEVELS
from ecogsafe.catalog.standing import REMOVED
from ecogsafe.catalog.sums import AlikeFiles, CopyState
from ecogsafe.core.config import Policy

#: of a subject in a store, brought back at least; and of its bytes, one in so many
SAMPLE_FILES = 20
SAMPLE_SHARE = 100


@dataclass(frozen=True, slots=True)
class Location:
    """One store, as far as the policy asks."""

    store_id: str
    #: bucket, container or device
    place: str
    offsite: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """What of one subject was brought back from one store, opened and found equal, within the days of the policy."""

    #: of the subject recorded there; bytes of the files
    files: int
    bytes: int
    restored_files: int
    restored_bytes: int
    #: kinds there of which nothing was brought back
    kinds_missing: tuple[str, ...]
    #: the policy asks for it
    is_wanted: bool

    @property
    def files_wanted(self) -> int:
        """How many files must have been brought back."""
        return min(self.files, SAMPLE_FILES)

    @property
    def bytes_wanted(self) -> int:
        """How many bytes of them at least: one hundredth, rounded up."""
        return -(-self.bytes // SAMPLE_SHARE)

    @property
    def is_enough(self) -> bool:
        """Whether the store has shown that it gives the subject back."""
        if not self.is_wanted:
            return True
        enough = self.restored_files >= self.files_wanted and self.restored_bytes >= self.bytes_wanted
        return enough and not self.kinds_missing

    @property
    def percent(self) -> int:
        """What ``verify --deep --sample`` must be given, in per cent of the files, to make it enough."""
        return max(1, min(100, -(-100 * self.files_wanted // self.files))) if self.files else 1


@dataclass(frozen=True, slots=True)
class Shortfall:
    """How many files of a subject lack copies; ``least`` is the smallest number of copies one of them has."""

    files: int
    bytes: int
    least: int
    #: of them deleted here by `free`
    freed_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """The verdict on one subject."""

    subject: str
    files: int
    bytes: int
    #: with all that the policy wants
    safe_files: int
    #: by store id, of those that hold something of the subject
    samples: Mapping[str, Sample]
    #: too few copies that are proven themselves, whatever was brought back of their stores
    copies: Shortfall | None
    #: the same, off site
    offsite: Shortfall | None
    #: stores whose copies would count had more been brought back from them, and are needed
    unsampled: tuple[str, ...]

    @property
    def is_safe(self) -> bool:
        """Whether every file is."""
        return self.safe_files == self.files


def hours_ago(hour: str, now: datetime) -> float | None:
    """Return how long ago the hour ``2026-01-02T03`` began, in hours; None for the future, which proves nothing."""
    if not hour:
        return None
    age: timedelta = now - datetime.fromisoformat(f"{hour}:00:00").replace(tzinfo=UTC)
    return age / timedelta(hours=1) if age >= timedelta(0) else None


def counts(state: CopyState, policy: Policy, now: datetime) -> bool:
    """Return whether a copy is good and proven as the policy wants it, by itself."""
    wanted = next(rank for rank, level in enumerate(LEVELS) if level == policy.level)
    return state.rank >= wanted and hours_ago(state.proven, now) is not None


def samples(files: Sequence[AlikeFiles], policy: Policy, now: datetime) -> dict[str, Sample]:
    """Return, by store, what of a subject was brought back.

    What is asked for is reckoned from all that is recorded there, good or bad: no proof makes it more.
    """
    found: dict[str, Sample] = {}
    for store_id in sorted({state.store_id for each in files for state in each.held}):
        there = [each for each in files if any(s.store_id == store_id and s.rank != REMOVED for s in each.held)]
        back = [each for each in there if any(_is_back(s, store_id, policy, now) for s in each.held)]
        found[store_id] = Sample(
            files=sum(each.files for each in there),
            bytes=sum(each.bytes for each in there),
            restored_files=sum(each.files for each in back),
            restored_bytes=sum(each.bytes for each in back),
            kinds_missing=tuple(sorted({each.kind for each in there} - {each.kind for each in back})),
            is_wanted=policy.restored_within_days > 0,
        )
    return found


def _is_back(state: CopyState, store_id: str, policy: Policy, now: datetime) -> bool:
    if state.store_id != store_id or state.rank < 0:
        return False
    age = hours_ago(state.restored, now)
    # an hour more: proofs are kept by the hour they were made in
    return age is not None and age <= policy.restored_within_days * 24 + 1


def enough(stores: Iterable[str], locations: Mapping[str, Location], policy: Policy) -> bool:
    """Return whether copies in these stores are as many, in different places, as the policy wants."""
    held, away = distinct(stores, locations)
    return held >= policy.copies and away >= policy.offsite


def distinct(stores: Iterable[str], locations: Mapping[str, Location]) -> tuple[int, int]:
    """Return in how many different places these stores are, and how many of those are off site."""
    known = [locations[store_id] for store_id in stores if store_id in locations]
    return len({at.place for at in known}), len({at.place for at in known if at.offsite})


def assess(
    subject: str, files: Sequence[AlikeFiles], locations: Mapping[str, Location], policy: Policy, now: datetime
) -> Assessment:
    """Return the verdict on a subject from what is recorded of its files."""
    brought_back = samples(files, policy, now)
    proven = [(each, {s.store_id for s in each.held if counts(s, policy, now)}) for each in files]
    safe = 0
    needed: set[str] = set()
    for each, stores in proven:
        sampled = {store_id for store_id in stores if brought_back[store_id].is_enough}
        if enough(sampled, locations, policy):
            safe += each.files
        elif enough(stores, locations, policy):
            needed |= stores - sampled
    return Assessment(
        subject=subject,
        files=sum(each.files for each in files),
        bytes=sum(each.bytes for each in files),
        safe_files=safe,
        samples=brought_back,
        copies=_shortfall(proven, lambda stores: distinct(stores, locations)[0], policy.copies),
        offsite=_shortfall(proven, lambda stores: distinct(stores, locations)[1], policy.offsite),
        unsampled=tuple(sorted(needed)),
    )


def _shortfall(
    proven: Sequence[tuple[AlikeFiles, set[str]]], count: Callable[[set[str]], int], wanted: int
) -> Shortfall | None:
    short = [(each, held) for each, stores in proven if (held := count(stores)) < wanted]
    if not short:
        return None
    return Shortfall(
        files=sum(each.files for each, _ in short),
        bytes=sum(each.bytes for each, _ in short),
        least=min(held for _, held in short),
        freed_files=sum(each.freed_files for each, _ in short),
    )
