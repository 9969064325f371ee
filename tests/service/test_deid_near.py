"""``--near``: a misspelt name in what staff typed goes too, a label that only looks alike stays."""

from __future__ import annotations

import pytest

from tests.cli.lab import Lab
from tests.service.looking import somebody, write_edf

TYPED = "Mrs Kirendal asks for water"


@pytest.mark.parametrize("near", [True, False])
def test_a_misspelt_name_in_an_annotation_goes_only_with_near(lab: Lab, near: bool) -> None:
    known = somebody(last_name="Kirrendal", first_name="Osk", mrn="55501", own_annotations=(TYPED, "Electrode check"))
    for order in (1, 2):
        write_edf(lab.export, known, order)
    more = ("--near",) if near else ()
    lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--settle", "0", *more)
    recordings = b"".join(p.read_bytes() for p in lab.out.rglob("*.?df"))
    assert (b"Kirendal" in recordings) is not near
    assert b"asks for water" in recordings and b"Electrode check" in recordings


def test_scan_with_near_finds_what_apply_without_it_left(lab: Lab) -> None:
    known = somebody(last_name="Kirrendal", first_name="Osk", mrn="55501", own_annotations=(TYPED, "Electrode check"))
    for order in (1, 2):
        write_edf(lab.export, known, order)
    lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--settle", "0")
    (code,) = {p.name for p in (lab.out / "edf").iterdir()}
    subject = code.removesuffix("_edf")
    lab.here("--json", "deid", "scan", lab.out, "--subject", subject)
    found = lab.here("--json", "deid", "scan", lab.out, "--subject", subject, "--near", status=20)
    assert any("near" in event["kind"] for event in found.of("finding"))


def test_the_plan_draws_the_timeline(lab: Lab) -> None:
    known = somebody(last_name="Kirrendal", first_name="Osk", mrn="55501")
    for order in (1, 2):
        write_edf(lab.export, known, order)
    shown = lab.here("deid", "plan", lab.export).out
    assert "midnight" in shown or "recorded" in shown
    assert "Kirrendal" not in shown
