"""B3: de-identify 5,000 files / 200 GB (sparse), against opening each recording with pyedflib as the old scripts did.

    python -m benchmarks.b3_deid [--gigabytes 200] [--files 5000] [--runs 3] [--folder DIR]

The old scripts read the start of every EDF with pyedflib and renamed the files; they cleaned nothing. Ours
plans, journals, patches, moves, reads back and searches. The share of fsync is measured around os.fsync.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyedflib

from benchmarks.environment import describe, read_bytes, spread
from ecogsafe.core.private import Secret
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.service.deid_applying import apply
from ecogsafe.service.deid_planning import DeidRequest
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.service.running import running
from ecogsafe.synthetic.edf_files import EdfAnnotation, EdfPlan, EdfSignal, write_edf
from ecogsafe.synthetic.export import ExportScale, write_export
from ecogsafe.synthetic.ledger import Ledger
from ecogsafe.synthetic.waves import Wave

_PASSWORD = Secret(b"benchmark password")
_CHANNELS, _RATE, _RECORD_S = 128, 1000, 10


@dataclass(frozen=True)
class Figures:
    """One run."""

    ours_s: float
    fsync_s: float
    read_mb: float
    old_s: float
    files: int
    gigabytes: float


def make_export(folder: Path, *, gigabytes: float, files: int) -> Ledger:
    """Write a synthetic export and grow it to the wanted numbers with sparse recordings and clips."""
    ledger = write_export(folder, form="hospital", scale=ExportScale.tiny(), seed=11)
    patient = ledger.patients[1]
    studies = [folder / s.study for s in ledger.segments_of(patient.key)]
    present = sum(1 for p in folder.rglob("*") if p.is_file())
    recording_bytes = int(gigabytes * 1e9 * 0.6 / len(studies))
    clips_each = (files - present) // len(studies)
    clip_bytes = int(gigabytes * 1e9 * 0.4 / (clips_each * len(studies)))
    head = next(studies[0].glob("*_0000.avi")).read_bytes()
    for segment, study in zip(ledger.segments_of(patient.key), studies, strict=True):
        for number in range(2, 2 + clips_each):
            _sparse_clip(study / f"{study.name}_{number:04d}.avi", head, clip_bytes)
        recording = folder / segment.edf
        recording.unlink()
        _sparse_recording(recording.with_suffix(".edf"), segment.start_local, recording_bytes, patient.last_name)
    return ledger


def _sparse_recording(path: Path, start: datetime, size: int, name: str) -> None:
    signals = tuple(EdfSignal(label=f"LA{i}", samples_per_record=_RATE * _RECORD_S) for i in range(_CHANNELS))
    plan = EdfPlan(
        variant="EDF+C",
        start=start,
        patient_field=f"X F 02-FEB-1970 {name}".encode(),
        recording_field=f"Startdate {start:%d-%b-%Y} X X X".upper().replace("STARTDATE", "Startdate").encode(),
        signals=signals,
        records=1,
        record_duration_s=Decimal(_RECORD_S),
        annotations=(EdfAnnotation(onset_s=Decimal(1), texts=(f"pt {name} awake",)),),
    )
    write_edf(path, plan, Wave("benchmark"))
    header_bytes = 256 * (_CHANNELS + 2)
    record_bytes = path.stat().st_size - header_bytes
    tal_at = _CHANNELS * _RATE * _RECORD_S * 2
    records = max(2, size // record_bytes)
    with path.open("r+b") as out:
        out.seek(236)
        out.write(str(records).encode().ljust(8))
        for record in range(1, records):
            out.seek(header_bytes + record * record_bytes + tal_at)
            out.write(f"+{record * _RECORD_S}\x14\x14\x00".encode())
        out.truncate(header_bytes + records * record_bytes)


def _sparse_clip(path: Path, model: bytes, size: int) -> None:
    movi = model.index(b"movi") - 8
    frame = size - movi - 20
    with path.open("xb") as out:
        out.write(model[:4] + struct.pack("<I", size - 8) + model[8:movi])
        out.write(b"LIST" + struct.pack("<I", frame + 12) + b"movi00db" + struct.pack("<I", frame))
        out.truncate(movi + 20 + frame)


@contextmanager
def timed_fsync() -> Iterator[list[float]]:
    """Measure the time spent in fsync and fdatasync."""
    spent: list[float] = []
    originals = {name: getattr(os, name) for name in ("fsync", "fdatasync") if hasattr(os, name)}

    def wrap(original: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            began = time.perf_counter()
            original(descriptor)
            spent.append(time.perf_counter() - began)

        return call

    try:
        for name, original in originals.items():
            setattr(os, name, wrap(original))
        yield spent
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def run_once(folder: Path, *, gigabytes: float, files: int) -> Figures:
    """Make an export in ``folder``, time the old way on it, then ours."""
    export, out = folder / "export", folder / "out"
    ledger = make_export(export, gigabytes=gigabytes, files=files)
    patient = ledger.patients[1]
    all_files = [p for p in export.rglob("*") if p.is_file()]
    total = sum(p.stat().st_size for p in all_files) / 1e9
    refused: list[str] = []
    began = time.perf_counter()
    for recording in sorted((export / s.edf).with_suffix(".edf") for s in ledger.segments_of(patient.key)):
        try:
            with pyedflib.EdfReader(str(recording)) as reader:
                reader.getStartdatetime()
        except OSError as error:
            # the old scripts printed the name and went on
            refused.append(str(error).rsplit(":", 1)[-1].strip())
    old_s = time.perf_counter() - began
    if refused:
        print(f"  (pyedflib refused {len(refused)} recordings: {', '.join(sorted(set(refused)))})")
    home = Home(folder / "home")
    initialise(home, _PASSWORD, recovery_file=folder / "recovery", time_zone=ledger.time_zone, work_factor=10)
    given = Identifiers.from_toml(patient.identifiers_toml())
    request = DeidRequest(export=export, out=out, identifiers=given, settle_s=0.0)
    read_before = read_bytes()
    with timed_fsync() as fsyncs, running(home, "deid apply", lambda _event: None) as run:
        began = time.perf_counter()
        apply(run, request, lambda: _PASSWORD, lambda _question: None)
        ours_s = time.perf_counter() - began
        done = run.tally.done
    return Figures(ours_s, sum(fsyncs), (read_bytes() - read_before) / 1e6, old_s, done, total)


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=200.0)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    print(describe("ecogsafe", "pyedflib"))
    results = []
    for _ in range(arguments.runs):
        folder = Path(tempfile.mkdtemp(prefix="ecogsafe-b3-", dir=arguments.folder))
        try:
            results.append(run_once(folder, gigabytes=arguments.gigabytes, files=arguments.files))
        finally:
            shutil.rmtree(folder)
    print(f"B3: {results[0].files:,} files moved, {results[0].gigabytes:.0f} GB (sparse), median (lowest-highest)")
    print(f"  deid apply, everything      {spread([r.ours_s for r in results])} s")
    print(f"  of it in fsync              {spread([r.fsync_s for r in results])} s")
    print(f"  read                        {spread([r.read_mb for r in results])} MB")
    print(f"  pyedflib opening the EDFs   {spread([r.old_s for r in results])} s")
    print(f"  ours over pyedflib alone    {spread([r.ours_s / r.old_s for r in results])} x")


if __name__ == "__main__":
    main()
