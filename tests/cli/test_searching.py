"""The search of the tests themselves: what stands there is found, what only looks so by chance is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ecogsafe.synthetic.ledger import search
from tests.cli.searching import residue


def _database(folder: Path, *rows: tuple[str, str]) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as db:
        db.execute("CREATE TABLE notes (token TEXT, note TEXT)")
        db.executemany("INSERT INTO notes VALUES (?, ?)", rows)
        db.commit()


def test_the_length_of_one_text_and_the_beginning_of_another_are_no_name(tmp_path: Path) -> None:
    """SQLite keeps the length 49 as an ``o``; a token of digits behind it may begin with ``de``."""
    _database(tmp_path / "home", ("de7baacd", "x" * 49))
    assert [found.term for found in search(tmp_path / "home", ["Ode"])] == ["Ode"], "this is what once failed"
    assert residue(tmp_path / "home", ["Ode"], tmp_path / "scratch") == []


def test_a_name_in_a_row_is_found(tmp_path: Path) -> None:
    _database(tmp_path / "home", ("de7baacd", "x" * 49), ("1", "Ode, 17, was here"))
    assert residue(tmp_path / "home", ["Ode", "17", "Zoë"], tmp_path / "scratch") == ["0.bytes: Ode", "0.bytes: 17"]
