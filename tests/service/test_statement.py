"""The statement for an ethics board: from the records, without a name, honest about what is kept and left."""

from __future__ import annotations

from tests.cli.lab import Lab


def _statement(lab: Lab, key: str, *more: str, status: int = 0) -> str:
    return lab.here("subjects", "statement", lab.codes[key], *more, status=status).out


def test_it_tells_what_was_searched_kept_and_left_behind(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    text = _statement(lab, "a")
    assert lab.codes["a"] in text
    assert "3 EDF and BDF recordings" in text and "6 text outputs" in text
    assert "dates of service kept; annotations: redact" in text
    assert "3 x report" in text
    assert "limited data set" in text and 'never "HIPAA' in text.replace("\n", " ")


def test_it_holds_no_identifier(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("b")
    text = _statement(lab, "b")
    patient = lab.ledger.patient("b")
    for term in (patient.last_name, patient.first_name, patient.mrn):
        assert term.lower() not in text.lower().split()


def test_it_says_when_files_must_be_searched_again(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a", "--annotations", "keep", status=20)
    text = _statement(lab, "a")
    assert "annotations: keep" in text
    assert "EDF and BDF recordings" not in text  # a file with a name in it is never listed as clean


def test_it_goes_to_a_new_file_and_never_over_an_old_one(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    page = lab.folder / "statement.txt"
    _statement(lab, "a", "-o", str(page))
    assert lab.codes["a"] in page.read_text()
    before = page.read_bytes()
    _statement(lab, "a", "-o", str(page), status=2)
    assert page.read_bytes() == before


def test_with_json_the_page_is_a_field_and_every_line_is_json(applied: Lab) -> None:
    done = applied.here("--json", "subjects", "statement", applied.codes["a"])
    (item,) = done.of("item", action="statement")
    assert item["subject"] == applied.codes["a"]
    told, page = item["message"].splitlines(), _statement(applied, "a").splitlines()
    assert len(told) > 10 and told[2:] == page[2 : len(told)]  # the first lines hold the time


def test_a_subject_nobody_de_identified_here_has_none(lab: Lab) -> None:
    done = lab.here("--json", "subjects", "statement", "abcd1234", status=2)
    assert "never de-identified" in done.error["message"]
