"""From the entries of an export and the segments a subject already has to numbered segments. Pure.

The order of the steps matters: what was seen before gets its old number first, then recordings and
studies find each other among new and old ones, then text outputs, and only what is left gets a number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from ecogsafe.core.errors import ExitStatus
from ecogsafe.deid.layout import index_of
from ecogsafe.deid.pairing import (
    REACH_S,
    SAME_S,
    Item,
    Slot,
    Source,
    apart_s,
    end_of,
    first_moment,
    judge_pair,
    nearest_mutual,
    need_zone,
)
from ecogsafe.deid.planned import Confidence, ExistingSegment, Pair, Part, PartRecord
from ecogsafe.formats.found import FoundFile, LooseRecording, StudyFolder
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.study_names import guid_in

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class Skipped:
    """An entry that gets no segment, with the reason."""

    item: Item
    reason: str
    by_rule: bool
    status: ExitStatus
    segment: int | None = None


@dataclass(slots=True)
class Arrangement:
    """Numbered segments in the order of their start, and what found no place."""

    slots: list[Slot]
    skipped: list[Skipped] = field(default_factory=list)
    #: numbers that this plan adds
    new: set[int] = field(default_factory=set)


def fingerprint(files: Sequence[FoundFile], stem: str) -> str:
    """Return 16 hex digits of kinds, indices and sizes; the same for the same files under any names."""
    lines = sorted(f"{f.kind.value} {index_of(f.path.name, stem)} {f.size}" for f in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def item_of(source: Source, files: Sequence[FoundFile]) -> Item:
    """Return the entry ``source``, of which ``files`` can be moved, as something that wants a segment."""
    if isinstance(source, StudyFolder):
        record = PartRecord(start=source.start_utc, end=source.end_utc, fingerprint=fingerprint(files, source.stem))
        return Item(Part.STUDY, source, source.stem, record)
    if isinstance(source, LooseRecording):
        record = PartRecord(
            start=source.start_local,
            end=end_of(source.start_local, source.duration_s),
            fingerprint=fingerprint(files, source.stem),
        )
        return Item(Part.RECORDING, source, source.stem, record)
    part = Part.VTC_TEXT if source.file.kind is Kind.VTC_TEXT else Part.SNC_TEXT
    stem = source.file.path.stem
    return Item(part, source, stem, PartRecord(start=source.start_utc, fingerprint=fingerprint(files, stem)))


def arrange(items: Sequence[Item], existing: Sequence[ExistingSegment], zone: ZoneInfo | None) -> Arrangement:
    """Return the segments that ``items`` make together with those of before.

    Raises
    ------
    ConfigError
        EDF and Natus entries must be paired and the site's time zone is not known.
    """
    need_zone(items, existing, zone)
    slots = [
        Slot(number=e.number, records=dict(e.parts), filled=set(e.published), existing=e)
        for e in sorted(existing, key=lambda e: e.number)
    ]
    result = Arrangement(slots=slots)
    waiting = [item for item in items if not _seen_before(item, result, zone)]
    fresh: list[Slot] = []
    for item in waiting:
        twin = next((s for s in fresh if _is_twin(item, s, zone)), None)
        if twin is None:
            twin = Slot()
            fresh.append(twin)
        twin.add(item)
    slots.extend(fresh)
    _join(result, (Part.STUDY,), (Part.RECORDING,), zone)
    _join_by_guid(result)
    for part in (Part.VTC_TEXT, Part.SNC_TEXT):
        _join(result, (Part.STUDY, Part.RECORDING), (part,), zone)
    _drop_homeless(result)
    _number(result, zone)
    return result


def _seen_before(item: Item, result: Arrangement, zone: ZoneInfo | None) -> bool:
    """Give ``item`` the number it had, or skip it as already there; False if nobody has seen it."""
    for slot in result.slots:
        record = slot.records.get(item.part)
        known = slot.existing
        if known is None or record is None:
            continue
        twin = record.fingerprint == item.record.fingerprint
        distance = apart_s(record.start, item.record.start, zone)
        same = distance is not None and distance <= SAME_S and (twin or item.part is not Part.RECORDING)
        unread = distance is None and twin and isinstance(item.source, StudyFolder) and len(item.source.files) > 1
        # a folder may have been filled again with another recording: then its start is another
        rest = (
            isinstance(item.source, StudyFolder)
            and item.source.path.absolute() in known.folders
            and (distance is None or distance <= SAME_S)
        )
        if not (same or unread or rest):
            continue
        if item.part not in known.published:
            # planned once and never moved: what stands in the export now is what counts
            if item.part not in slot.filled:
                del slot.records[item.part]
            slot.add(item)
        elif rest:
            slot.add(item)
        elif twin:
            text = "already there"
            result.skipped.append(Skipped(item, text, by_rule=True, status=ExitStatus.DONE, segment=slot.number))
        else:
            text = "already there, with other sizes"
            result.skipped.append(Skipped(item, text, by_rule=False, status=ExitStatus.PARTIAL, segment=slot.number))
        return True
    return False


def _is_twin(item: Item, slot: Slot, zone: ZoneInfo | None) -> bool:
    """Return whether a fresh slot holds the same recording already: two sources of one target."""
    record = slot.records.get(item.part)
    if record is None or record.fingerprint != item.record.fingerprint:
        return False
    distance = apart_s(record.start, item.record.start, zone)
    return distance is not None and distance <= 0.0


def _join(result: Arrangement, hosts: tuple[Part, ...], guests: tuple[Part, ...], zone: ZoneInfo | None) -> None:
    """Merge slots that hold a part of ``guests`` into slots that hold one of ``hosts`` and lack it."""
    (guest_part,) = guests

    def start(slot: Slot, parts: tuple[Part, ...]) -> datetime | None:
        return next((slot.records[p].start for p in parts if p in slot.records and slot.records[p].start), None)

    def same_stem(a: Slot, b: Slot) -> bool:
        other = b.stem(guest_part)
        return bool(other) and any(a.stem(p) == other for p in hosts)

    left = [s for s in result.slots if any(p in s.filled for p in hosts) and guest_part not in s.filled]
    right = [s for s in result.slots if guest_part in s.filled and not any(p in s.filled for p in hosts)]
    matches = nearest_mutual(
        left,
        right,
        distance=lambda a, b: apart_s(start(a, hosts), start(b, guests), zone),
        same_stem=same_stem,
    )
    for match in matches:
        stems = same_stem(match.left, match.right)
        confidence, evidence = judge_pair(match.distance, same_stem=stems, rival=match.rival)
        host_part = next(p for p in hosts if p in match.left.filled)
        pair = Pair(
            first=host_part,
            second=guest_part,
            apart_s=match.distance,
            same_stem=stems,
            confidence=Confidence.LOW if match.tied else confidence,
            evidence=evidence,
            tied=match.tied,
        )
        _merge(result, match.left, match.right, pair)


def _merge(result: Arrangement, a: Slot, b: Slot, pair: Pair) -> None:
    keep, gone = (b, a) if b.number is not None else (a, b)
    for part, items in gone.items.items():
        keep.items.setdefault(part, []).extend(items)
    keep.records.update({p: r for p, r in gone.records.items() if p in gone.filled or p not in keep.records})
    keep.filled |= gone.filled
    keep.pairs += [*gone.pairs, pair]
    result.slots.remove(gone)


def _join_by_guid(result: Arrangement) -> None:
    """Join a study without a readable time to the recording of the same name, if that holds a GUID."""
    for study in [s for s in result.slots if Part.STUDY in s.items and s.number is None]:
        stem = study.stem(Part.STUDY)
        if study.records[Part.STUDY].start is not None or guid_in(stem) is None:
            continue
        partners = [
            s for s in result.slots if Part.STUDY not in s.filled and s.stem(Part.RECORDING).lower() == stem.lower()
        ]
        if len(partners) == 1:
            evidence = "same name with the same study GUID; the study's own time cannot be read"
            pair = Pair(
                first=Part.STUDY,
                second=Part.RECORDING,
                apart_s=None,
                same_stem=True,
                confidence=Confidence.MEDIUM,
                evidence=evidence,
            )
            _merge(result, partners[0], study, pair)


def _drop_homeless(result: Arrangement) -> None:
    """Leave behind what cannot be a segment: text outputs alone, and entries whose time nobody knows."""
    for slot in list(result.slots):
        if slot.number is not None:
            continue
        alone = not slot.filled & {Part.STUDY, Part.RECORDING}
        if alone:
            reason = f"fits no segment within {REACH_S / 60:.0f} minutes"
        elif all(r.start is None for r in slot.records.values()):
            reason = "its start cannot be read"
        else:
            continue
        result.slots.remove(slot)
        for items in slot.items.values():
            result.skipped += [Skipped(i, reason, by_rule=False, status=ExitStatus.NOT_UNDERSTOOD) for i in items]


def _number(result: Arrangement, zone: ZoneInfo | None) -> None:
    """Give numbers by true start; a number that was ever used stays with its segment."""

    def order(slot: Slot) -> tuple[datetime, int, str, str]:
        sizes = "".join(sorted(r.fingerprint for r in slot.records.values()))
        stems = "".join(sorted(i.stem for items in slot.items.values() for i in items))
        return (first_moment(slot, zone) or _END_OF_TIME, slot.number or 0, sizes, stems)

    following = max((s.number for s in result.slots if s.number is not None), default=0) + 1
    for slot in sorted((s for s in result.slots if s.number is None), key=order):
        slot.number = following
        result.new.add(following)
        following += 1
    result.slots.sort(key=order)
