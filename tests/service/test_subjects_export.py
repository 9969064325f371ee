"""`subjects export`: a table for a spreadsheet, without names unless asked for, that carries nothing out."""

from __future__ import annotations

import builtins
import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import NoSpaceError, UsageError
from ecogsafe.deid.code_table import read_code_table
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.service import spreadsheet
from ecogsafe.service.spreadsheet import Form, Table, as_csv, as_xlsx, check_target, write_table
from tests.cli.lab import Lab
from tests.service.looking import linking_key

NASTY = (*("=HYPERLINK(1)", "+1 206", "-2", "@cmd", "\tx", "＝1"), 'say "a,b"', "two\nlines")


def test_without_names_by_default(applied: Lab) -> None:
    lab, path = applied, applied.folder / "subjects.csv"
    lab.password_file.unlink()
    done = lab.here("--json", "subjects", "export", "-o", path)
    assert done.summary["message"] == "2 subjects written, without names"
    rows = list(csv.DictReader(path.open(encoding="ascii")))
    assert [r["code"] for r in rows] == sorted(lab.codes.values())
    assert list(rows[0]) == [*("code", "created", "segments", "first_start", "files", "bytes", "copies", "withdrawn")]
    assert rows[0]["segments"] == "3" and len(rows[0]["first_start"]) == 19
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    assert "never replaced" in lab.here("--json", "subjects", "export", "-o", path, status=2).error["message"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_with_names_is_asked_and_warned_about_and_comes_back_by_import(applied: Lab, ending: str) -> None:
    lab, path = applied, applied.folder / f"names.{ending}"
    words = ("subjects", "export", "--with-names", "-o", path)
    assert lab.here("--json", *words, status=2).error["code"] == "confirmation-needed" and not path.exists()
    done = lab.here("--json", "--yes", *words)
    assert any("ties names to codes" in i["message"] for i in done.of("item", status="note"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert lab.ledger is not None
    patient = lab.ledger.patient("a")
    assert lab.residue_in_words([patient.last_name, patient.mrn]) == []
    if ending == "xlsx":
        cells = list(openpyxl.load_workbook(path).active.iter_rows(values_only=True))
        (row,) = (r for r in cells if r[0] == lab.codes["a"])
        assert patient.last_name in row and patient.mrn in row
        return
    key = linking_key(lab)
    again = lab.here("--json", "subjects", "import", path)
    assert again.summary["files"]["present"] == 2 and not again.of("item", status="note", action="import")
    assert linking_key(lab) == key
    lab.write_password("wrong words entirely")
    other = lab.folder / "other.csv"
    lab.here("--json", "--yes", "subjects", "export", "--with-names", "-o", other, status=12)
    assert not other.exists()


def test_somebody_without_data_is_in_the_table_too(lab: Lab) -> None:
    lab.here("subjects", "add", "--identifiers", "-", typed='last_name = "=cmd"\nmrn = "007"\n')
    path = lab.folder / "t.csv"
    lab.here("--yes", "subjects", "export", "--with-names", "-o", path)
    (row,) = csv.DictReader(path.open(encoding="utf-8-sig"))
    assert (row["last_name"], row["mrn"], row["segments"], row["first_start"]) == ("'=cmd", "007", "0", "")
    again = lab.here("--json", "subjects", "import", path)
    assert again.summary["files"]["present"] == 1


def test_no_cell_is_a_formula() -> None:
    table = Table(("code", "text", "count"), [(f"a{i:07x}", text, i) for i, text in enumerate(NASTY)])
    data = as_csv(table)
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert [r[1] for r in rows[1:]] == [*(f"'{t}" for t in NASTY[:6]), *NASTY[6:]]
    sheet = openpyxl.load_workbook(io.BytesIO(as_xlsx(table))).active
    for number, text in enumerate(NASTY, 2):
        cell = sheet.cell(row=number, column=2)
        assert cell.data_type == "s" and cell.value == "".join(c if c.isprintable() else " " for c in text)
        assert bool(cell.quotePrefix) == (number < 8)
        assert sheet.cell(row=number, column=3).data_type == "n"
    assert as_csv(Table(("code",), [("a0000001",)])).isascii()


_WORDS = st.text(st.characters(exclude_characters="|", exclude_categories=("C", "Z")), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_WORDS, _WORDS, _WORDS), min_size=1, max_size=3))
def test_what_was_exported_is_read_back_as_it_was(rows: list[tuple[str, str, str]]) -> None:
    columns = ("code", "last_name", "first_name", "also")
    table = Table(columns, [(f"a{i:07x}", *row) for i, row in enumerate(rows)])
    back = read_code_table(as_csv(table).decode("utf-8-sig"))
    said = [(r.identifiers.last_name, r.identifiers.first_name, "|".join(r.identifiers.also)) for r in back.rows]
    nothing = {"", "-", "--", ".", "?", "n/a", "#n/a", "unknown", "none", "null"}
    meant = [Identifiers(last_name=a, first_name=b, also=(c,)) for a, b, c in rows]
    wanted = [(m.last_name, m.first_name, "|".join(m.also)) for m in meant]
    kept = [tuple("" if w.casefold() in nothing else w for w in row) for row in wanted]
    assert said == [row for row in kept if any(row)]


def test_targets_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    for name, words in {
        "t.txt": "neither",
        "t": "neither",
        "there.csv": "exists",
        "link.csv": "exists",
        "no/t.csv": "folder does not exist",
    }.items():
        with pytest.raises(UsageError, match=words) as error:
            check_target(tmp_path / name)
        assert str(tmp_path) not in str(error.value)
    assert check_target(tmp_path / "T.XLSX") is Form.XLSX
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("openpyxl"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'ecogsafe\[xlsx\]'"):
        check_target(tmp_path / "t.xlsx")


def test_what_the_disk_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(("code",), [("a0000001",)])
    (tmp_path / "t.csv").write_text("old")
    with pytest.raises(UsageError, match="exists"):
        write_table(table, tmp_path / "t.csv", Form.CSV)
    assert (tmp_path / "t.csv").read_text() == "old"
    for number, kind in ((28, NoSpaceError), (13, UsageError)):

        def refuse(*_rest: Any, number: int = number, **_more: Any) -> None:
            raise OSError(number, "refused", str(tmp_path))

        monkeypatch.setattr(spreadsheet, "write_atomically", refuse)
        with pytest.raises(kind) as error:
            write_table(table, tmp_path / "new.csv", Form.CSV)
        assert str(tmp_path) not in str(error.value)
