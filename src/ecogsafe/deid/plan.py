"""`plan_deid`: from what an export holds to what will move where, and what will not. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from ecogsafe.core.errors import ExitStatus
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.layout import collision_key, target_for
from ecogsafe.deid.pairing import Item, Slot, first_moment
from ecogsafe.deid.plan_notes import notes_on
from ecogsafe.deid.planned import (
    Conflict,
    DeidPlan,
    ExistingSegment,
    LeftBehind,
    Move,
    Part,
    PlannedSegment,
    PlanNote,
)
from ecogsafe.deid.segments import Arrangement, arrange, item_of
from ecogsafe.deid.whose import Belongs, Shares, Source, divide
from ecogsafe.formats.clock import StudyClock
from ecogsafe.formats.found import Discovery, FoundFile, LooseRecording, StudyFolder
from ecogsafe.formats.kinds import CLIP_KINDS, Kind

_DOUBTFUL = "its start cannot be read, and a study that lay in this folder before has files of the same names"
_RULE_REASONS = {Kind.EPO: "sleep data (.epo) carries identifiers out of reach", Kind.REPORT: "report"}


def plan_deid(
    discovery: Discovery,
    *,
    code: str,
    belongs: Belongs,
    person: Identifiers | None = None,
    existing: Sequence[ExistingSegment] = (),
    zone: ZoneInfo | None = None,
    taken: Collection[str] = (),
    copy: bool = False,
) -> DeidPlan:
    """Return what ``deid apply`` will do with ``discovery`` for the subject ``code``.

    Parameters
    ----------
    belongs
        Whether an entry is about the person (`whose.belongs_to`).
    person
        Who is meant, if known; only to judge whether entries contradict each other.
    existing
        Every number the subject has ever used.
    zone
        Time zone of the site; needed only where EDF and Natus times meet.
    taken
        Paths below OUT that exist already.
    copy
        The sources stay, so that hard links do no harm.

    Raises
    ------
    MixedPatientsError
        The identifiers fit more than one person in the export.
    ConfigError
        A time zone is needed and not known.
    """
    shares = divide(discovery, belongs, person)
    left: list[LeftBehind] = []
    wanted: list[Item] = []
    files_of: dict[int, list[FoundFile]] = {}
    for source in shares.ours:
        files, stay = _sort_files(source, code)
        left += stay
        if files:
            item = item_of(source, files)
            wanted.append(item)
            files_of[id(item)] = files
    arrangement = arrange(wanted, existing, zone)
    for skipped in arrangement.skipped:
        left += [
            LeftBehind(
                file=file,
                reason=skipped.reason,
                by_rule=skipped.by_rule,
                status=skipped.status,
                segment=skipped.segment,
            )
            for file in files_of[id(skipped.item)]
        ]
    occupied = {collision_key(path) for path in taken}
    moves: list[Move] = []
    for slot in arrangement.slots:
        for item in (i for items in slot.items.values() for i in items):
            leftover = slot.existing is not None and item.part in slot.existing.published
            wanted_moves = list(_moves(item, files_of[id(item)], code, slot.number or 0))
            if leftover and _is_doubtful(item, slot, wanted_moves, occupied):
                left += [_not_moved(m.source, _DOUBTFUL, ExitStatus.NOT_UNDERSTOOD) for m in wanted_moves]
                continue
            for move in wanted_moves:
                if leftover and collision_key(move.place) in occupied:
                    left.append(LeftBehind(file=move.source, reason="already there", segment=move.segment))
                else:
                    moves.append(move)
    not_touched = _files(shares.others)
    left += _unclear(shares)
    for other in discovery.others:
        if any(_holds(source, other.file.path) for source in shares.others):
            not_touched.append(other.file)
        else:
            left.append(
                LeftBehind(
                    file=other.file,
                    reason=other.reason,
                    by_rule=other.by_rule,
                    status=ExitStatus.DONE if other.by_rule else ExitStatus.NOT_UNDERSTOOD,
                )
            )
    planned = _segments(arrangement, moves, zone)
    return DeidPlan(
        root=discovery.root,
        code=code,
        moves=tuple(moves),
        left=tuple(left),
        conflicts=tuple(_conflicts(moves, occupied, copy=copy)),
        notes=(*_unnamed(shares), *notes_on(arrangement, zone)),
        segments=planned,
        not_touched=tuple(not_touched),
    )


def _sort_files(source: Source, code: str) -> tuple[list[FoundFile], list[LeftBehind]]:
    """Divide the files of an entry into those that can move and those that stay."""
    if isinstance(source, StudyFolder):
        entries = [*source.files, *source.decimated]
        problems = dict(source.problems)
    else:
        entries = [source.file]
        problems = {source.file.path: source.problem} if source.problem else {}
    files, left = [], []
    for file in entries:
        if not file.readable:
            left.append(_not_moved(file, "cannot be read", ExitStatus.PARTIAL))
        elif file.path in problems:
            left.append(_not_moved(file, problems[file.path], ExitStatus.NOT_UNDERSTOOD))
        elif target_for(file.kind, code=code, number=1, name=file.path.name) is None:
            left.append(LeftBehind(file=file, reason=_RULE_REASONS.get(file.kind, "unknown kind")))
        else:
            files.append(file)
    return files, left


def _not_moved(file: FoundFile, reason: str, status: ExitStatus) -> LeftBehind:
    return LeftBehind(file=file, reason=reason, by_rule=False, status=status)


def _moves(item: Item, files: Sequence[FoundFile], code: str, number: int) -> Iterable[Move]:
    decimated: frozenset[Path] = frozenset()
    study = ""
    if isinstance(item.source, StudyFolder):
        decimated = frozenset(f.path for f in item.source.decimated)
        study = item.source.stem
    for file in files:
        target = target_for(
            file.kind,
            code=code,
            number=number,
            name=file.path.name,
            study=study,
            decimated=file.path in decimated,
        )
        if target is not None:
            yield Move(
                source=file,
                target=target.relpath,
                tree=target.tree,
                kind=file.kind,
                segment=number,
                stem=target.stem,
            )


def _is_doubtful(item: Item, slot: Slot, moves: Sequence[Move], occupied: Collection[str]) -> bool:
    """Return whether a study taken for the rest of an earlier one, by its folder alone, may be another."""
    known = slot.existing.parts.get(item.part) if slot.existing else None
    if item.record.start is not None or (known is not None and known.fingerprint == item.record.fingerprint):
        return False
    return any(collision_key(move.place) in occupied for move in moves if move.kind not in CLIP_KINDS)


def _files(sources: Iterable[Source]) -> list[FoundFile]:
    files: list[FoundFile] = []
    for source in sources:
        files += [*source.files, *source.decimated] if isinstance(source, StudyFolder) else [source.file]
    return files


def _holds(source: Source, path: Path) -> bool:
    return isinstance(source, StudyFolder) and path.is_relative_to(source.path)


def _unclear(shares: Shares) -> Iterable[LeftBehind]:
    reason = "names nobody, and the export holds recordings of other people"
    return [_not_moved(file, reason, ExitStatus.NOT_UNDERSTOOD) for file in _files(shares.unclear)]


def _unnamed(shares: Shares) -> Iterable[PlanNote]:
    if not shares.unnamed:
        return []
    what = "recording" if all(isinstance(s, LooseRecording) for s in shares.unnamed) else "entry"
    count = len(shares.unnamed)
    plural = {"recording": "recordings", "entry": "entries"}[what] if count > 1 else what
    text = f"{count} {plural} without any name, taken to belong because the export names nobody else"
    return [PlanNote(topic="unnamed", text=text)]


def _conflicts(moves: Sequence[Move], occupied: Collection[str], *, copy: bool) -> Iterable[Conflict]:
    by_place: dict[str, list[Move]] = defaultdict(list)
    for move in moves:
        by_place[collision_key(move.place)].append(move)
    for key, contenders in by_place.items():
        files = tuple(m.source for m in contenders)
        if len(contenders) > 1:
            yield Conflict(reason=f"{len(contenders)} sources for one name", files=files, place=contenders[0].place)
        if key in occupied:
            yield Conflict(reason="the name is taken", files=files, place=contenders[0].place)
    for move in moves:
        if move.source.links > 1 and not copy:
            reason = "has another hard link, which would change with it; --copy leaves the source alone"
            yield Conflict(reason=reason, files=(move.source,), place=move.place)


def _clock(slot: Slot) -> StudyClock | None:
    sources = (item.source for item in slot.items.get(Part.STUDY, ()))
    return next((s.clock for s in sources if isinstance(s, StudyFolder) and s.clock is not None), None)


def _segments(arrangement: Arrangement, moves: Sequence[Move], zone: ZoneInfo | None) -> tuple[PlannedSegment, ...]:
    moving = {m.segment for m in moves}

    def planned(slot: Slot) -> PlannedSegment:
        number = slot.number or 0
        return PlannedSegment(
            number=number,
            is_new=number in arrangement.new,
            parts=dict(slot.records),
            moved=frozenset(slot.items) if number in moving else frozenset(),
            pairs=tuple(slot.pairs),
            clock=_clock(slot),
            start=first_moment(slot, zone),
        )

    return tuple(planned(slot) for slot in arrangement.slots)
