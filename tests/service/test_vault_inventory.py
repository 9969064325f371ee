"""``inventory glacier://VAULT``: the list is asked for once, read later, and known from then on."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest

from ecogsafe.catalog import audit, subjects, vaults
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import LockedError, StillColdError, StoreRefusedError, VerificationError
from ecogsafe.core.events import as_record
from ecogsafe.service.running import Run
from ecogsafe.service.vault_listing import old_name, parse_listing
from tests.cli.searching import residue
from tests.service.old_vaults import RECORDINGS, STRANGE, URL, VAULT, VIDEO, OldLab, old
from tests.service.small_lab import CODES, Ended

__all__ = ["old"]


def test_a_list_is_asked_for_once_and_read_when_it_is_ready(old: OldLab) -> None:
    old.server.advance(hours=25)
    first = old.inventory()
    assert first.status == 31
    (planned,) = first.items(action="inventory", status="planned")
    assert planned.details["come_back_at"] > planned.details["asked_at"]
    assert "about 24 h" in planned.message
    old.server.advance(hours=1)
    assert old.inventory().status == 31
    assert len(old.server.vaults[VAULT].jobs) == 1
    old.server.advance(hours=4)
    done = old.inventory()
    assert done.status == 0
    shown = {i.key: (i.subject, i.bytes, i.digest) for i in done.items(status="present")}
    archives = old.server.vaults[VAULT].archives
    strange = f"archive {old.archive_id(STRANGE)[:12]}…"
    assert shown == {
        name: (code, len(old.bodies[name.rsplit("/", 1)[-1]]), archives[old.archive_id(name)].tree_hash)
        for name, code in ((VIDEO, CODES[0]), (RECORDINGS, CODES[0]), (f"{CODES[1]}_vid.tar.gz.enc", CODES[1]))
    } | {strange: (None, 100, archives[old.archive_id(STRANGE)].tree_hash)}
    assert done.run is not None
    assert "4 archives" in done.run.message
    assert "a month" in done.run.message


def test_what_is_known_is_shown_at_once_and_nothing_asked_while_there_is_no_newer_list(old: OldLab) -> None:
    old.listed()
    again = old.inventory()
    assert again.status == 0
    assert len(again.items(status="present")) == 4
    assert len(old.server.vaults[VAULT].jobs) == 1
    old.server.advance(hours=25)
    newer = old.inventory()
    assert newer.status == 31
    assert len(newer.items(status="present")) == 4
    assert newer.run is not None
    assert "as of" in newer.run.message
    assert "come back after" in newer.run.message


def test_a_list_without_changes_is_as_new_as_the_day_it_was_taken(old: OldLab) -> None:
    old.listed()
    old.server.advance(hours=25)
    assert old.inventory().status == 31
    old.server.advance(hours=5)
    assert old.inventory().status == 0
    assert old.inventory().status == 0
    taken = old.server.vaults[VAULT].inventoried
    assert taken is not None
    assert {row.as_of[:19] for row in old.rows()} == {taken.isoformat()[:19]}
    assert len(old.server.vaults[VAULT].jobs) == 2


def test_an_archive_that_the_newer_list_no_longer_has_is_told(old: OldLab) -> None:
    old.listed()
    del old.server.vaults[VAULT].archives[old.archive_id(RECORDINGS)]
    old.add(f"{CODES[1]}_edf.tar.gz.enc", 9)
    old.server.advance(hours=25)
    assert old.inventory().status == 31
    old.server.advance(hours=5)
    done = old.inventory()
    assert done.status == 30
    assert [e.item for e in done.errors()] == [RECORDINGS]
    assert f"{CODES[1]}_edf.tar.gz.enc" in {i.key for i in done.items(status="present")}


def test_a_list_that_expired_is_asked_for_again(old: OldLab) -> None:
    old.server.advance(hours=25)
    old.inventory()
    old.server.advance(hours=4 + 23)
    old.server.advance(hours=2)
    done = old.inventory()
    assert done.status == 31
    assert any("threw it away" in i.message for i in done.items(status="note"))
    assert len(old.server.vaults[VAULT].jobs) == 2
    old.server.advance(hours=5)
    assert old.inventory().status == 0


def test_a_list_that_expires_while_it_is_read_is_asked_for_again(old: OldLab) -> None:
    old.server.advance(hours=25)
    old.inventory()
    old.server.advance(hours=5)
    old.server.fail(match="/output", status=404, code="ResourceNotFoundException")
    assert old.inventory().status == 31
    old.server.advance(hours=5)
    assert old.inventory().status == 0


def test_a_job_that_failed_is_asked_for_again(old: OldLab) -> None:
    old.server.advance(hours=25)
    old.inventory()
    (job,) = old.server.vaults[VAULT].jobs.values()
    job.failed = "hidden reason"
    old.server.advance(hours=5)
    done = old.inventory()
    assert done.status == 31
    assert any("could not prepare" in i.message for i in done.items(status="note"))
    assert "hidden" not in str([as_record(e) for e in done.events])
    assert len(old.server.vaults[VAULT].jobs) == 2


def test_a_run_killed_between_asking_and_noting_asks_for_no_second_list(old: OldLab) -> None:
    old.server.advance(hours=25)
    with mock.patch.object(vaults, "job_begun", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        old.inventory()
    assert old.inventory().status == 31
    assert len(old.server.vaults[VAULT].jobs) == 1
    old.server.advance(hours=5)
    assert old.inventory().status == 0


def test_a_run_killed_before_asking_asks_the_next_time(old: OldLab) -> None:
    old.server.advance(hours=25)
    from ecogsafe.stores.glacier_vault import GlacierVault

    with (
        mock.patch.object(GlacierVault, "start_inventory", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        old.inventory()
    assert old.server.vaults[VAULT].jobs == {}
    assert old.inventory().status == 31
    assert len(old.server.vaults[VAULT].jobs) == 1


def test_a_broken_line_and_throttling_do_not_matter(old: OldLab) -> None:
    old.server.advance(hours=25)
    old.server.fail(match="POST", status=400, code="ThrottlingException")
    old.inventory()
    old.server.advance(hours=5)
    old.server.fail(match="/output", cut_at=30)
    old.server.fail(match="/output", status=503, code="ServiceUnavailableException")
    assert old.inventory().status == 0
    assert len(old.rows()) == 4


def test_a_vault_that_was_never_listed(old: OldLab) -> None:
    done = old.inventory()
    assert done.status == 31
    assert isinstance(done.error, StillColdError)
    assert old.server.vaults[VAULT].jobs == {}


def test_a_refusal_leaves_nothing_that_is_waited_for(old: OldLab) -> None:
    old.server.advance(hours=25)
    old.server.fail(match="POST", status=403, code="AccessDeniedException")
    assert isinstance(old.inventory().error, StoreRefusedError)
    assert old.inventory().status == 31
    assert len(old.server.vaults[VAULT].jobs) == 1


def test_two_runs_do_not_work_with_one_vault_at_once(old: OldLab) -> None:
    old.server.advance(hours=25)
    ended: list[Ended] = []

    def meanwhile(run: Run) -> None:
        run.hold_vault(URL)
        ended.append(old.inventory())

    assert old.small.run("restore", meanwhile).status == 0
    assert isinstance(ended[0].error, LockedError)
    assert ended[0].error.item == URL
    assert old.server.vaults[VAULT].jobs == {}
    assert old.inventory().status == 31


def test_a_subject_that_withdrew_is_told(old: OldLab) -> None:
    old.listed()
    with old.small.writing() as tx:
        subjects.add_subject(tx, CODES[1])
        subjects.withdraw_subject(tx, CODES[1])
    done = old.inventory()
    assert done.status == 3
    told = [i.subject for i in done.items(status="present") if "withdrew" in i.message]
    assert told == [CODES[1]]


def test_it_is_in_the_audit_record(old: OldLab) -> None:
    old.listed()
    with old.small.reading() as tx:
        acts = [(row.act, row.store) for row in audit.recent(tx, 10)]
        assert audit.check(tx) == []
    assert ("ask for inventory", URL) in acts
    assert ("inventory", URL) in acts


def test_words_of_other_programs_are_kept_nowhere(old: OldLab, tmp_path: Path) -> None:
    old.listed()
    old.inventory()
    told = [json.dumps(as_record(e)) for e in old.inventory().events]
    scratch = tmp_path / "scratch"
    (scratch / "told").mkdir(parents=True)
    (scratch / "told" / "0").write_text("\n".join(told))
    for place in (scratch / "told", old.small.home.root):
        assert residue(place, ["Quillfeather", "backup of March"], scratch / f"parts-{place.name}") == []


@pytest.mark.parametrize(
    ("description", "name"),
    [
        (VIDEO, VIDEO),
        (f"/home/someone/{VIDEO}", VIDEO),
        (f"C:\\temp\\{VIDEO}", VIDEO),
        ("", None),
        (f"{VIDEO} of Quillfeather", None),
        (VIDEO.upper(), None),
        ("1bcd1234_vid.tar.gz.enc", None),
        (f"{CODES[0]}_txt.tar.gz.enc", None),
        (VIDEO.removesuffix(".enc"), None),
    ],
)
def test_names_of_the_lab_s_form(description: str, name: str | None) -> None:
    assert old_name(description) == ((name, CODES[0]) if name else (None, None))


def listing(**changes: object) -> bytes:
    one = {
        "ArchiveId": "a-_1",
        "ArchiveDescription": "x",
        "CreationDate": "2017-03-01T10:00:00Z",
        "Size": 5,
        "SHA256TreeHash": "ab" * 32,
        **changes,
    }
    return json.dumps(
        {"InventoryDate": "2026-03-01T00:00:00Z", "ArchiveList": [one, {**one, "ArchiveId": "b"}]}
    ).encode()


def test_a_list_of_the_right_form() -> None:
    found = parse_listing(URL, listing())
    assert found.as_of == "2026-03-01T00:00:00.000000Z"
    assert [a.archive_id for a in found.archives] == ["a-_1", "b"]
    assert found.archives[0].created_at == "2017-03-01T10:00:00.000000Z"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        listing(ArchiveId="../x"),
        listing(SHA256TreeHash="AB" * 32),
        listing(SHA256TreeHash=None),
        listing(Size=-1),
        listing(Size="many"),
        listing(CreationDate="Quillfeather"),
        listing(ArchiveDescription=5),
    ],
)
def test_a_list_of_another_form_is_refused_and_not_repeated(data: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        parse_listing(URL, data)
    assert "Quillfeather" not in str(caught.value)


def test_the_age_is_of_our_clock_only_where_that_makes_sense(old: OldLab) -> None:
    old.server.now = utc_now().replace(microsecond=0)
    old.listed()
    done = old.inventory()
    assert done.run is not None
    assert "by the store's clock" in done.run.message
