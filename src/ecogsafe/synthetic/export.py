"""A whole synthetic export: two patients, three segments each, in the forms a lab meets (DESIGN 3)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ecogsafe.synthetic.ledger import ClipTruth, Ledger, Recorder, SegmentTruth
from ecogsafe.synthetic.natus_files import clock_rows
from ecogsafe.synthetic.patients import Patient, synthetic_patients
from ecogsafe.synthetic.recordings import write_recording
from ecogsafe.synthetic.scale import (
    DECIMATED_SEGMENT,
    HALF_PROCESSED_NUMBERS,
    SEGMENTS,
    TEXT_NUMBERS,
    ExportScale,
    SegmentPlan,
    plan_segment,
)
from ecogsafe.synthetic.study import CLOCK_ROW_EVERY_S, write_study
from ecogsafe.synthetic.text_files import write_readvtc, write_snc2txt
from ecogsafe.synthetic.timeline import SITE_ZONE, filetime
from ecogsafe.synthetic.waves import Wave

Form = Literal["hospital", "half-processed", "mixed"]
#: Folders of the text outputs, as the lab's hand steps name them.
VTC_TEXT_FOLDER, SNC_TEXT_FOLDER = "ManyVTCfiles", "ManySNCfiles"
#: Modification time of every folder.
_FOLDER_TIME = datetime(2024, 6, 3, 9, 0, tzinfo=UTC)

__all__ = ["ExportScale", "Form", "Ledger", "write_export"]


def write_export(
    folder: Path, *, form: Form, scale: ExportScale, seed: int, patients: Sequence[Patient] | None = None
) -> Ledger:
    """Write a synthetic export and return what is where in it.

    Parameters
    ----------
    folder
        Absent or empty; its parent exists.
    form
        ``"hospital"``: ``Last~ First_GUID`` folders with the EDF beside them; ``"half-processed"``:
        ``Last_N`` and ``Last/Last_N``, the numbers wrong; ``"mixed"``: patient a the one, b the other.
    seed
        Chooses signals, GUIDs and internal numbers; equal arguments give equal bytes, names and file times.
    patients
        Two; by default those of `synthetic_patients`.

    Raises
    ------
    FileExistsError
        ``folder`` holds something.
    """
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError("the folder of a synthetic export must be empty")
    notes = Recorder(folder)
    patients = patients or synthetic_patients(seed)
    forms = {"hospital": (False, False), "half-processed": (True, True), "mixed": (False, True)}[form]
    segments = [
        _write_segment(folder, plan_segment(patient, order, scale), scale, notes, seed=seed, half_processed=half)
        for patient, half in zip(patients, forms, strict=True)
        for order in range(1, SEGMENTS + 1)
    ]
    _plant_names(patients, notes)
    stamp = _FOLDER_TIME.timestamp()
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        os.utime(path, (stamp, stamp))
    return Ledger(
        time_zone=SITE_ZONE,
        patients=tuple(patients),
        planted=tuple(notes.planted),
        kept=tuple(notes.kept),
        dated=tuple(notes.dated),
        segments=tuple(segments),
        left_behind=tuple(sorted(notes.left_behind)),
        files=tuple(sorted(notes.files)),
    )


def _write_segment(
    folder: Path,
    segment: SegmentPlan,
    scale: ExportScale,
    notes: Recorder,
    *,
    seed: int,
    half_processed: bool,
) -> SegmentTruth:
    patient, order, times = segment.patient, segment.order, segment.times
    wave = Wave(f"{seed}/{patient.key}/{order}")
    extension = ".bdf" if segment.variant.startswith("BDF") else ".edf"
    number = HALF_PROCESSED_NUMBERS[order - 1]
    if half_processed:
        # the lab moved the folders of two segments into one of the patient; the recordings stayed
        name = f"{patient.last_name}_{number}"
        parent = folder / patient.last_name if order > 1 else folder
        parent.mkdir(exist_ok=True)
        study, edf = parent / name, folder / f"{name}{extension}"
    else:
        name = patient.stem(order)
        study, edf = folder / name, folder / f"{name}{extension}"
    first_digest = len(notes.digests)
    write_recording(edf, segment, scale, wave, notes)
    clips = write_study(study, segment, scale, wave, notes)
    vtc_text, snc_text = _write_texts(folder, segment, clips, notes)
    return SegmentTruth(
        patient=patient.key,
        order=order,
        named=number if half_processed else None,
        start_utc=times.start_utc,
        start_local=segment.start_local,
        duration_s=times.duration_s,
        gap_s=float(segment.gap_s),
        rate_hz=times.rate_hz,
        variant=segment.variant,
        edf=notes.relative(edf),
        study=notes.relative(study),
        stem=patient.stem(order),
        clips=clips,
        vtc_text=notes.relative(vtc_text),
        snc_text=notes.relative(snc_text),
        decimated=order == DECIMATED_SEGMENT,
        digests=tuple(notes.digests[first_digest:]),
    )


def _write_texts(
    folder: Path, segment: SegmentPlan, clips: tuple[ClipTruth, ...], notes: Recorder
) -> tuple[Path, Path]:
    """Write the ReadVTC and Snc2Txt outputs of a segment under a number given by hand."""
    patient, order, times = segment.patient, segment.order, segment.times
    stem = patient.stem(order)
    name = f"{patient.last_name}_{TEXT_NUMBERS[order - 1]}.txt"
    paths = []
    for top in (VTC_TEXT_FOLDER, SNC_TEXT_FOLDER):
        (folder / top / patient.last_name).mkdir(parents=True, exist_ok=True)
        paths.append(folder / top / patient.last_name / name)
    vtc_text, snc_text = paths
    source = f"D:\\Export\\{stem}\\{stem}"
    rows = [(f"{source}_{c.index:04d}.avi", c.start_utc, c.end_utc) for c in clips]
    write_readvtc(vtc_text, rows, source=f"{source}.vtc", encoding=patient.code_page)
    write_snc2txt(snc_text, clock_rows(times, CLOCK_ROW_EVERY_S), source=f"{source}.snc", encoding=patient.code_page)
    guid = patient.study_guids[order - 1]
    for path, place in ((vtc_text, "ReadVTC text"), (snc_text, "Snc2Txt text")):
        notes.plant(patient, path, place, patient.last_name, patient.first_name, guid, encoding=patient.code_page)
        notes.wrote(path, times.end_utc)
    start = clips[0].start_utc
    notes.date(patient, vtc_text, "ReadVTC text", f"{start:%d/%m/%Y %H:%M:%S.%f}".encode())
    notes.date(patient, snc_text, "Snc2Txt text", str(filetime(times.start_utc)).encode())
    return vtc_text, snc_text


def _plant_names(patients: Sequence[Patient], notes: Recorder) -> None:
    """Record the names and GUIDs in the paths themselves, and the dates in the file times."""
    for patient in patients:
        for relative in notes.files:
            if patient.last_name in relative and relative not in notes.left_behind:
                notes.date(patient, notes.root / relative, "file times", b"")
            for term in (patient.last_name, patient.first_name, *patient.study_guids):
                if term in relative:
                    notes.plant(patient, notes.root / relative, "path", term, encoding="name")
