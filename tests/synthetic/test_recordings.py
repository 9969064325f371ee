"""The EDF/BDF files: edfio opens all of them, pyedflib those it can."""

from __future__ import annotations

import hashlib
import warnings
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import edfio
import numpy as np
import pyedflib
import pytest

from ecogsafe.synthetic.edf_files import EdfAnnotation, EdfPlan, EdfSignal, write_edf
from ecogsafe.synthetic.export import Ledger
from ecogsafe.synthetic.ledger import SegmentTruth
from ecogsafe.synthetic.recordings import FOREIGN_ANNOTATION
from ecogsafe.synthetic.waves import Wave

Export = tuple[Path, Ledger]


def _open(path: Path) -> edfio.Edf | edfio.Bdf:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Incomplete data record")
        return edfio.read_bdf(path) if path.suffix == ".bdf" else edfio.read_edf(path)


def test_edfio_reads_starts_durations_gaps_and_annotations(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        edf = _open(folder / segment.edf)
        assert edf.startdatetime == segment.start_local
        assert edf.duration == pytest.approx(segment.duration_s - segment.gap_s)
        assert edf.is_continuous == (segment.variant != "EDF+D")
        assert (segment.gap_s > 0) == (segment.variant == "EDF+D")
        texts = [a.text for a in edf.annotations]
        kept = [k.text for k in ledger.kept if k.path == segment.edf and k.place == "annotation"]
        assert len(texts) == 7
        assert set(kept) <= set(texts)
        assert FOREIGN_ANNOTATION in kept
        assert edf.get_annotations()[0].onset == pytest.approx(0.5)


def test_labels_that_look_like_a_name_are_in_the_file(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments_of("b"):
        labels = _open(folder / segment.edf).labels
        assert labels[:2] == ("LPOST1", "Poster2")
        assert labels[-1] == "DC1 Post"
        assert {k.text for k in ledger.kept if k.path == segment.edf and k.place == "EDF label"} == set(labels[:-1])


def _ordinary_digest(segment: SegmentTruth, path: Path) -> str:
    edf = _open(path)
    width = 3 if path.suffix == ".bdf" else 2
    columns = []
    for signal in edf.signals:
        values = np.asarray(signal.digital).astype("<i4")
        rows = values.reshape(edf.num_data_records, -1)
        columns.append(rows.view("u1").reshape(len(rows), -1, 4)[:, :, :width].reshape(len(rows), -1))
    return hashlib.sha256(np.hstack(columns).tobytes()).hexdigest()


def test_sample_digests_are_those_of_the_samples_edfio_reads(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        recorded = next(d.sha256 for d in segment.digests if d.what == "edf-samples")
        assert _ordinary_digest(segment, folder / segment.edf) == recorded


def test_pyedflib_opens_the_continuous_edf_plus_files(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        if segment.variant == "EDF+C":
            with pyedflib.EdfReader(str(folder / segment.edf)) as reader:
                # pyedflib 0.1.42 misreads sub-seconds (FORMATS 4.2), so whole seconds only
                assert reader.getStartdatetime().replace(microsecond=0) == segment.start_local.replace(microsecond=0)
                assert reader.signals_in_file == 6
                assert np.ptp(reader.readSignal(0)) > 100
        elif segment.variant == "EDF+D":
            with pytest.raises(OSError, match=r"discontinuous|not EDF"):
                pyedflib.EdfReader(str(folder / segment.edf))


def _plan(**changes: object) -> EdfPlan:
    signals = (EdfSignal(label="A1", samples_per_record=40), EdfSignal(label="A2", samples_per_record=20))
    fields: dict[str, object] = {
        "variant": "EDF+C", "start": datetime(2024, 5, 6, 7, 8, 9, 250000), "patient_field": b"X X X X",
        "recording_field": b"Startdate X X X X", "signals": signals, "records": 4,
    }  # fmt: skip
    return EdfPlan(**(fields | changes))  # type: ignore[arg-type]


def test_records_onsets_and_gap_are_exact_decimals(tmp_path: Path) -> None:
    plan = _plan(variant="EDF+D", record_duration_s=Decimal("1.00006"), gap_after=2, gap_s=Decimal("0.5"))
    write_edf(tmp_path / "x.edf", plan, Wave("s"))
    data = (tmp_path / "x.edf").read_bytes()
    for onset in (b"+0.25\x14\x14\0", b"+1.25006\x14\x14\0", b"+2.75012\x14\x14\0", b"+3.75018\x14\x14\0"):
        assert onset in data


@pytest.mark.parametrize(("variant", "word"), [("EDF", b" " * 5), ("BDF", b"24BIT"), ("BDF+D", b"BDF+D")])
def test_reserved_word_follows_the_variant(tmp_path: Path, variant: str, word: bytes) -> None:
    write_edf(tmp_path / "x", _plan(variant=variant, annotation_signals=0), Wave("s"))
    data = (tmp_path / "x").read_bytes()
    assert data[192:197] == word
    assert len(data) == 256 * 3 + 4 * 60 * (3 if variant.startswith("BDF") else 2)


def test_declared_records_and_trailing_bytes_are_as_asked(tmp_path: Path) -> None:
    write_edf(tmp_path / "x", _plan(declared_records=-1, trailing=b"stale"), Wave("s"))
    data = (tmp_path / "x").read_bytes()
    assert data[236:244] == b"-1      "
    assert data.endswith(b"stale")


def test_annotations_are_shared_out_over_the_annotation_signals(tmp_path: Path) -> None:
    notes = tuple(EdfAnnotation(onset_s=Decimal(i), texts=(f"n{i}",)) for i in range(3))
    write_edf(tmp_path / "x.edf", _plan(annotation_signals=3, annotations=notes, annotation_bytes=4), Wave("s"))
    edf = edfio.read_edf(tmp_path / "x.edf")
    assert [(a.onset, a.text) for a in edf.annotations] == [(0, "n0"), (1, "n1"), (2, "n2")]


def test_text_too_long_for_its_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        write_edf(tmp_path / "x", _plan(patient_field=b"x" * 81), Wave("s"))
