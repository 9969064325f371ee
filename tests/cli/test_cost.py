"""`cost` at the command line: after a real upload, in JSON and for people."""

from __future__ import annotations

from tests.cli.lab import Lab


def test_what_a_lab_is_told(applied: Lab) -> None:
    store = applied.folder / "nas"
    store.mkdir()
    applied.here("--json", "cost", status=2)
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    told = applied.here("--json", "cost")
    (item,) = [i for i in told.of("item", action="cost") if i.get("store") == store.as_uri()]
    assert item["details"]["priced"] is False and item["bytes"] > 0
    assert {i["subject"] for i in told.of("item") if "subject" in i} == set(applied.codes.values())
    assert "without a known price" in told.summary["message"]
    code = applied.codes["a"]
    shown = applied.here("cost", code).out
    assert "no price" in shown and code in shown and applied.codes["b"] not in shown
    assert "no price is known" in applied.here("cost", "--restore").out
    assert applied.here("--json", "cost", "nobody", status=2).error["code"] == "usage"
