"""The EDF or BDF of one segment, with identifiers in every field that can hold one."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from ecogsafe.synthetic.edf_files import EdfAnnotation, EdfPlan, EdfSignal, write_edf
from ecogsafe.synthetic.ledger import Recorder, SampleDigest
from ecogsafe.synthetic.patients import edf_date
from ecogsafe.synthetic.scale import ExportScale, SegmentPlan, channel_labels
from ecogsafe.synthetic.waves import Wave

#: A text that is no identifier in a script that no 8-bit code page holds.
FOREIGN_ANNOTATION = "Sleep 睡眠 stage 2 – µ rhythm"


def write_recording(path: Path, segment: SegmentPlan, scale: ExportScale, wave: Wave, notes: Recorder) -> None:
    """Write the EDF/BDF of ``segment`` at ``path`` and record what was planted."""
    patient = segment.patient
    patient_field, recording_field = _identification(path, segment, notes)
    plan = EdfPlan(
        variant=segment.variant,
        start=segment.start_local,
        patient_field=patient_field,
        recording_field=recording_field,
        signals=_signals(path, segment, scale, notes),
        records=segment.records,
        record_duration_s=segment.record_s,
        annotations=_annotations(path, segment, notes),
        gap_after=segment.gap_after,
        gap_s=segment.gap_s,
        reserved_text=patient.folded_last_name,
        annotation_signals=2 if segment.variant == "EDF+D" else 1,
        trailing=_trailing(path, segment, notes),
    )
    notes.date(patient, path, "EDF start date", f"{segment.start_local:%d.%m.%y}".encode(), offset=168)
    if recording_field.startswith(b"Startdate"):
        notes.date(patient, path, "EDF recording field", edf_date(segment.start_local.date()).encode(), offset=98)
    notes.plant(patient, path, "EDF reserved 44", patient.folded_last_name)
    digest = write_edf(path, plan, wave)
    notes.digests.append(SampleDigest(path=notes.relative(path), what="edf-samples", sha256=digest))
    notes.wrote(path, segment.times.end_utc)


def _identification(path: Path, segment: SegmentPlan, notes: Recorder) -> tuple[bytes, bytes]:
    """Return the patient and the recording field: three habits, by variant."""
    patient = segment.patient
    born, day = edf_date(patient.birth_date), edf_date(segment.start_local.date())
    technician = patient.technician.replace(" ", "_")
    extra = f"{'Female' if patient.sex == 'F' else 'Male'}_{patient.age_at(segment.start_local.date())}yr"
    if segment.variant == "EDF+C":
        # as Natus writes it; ASCII only, which pyedflib insists on
        first, last, encoding = patient.folded_first_name, patient.folded_last_name, "ascii"
        patient_text = f"X {patient.sex} {born} {last},{first} {extra}"
        recording_text = f"Startdate {day} {patient.account} {technician} XLTEK_{patient.headbox_serial}"
        notes.plant(patient, path, "EDF patient field", born, last, first, extra, encoding=encoding)
    elif segment.variant == "BDF":
        # before EDF+: free text
        encoding = "utf-8"
        names = (patient.first_name, patient.middle_name, patient.last_name)
        patient_text = f"{' '.join(names)} {patient.mrn} {patient.birth_date:%m/%d/%Y} {patient.city}"
        recording_text = f"{patient.account} {technician} {patient.host} {patient.headbox_serial}"
        notes.plant(patient, path, "EDF patient field", *names, patient.mrn, patient.city, encoding=encoding)
        notes.plant(patient, path, "EDF recording field", patient.host)
    else:
        encoding = patient.code_page
        names = (patient.last_name, patient.first_name, patient.middle_name)
        patient_text = f"{patient.mrn} {patient.sex} {born} {'_'.join(names)} {extra}"
        recording_text = f"Startdate {day} {patient.account} {technician} XLTEK_{patient.headbox_serial}"
        notes.plant(patient, path, "EDF patient field", patient.mrn, born, extra, *names, encoding=encoding)
    staff = (patient.account, technician, str(patient.headbox_serial))
    notes.plant(patient, path, "EDF recording field", *staff)
    return patient_text.encode(encoding), recording_text.encode(encoding)


def _signals(path: Path, segment: SegmentPlan, scale: ExportScale, notes: Recorder) -> tuple[EdfSignal, ...]:
    """Return the signals; the last one has half the rate and an identifier in its label."""
    patient, rate = segment.patient, segment.samples_per_record
    name = patient.folded_last_name if segment.variant == "EDF+C" else patient.last_name
    labels = channel_labels(patient, scale.channels - 1)
    transducers = {0: "AgAgCl electrode", 1: f"Depth lot {patient.mrn}"}
    prefilters = {2: f"HP:0.1Hz LP:80Hz {name}"}
    reserved = {3: patient.account}
    # a name as a whole word where it fits, else the record number
    last_label = f"DC1 {name}" if len(name) <= 8 else f"DC1 {patient.mrn}"
    notes.plant(patient, path, "EDF transducer", patient.mrn)
    notes.plant(patient, path, "EDF prefilter", name, encoding="latin-1")
    notes.plant(patient, path, "EDF signal reserved", patient.account)
    notes.plant(patient, path, "EDF label", last_label.removeprefix("DC1 "), encoding="latin-1")
    notes.keep(patient, path, "EDF label", *labels)
    notes.keep(patient, path, "EDF transducer", transducers[0])
    signals = tuple(
        EdfSignal(
            label=label,
            samples_per_record=rate,
            transducer=transducers.get(index, ""),
            prefilter=prefilters.get(index, "HP:0.1Hz LP:80Hz"),
            reserved=reserved.get(index, ""),
        )
        for index, label in enumerate(labels)
    )
    return (*signals, EdfSignal(label=last_label, samples_per_record=rate // 2))


def _annotations(path: Path, segment: SegmentPlan, notes: Recorder) -> tuple[EdfAnnotation, ...]:
    patient = segment.patient
    calm, check = patient.own_annotations
    born = patient.birth_date
    planted = (
        (Decimal("0.5"), f"{patient.first_name} {patient.last_name} awake, eyes open"),
        (Decimal("2.25"), f"DOB {born.isoformat()} ({born:%m/%d/%Y}, {edf_date(born)}) MRN {patient.mrn}"),
        (Decimal("3"), f"note by {patient.technician} <{patient.email}>"),
    )
    call = f"mother of {patient.last_name.upper()} called, {patient.telephone}"
    names = (patient.first_name, patient.last_name, patient.last_name.upper())
    numbers = (patient.mrn, born.isoformat(), f"{born:%m/%d/%Y}", edf_date(born))
    contact = (patient.technician, patient.email, patient.telephone)
    notes.plant(patient, path, "annotation", *names, *numbers, *contact)
    notes.keep(patient, path, "annotation", calm, check, FOREIGN_ANNOTATION)
    return (
        *(EdfAnnotation(onset_s=onset, texts=(text,)) for onset, text in planted),
        EdfAnnotation(onset_s=Decimal(1), texts=(calm,), duration_s=Decimal("2.5")),
        # two texts of one moment in one list
        EdfAnnotation(onset_s=Decimal("1.5"), texts=(call, check)),
        EdfAnnotation(onset_s=Decimal(4), texts=(FOREIGN_ANNOTATION,)),
    )


def _trailing(path: Path, segment: SegmentPlan, notes: Recorder) -> bytes:
    """Return bytes for the end of the file: in one recording of each patient."""
    patient = segment.patient
    if segment.variant != ("BDF" if patient.key == "a" else "EDF+D"):
        return b""
    notes.plant(patient, path, "after the last record", patient.full_name, patient.login, encoding="latin-1")
    return f"\r\n{patient.full_name} exported by {patient.login}\0".encode("latin-1")
