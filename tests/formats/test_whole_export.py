"""Discovery and cleaning of a whole synthetic export, judged by the ledger of what was planted in it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cleaned import apply
from natus_erd import NatusERDReader

from ecogsafe.formats.cleaning import CleaningRequest, patches
from ecogsafe.formats.discovery import discover
from ecogsafe.formats.found import Discovery, FoundFile
from ecogsafe.formats.kinds import NATUS_KINDS
from ecogsafe.formats.regions import Find
from ecogsafe.formats.text_regions import text_regions
from ecogsafe.synthetic.export import write_export
from ecogsafe.synthetic.ledger import Ledger, search
from ecogsafe.synthetic.scale import ExportScale

FORMS = ("hospital", "half-processed", "mixed")


@dataclass(frozen=True)
class Export:
    """An export, its ledger, and what discovery found."""

    root: Path
    ledger: Ledger
    found: Discovery

    def files(self) -> Iterator[FoundFile]:
        for study in self.found.studies:
            yield from (*study.files, *study.decimated)
        yield from (recording.file for recording in self.found.recordings)
        yield from (text.file for text in self.found.texts)

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def terms_of(self, patient: str) -> set[str]:
        """Return the planted texts of ``patient``; numbers that only their place makes identifiers left out."""
        return {p.term for p in self.ledger.planted if p.patient == patient and p.encoding != "i32"}


@pytest.fixture(scope="module", params=FORMS)
def export(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Export:
    root = tmp_path_factory.mktemp("exports") / "export"
    ledger = write_export(root, form=request.param, scale=ExportScale(), seed=11)
    return Export(root, ledger, discover(root))


def find_words(terms: set[str]) -> Find:
    """Return a search for ``terms``; short ones as whole words, as the scanner of the tool does."""
    pieces = []
    for term in sorted(terms, key=len, reverse=True):
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            piece = re.escape(term.encode(encoding, "replace"))
            short = term.isalpha() and len(term) <= 5
            pieces.append(rb"(?<![A-Za-z])" + piece + rb"(?![A-Za-z])" if short else piece)
    pattern = re.compile(b"|".join(pieces), re.IGNORECASE)
    return lambda data: (match.span() for match in pattern.finditer(data))


def test_every_file_is_in_one_place_and_understood(export: Export) -> None:
    found = export.found
    listed = [export.relative(file.path) for file in export.files()]
    left = [export.relative(other.file.path) for other in found.others]
    assert sorted(listed + left) == sorted(export.ledger.files)
    assert sorted(left) == sorted(export.ledger.left_behind)
    assert all(other.by_rule for other in found.others)
    assert not any(study.problems for study in found.studies)
    assert not any(part.problem for part in (*found.recordings, *found.texts))


def test_starts_and_stems_are_the_true_ones(export: Export) -> None:
    truth = export.ledger.segments
    studies = {export.relative(s.path): (s.start_utc, s.stem) for s in export.found.studies}
    assert studies == {t.study: (t.start_utc, t.stem) for t in truth}
    recordings = {export.relative(r.file.path): r.start_local for r in export.found.recordings}
    assert recordings == {t.edf: t.start_local for t in truth}


def test_studies_tell_their_patient(export: Export) -> None:
    patients = {t.study: export.ledger.patient(t.patient) for t in export.ledger.segments}
    for study in export.found.studies:
        patient = patients[export.relative(study.path)]
        assert study.person.last_name == patient.last_name
        assert study.person.mrn == patient.mrn
        assert study.person.birth_date == patient.birth_date.isoformat()


def test_nothing_planted_is_left_after_cleaning(export: Export, tmp_path: Path) -> None:
    patients = {p.path: p.patient for p in export.ledger.planted}
    cleaned: dict[str, Path] = {key: tmp_path / key for key in set(patients.values())}
    finds = {key: find_words(export.terms_of(key)) for key in cleaned}
    for folder in cleaned.values():
        folder.mkdir()
    for number, file in enumerate(export.files()):
        name = export.relative(file.path)
        key = patients[name]
        request = CleaningRequest(code="abcd1234", stem="abcd1234_3", find=finds[key])
        data = file.path.read_bytes()
        new = apply(data, patches(file.kind, io.BytesIO(data), request))
        assert not list(patches(file.kind, io.BytesIO(new), request)), file.kind
        places = list(text_regions(file.kind, io.BytesIO(new)))
        assert places == list(text_regions(file.kind, io.BytesIO(data)))
        for planted in export.ledger.planted:
            if planted.path == name and planted.offset is not None:
                needle = planted.needle()
                assert new[planted.offset : planted.offset + len(needle)] != needle, planted.place
        for kept in export.ledger.kept:
            if kept.path == name:
                assert kept.text.encode() in new, kept.place
        (cleaned[key] / f"{number:04d}.{file.kind}").write_bytes(new)
    for key, folder in cleaned.items():
        # terms that are single characters or plain short numbers are in any file
        terms = [term for term in export.terms_of(key) if len(term) > 2]
        assert [r for r in search(folder, terms) if r.encoding != "name"] == []


def test_natus_reader_sees_the_same_samples_after_cleaning(export: Export, tmp_path: Path) -> None:
    for number, study in enumerate(export.found.studies[:2]):
        patient = next(t.patient for t in export.ledger.segments if t.study == export.relative(study.path))
        request = CleaningRequest(code="abcd1234", stem=f"abcd1234_{number}", find=find_words(export.terms_of(patient)))
        folder = tmp_path / f"abcd1234_{number}"
        folder.mkdir()
        for file in study.files:
            if file.kind in NATUS_KINDS:
                data = file.path.read_bytes()
                new = apply(data, patches(file.kind, io.BytesIO(data), request))
                (folder / file.path.name.replace(study.stem, request.stem)).write_bytes(new)
        old, cleaned = NatusERDReader.open(study.path), NatusERDReader.open(folder)
        assert old.info == cleaned.info
        span = (0, old.info.n_samples)
        np.testing.assert_array_equal(old.read_samples(*span), cleaned.read_samples(*span))
        assert cleaned.validate(deep=True) == old.validate(deep=True)
