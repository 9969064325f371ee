"""One study folder: which studies its files form, when they began, whom they speak of, what is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.formats import natus, natus_segments, natus_times, person_hints
from ecogsafe.formats.clock import StudyClock
from ecogsafe.formats.found import FoundFile, PersonHints, StudyFolder
from ecogsafe.formats.kinds import CLIP_KINDS, HEADER_KINDS, NATUS_KINDS, Kind
from ecogsafe.formats.opening import open_regular
from ecogsafe.formats.study_names import guid_in, number_suffix

#: The kinds of which a study has one file, named by the bare stem; the first present names the study.
_NAMED_BY_STEM = (Kind.STC, Kind.EEG, Kind.SNC, Kind.VTC, Kind.ENT, Kind.VT2)


@dataclass(slots=True)
class _Readings:
    """What was read from the files of one study so far."""

    sync: tuple[natus_times.SyncPoint, ...] = ()
    #: by kind, as a .vtc is believed before a .vt2
    clips: dict[Kind, tuple[natus_times.ClipTimes, ...]] = field(default_factory=dict)
    headers: dict[Path, natus.GenericHeader] = field(default_factory=dict)
    trees: dict[Path, PersonHints] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)

    @property
    def clip_times(self) -> tuple[natus_times.ClipTimes, ...]:
        return self.clips.get(Kind.VTC) or self.clips.get(Kind.VT2) or ()


def studies_of(
    folder: Path, files: Sequence[FoundFile], decimated: Sequence[FoundFile]
) -> tuple[list[StudyFolder], list[FoundFile]]:
    """Return the studies that the Natus files and clips of ``folder`` form, and the files that fit none.

    Nearly always it is one study with all files. Files of several GUIDs, or clips of several numbered
    stems (``Doe_1_0000.avi``, ``Doe_2_0000.avi``), are several studies in one folder; a name that tells
    none of them then fits none. One GUID beside clips of one other stem is a single study whose clips
    were renamed.
    """
    groups: dict[str, list[FoundFile]] = {}
    unnamed: list[FoundFile] = []
    for file in files:
        key = _study_key(file)
        (groups.setdefault(key, []) if key else unnamed).append(file)
    guids = {key for key in groups if guid_in(key)}
    if len(guids) <= 1 and len(groups) - len(guids) <= 1:
        return [_read_study(folder, files, decimated)], []
    copies: dict[str, list[FoundFile]] = {key: [] for key in groups}
    for file in decimated:
        copies.get(_study_key(file), unnamed).append(file)
    return [_read_study(folder, members, copies[key]) for key, members in groups.items()], unnamed


def _study_key(file: FoundFile) -> str:
    """Return the GUID, else the stem, that ``file`` is named by; empty for a clip without a number."""
    guid = guid_in(file.path.name)
    if guid:
        return guid.casefold()
    base = file.path.stem
    suffix = number_suffix(base) if file.kind in CLIP_KINDS or file.kind in (Kind.ERD, Kind.ETC) else ""
    if file.kind in CLIP_KINDS and not suffix:
        return ""
    return base.removesuffix(suffix).casefold()


def _stem_of(folder: Path, files: Sequence[FoundFile]) -> str:
    for kind in _NAMED_BY_STEM:
        for file in files:
            if file.kind is kind:
                return file.path.stem
    bases = [file.path.stem for file in files if file.kind in NATUS_KINDS]
    clips = [file.path.stem for file in files if number_suffix(file.path.stem)]
    return min(bases or [base.removesuffix(number_suffix(base)) for base in clips], key=len, default=folder.name)


def _read_study(folder: Path, files: Sequence[FoundFile], decimated: Sequence[FoundFile]) -> StudyFolder:
    main, copy = _readings(files), _readings(decimated)
    headers = main.headers | copy.headers
    problems = main.problems | copy.problems
    strangers = _strangers(headers)
    for path in strangers:
        problems.setdefault(path, "it speaks of another person than its folder")
    hints = [person_hints.from_header(header) for path, header in headers.items() if path not in strangers]
    hints += [hint for path, hint in (main.trees | copy.trees).items() if path not in strangers]
    stem = _stem_of(folder, files)
    clip_names = [clip.name.rpartition(".")[0] for clips in main.clips.values() for clip in clips]
    hints += _from_names((stem, folder.name, *clip_names), is_named=any(hint.last_name for hint in hints))
    start, end = _span(main)
    return StudyFolder(
        path=folder,
        stem=stem,
        files=tuple(files),
        decimated=tuple(decimated),
        start_utc=start,
        end_utc=end,
        person=person_hints.merged(hints),
        clock=StudyClock.of(main.sync, main.clip_times),
        problems=problems,
    )


def _from_names(names: Iterable[str], *, is_named: bool) -> Iterator[PersonHints]:
    """Yield what names say; ``Last_3`` may as well be ``EEG_3``: it counts only where nothing else does."""
    for name in dict.fromkeys(name.removesuffix(number_suffix(name)) for name in names):
        hint = person_hints.from_stem(name)
        if hint.first_name or hint.also or not is_named:
            yield hint


def _readings(files: Sequence[FoundFile]) -> _Readings:
    """Return what the Natus files among ``files`` say, and the problems of those that cannot be understood."""
    readings = _Readings()
    for file in files:
        if file.kind not in NATUS_KINDS:
            continue
        if file.size == 0:
            readings.problems[file.path] = "empty"
            continue
        try:
            with open_regular(file.path) as opened:
                if file.kind in HEADER_KINDS:
                    readings.headers[file.path] = natus.read_generic_header(opened)
                if file.kind in _READERS:
                    _READERS[file.kind](readings, file, opened)
        except EcogsafeError as error:
            readings.problems[file.path] = error.problem
        except OSError:
            readings.problems[file.path] = "it cannot be read"
    return readings


def _read_snc(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    readings.sync = natus_times.read_snc(opened)


def _read_vtc(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    readings.clips[file.kind] = natus_times.read_vtc(opened)


def _read_vt2(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    # an unknown layout is no problem: it has a recipe of its own
    if natus_times.vtc_layout(natus.read_whole(opened)) is not None:
        readings.clips[file.kind] = natus_times.read_vtc(opened)


def _read_stc(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    natus_segments.read_stc(opened)


def _read_erd(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    natus.serials_offset(opened)


def _read_eeg(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    readings.trees[file.path] = person_hints.from_eeg(natus.read_whole(opened))


def _read_ent(readings: _Readings, file: FoundFile, opened: BinaryIO) -> None:
    readings.trees[file.path] = person_hints.from_ent(natus.read_whole(opened))


#: What each kind tells beyond its generic header; an .etc tells nothing more that is needed.
_READERS: dict[Kind, Callable[[_Readings, FoundFile, BinaryIO], None]] = {
    Kind.SNC: _read_snc,
    Kind.VTC: _read_vtc,
    Kind.VT2: _read_vt2,
    Kind.STC: _read_stc,
    Kind.ERD: _read_erd,
    Kind.EEG: _read_eeg,
    Kind.ENT: _read_ent,
}


def _span(readings: _Readings) -> tuple[datetime | None, datetime | None]:
    """Return first and last moment: of the .snc, else of the clips."""
    if readings.sync:
        return readings.sync[0].utc, max(point.utc for point in readings.sync)
    clips = readings.clip_times
    if not clips:
        return None, None
    return min(clip.start_utc for clip in clips), max(clip.end_utc for clip in clips)


def _strangers(headers: dict[Path, natus.GenericHeader]) -> frozenset[Path]:
    """Return the files whose header names somebody else than most headers of the folder do."""
    persons = {path: (h.last_name.casefold(), h.patient_id.casefold()) for path, h in headers.items()}
    known = Counter(person for person in persons.values() if any(person))
    if len(known) < 2:
        return frozenset()
    usual = known.most_common(1)[0][0]
    return frozenset(
        path for path, person in persons.items() if any(a and b and a != b for a, b in zip(person, usual, strict=True))
    )
