"""Public recordings through the whole job, with the names in their own headers as the identifiers."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ecogsafe.formats.edf_header import read_header
from ecogsafe.synthetic.ledger import search
from tests.cli.lab import Lab
from tests.cli.recordings import edfio_onsets, edfio_samples, pyedflib_samples

_SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
Reader = Callable[[Path], dict[str, str]]


def samples() -> list[str]:
    """Return the names of the manifest; none where this clone has no samples."""
    manifest = _SAMPLES / "MANIFEST.tsv"
    if not manifest.is_file():
        return []
    with manifest.open(encoding="utf-8", newline="") as lines:
        return [row["file"] for row in csv.DictReader(lines, delimiter="\t")]


def test_the_samples_are_there_if_they_are_required() -> None:
    if not samples() and "samples" not in os.environ.get("ECOGSAFE_TEST_REQUIRE", ""):
        pytest.skip("no folder shared/samples beside this clone")
    assert len(samples()) >= 6
    assert all((_SAMPLES / name).is_file() for name in samples())


def identity_of(path: Path) -> dict[str, str]:
    """Return name, code and birth date of a header's patient field; the same person for all that name nobody."""
    with path.open("rb") as file:
        identity = read_header(file).identity_hints()
    found = {"name": identity.name, "code": identity.code, "birth": str(identity.birthdate or "")}
    return {key: value for key, value in found.items() if value and set(value) - set("X,_ ")}


def header_words(path: Path) -> list[str]:
    """Return the words of patient and recording field, but sex, placeholders and the start date."""
    words = path.read_bytes()[8:168].decode("latin-1").split()
    start = words.index("Startdate")
    return [w for w in (*words[:start], *words[start + 2 :]) if len(w) > 3]


def try_reading(reader: Reader, path: Path) -> dict[str, str] | None:
    """Return what ``reader`` makes of a file; None where it does not take it."""
    try:
        return reader(path)
    except (OSError, ValueError, AssertionError):
        return None


def toml_of(identity: dict[str, str]) -> str:
    """Return the identifiers file a person would write for this header."""
    last, _, first = identity.get("name", "").replace("_", " ").rpartition(" ")
    also = [identity.get("name", ""), identity.get("name", "").replace("_", " ")]
    lines = [f'last_name = "{first or "Nameless"}"', f'first_name = "{last}"', f'mrn = "{identity.get("code", "")}"']
    lines += [f'birth_date = "{identity.get("birth", "")}"', f"also = {[a for a in also if a]}"]
    return "\n".join(line for line in lines if not line.endswith('""'))


@pytest.mark.parametrize("name", samples())
def test_a_sample_goes_out_and_comes_back(lab: Lab, name: str) -> None:
    export = lab.folder / "export"
    export.mkdir()
    source = Path(shutil.copy(_SAMPLES / name, export))
    identity = identity_of(source)
    in_header, onsets = header_words(source), edfio_onsets(source)
    before = {reader: try_reading(reader, source) for reader in (edfio_samples, pyedflib_samples)}
    assert any(before.values())
    original = source.read_bytes()

    words = ["--json", "deid", "apply", export, "--to", lab.out, "--settle", "0", "--identifiers", "-"]
    done = lab.here(*words, typed=toml_of(identity))
    code = done.of("item", action="segment")[0]["subject"]
    store = lab.folder / "store"
    back = lab.folder / "back"
    for folder in (store, back):
        folder.mkdir()
    lab.here("upload", "-d", lab.out, "--to", store.as_uri(), "-t", "e", "--json")
    lab.here("download", "--from", store.as_uri(), "-d", back, "--json")

    (returned,) = (p for p in back.rglob("*") if p.is_file())
    assert returned.name == f"{code}_1{source.suffix.lower()}"
    assert returned.stat().st_size == len(original)
    for reader, read in before.items():
        if read is not None:
            assert reader(returned) == read, reader.__name__
    assert edfio_onsets(returned) == onsets
    terms = [t for t in (*identity.values(), *identity.get("name", "").split("_")) if len(t) > 2]
    for place in (lab.out, store, back):
        assert list(search(place, [*terms, *in_header])) == []
    assert list(search(lab.home, terms)) == []
    assert lab.residue_in_words(terms) == []
    lab.here("deid", "undo", code, "--yes")
    assert source.read_bytes() == original
