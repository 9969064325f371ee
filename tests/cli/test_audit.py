"""`audit` as a person runs it: what left, when, where to; and a record somebody changed."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.cli.lab import Lab


@pytest.fixture
def sent(applied: Lab) -> Lab:
    (applied.folder / "store").mkdir()
    applied.here("upload", "-d", applied.out, "--to", url(applied), "-t", "e")
    applied.here("upload", "-d", applied.out, "--to", url(applied), "-t", "v")
    return applied


def url(lab: Lab) -> str:
    return (lab.folder / "store").as_uri()


def change(lab: Lab, sql: str) -> None:
    with closing(sqlite3.connect(lab.home / "catalog.sqlite")) as db:
        db.executescript("DROP TRIGGER audit_refuses_update; DROP TRIGGER audit_refuses_delete;")
        db.executescript(sql)


def test_what_left_when_and_where_to(sent: Lab) -> None:
    key = next(p.name for p in (sent.folder / "store").rglob("*.avi.age"))
    acts = sent.here("--json", "audit", "--last", "1000").of("item", action="audit")
    full = next(a["key"] for a in acts if a.get("key", "").endswith(key))
    for asked in (full, full.removesuffix(".age")):
        (act,) = sent.here("--json", "audit", "--object", asked).of("item", action="audit")
        assert (act["key"], act["store"], act["details"]["act"]) == (full, url(sent), "upload")
        assert act["details"]["at"].endswith("Z") and act["details"]["who"] and act["digest"]
    lines = sent.here("audit", "--object", full).out
    assert full in lines and url(sent) in lines
    assert "no act on an object" in sent.here("audit", "--object", "nothing").out
    assert len(sent.here("--json", "audit", "--last", "2").of("item", action="audit")) == 2


def test_a_whole_record(sent: Lab) -> None:
    blind = sent.here("audit", "--check").out
    assert "is whole" in blind and "not seen" in blind and "--from URL" in blind
    held = sent.here("audit", "--check", "--from", url(sent)).out
    assert "the same as in the sealed snapshot up to act" in held
    assert not list(sent.home.glob(".audit-*"))


def test_a_changed_act_ends_30(sent: Lab) -> None:
    change(sent, "UPDATE audit SET who = 'somebody' WHERE seq = 2")
    said = sent.here("audit", "--check", status=30)
    assert "audit row 2 was changed" in said.err


def test_only_the_snapshot_tells_of_an_act_that_was_cut_off(sent: Lab) -> None:
    change(
        sent,
        "DELETE FROM audit WHERE seq > 3;"
        "UPDATE meta SET value = (SELECT seq || ' ' || hash FROM audit WHERE seq = 3) WHERE name = 'audit_head';",
    )
    sent.here("audit", "--check")
    assert "audit row 4 is gone" in sent.here("audit", "--check", "--from", url(sent), status=30).err


def test_a_store_without_a_snapshot_of_this_catalogue(sent: Lab) -> None:
    change(sent, "UPDATE meta SET value = 'other' WHERE name = 'catalogue_id'")
    assert "of other catalogues" in sent.here("--json", "audit", "--check", "--from", url(sent), status=30).said
    shutil.rmtree(sent.folder / "store" / "_ecogsafe" / "catalog")
    sent.here("audit", "--check", "--from", url(sent), status=2)


def test_wishes_that_do_not_go_together(sent: Lab) -> None:
    sent.here("audit", "--from", url(sent), status=2)
    sent.here("audit", "--check", "--object", "x", status=2)
