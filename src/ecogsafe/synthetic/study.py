"""One Natus study folder of a segment: signals, index, clock, notes, clips, a report (FORMATS 1)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from ecogsafe.synthetic.avi_files import AviTexts, write_avi
from ecogsafe.synthetic.ledger import ClipTruth, Recorder, SampleDigest
from ecogsafe.synthetic.natus_files import (
    ClipRecord,
    GenericHeader,
    StcEntry,
    clock_rows,
    write_erd_pair,
    write_snc,
    write_stc,
    write_vtc,
)
from ecogsafe.synthetic.patients import Patient
from ecogsafe.synthetic.scale import DECIMATED_SEGMENT, ExportScale, SegmentPlan, channel_labels
from ecogsafe.synthetic.study_text import write_notes, write_tree
from ecogsafe.synthetic.text_files import write_ole2_like
from ecogsafe.synthetic.timeline import SITE_ZONE, StudyTimes, filetime, unix_seconds
from ecogsafe.synthetic.waves import Wave

_DECIMATION = 4
#: s; NeuroWorks writes one about every 11 min, here often enough for short studies
CLOCK_ROW_EVERY_S = 5.0
#: s from the first sample to the first frame
_FIRST_FRAME_S = 1.5
#: top bits of the schema word of the second patient's .vtc
_VTC_FLAGS = 0x001
#: of the first record of a .vtc (FORMATS 2.8)
_FIRST_CLIP_TIME = 20 + 277
_HEADER_PLACE = "generic header"


def write_study(
    folder: Path, segment: SegmentPlan, scale: ExportScale, wave: Wave, notes: Recorder
) -> tuple[ClipTruth, ...]:
    """Write the study folder of ``segment``, which must not exist, and return its clips.

    Raises
    ------
    FileExistsError
        ``folder`` exists.
    """
    folder.mkdir()
    patient, order, times = segment.patient, segment.order, segment.times
    stem = patient.stem(order)
    _write_signals(folder, segment, scale.channels, times, wave, notes)
    digest = hashlib.sha256()
    for channel in range(scale.channels):
        digest.update(wave.int32(channel, 0, times.samples))
    notes.digests.append(SampleDigest(path=notes.relative(folder), what="natus-samples", sha256=digest.hexdigest()))
    labels = channel_labels(patient, scale.channels)
    for name in (f"{stem}.ent", f"{stem}.ent.old")[: 2 if order == 3 else 1]:
        write_notes(folder / name, segment, _header(folder / name, segment, "utf-8", notes), labels, notes)
        notes.wrote(folder / name, times.end_utc, left_behind=name.endswith(".old"))
    eeg, snc = folder / f"{stem}.eeg", folder / f"{stem}.snc"
    write_tree(eeg, segment, _header(eeg, segment, "utf-8", notes), notes)
    notes.wrote(eeg, times.end_utc)
    write_snc(snc, _header(snc, segment, patient.code_page, notes), clock_rows(times, CLOCK_ROW_EVERY_S))
    notes.date(patient, snc, "SNC rows", filetime(times.start_utc).to_bytes(8, "little"), offset=356)
    notes.wrote(snc, times.end_utc)
    clips = _write_clips(folder, segment, scale, notes)
    if order == DECIMATED_SEGMENT:
        low = replace(
            times,
            rate_hz=times.rate_hz / _DECIMATION,
            runs=(times.runs[0] // _DECIMATION, times.runs[1] // _DECIMATION),
            gap_samples=times.gap_samples // _DECIMATION,
        )
        (folder / "Decimated").mkdir()
        _write_signals(folder / "Decimated", segment, scale.channels, low, wave, notes)
    _write_left_behind(folder, segment, notes)
    return clips


def _header(path: Path, segment: SegmentPlan, encoding: str, notes: Recorder) -> GenericHeader:
    """Return the generic header of one file and record what it plants."""
    patient = segment.patient
    stale = f"{patient.last_name.upper()} {patient.middle_name}"
    study_id = patient.internal_id + segment.order
    names = (patient.last_name, patient.first_name, patient.middle_name, patient.mrn)
    notes.plant(patient, path, _HEADER_PLACE, *names, encoding=encoding)
    notes.plant(patient, path, f"{_HEADER_PLACE}: behind the NUL", patient.last_name.upper(), encoding=encoding)
    notes.plant(patient, path, f"{_HEADER_PLACE}: patient id", str(patient.internal_id), encoding="i32", offset=24)
    notes.plant(patient, path, f"{_HEADER_PLACE}: study id", str(study_id), encoding="i32", offset=28)
    created = unix_seconds(segment.times.start_utc).to_bytes(4, "little")
    notes.date(patient, path, f"{_HEADER_PLACE}: creation time", created, offset=20)
    last, first, middle, mrn = (text.encode(encoding) for text in names)
    return GenericHeader(
        created=segment.times.start_utc,
        last_name=last,
        first_name=first,
        middle_name=middle,
        mrn=mrn,
        stale=stale.encode(encoding),
        patient_id=patient.internal_id,
        study_id=study_id,
    )


def _write_signals(
    folder: Path, segment: SegmentPlan, channels: int, times: StudyTimes, wave: Wave, notes: Recorder
) -> None:
    """Write the two .erd/.etc pairs and the .stc of a study or of its decimated copy."""
    patient, serial = segment.patient, segment.patient.headbox_serial
    stem, done = patient.stem(segment.order), 0
    entries = []
    for index, (stamp, samples) in enumerate(zip(times.run_stamps(), times.runs, strict=True)):
        name = f"{stem}_{index:03d}" if index else stem
        erd, etc = folder / f"{name}.erd", folder / f"{name}.etc"
        header = _header(erd, segment, patient.code_page, notes)
        _header(etc, segment, patient.code_page, notes)
        write_erd_pair(
            erd,
            etc,
            header,
            wave,
            channels=channels,
            rate_hz=times.rate_hz,
            start_stamp=stamp,
            first_sample=done,
            samples=samples,
            headbox_serials=(serial, 0, 0, 0),
        )
        notes.plant(patient, erd, "headbox serial", str(serial), encoding="i32", offset=4480)
        for path in (erd, etc):
            notes.wrote(path, times.moment(stamp + samples))
        # both habits occur: with and without the extension
        field = name if patient.key == "a" else f"{name}.erd"
        entries.append(StcEntry(name=field.encode(), start_stamp=stamp, sample_number=done, samples=samples))
        done += samples
    stc = folder / f"{stem}.stc"
    write_stc(stc, _header(stc, segment, patient.code_page, notes), entries)
    guid = patient.study_guids[segment.order - 1]
    notes.plant(patient, stc, "STC segment name", patient.last_name, patient.first_name, guid)
    notes.wrote(stc, times.end_utc)


def _write_clips(folder: Path, segment: SegmentPlan, scale: ExportScale, notes: Recorder) -> tuple[ClipTruth, ...]:
    patient, times = segment.patient, segment.times
    stem, guid = patient.stem(segment.order), patient.study_guids[segment.order - 1]
    step_s = (times.duration_s - _FIRST_FRAME_S) / scale.clips_per_study
    clips: list[ClipTruth] = []
    for index in range(scale.clips_per_study):
        path = folder / f"{stem}_{index:04d}.avi"
        start = times.start_utc + timedelta(seconds=round(_FIRST_FRAME_S + index * step_s, 3))
        end = start + timedelta(seconds=round(step_s - 0.04, 3))
        large = scale.large_clip_bytes and (patient.key, segment.order, index) == ("a", 1, 0)
        digest = write_avi(
            path,
            size=scale.large_clip_bytes if large else scale.clip_bytes,
            duration_s=step_s,
            texts=_clip_texts(path, patient, start, notes),
        )
        notes.digests.append(SampleDigest(path=notes.relative(path), what="clip-frames", sha256=digest))
        notes.wrote(path, end)
        clips.append(
            ClipTruth(path=notes.relative(path), index=index, start_utc=start, end_utc=end, size=path.stat().st_size)
        )
    for extension, encoding in ((".vtc", "utf-8"), (".vt2", patient.code_page)):
        path = folder / f"{stem}{extension}"
        records = [
            ClipRecord(name=f"{stem}_{c.index:04d}.avi".encode(encoding), start=c.start_utc, end=c.end_utc)
            for c in clips
        ]
        write_vtc(path, records, flags=0 if patient.key == "a" else _VTC_FLAGS)
        notes.plant(patient, path, "clip name", patient.last_name, patient.first_name, guid, encoding=encoding)
        begun = filetime(clips[0].start_utc).to_bytes(8, "little")
        notes.date(patient, path, "clip times", begun, offset=_FIRST_CLIP_TIME)
        notes.wrote(path, times.end_utc)
    return tuple(clips)


def _clip_texts(path: Path, patient: Patient, start: datetime, notes: Recorder) -> AviTexts:
    """Return the texts of a clip, each chunk in another encoding."""
    local = start.astimezone(ZoneInfo(SITE_ZONE))
    notes.plant(patient, path, "AVI INFO", patient.last_name, patient.mrn, patient.technician, encoding="latin-1")
    notes.plant(patient, path, "AVI strn", patient.last_name)
    notes.plant(patient, path, "AVI strd", patient.last_name, str(patient.headbox_serial), encoding="utf-16-le")
    notes.plant(patient, path, "AVI JUNK", patient.first_name, patient.email)
    notes.plant(patient, path, "after the end of the RIFF", patient.mrn, patient.last_name, encoding="utf-8")
    notes.date(patient, path, "AVI IDIT", f"{local:%Y-%m-%d %H:%M:%S}".encode())
    notes.date(patient, path, "AVI INFO", f"{local:%Y/%m/%d}".encode())
    info = (
        (b"INAM", patient.full_name),
        (b"ICMT", f"MRN {patient.mrn}."),
        (b"ITCH", patient.technician),
        (b"ICRD", f"{local:%Y/%m/%d}"),
    )
    return AviTexts(
        info=tuple((fourcc, text.encode("latin-1") + b"\0") for fourcc, text in info),
        idit=f"{local:%Y-%m-%d %H:%M:%S}\n\0".encode(),
        stream_name=f"{patient.last_name} bedside camera\0".encode(),
        stream_data=b"\x01\x00\x07\x00" + f"{patient.last_name} {patient.headbox_serial}".encode("utf-16-le"),
        junk=f"recorder 4.1 {patient.first_name} {patient.email}".encode().ljust(201, b"\0"),
        trailing=f"{patient.mrn} {patient.full_name}".encode(),
    )


def _write_left_behind(folder: Path, segment: SegmentPlan, notes: Recorder) -> None:
    """Write what no step understands: a short-named report, thumbnails, sleep data."""
    patient, when = segment.patient, segment.times.end_utc
    report = folder / f"{patient.last_name} rpt.doc"
    numbers = f"MRN {patient.mrn}, SSN {patient.social_security}"
    contact = f"{patient.address}, {patient.city} {patient.zip_code}, tel {patient.telephone}, fax {patient.fax}"
    body = f"EEG report for {patient.full_name}, {numbers}, {contact}; signed, licence {patient.licence}"
    write_ole2_like(report, (body.encode("utf-16-le"), f"Author: {patient.technician}".encode(patient.code_page)))
    names = (patient.last_name, patient.first_name, patient.mrn, patient.social_security, patient.address)
    further = (patient.city, patient.zip_code, patient.telephone, patient.fax, patient.licence)
    notes.plant(patient, report, "report", *names, *further, encoding="utf-16-le")
    notes.plant(patient, report, "report: properties", patient.technician, encoding=patient.code_page)
    thumbs = folder / "Thumbs.db"
    write_ole2_like(thumbs, (f"{patient.stem(segment.order)}_0000.avi".encode("utf-16-le"),))
    notes.plant(patient, thumbs, "thumbnail name", patient.last_name, patient.first_name, encoding="utf-16-le")
    written = [report, thumbs]
    if segment.order == 1:
        sleep = folder / f"{patient.stem(segment.order)}.epo"
        guid = patient.study_guids[segment.order - 1]
        write_ole2_like(sleep, (patient.full_name.encode(patient.code_page), guid.encode("utf-16-le")))
        notes.plant(patient, sleep, "sleep data", patient.last_name, encoding=patient.code_page)
        notes.plant(patient, sleep, "sleep data", guid, encoding="utf-16-le")
        written.append(sleep)
    for path in written:
        notes.wrote(path, when, left_behind=True)
