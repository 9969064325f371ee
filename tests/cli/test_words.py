"""What a person reads of an event: which store it is about, and nothing twice."""

from __future__ import annotations

from typing import Any

import click
import pytest

from ecogsafe.core.events import ErrorEvent, Item, Summary
from ecogsafe.ui.cli.failures import report_usage
from ecogsafe.ui.cli.render import LineRenderer
from ecogsafe.ui.cli.words import line_of

_FAILED = "a1b2c3d4_edf/a1b2c3d4_1.edf: is not the file that was uploaded: its digest differs"


def _sent(store: str | None, message: str = "the store's checksum is ours") -> Item:
    return Item(action="upload", status="done", path="edf/a1b2c3d4_edf/a1b2c3d4_1.edf", store=store, message=message)


def test_the_same_file_at_two_stores_makes_two_different_lines() -> None:
    lines = {line_of(_sent(store)) for store in ("s3://lab-edf", "file:///nas/ecog_project")}
    assert len(lines) == 2
    assert any("  s3://lab-edf  the store's" in line for line in lines)


def test_a_store_that_the_message_names_is_not_named_twice() -> None:
    assert line_of(_sent("s3://lab-edf", "stands in s3://lab-edf")).count("s3://lab-edf") == 1
    assert line_of(_sent(None)).endswith(".edf  the store's checksum is ours")


def test_a_note_without_a_file_begins_with_the_store_it_is_about() -> None:
    note = Item(action="key", status="note", store="s3://lab-video", message="97 copies there stay as they are")
    assert line_of(note) == "s3://lab-video: 97 copies there stay as they are"
    assert line_of(Item(action="key", status="note", message="two keys")) == "two keys"
    subject = Item(action="inventory", status="note", subject="a1b2c3d4", store="s3://lab-video", message="withdrew")
    assert line_of(subject) == "a1b2c3d4  withdrew"


def test_a_failure_and_its_item_are_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    error = ErrorEvent(
        code="verification-failed", exit_status=30, item="x", message=_FAILED, safe="Nothing was replaced", next=""
    )
    its_item = Item(action="download", status="failed", path="x", message=f"{_FAILED}. Nothing was replaced")
    other = Item(action="download", status="failed", path="y", message="no room")
    with LineRenderer(quiet=True) as renderer:
        for event in (error, its_item, other):
            renderer.emit(event)
        renderer.emit(Summary(command="download", exit_status=30, files={"failed": 2}, bytes=0, seconds=0.0))
    told = capfd.readouterr()
    assert (told.out + told.err).count("its digest differs") == 1
    assert "FAIL  download y  no room" in told.err
    assert renderer.seen.files()["failed"] == 2


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (click.Choice(["v", "e"]), "expected: v or e"),
        (click.IntRange(min=1), "expected: a whole number of at least 1"),
        (click.FLOAT, "expected: a number)"),
    ],
)
def test_what_an_option_takes_is_told_without_what_was_given(
    kind: click.ParamType[Any], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    error = click.BadParameter("'Quillonby' is wrong", param=click.Option(["-t"], type=kind))
    report_usage(error, as_json=False)
    said = capfd.readouterr().err
    assert told in said
    assert "Quillonby" not in said
