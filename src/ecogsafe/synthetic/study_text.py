"""The .eeg tree and the .ent notes of one study, with identifiers in each kind of value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from ecogsafe.synthetic.ledger import Recorder
from ecogsafe.synthetic.natus_files import GenericHeader
from ecogsafe.synthetic.natus_text import Atom, write_eeg, write_ent
from ecogsafe.synthetic.patients import Patient, ole_text
from ecogsafe.synthetic.scale import SegmentPlan
from ecogsafe.synthetic.timeline import filetime

#: tells the region of the country
_TIME_ZONE = "Pacific Standard Time"


def write_tree(path: Path, segment: SegmentPlan, header: GenericHeader, notes: Recorder) -> None:
    """Write the .eeg: demographics, contact data, custom fields, history of studies, devices."""
    patient, order = segment.patient, segment.order
    stem, encoding = patient.stem(order), patient.code_page
    born, begun = float(ole_text(patient.birth_date)), _ole_days(segment)
    others = [g for g in patient.study_guids if g != patient.study_guids[order - 1]]
    blob = f"{patient.last_name} {patient.mrn}"
    tree: dict[str, object] = {
        "Study": {
            "StudyGUID": Atom("{" + patient.study_guids[order - 1].upper() + "}"),
            "FileName": _file_name(patient, stem),
            "CreationTime": begun,
            "EegNo": patient.account,
            "Reviewer": patient.technician,
            "HostName": patient.host,
            "Archive": f"\\\\{patient.server}\\eeg$\\{stem}",
            "ReviewUrl": f"http://{patient.ip_address}/review",
            "TimeZone": Atom(_TIME_ZONE.encode("utf-16-le").hex()),
            "Recorded": Atom(f"{filetime(segment.times.start_utc):016x}"),
            "SampleRate": segment.times.rate_hz,
        },
        "Info": {
            "Personal": {
                "BirthDate": born,
                "Gender": "Female" if patient.sex == "F" else "Male",
                "Height": 171.5,
                "Weight": 64.0,
            },
            "Name": {
                "FirstName": patient.first_name,
                "LastName": patient.last_name,
                "MiddleName": patient.middle_name,
            },
            "Admin": {
                "ID": patient.mrn,
                "Telephone": patient.telephone,
                "Email": patient.email,
                "Fax": patient.fax,
                "Address": patient.address,
                "City": patient.city,
                "ZIP": patient.zip_code,
                "BillingID": patient.account,
            },
            "Custom": {
                "Field1": patient.social_security,
                "Field2": f'goes by "{patient.first_name}" (not, so far)',
                "Field3": patient.plan_number,
            },
        },
        "Comments": f"Ask for {patient.first_name}, {patient.telephone}\r\nsee C:\\Users\\{patient.login}",
        "History": [{"FileName": _file_name(patient, g), "CreationTime": begun} for g in others],
        "Device": {"HBSerialNumber": patient.headbox_serial, "Gains": [1, 2, 4]},
        "Blob": Atom(blob.encode("utf-16-le").hex()),
    }
    write_eeg(path, header, tree, encoding=encoding)
    names = (patient.first_name, patient.last_name, patient.middle_name)
    contact = (patient.mrn, patient.telephone, patient.email, patient.address, patient.account)
    home = (patient.fax, patient.city, patient.zip_code, patient.plan_number)
    machines = (patient.technician, patient.host, patient.login, str(patient.headbox_serial))
    network = (patient.server, patient.ip_address)
    terms = (
        *names,
        *contact,
        *home,
        *machines,
        *network,
        patient.social_security,
        ole_text(patient.birth_date),
        *others,
    )
    notes.plant(patient, path, ".eeg tree", *terms, encoding=encoding)
    notes.plant(patient, path, ".eeg tree: GUID", patient.study_guids[order - 1].upper())
    notes.plant(patient, path, ".eeg tree: hex blob", patient.last_name, patient.mrn, _TIME_ZONE, encoding="hex")
    notes.date(patient, path, ".eeg tree: creation times", f"{begun:.6f}".encode())
    notes.date(patient, path, ".eeg tree: hex blob", f"{filetime(segment.times.start_utc):016x}".encode())


def write_notes(
    path: Path, segment: SegmentPlan, header: GenericHeader, labels: Sequence[str], notes: Recorder
) -> None:
    """Write the .ent: free text by staff, an automatic event, the montage with the electrode labels."""
    patient = segment.patient
    stem = patient.stem(segment.order)
    spoken = f'pt\'s mother, Mrs. {patient.last_name}: "call {patient.telephone}"'
    records: list[Mapping[str, object]] = [
        _note(
            segment,
            1.0,
            spoken,
            f"{patient.first_name} {patient.middle_name} (MRN {patient.mrn})",
            patient.login,
        ),
        _note(segment, 2.0, "Spike", "", "Persyst"),
        _note(segment, 3.0, f"{patient.first_name} asleep\r\nborn {patient.birth_date}", "", patient.technician),
        {
            "Type": "Montage",
            "Name": f"Montage of {patient.last_name}",
            "Data": {
                "FileName": _file_name(patient, stem),
                "StartTime": str(_moment(segment, 0.0)),
                "ChanNames": list(labels),
            },
        },
    ]
    write_ent(path, header, records)
    names = (patient.last_name, patient.first_name, patient.middle_name)
    terms = (patient.mrn, patient.telephone, patient.birth_date.isoformat(), patient.login, patient.host)
    guid = patient.study_guids[segment.order - 1]
    notes.plant(patient, path, ".ent note", *names, *terms, patient.technician, guid)
    notes.plant(patient, path, ".ent note: GUID", *(_note_guid(seconds) for seconds in (1.0, 2.0, 3.0)))
    notes.keep(patient, path, ".ent ChanNames", *labels)
    for place, seconds in ((".ent note: creation times", 1.0), (".ent note: event times", 0.0)):
        notes.date(patient, path, place, str(_moment(segment, seconds)).encode())


def _note(segment: SegmentPlan, seconds: float, text: str, comment: str, user: str) -> dict[str, object]:
    moment = _moment(segment, seconds)
    return {
        "Type": "Annotation",
        "GUID": f"{{{_note_guid(seconds)}}}",
        "Text": text,
        "Comment": comment,
        "Stamp": segment.times.stamp(seconds),
        "Origin": "User" if text != "Spike" else "Detector",
        "Host": segment.patient.host,
        "ReadOnly": 0,
        "Data": {
            "Type": "Annotation",
            "User": user,
            "CreationTime": moment,
            "ModificationTime": moment,
            "Deleted": 0,
        },
    }


def _moment(segment: SegmentPlan, seconds: float) -> int:
    """Return a moment of the segment as a FILETIME."""
    return filetime(segment.times.start_utc) + round(seconds * 1e7)


def _note_guid(seconds: float) -> str:
    """Return the GUID of a note; its first part stands for the computer that made it."""
    return f"0CFEBE72-0000-4000-8000-{round(seconds * 1000):012d}"


def _file_name(patient: Patient, stem: str) -> str:
    return f"C:\\Users\\{patient.login}\\Neuroworks\\{stem}\\{stem}.eeg"


def _ole_days(segment: SegmentPlan) -> float:
    """Return the local start as an OLE DATE: days since 1899-12-30."""
    start = segment.start_local
    seconds = start.hour * 3600 + start.minute * 60 + start.second
    return (start.date() - date(1899, 12, 30)).days + seconds / 86400
