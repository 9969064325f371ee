"""Which recording, study and text outputs are one segment, by their true first moments (DESIGN 5.1). Pure.

EDF and BDF carry the site's wall clock, Natus and text outputs UTC. In the hour that a clock change
repeats, a wall-clock time means two moments; both are tried. Numbers in names are never trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from ecogsafe.core.errors import ConfigError
from ecogsafe.deid.planned import Confidence, ExistingSegment, Pair, Part, PartRecord
from ecogsafe.formats.found import LooseRecording, StudyFolder, TextOutput

#: Parts further apart than this are never one segment (the lab's hand rule, FORMATS 3).
REACH_S = 600.0
#: EDF and SNC starts of one segment were seen to agree within 2 s (FORMATS 3).
SURE_S = 5.0
LIKELY_S = 60.0
#: Two starts of one and the same file differ by rounding at most.
SAME_S = 1.0
#: Two distances closer than this do not prefer either.
TIE_S = 0.001

Source = StudyFolder | LooseRecording | TextOutput


@dataclass(slots=True, eq=False)
class Item:
    """One entry of the export that wants a segment."""

    part: Part
    source: Source
    stem: str
    record: PartRecord


@dataclass(slots=True, eq=False)
class Slot:
    """A segment in the making; ``number`` is None until it gets one."""

    number: int | None = None
    records: dict[Part, PartRecord] = field(default_factory=dict)
    #: parts that cannot take another source
    filled: set[Part] = field(default_factory=set)
    items: dict[Part, list[Item]] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    existing: ExistingSegment | None = None

    def add(self, item: Item) -> None:
        """Take ``item`` in."""
        self.items.setdefault(item.part, []).append(item)
        self.records.setdefault(item.part, item.record)
        self.filled.add(item.part)

    def stem(self, part: Part) -> str:
        """Return the source name of ``part``, "" where this plan moves none."""
        return self.items[part][0].stem if part in self.items else ""


def readings(moment: datetime, zone: ZoneInfo | None) -> tuple[datetime, ...]:
    """Return the moments in UTC that ``moment`` can mean: two in an hour that the clock repeats."""
    if moment.tzinfo is not None:
        return (moment.astimezone(UTC),)
    if zone is None:
        return (moment.replace(tzinfo=UTC),)
    early, late = (moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    # in the hour that is skipped the order turns round: one moment, read as before the change
    return (early, late) if early < late else (early,)


def apart_s(first: datetime | None, second: datetime | None, zone: ZoneInfo | None) -> float | None:
    """Return the seconds between two moments, the nearest readings taken; None where one is unknown."""
    if first is None or second is None:
        return None
    return min(abs((a - b).total_seconds()) for a in readings(first, zone) for b in readings(second, zone))


def first_moment(slot: Slot, zone: ZoneInfo | None) -> datetime | None:
    """Return when the segment starts, UTC: by its study, else its recording, else its text outputs."""
    for part in (Part.STUDY, Part.RECORDING, Part.SNC_TEXT, Part.VTC_TEXT):
        record = slot.records.get(part)
        if record and record.start:
            return readings(record.start, zone)[0]
    return None


def last_moment(slot: Slot, zone: ZoneInfo | None) -> datetime | None:
    """Return when the segment ends, UTC, by the part that gave its start."""
    start = first_moment(slot, zone)
    for part in (Part.STUDY, Part.RECORDING):
        record = slot.records.get(part)
        if start and record and record.start:
            return start + (record.end - record.start) if record.end else None
    return None


def need_zone(items: Iterable[Item], existing: Iterable[ExistingSegment], zone: ZoneInfo | None) -> None:
    """Refuse to compare wall clocks with UTC without knowing the site's zone.

    Raises
    ------
    ConfigError
        ``time_zone`` is not set and both kinds of time occur.
    """
    starts = [i.record.start for i in items] + [r.start for e in existing for r in e.parts.values()]
    known = [s for s in starts if s is not None]
    if zone is None and len({s.tzinfo is None for s in known}) == 2:
        raise ConfigError(
            "config.toml",
            "EDF files carry local time and Natus studies UTC; they cannot be paired without time_zone",
            next='set time_zone = "Area/City" (the site of the recording) in config.toml and run again',
        )


def judge_pair(distance: float, *, same_stem: bool, rival: float | None) -> tuple[Confidence, str]:
    """Return how sure a pair is, and why in words.

    Parameters
    ----------
    distance
        Seconds between the two starts.
    rival
        Seconds to the next best candidate of either, if one is within reach.
    """
    level = 2 if distance <= SURE_S else 1 if distance <= LIKELY_S else 0
    text = f"starts {distance:.1f} s apart"
    if same_stem:
        level += 1
        text += ", same name"
    if rival is not None and rival - distance < max(SURE_S, distance):
        level -= 1
        text += f", another candidate {rival:.1f} s away"
    return (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)[max(0, min(level, 2))], text


@dataclass(frozen=True, slots=True)
class Match:
    """Two slots that are each other's nearest."""

    left: Slot
    right: Slot
    distance: float
    rival: float | None
    #: another pair was exactly as near, and no name told them apart
    tied: bool


def nearest_mutual(
    left: Sequence[Slot],
    right: Sequence[Slot],
    *,
    distance: Callable[[Slot, Slot], float | None],
    same_stem: Callable[[Slot, Slot], bool],
) -> list[Match]:
    """Return the pairs that are each other's nearest within reach; equal distances go by equal names."""
    near: dict[tuple[int, int], tuple[float, bool]] = {}
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            if a is b or (a.number is not None and b.number is not None):
                continue
            d = distance(a, b)
            if d is not None and d <= REACH_S:
                near[i, j] = (d, same_stem(a, b))

    def rank(key: tuple[int, int]) -> tuple[float, bool, int, int]:
        d, stem = near[key]
        return (round(d / TIE_S), not stem, *key)

    best_of_left: dict[int, tuple[int, int]] = {}
    best_of_right: dict[int, tuple[int, int]] = {}
    for key in sorted(near, key=rank):
        best_of_left.setdefault(key[0], key)
        best_of_right.setdefault(key[1], key)
    matches = []
    for i, key in best_of_left.items():
        j = key[1]
        if best_of_right[j] != key:
            continue
        others = [near[k] for k in near if k != key and (k[0] == i or k[1] == j)]
        d, stem = near[key]
        tied = any(abs(d - other) < TIE_S and stem == other_stem for other, other_stem in others)
        matches.append(Match(left[i], right[j], d, min((o for o, _ in others), default=None), tied))
    return matches


def whole_hours_off(first: datetime, second: datetime, zone: ZoneInfo | None) -> int:
    """Return by how many whole hours (1 to 14) two starts differ, else 0: a sign of a wrong zone."""
    seconds = min(((b - a).total_seconds() for a in readings(first, zone) for b in readings(second, zone)), key=abs)
    hours = round(seconds / 3600)
    exact = abs(seconds - hours * 3600) <= SURE_S
    return hours if exact and 1 <= abs(hours) <= 14 else 0


def is_repeated_hour(moment: datetime | None, zone: ZoneInfo | None) -> bool:
    """Return whether a wall-clock time falls into an hour that the clock change repeats."""
    return moment is not None and len(readings(moment, zone)) == 2


def end_of(start: datetime | None, duration_s: float | None) -> datetime | None:
    """Return the end of a recording on the clock of its start."""
    return start + timedelta(seconds=duration_s) if start and duration_s is not None else None
