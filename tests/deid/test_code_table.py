"""A lab's table of codes: its column names, its rows, and what each does to the linking key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.code_table import CodeTable, read_code_table
from ecogsafe.deid.code_table_merging import Fate, merge_table
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.linking_key import LinkingKey, Person

NOW = "2026-01-02T03:04:05.000000Z"
ROW = "b0000001,Quxley,Zed,0099123,1970-02-03,555-0199|Zeddy"
WHOLE = Identifiers(
    last_name="Quxley", first_name="Zed", mrn="0099123", birth_date="1970-02-03", also=("555-0199", "Zeddy")
)


def _table(text: str) -> CodeTable:
    table = read_code_table(text)
    assert not table.problems
    return table


@pytest.mark.parametrize(
    "header",
    [
        "code,last_name,first_name,mrn,birth_date,also",
        "Subject,SURNAME,Given Name,MRN #,DOB,Aliases",
        "Patient ID,Last Name,First-Name,Medical Record Number,Date of Birth,Other names",
        "id,Family name,Forename,Record number,birthday,a.k.a.",
        "\ufeffSubject ID,Last,First,mrn,Birth Date,Phone".removeprefix("\ufeff"),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_known_by_many_names(header: str, separator: str) -> None:
    text = f"{header}\r\n\r\n{ROW}\r\n".replace(",", separator)
    (row,) = _table(text).rows
    assert (row.number, row.code, row.identifiers) == (3, "b0000001", WHOLE)


def test_a_doubtful_column_is_the_code_only_where_no_other_is() -> None:
    (row,) = _table("id,code,patient id,last\n7,B0000001,0099,Quxley\n").rows
    assert row.code == "b0000001" and row.identifiers == Identifiers(last_name="Quxley", mrn="0099")
    table = _table("subject,code,mrn,patient id,last\nx,b0000001,1,2,Quxley\n")
    assert table.ignored_columns == (1, 4) and table.rows[0].identifiers.mrn == "1"


def test_whole_names_placeholders_and_shielded_cells() -> None:
    table = _table(
        "code,Patient name,mrn,also,notes,created\n"
        'b0000001,"Quxley, Zed Ode",n/a,\'=SUM(1)| |unknown|x,anything,2020\n'
        "b0000002,Wib~ Ann,12,'+1 206,,\n"
    )
    assert [r.identifiers for r in table.rows] == [
        Identifiers(last_name="Quxley", first_name="Zed Ode", also=("=SUM(1)", "x")),
        Identifiers(last_name="Wib", first_name="Ann", mrn="12", also=("+1 206",)),
    ]
    assert table.ignored_columns == (5,)
    both = _table('code,name,last,first\nb0000001,"Old, Zed",Quxley,Zed\n')
    assert both.rows[0].identifiers == Identifiers(last_name="Quxley", first_name="Zed", also=("Old, Zed",))


def test_short_names_are_names_and_empty_numbers_are_not_numbers() -> None:
    table = _table("code,last,first,mrn,dob\rb0000001,Na,X,NA,xx\rb0000002,?,Nan,0000,-\r")
    assert [r.identifiers for r in table.rows] == [
        Identifiers(last_name="Na", first_name="X"),
        Identifiers(first_name="Nan"),
    ]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("1b000001,Quxley,Zed,1,", "code is missing, or is not"),
        (",Quxley,Zed,1,", "code is missing, or is not"),
        ("b0000001,n/a,,,", "nothing that says whose"),
        ("b0000001,Quxley,Zed,1,70-2-3", "four-digit year"),
        ("b0000001,Quxley,Zed,1,Quxley", "four-digit year"),
        ("b0000001,Quxley,Zed,1,1970-02-03,more", "more cells"),
    ],
)
def test_a_row_that_does_not_fit_is_told_by_number_and_without_its_values(cells: str, words: str) -> None:
    table = read_code_table(f"code,last,first,mrn,dob\na0000009,Fine,Ann,2,\n{cells}\n")
    (problem,) = table.problems
    assert problem.number == 3 and words in problem.problem
    assert not any(word in problem.problem for word in ("Quxley", "Zed", "b0000001", "more,"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "what is the code"),
        ("Quxley,Zed\n", "what is the code"),
        ("code,notes\nb0000001,Quxley\n", "what is the code"),
        ("last,first,code,surname\n", "2 columns for last_name"),
        ("code,last\n\n", "no rows"),
        ('code,last\nb0000001,"Quxley\n', "not CSV in row 2"),
    ],
)
def test_what_is_no_table_is_refused_without_repeating_it(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        read_code_table(text)
    assert "Quxley" not in str(error.value) and error.value.__cause__ is None


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"code,last,dob\n{text}"):
        try:
            read_code_table(whole)
        except UsageError:
            continue


def _person(code: str, **fields: str) -> Person:
    return Person(code=code, created=NOW, identifiers=Identifiers(**fields))


KEY = LinkingKey(
    (
        _person("a0000001", last_name="Quxley", first_name="Zed", mrn="0099"),
        _person("a0000002", last_name="Wibbel", first_name="Ann"),
        _person("a0000003", last_name="Maiden", first_name="Eve", mrn="55", birth_date="1980-01-02"),
    )
)


def _fates(*rows: str) -> list[tuple[Fate, str]]:
    merged = merge_table(KEY, _table("code,last,first,mrn,dob,also\n" + "\n".join(rows)).rows, now=NOW)
    return [(f.fate, f.reason or f.doubt) for f in merged.fates]


def test_the_same_person_is_added_to_and_everybody_else_is_new() -> None:
    rows = _table(
        "code,last,first,mrn,dob\na0000001,Quxley,Zed,99,1970-02-03\na0000002,Wibbel,Ann,,\nb0000009,New,Joe,7,\n"
    ).rows
    merged = merge_table(KEY, rows, now=NOW)
    assert [f.fate for f in merged.fates] == [Fate.MERGED, Fate.KNOWN, Fate.NEW] and not merged.doubts
    one, two, new = (merged.key.person(c) for c in ("a0000001", "a0000002", "b0000009"))
    assert one is not None and two is not None and new is not None
    assert one.revision == 2 and one.identifiers.birth_date == "1970-02-03" and one.identifiers.mrn == "0099"
    assert two == KEY.person("a0000002") and new.history[0].what == "imported with a code given before"
    again = merge_table(merged.key, rows, now=NOW)
    assert again.key == merged.key and {f.fate for f in again.fates} == {Fate.KNOWN}


def test_a_second_code_for_a_person_is_a_conflict() -> None:
    assert _fates("b0000001,Quxley,Zed,0099,,") == [
        (Fate.CONFLICT, "this person has another code already: a0000001"),
    ]
    # also where another row gave the first one, and where the name is one of before marriage
    assert _fates("b0000001,New,Joe,7,,", "b0000002,New,Joe,07,,") == [
        (Fate.NEW, ""),
        (Fate.CONFLICT, "this person has another code already: b0000001 (row 2)"),
    ]
    assert _fates("b0000001,Married,Eve,,1980-01-02,Maiden") == [
        (Fate.CONFLICT, "this person has another code already: a0000003"),
    ]


def test_a_code_of_somebody_else_is_a_conflict() -> None:
    assert _fates("a0000001,Other,Person,12,,") == [
        (Fate.CONFLICT, "a0000001 is, by its identifiers, another person"),
    ]
    assert _fates("b0000001,New,Joe,7,,", "b0000001,Newer,Ann,8,,")[1] == (
        Fate.CONFLICT,
        "b0000001 (row 2) is, by its identifiers, another person",
    )


def test_a_name_that_nothing_confirms_is_asked_about() -> None:
    assert _fates("b0000001,Wibbel,Ann,12,,") == [
        (Fate.NEW, "has the name of a0000002: a different person?"),
    ]
    assert _fates("a0000002,Wibbel,Ann,12,,") == [
        (Fate.MERGED, "only the name says that this is a0000002: the same person?"),
    ]
