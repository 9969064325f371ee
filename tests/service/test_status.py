"""`status`: numbers that never promise more than is proven."""

from __future__ import annotations

import pytest

from ecogsafe.catalog import copies, inventories, leases, runs, subjects
from ecogsafe.core.errors import UsageError
from ecogsafe.crypt.age_file import seal
from ecogsafe.service.key_backup import back_up_keys
from ecogsafe.service.owner import owner_here
from ecogsafe.service.running import RUN_LEASE
from ecogsafe.service.status import StatusReport, as_items, status
from ecogsafe.service.subject_holdings import list_subjects
from ecogsafe.service.subject_showing import SubjectPage, show_subject
from ecogsafe.ui.cli.cmd_status import lines_of
from ecogsafe.ui.cli.subject_pages import list_lines, page_lines
from tests.service.small_lab import CODES, PASSWORD, SmallLab

pytestmark = pytest.mark.usefixtures("disks_apart")
CODE = CODES[0]
FIRST = f"{CODE}_edf/{CODE}_1.edf"


def configured(small: SmallLab, *lines: str) -> None:
    small.home.config.write_text("\n".join(lines) + "\n")


@pytest.fixture
def lab_of_two(small_lab: SmallLab) -> SmallLab:
    """A policy of two copies, one place; two subjects with two recordings each."""
    configured(small_lab, "[policy]", "copies = 2", "offsite = 0", "restored_within_days = 0")
    for code in CODES:
        for number in (1, 2):
            small_lab.edf(code, number)
    small_lab.clear()
    return small_lab


def report(small: SmallLab, code: str | None = None) -> StatusReport:
    return status(small.home, code)


def page(small: SmallLab) -> SubjectPage:
    found: list[SubjectPage] = []
    small.run("subjects", lambda run: found.append(show_subject(run, CODE, lambda: PASSWORD)))
    return found[0]


def test_nothing_yet(small_lab: SmallLab) -> None:
    found = report(small_lab)
    assert (found.states, found.problems, found.running) == ((), (), ())
    assert not found.unsafe


def test_one_copy_two_copies(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    found = report(lab_of_two)
    assert [s.copied_everywhere_complete for s in found.states] == [1, 1]
    assert found.problems == tuple(f"{code}: 2 of 2 files have fewer than 2 proven copies (least: 1)" for code in CODES)
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    found = report(lab_of_two)
    assert not found.unsafe
    assert len(found.stores) == 2
    (cell, _) = found.states[0].cells
    assert (cell.files, cell.stored, cell.checksum, cell.restored, cell.bad) == (2, 0, 2, 0, 0)
    assert found.states[0].files == 2
    assert found.states[0].bytes == cell.bytes


def test_two_copies_of_one_file_are_not_one_of_each(lab_of_two: SmallLab) -> None:
    """Sealed and plain in one store: two objects, and the other file has none."""
    only = ("*_2.edf",)
    lab_of_two.upload("e", exclude=only)
    lab_of_two.upload("e", exclude=only, encrypt=True)
    with lab_of_two.reading() as tx:
        # the catalogue knows the second file too
        assert subjects.subject(tx, CODE)
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    (state, _) = report(lab_of_two).states
    first = next(c for c in state.cells if c.store.endswith("store"))
    assert (first.files, first.proven_files) == (2, 1)
    assert state.copied_everywhere_complete == 1
    assert "1 of 2 files have fewer than 2 proven copies" in " ".join(report(lab_of_two).problems)


def test_bad_copies_are_told_and_do_not_count(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    (lab_of_two.folder / "store" / FIRST).unlink()
    lab_of_two.verify(url=lab_of_two.folder_store())
    found = report(lab_of_two)
    assert [(key, reason) for _, key, reason in found.bad] == [(FIRST, "it is missing from the store")]
    assert any("is bad" in problem for problem in found.problems)
    assert any(f"{CODE}: 1 of 2 files" in problem for problem in found.problems)
    assert found.states[0].copied_everywhere_complete == 1


def test_a_bad_copy_with_a_good_one_beside_it_is_told_but_safe(lab_of_two: SmallLab) -> None:
    """Nothing is ever deleted: the bad object stays, and its repair stands beside it."""
    lab_of_two.upload("e")
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    path = lab_of_two.folder / "store" / FIRST
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    lab_of_two.verify(deep=True)
    before = report(lab_of_two)
    assert before.unsafe
    assert "1 of 2 restored <1 h, 1 BAD" in lines_of(before)[1]
    assert ", 1 BAD; proven" in " ".join(page_lines(page(lab_of_two), reveal=False))
    lab_of_two.upload("e", new_version=True)
    found = report(lab_of_two)
    assert len(found.bad) == 1
    assert found.problems == ()
    # nobody who looks at the table thinks that something is to be done
    shown = lines_of(found)[1]
    assert "checksum <1 h, 1 bad but replaced" in shown
    assert "BAD" not in shown
    (told, *_) = [item.details for item in as_items(found) if item.details.get("bad")]
    assert (told["bad"], told["replaced"]) == (1, 1)
    assert ", 1 bad but replaced; proven" in " ".join(page_lines(page(lab_of_two), reveal=False))
    (listed,) = [line for line in list_lines(list_subjects(lab_of_two.home)) if line.startswith(CODE)]
    assert "1 bad but replaced" in listed


def test_of_bad_copies_only_those_that_were_replaced_are_told_so(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    for number in (1, 2):
        path = lab_of_two.folder / "store" / f"{CODE}_edf/{CODE}_{number}.edf"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    lab_of_two.verify(deep=True)
    lab_of_two.upload("e", new_version=True, exclude=("*_2.edf",))
    shown = lines_of(report(lab_of_two))[1]
    assert "1 of 2 checksum <1 h, 1 BAD, 1 bad but replaced" in shown


def test_stored_only_is_not_proven(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    with lab_of_two.writing() as tx:
        for copy, _ in copies.copies_of_subject(tx, CODE):
            tx.exec_driver_sql(f"UPDATE copies SET level = 'stored', checksum_at = NULL WHERE id = {copy.id}")
    plain = ("[policy]", "copies = 1", "offsite = 0", "restored_within_days = 0")
    configured(lab_of_two, *plain)
    assert [p.split(":")[0] for p in report(lab_of_two).problems] == [CODE]
    configured(lab_of_two, *plain, 'level = "stored"')
    assert not report(lab_of_two).unsafe
    configured(lab_of_two, *plain, 'level = "restored"')
    assert len(report(lab_of_two).problems) == 2


def test_off_site(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    url = lab_of_two.folder_store()
    policy = ("[policy]", "copies = 1", "offsite = 1", "restored_within_days = 0")
    configured(lab_of_two, *policy)
    assert all("copies off site" in problem for problem in report(lab_of_two).problems)
    assert len(report(lab_of_two).problems) == 2
    away = ("[[destination]]", 'name = "other building"', f'url = "{url}"', "offsite = true")
    key = ("[key_backup]", "urls = []")
    configured(lab_of_two, *policy, *away, *key)
    assert not report(lab_of_two).unsafe


def test_one_subject(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    found = report(lab_of_two, CODES[1])
    assert {s.subject for s in found.states} == {CODES[1]}
    assert len(found.problems) == 1


def test_two_stores_on_one_device_count_once(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    assert not report(lab_of_two).unsafe
    with lab_of_two.writing() as tx:
        tx.exec_driver_sql("UPDATE stores SET place = 'device:801'")
    found = report(lab_of_two)
    assert [lack.subject for lack in found.lacks] == list(CODES)
    assert all("on one device count once" in problem for problem in found.problems)
    with lab_of_two.writing() as tx:
        # as a catalogue of before tells it: nobody knows, so it does not count as two
        tx.exec_driver_sql("UPDATE stores SET place = NULL")
    assert report(lab_of_two).unsafe


def test_a_store_that_never_gave_anything_back_does_not_count(lab_of_two: SmallLab) -> None:
    configured(lab_of_two, "[policy]", "copies = 1", "offsite = 0")
    lab_of_two.upload("e")
    found = report(lab_of_two)
    assert all("0 of the 2 files it takes were brought back" in problem for problem in found.problems)
    url = lab_of_two.folder_store()
    assert found.lacks[0].next == f"ecogsafe verify {CODE} --store {url} --deep --sample 100"
    lab_of_two.verify(subject=CODE, deep=True)
    assert [lack.subject for lack in report(lab_of_two).lacks] == [CODES[1]]
    with lab_of_two.writing() as tx:
        tx.exec_driver_sql("UPDATE copies SET restored_at = '2020-01-01T00:00:00.000000Z'")
    assert {lack.subject for lack in report(lab_of_two).lacks} == set(CODES), "what was brought back long ago counts"


def test_each_lack_names_what_supplies_it(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    assert {lack.next for lack in report(lab_of_two).lacks} == {"ecogsafe upload -d DIR --to a further place"}
    second = lab_of_two.folder_store("second")
    row = ("[[destination]]", 'name = "nas"', f'url = "{second}"', "[policy]", "copies = 2", "offsite = 0")
    configured(lab_of_two, *row, "restored_within_days = 0")
    assert {lack.next.split(";")[0] for lack in report(lab_of_two).lacks} == {"ecogsafe backup"}
    (lab_of_two.folder / "store" / FIRST).unlink()
    lab_of_two.verify(url=lab_of_two.folder_store())
    (bad,) = [lack for lack in report(lab_of_two).lacks if lack.is_bad]
    assert bad.next == f"ecogsafe verify {CODE} --store {lab_of_two.folder_store()} --repair"
    assert report(lab_of_two).bad_found


def test_removed_copies_of_a_withdrawn_subject_are_not_bad(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    lab_of_two.upload("e", lab_of_two.folder_store("second"))
    with lab_of_two.writing() as tx:
        subjects.withdraw_subject(tx, CODE)
        for copy, _ in copies.copies_of_subject(tx, CODE):
            copies.mark_bad(tx, copy.id, inventories.REMOVED)
    found = report(lab_of_two)
    assert (found.lacks, found.bad) == ((), ())
    cell = found.states[0].cells[0]
    assert (cell.bad, cell.removed, cell.files) == (0, 2, 0)


@pytest.mark.parametrize("code", ["fedcba98", "Quillfeather"])
def test_a_subject_nobody_knows(lab_of_two: SmallLab, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        report(lab_of_two, code)
    assert "Quillfeather" not in str(caught.value)


def test_an_unfinished_deidentification(lab_of_two: SmallLab) -> None:
    with lab_of_two.writing() as tx:
        subjects.open_journal(tx, f"{CODE}-0001-00000000", subject=CODE, kind="apply", sha256="0" * 64)
    found = report(lab_of_two)
    assert found.unfinished == (CODE,)
    assert found.unsafe


# the second copy of the linking key


def linking_key(small: SmallLab, plain: bytes) -> None:
    with small.catalog() as catalog:
        small.home.linking_key.write_bytes(seal(plain, small.home.recipients(catalog)))


def test_the_linking_key_needs_a_second_copy(small_lab: SmallLab) -> None:
    assert not report(small_lab).unsafe
    linking_key(small_lab, b"one")
    (problem,) = report(small_lab).problems
    assert "set [key_backup] urls" in problem
    url = small_lab.folder_store("nas")
    configured(small_lab, "[key_backup]", f'urls = ["{url}"]')
    # configured is not stored
    (problem,) = report(small_lab).problems
    assert "was not yet put to" in problem
    with small_lab.catalog() as catalog:
        back_up_keys(small_lab.home, catalog)
    found = report(small_lab)
    assert (found.problems, found.key_backups) == ((), 1)
    linking_key(small_lab, b"two")
    (problem,) = report(small_lab).problems
    assert "as it is now" in problem


# runs at work


def test_runs_at_work_and_killed_ones(small_lab: SmallLab) -> None:
    with small_lab.writing() as tx:
        for word, lives in (("aaaa", True), ("bbbb", False)):
            runs.start_run(tx, word, "upload")
            who = owner_here(word) if lives else owner_here(word).replace(f"/{word}", "0/" + word)
            leases.acquire(tx, RUN_LEASE, who, 60, shared=True)
        # killed long ago: no lease any more
        runs.start_run(tx, "cccc", "verify")
    assert [row.id for row in report(small_lab).running] == ["aaaa"]


def test_a_run_sees_itself(small_lab: SmallLab) -> None:
    seen: list[str] = []
    small_lab.run("upload", lambda run: seen.extend(r.id == run.run_id for r in report(small_lab).running))
    assert seen == [True]
    assert report(small_lab).running == ()


def test_as_events(lab_of_two: SmallLab) -> None:
    lab_of_two.upload("e")
    items = as_items(report(lab_of_two))
    assert [item.subject for item in items] == list(CODES)
    assert items[0].details["proven_files"] == 2
    assert items[0].details["checksum"] == 2
