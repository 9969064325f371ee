"""Names below OUT: made, taken apart, and told from everything else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid.layout import Tree, collision_key, index_of, parse_target, target_for
from ecogsafe.formats.kinds import Kind

CODE = "abcd1234"
GUID = "11112222-3333-4444-5555-666677778888"


@pytest.mark.parametrize(
    ("kind", "name", "study", "decimated", "expected"),
    [
        (Kind.EDF, "Quxley_3.EDF", "", False, "edf/abcd1234_edf/abcd1234_2.edf"),
        (Kind.BDF, "Quxley_3.bdf", "", False, "edf/abcd1234_edf/abcd1234_2.bdf"),
        (Kind.ERD, "Quxley_3.ERD", "Quxley_3", False, "video/abcd1234/abcd1234_2/abcd1234_2.erd"),
        (Kind.ERD, "Quxley_3_001.erd", "Quxley_3", False, "video/abcd1234/abcd1234_2/abcd1234_2_001.erd"),
        (Kind.AVI, "Quxley_3_0000.AVI", "Quxley_3", False, "video/abcd1234/abcd1234_2/abcd1234_2_0000.avi"),
        (
            Kind.AVI,
            f"Quxley~ Zed_{GUID}_0719.avi",
            f"Quxley~ Zed_{GUID}",
            False,
            "video/abcd1234/abcd1234_2/abcd1234_2_0719.avi",
        ),
        (Kind.EEG, "Q.eeg", "Q", True, "video/abcd1234/abcd1234_2/Decimated/abcd1234_2.eeg"),
        (Kind.VTC_TEXT, "Quxley.TXT", "", False, "text/abcd1234_vtc/abcd1234_2.txt"),
        (Kind.SNC_TEXT, "Quxley.txt", "", False, "text/abcd1234_snc/abcd1234_2.txt"),
    ],
)
def test_design_3_names(kind: Kind, name: str, study: str, decimated: bool, expected: str) -> None:
    parts = target_for(kind, code=CODE, number=2, name=name, study=study, decimated=decimated)
    assert parts is not None
    assert f"{parts.tree}/{parts.relpath}" == expected
    assert parse_target(parts.tree, parts.relpath) == parts


@pytest.mark.parametrize("kind", [Kind.EPO, Kind.REPORT, Kind.OTHER])
def test_kinds_that_stay_behind_have_no_name(kind: Kind) -> None:
    assert target_for(kind, code=CODE, number=1, name="x.doc") is None


def test_a_stem_that_ends_in_digits_is_no_index() -> None:
    assert index_of("Quxley_300.erd", "Quxley_300") == ""
    assert index_of("Quxley_300_001.erd", "Quxley_300") == "001"


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ("edf", "Quxley_edf/Quxley_1.edf"),
        ("edf", "abcd1234_edf/abcd1235_1.edf"),
        ("edf", "abcd1234_edf/abcd1234_0.edf"),
        ("edf", "abcd1234_edf/abcd1234_01.edf"),
        ("edf", "abcd1234_edf/abcd1234_1.EDF"),
        ("edf", "abcd1234_edf/abcd1234_1.edf\n"),
        ("edf", "abcd1234_edf/abcd1234_1_Quxley.edf"),
        ("edf", "1bcd1234_edf/1bcd1234_1.edf"),
        ("video", "abcd1234/abcd1234_1/abcd1234_2_0000.avi"),
        ("video", "abcd1234/abcd1234_1/abcd1234_1_0000.doc"),
        ("video", "abcd1234/abcd1234_1/Quxley/abcd1234_1.avi"),
        ("video", "abcd1234/abcd1234_1/../abcd1234_1/abcd1234_1.avi"),
        ("video", "abcd1234/abcd1234_1/abcd1234_1_٠٠٠٠.avi"),
        ("video", "abcd1234/abcd1234_1/abcd1234_1.ent.old"),
        ("text", "abcd1234_vtc/abcd1234_1.doc"),
        ("text", "abcd1234_edf/abcd1234_1.txt"),
        ("other", "abcd1234_edf/abcd1234_1.edf"),
    ],
)
def test_the_gate_refuses_any_other_form(tree: str, path: str) -> None:
    assert parse_target(tree, path) is None


@settings(derandomize=True)
@given(st.text(min_size=1, max_size=30))
def test_no_other_text_passes_as_a_target(text: str) -> None:
    for tree in Tree:
        parts = parse_target(tree, text)
        assert parts is None or parts.relpath == text


def test_names_that_a_file_system_confuses_collide() -> None:
    assert collision_key("Stra\u00dfe_\u00c9.avi") == collision_key("STRASSE_e\u0301.AVI")
    assert collision_key("a.avi") != collision_key("b.avi")
