"""Withdrawn subjects, counts of segments, and the migration that brought them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import database, files, subjects, summaries
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.subjects import SegmentRow
from tests.catalog.conftest import CODES


def _segment(code: str, number: int, kinds: tuple[str, ...], local: str | None, utc: str | None) -> SegmentRow:
    return SegmentRow(code, number, utc, local, 60.0, kinds, "{}")


def test_a_withdrawal_keeps_its_first_time_and_can_be_taken_back(catalog: Catalog) -> None:
    with catalog.write() as tx:
        subjects.add_subject(tx, CODES[0], revision=3)
        first = subjects.withdraw_subject(tx, CODES[0])
        assert subjects.withdraw_subject(tx, CODES[0]) == first and first.withdrawn_at
        assert first.revision == 3
        subjects.set_revision(tx, CODES[0], 4)
        unknown = subjects.withdraw_subject(tx, CODES[1])
        assert unknown.withdrawn_at and unknown.revision == 1
        subjects.reinstate_subject(tx, CODES[0])
        assert [s.withdrawn_at is None for s in subjects.subjects(tx)] == [True, False]


def test_segments_that_stand_are_counted(catalog: Catalog) -> None:
    with catalog.write() as tx:
        for code in CODES:
            subjects.add_subject(tx, code)
        subjects.add_segments(
            tx,
            [
                _segment(CODES[0], 1, ("recording",), "2024-03-02T08:00:00", "2024-03-02T16:00:00+00:00"),
                _segment(CODES[0], 2, ("study",), None, "2024-03-01T16:00:00+00:00"),
                _segment(CODES[0], 3, (), "2020-01-01T08:00:00", None),
                _segment(CODES[0], 4, ("study",), "2019-01-01T08:00:00", None),
                _segment(CODES[1], 1, ("study",), None, None),
                _segment(CODES[1], 2, (), None, None),
            ],
        )
        subjects.retire_segments(tx, CODES[0], [4])
    with catalog.read() as tx:
        assert [(s.subject, s.segments, s.first_start) for s in summaries.segment_summaries(tx)] == [
            (CODES[0], 2, "2024-03-01T16:00:00+00:00"),
            (CODES[1], 1, None),
        ]
        assert len(summaries.segment_summaries(tx, CODES[1])) == 1


def test_a_catalogue_of_the_first_revision_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(database, "REVISION", "0001")
        with Catalog.open(path, create=True) as old, old.write() as tx:
            tx.exec_driver_sql("INSERT INTO subjects VALUES (?, '2024-03-02T08:00:00Z', 2)", (CODES[0],))
    with Catalog.open(path) as catalog, catalog.read() as tx:
        (row,) = subjects.subjects(tx)
        assert (row.code, row.revision, row.withdrawn_at) == (CODES[0], 2, None)
        assert files.file_totals(tx) == []
    assert (tmp_path / f"catalog.sqlite.before-{database.REVISION}").exists()
