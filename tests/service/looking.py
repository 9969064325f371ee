"""What a test asks a lab about: rows of its catalogue, its linking key, what stands below its outbox."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ecogsafe.catalog import clearances, meta, subjects
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.subjects import JournalRow, SegmentRow
from ecogsafe.core.private import Secret
from ecogsafe.deid.linking_key import LinkingKey
from ecogsafe.service.home import RECIPIENTS_DIGEST, Home
from ecogsafe.service.persons import OpenedKeys, open_keys
from ecogsafe.synthetic.ledger import Recorder, search
from ecogsafe.synthetic.patients import Patient, synthetic_patients
from ecogsafe.synthetic.recordings import write_recording
from ecogsafe.synthetic.scale import ExportScale, plan_segment
from ecogsafe.synthetic.waves import Wave
from tests.cli.lab import PASSWORD, Lab

#: long before any settling time
OLD_S = 1_710_000_000


@contextmanager
def reading(lab: Lab) -> Iterator[Transaction]:
    """Open the catalogue of the lab to look at it."""
    catalog = Home(lab.home).open_catalog()
    try:
        with catalog.read() as tx:
            yield tx
    finally:
        catalog.close()


def keys_of(lab: Lab) -> OpenedKeys:
    """Return the lab's keys, opened."""
    home = Home(lab.home)
    catalog = home.open_catalog()
    try:
        return open_keys(home, catalog, lambda: Secret(PASSWORD.encode()))
    finally:
        catalog.close()


def linking_key(lab: Lab) -> LinkingKey:
    return keys_of(lab).file.read()


def segments(lab: Lab, code: str, *, with_retired: bool = False) -> list[SegmentRow]:
    with reading(lab) as tx:
        return subjects.segments_of(tx, code, with_retired=with_retired)


def journals(lab: Lab, code: str) -> list[JournalRow]:
    with reading(lab) as tx:
        return subjects.journals_of(tx, code)


def cleared(lab: Lab, code: str) -> dict[tuple[str, str], ClearanceRow]:
    with reading(lab) as tx:
        return clearances.clearances_of(tx, code)


def revision(lab: Lab, code: str) -> int:
    with reading(lab) as tx:
        row = subjects.subject(tx, code)
    assert row is not None
    return row.revision


def outbox(lab: Lab) -> set[str]:
    """Return the files below OUT."""
    return {p.relative_to(lab.out).as_posix() for p in lab.out.rglob("*") if p.is_file()}


def residue(lab: Lab, *keys: str) -> list[str]:
    """Return where identifiers of the synthetic patients stand below OUT, in names or contents."""
    assert lab.ledger is not None
    terms = [term for key in keys or ("a", "b") for term in lab.ledger.patient(key).terms()]
    return [f"{found.path}: {found.term}" for found in search(lab.out, terms)]


def lose_catalogue(lab: Lab) -> None:
    """Give the home an empty catalogue that knows its recipients, as a recovered home has."""
    fresh = Lab(lab.folder / "fresh")
    fresh.folder.mkdir()
    fresh.initialise()
    for path in lab.home.glob("catalog.sqlite*"):
        path.unlink()
    shutil.copyfile(fresh.home / "catalog.sqlite", lab.home / "catalog.sqlite")
    catalog = Home(lab.home).open_catalog()
    with catalog.write() as tx:
        meta.set(tx, RECIPIENTS_DIGEST, hashlib.sha256((lab.home / "recipients.txt").read_bytes()).hexdigest())
    catalog.close()


def only_patient(lab: Lab, key: str) -> None:
    """Take everything of the other synthetic patient out of the export."""
    assert lab.ledger is not None
    (other,) = (p for p in lab.ledger.patients if p.key != key)
    for path in sorted(lab.export.rglob("*"), key=lambda p: -len(p.parts)):
        if other.last_name in path.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def paths_of(lab: Lab, key: str, order: int) -> tuple[Path, Path]:
    """Return recording and study folder of a segment, by its true order."""
    assert lab.ledger is not None
    (truth,) = (s for s in lab.ledger.segments if s.patient == key and s.order == order)
    return lab.export / truth.edf, lab.export / truth.study


def somebody(**changes: object) -> Patient:
    """Return the second synthetic patient with changes: another record number, another birth date …"""
    return dataclasses.replace(synthetic_patients(5)[1], **changes)  # type: ignore[arg-type]


def write_edf(folder: Path, patient: Patient, order: int, *, start: datetime | None = None, name: str = "") -> Path:
    """Write one EDF of ``patient`` into ``folder``, in the hospital form."""
    folder.mkdir(parents=True, exist_ok=True)
    scale = ExportScale.tiny()
    if start is not None:
        starts = tuple(start if i == order - 1 else s for i, s in enumerate(patient.starts))
        patient = dataclasses.replace(patient, starts=starts)
    segment = plan_segment(patient, order, scale)
    extension = ".bdf" if segment.variant.startswith("BDF") else ".edf"
    path = folder / f"{name or patient.stem(order)}{extension}"
    write_recording(path, segment, scale, Wave(f"{patient.mrn}/{order}"), Recorder(folder))
    return path
