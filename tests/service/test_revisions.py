"""A run that is killed between linking key and catalogue leaves no clearance valid that should have lapsed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from ecogsafe.catalog import revisions, subjects
from ecogsafe.core.errors import LockedError
from ecogsafe.deid.linking_key_file import LinkingKeyFile
from tests.cli.lab import Lab
from tests.service.looking import linking_key, reading, revision, write_edf

#: where a run stops between the linking key and what follows it
PLACES = ["ecogsafe.service.deid_applying.note_subject", "ecogsafe.service.subject_adding.note_subject"]
LATER = datetime(2023, 5, 6, 7, 8, 9)


class Killed(BaseException):
    """Signal 9: nobody catches this."""


def _plain(lab: Lab, *, status: int) -> Any:
    return lab.here("--json", "upload", "-d", lab.out, "--to", lab.folder.as_uri(), "-t", "e", status=status)


def _learn(lab: Lab, place: str, **more: Any) -> Any:
    """Tell of a further identifier, by the command that ``place`` belongs to."""
    code, known = lab.codes["a"], lab.folder / "more.toml"
    text = lab.identifiers("a").read_text(encoding="utf-8")
    assert "also = [" in text
    known.write_text(text.replace("also = [", 'also = ["Wistaria Crookhorn", '), encoding="utf-8")
    known.chmod(0o600)
    if "adding" in place:
        return lab.here("--yes", "subjects", "add", "--identifiers", known, "--subject", code, **more)
    return lab.here(
        "--yes", "deid", "apply", lab.export, "--to", lab.out, "--identifiers", known, "--subject", code, **more
    )


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def killed(*_values: object, **_more: object) -> None:
        raise Killed

    yield lambda place: monkeypatch.setattr(place, killed)
    monkeypatch.undo()


@pytest.mark.parametrize("place", PLACES)
def test_clearances_lapse_before_the_linking_key_changes(
    applied: Lab, place: str, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = applied.codes["a"]
    before = revision(applied, code)
    assert applied.ledger is not None
    write_edf(applied.export, applied.ledger.patient("a"), 1, start=LATER, name="late")
    killed_at(place)
    with pytest.raises(Killed):
        _learn(applied, place, status=None)
    person = linking_key_of(applied, code)
    assert person.revision > before, "the test did not kill where it meant to"
    refused = _plain(applied, status=20)
    assert "further identifiers" in refused.error["message"]
    monkeypatch.undo()
    applied.here("deid", "scan", applied.out, "--subject", code)
    _plain(applied, status=0)


def linking_key_of(lab: Lab, code: str) -> Any:
    person = linking_key(lab).person(code)
    assert person is not None
    return person


def test_a_change_that_never_came_leaves_the_clearances(applied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    code = applied.codes["a"]
    before = revision(applied, code)

    def killed(_self: LinkingKeyFile, _sealed: bytes, _meant: object) -> None:
        raise Killed

    monkeypatch.setattr(LinkingKeyFile, "_write_and_compare", killed)
    with pytest.raises(Killed):
        _learn(applied, PLACES[1], status=None)
    monkeypatch.undo()
    _plain(applied, status=20)
    # any command with the password sees that nothing more is known
    applied.here("subjects", "show", code)
    assert revision(applied, code) == before == linking_key_of(applied, code).revision
    _plain(applied, status=0)


def test_what_is_learnt_in_peace_is_announced_no_more(applied: Lab) -> None:
    code = applied.codes["a"]
    _learn(applied, PLACES[1])
    with reading(applied) as tx:
        assert revisions.announced(tx) == {}
        row = subjects.subject(tx, code)
    assert row is not None and row.revision == linking_key_of(applied, code).revision
    _plain(applied, status=20)


def test_an_announcement_made_since_is_not_taken_back(applied: Lab) -> None:
    from ecogsafe.catalog.database import Catalog

    code = applied.codes["a"]
    with Catalog.open(applied.home / "catalog.sqlite") as catalog, catalog.write() as tx:
        revisions.announce(tx, [(code, 7)])
        seen = revisions.announced(tx)
        revisions.announce(tx, [(code, 7)])
        revisions.withdraw(tx, seen)
        assert revisions.is_announced(tx, code)
        revisions.reached(tx, code, 6)
        assert revisions.is_announced(tx, code)
        revisions.reached(tx, code, 7)
        assert not revisions.is_announced(tx, code)


def test_a_run_that_is_changing_the_key_is_waited_for(applied: Lab) -> None:
    first, second = (LinkingKeyFile(applied.home / "linking-key.age", [], [], lock_wait_s=0.05) for _ in range(2))
    with first._locked(), pytest.raises(LockedError):
        second.settled()
