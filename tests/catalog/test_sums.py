"""The kept sums of `status` are those of the rows, whoever changed these."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, select, update

from ecogsafe.catalog import copies, files, schema, summaries, sums
from ecogsafe.catalog.copies import LEVELS
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.core.errors import LockedError
from tests.catalog.conftest import CODES, STORE_IDS
from tests.catalog.test_rows_of_transfer import _copy, day


def kept(catalog: Catalog) -> list[str]:
    """The subjects whose sums need no adding up."""
    with catalog.read() as tx:
        query = select(schema.sums.c.subject).where(schema.sums.c.record.is_not(None))
        return sorted(tx.execute(query).scalars())


@pytest.fixture
def summed(catalog: Catalog, file_ids: list[int]) -> Catalog:
    """Three files of two subjects with a copy each, added up and kept."""
    with catalog.write() as tx:
        for number, file_id in enumerate(file_ids):
            copies.record_copy(tx, _copy(file_id, number % 2))
    sums.keep_sums(catalog)
    assert kept(catalog) == sorted(CODES)
    return catalog


def _one(tx: Transaction) -> int:
    found: int = tx.execute(select(schema.copies.c.id).order_by(schema.copies.c.id).limit(1)).scalar_one()
    return found


CHANGES: dict[str, Callable[[Transaction], object]] = {
    "a level rises": lambda tx: copies.raise_level(tx, _one(tx), "restored", day(9)),
    "a proof is newer": lambda tx: copies.raise_level(tx, _one(tx), "checksum", day(9)),
    "a copy turns bad": lambda tx: copies.mark_bad(tx, _one(tx), "short"),
    "a copy is removed": lambda tx: tx.execute(delete(schema.copies).where(schema.copies.c.id == _one(tx))),
    "a file is freed": lambda tx: files.mark_freed(tx, [1]),
    "a file is retired": lambda tx: files.retire_files(tx, [1]),
    "a file grows": lambda tx: tx.execute(update(schema.files).where(schema.files.c.id == 1).values(size=7)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_one_subject_forgets_its_sums_and_no_others(
    summed: Catalog, change: Callable[[Transaction], object]
) -> None:
    with summed.write() as tx:
        change(tx)
    assert kept(summed) == [CODES[1]]
    with summed.read() as tx:
        now = sums.sums(tx)
        assert now == [sums.add_up(tx, code) for code in sorted(CODES)]
    sums.keep_sums(summed)
    assert kept(summed) == sorted(CODES)
    with summed.read() as tx:
        assert sums.sums(tx) == now


def test_a_listing_that_shows_the_same_object_keeps_the_sums(summed: Catalog) -> None:
    with summed.write() as tx:
        copies.see_again(tx, [1, 2, 3], day(20))
        tx.execute(update(schema.files).values(size=schema.files.c.size))
    assert kept(summed) == sorted(CODES)


def test_kept_sums_are_read_instead_of_the_rows(summed: Catalog) -> None:
    """What makes `status` fast: were the rows read, this plant would not be seen."""
    with summed.write() as tx:
        planted = sums._record(sums.SubjectSums(CODES[0], (), (sums.AlikeFiles("edf", (), 5, 50, 0, 0),)))
        tx.execute(update(schema.sums).where(schema.sums.c.subject == CODES[0]).values(record=planted))
    with summed.read() as tx:
        assert [t.files for t in summaries.file_totals(sums.sums(tx, CODES[0]))] == [5]


def test_a_change_while_adding_up_is_not_lost(summed: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows were read, then another run changed them, then the sums came to be kept."""
    with summed.write() as tx:
        copies.raise_level(tx, 1, "checksum", day(5))
    honest = sums.add_up

    def add_up_then_change(tx: Transaction, subject: str) -> sums.SubjectSums:
        made = honest(tx, subject)
        monkeypatch.setattr(sums, "add_up", honest)
        tx.rollback()
        summed._here.reads -= 1
        with summed.write() as other:
            copies.raise_level(other, 1, "restored", day(6))
        summed._here.reads += 1
        return made

    monkeypatch.setattr(sums, "add_up", add_up_then_change)
    sums.keep_sums(summed)
    assert kept(summed) == [CODES[1]]
    with summed.read() as tx:
        assert [c.restored for c in sums.sums(tx, CODES[0])[0].copies] == [1, 0]


def test_where_nothing_can_be_written_the_sums_are_right_all_the_same(
    summed: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with summed.write() as tx:
        copies.mark_bad(tx, 1, "short")

    def refuse() -> None:
        raise LockedError("catalogue", "is locked")

    monkeypatch.setattr(summed, "write", refuse)
    sums.keep_sums(summed)
    with summed.read() as tx:
        assert sums.sums(tx, CODES[0])[0].copies[0].bad == 1


def test_sums_of_another_format_are_added_up_anew(summed: Catalog) -> None:
    with summed.write() as tx:
        tx.execute(update(schema.sums).values(record='{"format": 99}'))
    with summed.read() as tx:
        assert len(sums.sums(tx, CODES[0])[0].copies) == 2


def test_the_sums_are_those_counted_one_by_one(catalog: Catalog, file_ids: list[int]) -> None:
    draw = random.Random(20240302)
    with catalog.write() as tx:
        number = 0
        for file_id in file_ids:
            for store in (0, 0, 1):
                number += 1
                if draw.random() < 0.2:
                    continue
                copy = replace(_copy(file_id, store), key=f"{CODES[0]}/{number}", token=f"{number}")
                copy_id = copies.record_copy(tx, copy)
                copies.raise_level(tx, copy_id, draw.choice(LEVELS), day(draw.randrange(2, 28)))
                if draw.random() < 0.3:
                    copies.mark_bad(tx, copy_id, "short")
        files.mark_freed(tx, file_ids[:1])
    with catalog.read() as tx:
        assert summaries.file_totals(sums.sums(tx)) == files.file_totals(tx)
        for least, level in enumerate(LEVELS):
            for stores in (None, STORE_IDS[:1]):
                wanted: dict[tuple[str, int], int] = {}
                for file_id in file_ids:
                    good = [c for c in copies.copies_of_file(tx, file_id) if c.bad_at is None]
                    there = {c.store_id for c in good if LEVELS.index(c.level) >= least} & {*(stores or STORE_IDS)}
                    row = files.file(tx, file_id)
                    assert row is not None
                    wanted[row.subject, len(there)] = wanted.get((row.subject, len(there)), 0) + 1
                found = summaries.protection_summaries(sums.sums(tx), level, stores=stores)
                assert {(p.subject, p.copies): p.files for p in found} == wanted


def test_subjects_are_found_by_the_index(catalog: Catalog) -> None:
    with catalog.write() as tx:
        assert sums._subjects(tx) == []
        values = {"tree": "edf", "size": 1, "mtime_ns": 1, "inode": 1, "device": 1, "first_seen": day(1)}
        for n, code in enumerate(("b0000002", "a0000001", "b0000002", "f0000003")):
            tx.execute(insert(schema.files).values(path=f"{code}_edf/{n}.edf", subject=code, **values))
        assert sums._subjects(tx) == ["a0000001", "b0000002", "f0000003"]
