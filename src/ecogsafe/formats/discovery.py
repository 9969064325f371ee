"""What an export holds: study folders, EDF/BDF recordings, text outputs, and what is left behind, with why.

Only ``lstat`` and reads; links, FIFOs and devices are listed and never followed. Nothing that lies in the
export is lost from the result: every entry is in exactly one place of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, SourceUnreadableError, UsageError
from ecogsafe.formats import edf, person_hints, text_outputs
from ecogsafe.formats.found import (
    Discovery,
    FoundFile,
    LooseRecording,
    OtherEntry,
    PersonHints,
    StudyFolder,
    TextOutput,
)
from ecogsafe.formats.kinds import (
    NATUS_KINDS,
    RECORDING_KINDS,
    TEXT_HEAD_BYTES,
    UNDERSTOOD_KINDS,
    Kind,
    backup_of,
    kind_of_text,
)
from ecogsafe.formats.opening import found_entry, open_regular, what_else
from ecogsafe.formats.regions import read_at
from ecogsafe.formats.study_names import number_suffix
from ecogsafe.formats.study_reading import studies_of

_DECIMATED = "decimated"


def discover(export: Path) -> Discovery:
    """Return everything that lies below ``export``: a folder before the folders in it, in byte order of names.

    Raises
    ------
    UsageError
        ``export`` does not exist, is no folder or cannot be read.
    """
    try:
        mode = export.stat().st_mode
    except OSError:
        raise UsageError("EXPORT", "it does not exist or cannot be reached", next="check the path") from None
    if not stat.S_ISDIR(mode):
        raise UsageError("EXPORT", "it is not a folder", next="name the folder that the hospital handed over")
    recordings: list[LooseRecording] = []
    texts: list[TextOutput] = []
    others: list[OtherEntry] = []
    members: dict[Path, list[FoundFile]] = {}
    for folder, entries in _walk(export, others):
        members[folder] = []
        for entry in entries:
            kept = _sorted_out(entry, export)
            if isinstance(kept, OtherEntry):
                others.append(kept)
            elif kept.kind in RECORDING_KINDS:
                recordings.append(_read_recording(kept))
            elif kept.kind is Kind.VTC_TEXT or kept.kind is Kind.SNC_TEXT:
                texts.append(_read_text(kept))
            else:
                members[folder].append(kept)
    return Discovery(
        root=export,
        studies=_studies(members, others),
        recordings=tuple(recordings),
        texts=tuple(texts),
        others=tuple(sorted(others, key=lambda other: os.fsencode(other.file.path))),
    )


def _walk(export: Path, others: list[OtherEntry]) -> Iterator[tuple[Path, list[FoundFile]]]:
    """Yield each folder with its entries that are no folders, in byte order of their names."""
    waiting = [export]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as scan:
                names = sorted((entry.name for entry in scan), key=os.fsencode)
        except OSError:
            if folder == export:
                raise UsageError("EXPORT", "it cannot be read", next="check its permissions") from None
            others.append(OtherEntry(file=found_entry(folder, None), reason="folder cannot be read", by_rule=False))
            continue
        entries: list[FoundFile] = []
        below: list[Path] = []
        for name in names:
            path = folder / name
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # gone since the folder was listed
            except OSError:
                entries.append(found_entry(path, None))
                continue
            if stat.S_ISDIR(status.st_mode):
                below.append(path)
            else:
                entries.append(found_entry(path, status))
        yield folder, entries
        waiting.extend(reversed(below))


def _sorted_out(entry: FoundFile, export: Path) -> FoundFile | OtherEntry:
    """Return ``entry`` with its true kind if a recipe may exist for it, else why it stays behind."""
    expected = entry.kind in UNDERSTOOD_KINDS
    if not _is_utf8(entry.path.relative_to(export)):
        return OtherEntry(file=entry, reason="name is not UTF-8", by_rule=False)
    if not entry.readable:
        return OtherEntry(file=entry, reason="cannot be read", by_rule=not expected)
    if not stat.S_ISREG(entry.mode):
        return OtherEntry(file=entry, reason=what_else(entry.mode), by_rule=not expected)
    is_text = entry.kind is Kind.OTHER and entry.path.suffix.lower() == ".txt"
    original = backup_of(entry.path.name)
    if original is not None:
        return _backup(entry, original)
    if not expected and not is_text:
        word = {Kind.REPORT: "report", Kind.EPO: "OLE compound file (.epo)"}.get(entry.kind, "unknown kind")
        return OtherEntry(file=entry, reason=word)
    if entry.size == 0 and entry.kind not in NATUS_KINDS:
        return OtherEntry(file=entry, reason="empty", by_rule=not expected)
    try:
        with open_regular(entry.path) as file:
            kind = kind_of_text(read_at(file, 0, TEXT_HEAD_BYTES)) if is_text else entry.kind
    except (SourceUnreadableError, OSError):
        return OtherEntry(file=replace(entry, readable=False), reason="cannot be read", by_rule=False)
    return replace(entry, kind=kind) if kind is not Kind.OTHER else OtherEntry(file=entry, reason="unknown kind")


def _backup(entry: FoundFile, original: str) -> OtherEntry:
    """Return why a backup stays by rule; of a file that is not there (any more) it may be the only copy."""
    with suppress(OSError):
        if any(found.name.lower() == original.lower() for found in entry.path.parent.iterdir()):
            return OtherEntry(file=entry, reason="backup copy")
    return OtherEntry(file=entry, reason="backup copy alone")


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _read_recording(file: FoundFile) -> LooseRecording:
    stem = file.path.stem
    by_name = person_hints.from_stem(stem)
    try:
        with open_regular(file.path) as opened:
            header = edf.read_header(opened)
    except EcogsafeError as error:
        return _broken_recording(file, by_name, error.problem)
    except OSError:
        return _broken_recording(file, by_name, "it cannot be read")
    by_header = person_hints.from_edf(header.identity_hints())
    # "Last_3" may as well be "EEG_3": it counts only where nothing else gives a name
    use_name = bool(by_name.first_name or by_name.also) or not by_header.last_name
    return LooseRecording(
        file=file,
        stem=stem,
        start_local=header.start,
        duration_s=header.duration_s,
        person=person_hints.merged([by_header, *([by_name] if use_name else [])]),
    )


def _broken_recording(file: FoundFile, person: PersonHints, problem: str) -> LooseRecording:
    return LooseRecording(
        file=file, stem=file.path.stem, start_local=None, duration_s=None, person=person, problem=problem
    )


def _read_text(file: FoundFile) -> TextOutput:
    by_name = person_hints.from_stem(file.path.stem)
    try:
        with open_regular(file.path) as opened:
            stems = text_outputs.stems_in(opened)
            if file.kind is Kind.SNC_TEXT:
                start = text_outputs.read_snc_text(opened)[0].utc
            else:
                clips = text_outputs.read_vtc_text(opened)
                start = min(clip.start_utc for clip in clips)
                bases = dict.fromkeys(clip.name.rpartition(".")[0] for clip in clips)
                stems += tuple(base.removesuffix(number_suffix(base)) for base in bases)
    except EcogsafeError as error:
        return TextOutput(file=file, start_utc=None, person=by_name, problem=error.problem)
    except OSError:
        return TextOutput(file=file, start_utc=None, person=by_name, problem="it cannot be read")
    person = person_hints.merged(person_hints.from_stem(stem) for stem in dict.fromkeys(stems))
    return TextOutput(file=file, start_utc=start, person=person if person.last_name else by_name)


def _studies(members: dict[Path, list[FoundFile]], others: list[OtherEntry]) -> tuple[StudyFolder, ...]:
    """Return the studies of all folders; each ``Decimated/`` goes with the study it lies in.

    ``members`` holds the Natus files and clips of every folder of the export, folders without any included.
    """
    main: dict[Path, list[FoundFile]] = {}
    copies: dict[Path, list[FoundFile]] = {}
    for folder, files in members.items():
        within = _decimated_folder(folder, members)
        if within is None:
            main[folder] = files
        elif within == folder and members.get(folder.parent):
            copies.setdefault(folder.parent, []).extend(files)
        else:
            reason = "low-rate copy without its study"
            others.extend(OtherEntry(file=file, reason=reason, by_rule=False) for file in files)
    studies: list[StudyFolder] = []
    for folder, files in main.items():
        if files:
            here, strays = studies_of(folder, files, copies.get(folder, []))
            studies.extend(here)
            reason = "name tells none of the studies in its folder"
            others.extend(OtherEntry(file=file, reason=reason, by_rule=False) for file in strays)
    return tuple(studies)


def _decimated_folder(folder: Path, members: dict[Path, list[FoundFile]]) -> Path | None:
    """Return the ``Decimated/`` of the export that ``folder`` is or lies in."""
    chain = (folder, *folder.parents)
    return next((path for path in chain if path.name.lower() == _DECIMATED and path in members), None)
