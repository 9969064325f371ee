"""The independent search: it finds each spelling, and not the look-alikes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.synthetic import ledger as ledger_module
from ecogsafe.synthetic.export import Ledger
from ecogsafe.synthetic.ledger import Residue, search


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("spelling", ["Québrane-Zölt", "QUÉBRANE-ZÖLT", "québrane-zölt"])
def test_each_encoding_and_case_is_found(tmp_path: Path, encoding: str, spelling: str) -> None:
    (tmp_path / "f").write_bytes(b"\1\1" + spelling.encode(encoding) + b"\1")
    assert list(search(tmp_path, ["Québrane-Zölt"])) == [Residue("f", "Québrane-Zölt", encoding, 2)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_short_terms_count_as_whole_words_only(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "words").write_bytes("Postictal LPOST1 Riposte".encode(encoding))
    assert list(search(tmp_path, ["Post"])) == []
    (tmp_path / "words").write_bytes("Postictal; Mr. POST_3".encode(encoding))
    assert {r.path for r in search(tmp_path, ["Post"])} == {"words"}


def test_names_of_files_and_folders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "Imbertine").mkdir()
    assert list(search(tmp_path, ["imbertine"])) == [Residue("Imbertine", "imbertine", "name", -1)]


def test_a_term_across_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "_CHUNK_BYTES", 1000)
    (tmp_path / "f").write_bytes(b"." * 1996 + b"80055310" + b"." * 3000)
    assert list(search(tmp_path, ["80055310"])) == [Residue("f", "80055310", "utf-8", 1996)]


def test_an_export_is_full_of_identifiers_and_its_samples_spell_none(mixed: tuple[Path, Ledger]) -> None:
    folder, ledger = mixed
    for patient in ledger.patients:
        seen = {r.term for r in search(folder, patient.terms())}
        assert seen == set(patient.terms())
    for segment in ledger.segments:
        # behind the headers a study's signal file holds numbers only
        body = (folder / segment.study / f"{segment.stem}.erd").read_bytes()[8656:]
        clean = folder.parent / f"body-{segment.patient}{segment.order}"
        clean.mkdir()
        (clean / "body").write_bytes(body)
        assert list(search(clean, [t for p in ledger.patients for t in p.terms()])) == []
