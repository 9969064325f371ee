"""What a person should look at in a plan: ties, gaps, overlaps, missing kinds, holes, empty clips. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from zoneinfo import ZoneInfo

from ecogsafe.deid.layout import index_of
from ecogsafe.deid.pairing import Slot, first_moment, is_repeated_hour, last_moment, whole_hours_off
from ecogsafe.deid.planned import Confidence, Part, PlanNote
from ecogsafe.deid.segments import Arrangement
from ecogsafe.formats.clock import StudyClock
from ecogsafe.formats.found import StudyFolder
from ecogsafe.formats.kinds import CLIP_KINDS, Kind

#: Shorter gaps are the stop and start of a recorder.
GAP_S = 60.0
OVERLAP_S = 1.0
#: ``.epo`` and ``.vt2`` may be absent (FORMATS 1).
_EXPECTED = (Kind.EEG, Kind.ENT, Kind.ERD, Kind.ETC, Kind.SNC, Kind.STC, Kind.VTC)
_SHOWN_HOLES = 8
#: One real recording keeps within 0.2 s (FORMATS 2.7).
_RESIDUAL_S = 0.5


def span(seconds: float) -> str:
    """Return a length of time in words: ``45 s``, ``12 min 05 s``, ``3 h 20 min``, ``2 d 04 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def notes_on(arrangement: Arrangement, zone: ZoneInfo | None) -> Iterator[PlanNote]:
    """Yield what is worth a look in ``arrangement``, in the order of the segments."""
    yield from _times(arrangement.slots, zone)
    for slot in arrangement.slots:
        if slot.items:
            yield from _pairs(slot)
            yield from _parts(slot, zone)
            yield from _study(slot)
    yield from _zone(arrangement.slots, zone)


def _times(slots: Sequence[Slot], zone: ZoneInfo | None) -> Iterator[PlanNote]:
    timed = [(first_moment(s, zone), last_moment(s, zone), s) for s in slots if first_moment(s, zone)]
    for (start, end, slot), (following, _, other) in pairwise(timed):
        if start is None or following is None or not (slot.items or other.items):
            continue
        numbers = (slot.number or 0, other.number or 0)
        if start == following:
            yield PlanNote(topic="tie", text=f"segments {numbers[0]} and {numbers[1]} start together", segments=numbers)
        if end is None:
            continue
        seconds = (following - end).total_seconds()
        if seconds > GAP_S:
            text = f"{span(seconds)} between segments {numbers[0]} and {numbers[1]}"
            yield PlanNote(topic="gap", text=text, segments=numbers)
        elif seconds < -OVERLAP_S:
            text = f"segments {numbers[0]} and {numbers[1]} overlap by {span(-seconds)}"
            yield PlanNote(topic="overlap", text=text, segments=numbers)


def _pairs(slot: Slot) -> Iterator[PlanNote]:
    number = slot.number or 0
    for pair in slot.pairs:
        if pair.tied:
            text = f"segment {number}: the {pair.second} fits another segment equally well"
            yield PlanNote(topic="tie", text=text, segments=(number,))
        elif pair.confidence is Confidence.LOW:
            text = f"segment {number}: {pair.first} and {pair.second} pair on weak evidence ({pair.evidence})"
            yield PlanNote(topic="weak-pair", text=text, segments=(number,))


def _parts(slot: Slot, zone: ZoneInfo | None) -> Iterator[PlanNote]:
    number = slot.number or 0
    for part, word in ((Part.RECORDING, "EDF or BDF"), (Part.STUDY, "Natus study")):
        if part not in slot.filled:
            yield PlanNote(topic="missing-kind", text=f"segment {number} has no {word}", segments=(number,))
    record = slot.records.get(Part.RECORDING)
    if record and is_repeated_hour(record.start, zone) and Part.STUDY not in slot.filled:
        text = f"segment {number} starts in the hour that the clock change repeats; the earlier one is taken"
        yield PlanNote(topic="clock-change", text=text, segments=(number,))


def _study(slot: Slot) -> Iterator[PlanNote]:
    number = slot.number or 0
    rest = slot.existing is not None and Part.STUDY in slot.existing.published
    for item in slot.items.get(Part.STUDY, []):
        study = item.source
        if not isinstance(study, StudyFolder):
            continue
        present = {f.kind for f in study.files}
        missing = [kind.value for kind in _EXPECTED if kind not in present]
        if missing and not rest:
            text = f"the study of segment {number} lacks .{' .'.join(missing)}"
            yield PlanNote(topic="missing-kind", text=text, segments=(number,))
        empty = sum(1 for f in (*study.files, *study.decimated) if f.kind in CLIP_KINDS and f.size == 0)
        if empty:
            text = f"{empty} clip{'s' if empty > 1 else ''} of segment {number} without a single byte"
            yield PlanNote(topic="zero-length", text=text, segments=(number,))
        if not rest:
            yield from _holes(study, number)
        if study.clock is not None:
            yield from _clock(study.clock, number)


def clock_line(clock: StudyClock) -> str:
    """Return how well a study's samples keep the time of the clock on the wall, in words."""
    report = clock.report
    return (
        f"clock drift of the EEG against the wall clock: largest residual {report.worst_residual_s:.2f} s "
        f"over {span(clock.lasting_s)} ({report.rows:,} rows, {report.rate_hz:.4f} Hz)"
    )


def _clock(clock: StudyClock, number: int) -> Iterator[PlanNote]:
    """Say what a person who puts video and EEG together must know."""

    def note(text: str) -> PlanNote:
        return PlanNote(topic="clock", text=f"segment {number}: {text}", segments=(number,))

    if clock.report.worst_residual_s > _RESIDUAL_S:
        yield note(clock_line(clock))
    for jump in clock.report.jumps:
        by = f"{jump.whole_hours:+d} h" if jump.whole_hours else f"{jump.seconds:+.1f} s"
        yield note(f"the clock of the EEG was set by {by} while it recorded")
    if clock.report.left_out:
        count = len(clock.report.left_out)
        yield note(f"{count} of {clock.report.rows:,} clock rows fit{'s' if count == 1 else ''} none of the others")
    hours = clock.clip_offset_hours
    if hours:
        way = "ahead of" if hours > 0 else "behind"
        yield note(f"the video clips are {abs(hours)} h {way} the EEG clock")
    elif hours is None and clock.clips:
        yield note("the times of the video clips fit the EEG clock by no whole number of hours")


def _holes(study: StudyFolder, number: int) -> Iterator[PlanNote]:
    """Clips count from 0000; a data segment without a number is the first, the next is 001 (FORMATS 1)."""
    seen: dict[str, set[int]] = defaultdict(set)
    for file in study.files:
        if file.kind in CLIP_KINDS or file.kind in (Kind.ERD, Kind.ETC):
            word = "clip" if file.kind in CLIP_KINDS else f".{file.kind}"
            seen[word].add(int(index_of(file.path.name, study.stem) or 0))
    for word, indices in sorted(seen.items()):
        holes = sorted(set(range(max(indices))) - indices)
        if holes:
            shown = " ".join(f"{i:04d}" for i in holes[:_SHOWN_HOLES])
            more = f" and {len(holes) - _SHOWN_HOLES} more" if len(holes) > _SHOWN_HOLES else ""
            text = f"segment {number}: {word} numbers {shown}{more} are missing"
            yield PlanNote(topic="hole", text=text, segments=(number,))


def _zone(slots: Sequence[Slot], zone: ZoneInfo | None) -> Iterator[PlanNote]:
    """Say so when a lone recording and a lone study differ by whole hours: the zone is probably wrong."""
    lone_recordings = [s for s in slots if Part.RECORDING in s.items and Part.STUDY not in s.filled]
    lone_studies = [s for s in slots if Part.STUDY in s.items and Part.RECORDING not in s.filled]
    for slot in lone_recordings:
        start = slot.records[Part.RECORDING].start
        for other in lone_studies:
            moment = other.records[Part.STUDY].start
            hours = whole_hours_off(start, moment, zone) if start and moment else 0
            if hours:
                numbers = (slot.number or 0, other.number or 0)
                way = "earlier" if hours > 0 else "later"
                text = (
                    f"segments {numbers[0]} and {numbers[1]} would be one if the study's clock were "
                    f"{abs(hours)} h {way}; is time_zone right?"
                )
                yield PlanNote(topic="zone-suspect", text=text, segments=numbers)
