"""Subjects, segments, journals, stores, files and clearances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ecogsafe.catalog import clearances, files, stores, subjects
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.catalog.copies import CopyRow, record_copy
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.subjects import SegmentRow
from ecogsafe.core.errors import EcogsafeError, PlanConflictError, UsageError

from .conftest import CODES, STORE_IDS

STAT: dict[str, Any] = {"size": 5, "mtime_ns": 1, "inode": 2**63 + 1, "device": 2**64 - 1}
PATH = "abcd1234/abcd1234_2/abcd1234_2.erd"


def _segment(number: int, code: str = CODES[0]) -> SegmentRow:
    return SegmentRow(code, number, "2026-01-02T03:04:05.600000Z", None, 60.25, ("edf", "erd"), f"f{number}")


def test_subjects_are_added_once_and_revisions_only_rise(catalog: Catalog) -> None:
    with catalog.write() as tx:
        first = subjects.add_subject(tx, CODES[0])
        assert subjects.add_subject(tx, CODES[0], revision=9) == first
        subjects.add_subject(tx, CODES[1])
        subjects.set_revision(tx, CODES[0], 3)
        subjects.set_revision(tx, CODES[0], 3)
        assert [(s.code, s.revision) for s in subjects.subjects(tx)] == [(CODES[0], 3), (CODES[1], 1)]
        for code, revision in ((CODES[0], 2), ("eeee0000", 1)):
            with pytest.raises(UsageError):
                subjects.set_revision(tx, code, revision)


def test_a_number_is_never_used_again(catalog: Catalog) -> None:
    with catalog.write() as tx:
        for code in CODES:
            subjects.add_subject(tx, code)
        assert subjects.next_segment_number(tx, CODES[0]) == 1
        subjects.add_segments(tx, [_segment(1), _segment(2), _segment(3), _segment(1, CODES[1])])
        subjects.update_segment(tx, replace(_segment(2), kinds=("edf", "avi"), duration_s=None))
        subjects.retire_segments(tx, CODES[0], [3])
        assert subjects.next_segment_number(tx, CODES[0]) == 4
        assert subjects.next_segment_number(tx, CODES[1]) == 2
        assert subjects.segments_of(tx, CODES[0]) == [
            _segment(1),
            replace(_segment(2), kinds=("edf", "avi"), duration_s=None),
        ]
        assert [s.number for s in subjects.segments_of(tx, CODES[0], with_retired=True)] == [1, 2, 3]
        with pytest.raises(PlanConflictError, match="abcd1234_3"):
            subjects.add_segments(tx, [_segment(3)])
        with pytest.raises(UsageError):
            subjects.update_segment(tx, _segment(8))


def test_only_what_was_never_sent_is_forgotten(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        subjects.add_segments(tx, [_segment(1), _segment(2)])
        sent = CopyRow(
            0,
            file_ids[0],
            STORE_IDS[0],
            "k",
            True,
            9,
            1,
            None,
            None,
            None,
            "t",
            "stored",
            "2026-01-01T00:00:00.000000Z",
        )
        record_copy(tx, sent)
        assert subjects.forget_segments(tx, CODES[0], [2, 1]) == [1]
        assert subjects.segments_of(tx, CODES[0]) == []
        assert [s.number for s in subjects.segments_of(tx, CODES[0], with_retired=True)] == [1]
        assert subjects.next_segment_number(tx, CODES[0]) == 2


def test_journals(catalog: Catalog) -> None:
    with catalog.write() as tx:
        for code in CODES:
            subjects.add_subject(tx, code)
        for name, code in (("j1", CODES[0]), ("j2", CODES[0]), ("j3", CODES[1])):
            subjects.open_journal(tx, name, subject=code, kind="apply", sha256="0" * 64)
        assert [j.id for j in subjects.open_journals(tx, CODES[0])] == ["j1", "j2"]
        assert [j.id for j in subjects.open_journals(tx)] == ["j1", "j2", "j3"]
        for name in ("j1", "j2", "j2"):
            subjects.close_journal(tx, name)
        assert subjects.open_journals(tx, CODES[0]) == []
        newest = subjects.newest_applied(tx, CODES[0])
        assert newest is not None
        assert (newest.id, newest.state) == ("j2", "closed")
        assert newest.closed_at is not None
        subjects.open_journal(tx, "u2", subject=CODES[0], kind="undo", sha256="1" * 64, undoes="j2")
        assert getattr(subjects.newest_applied(tx, CODES[0]), "id", None) == "j2"
        subjects.close_journal(tx, "u2")
        assert getattr(subjects.newest_applied(tx, CODES[0]), "id", None) == "j1"
        assert [j.id for j in subjects.journals_of(tx, CODES[0])] == ["j1", "j2", "u2"]
        assert getattr(subjects.journal(tx, "u2"), "undoes", None) == "j2"
        assert subjects.journal(tx, "none") is None


def test_a_store_that_moved_keeps_its_id(catalog: Catalog) -> None:
    with catalog.write() as tx:
        first = stores.remember_store(tx, STORE_IDS[0], "file:///a", "file")
        stores.remember_store(tx, STORE_IDS[1], "s3://b", "s3")
        moved = stores.remember_store(tx, STORE_IDS[0], "file:///c", "file")
        assert (moved.url, moved.first_seen) == ("file:///c", first.first_seen)
        assert moved.last_seen >= first.last_seen
        assert stores.store_by_url(tx, "file:///a") is None
        assert stores.store_by_url(tx, "file:///c") == moved
        stores.remember_store(tx, STORE_IDS[1], "file:///c", "file")
        assert getattr(stores.store_by_url(tx, "file:///c"), "store_id", None) == STORE_IDS[1]
        assert [s.store_id for s in stores.all_stores(tx)] == list(STORE_IDS)


def _upsert(tx: Any, **changes: Any) -> int:
    given: dict[str, Any] = {"tree": "video", "path": PATH, "subject": CODES[0], "segment": 2, **STAT}
    return files.upsert_file(tx, files.SeenFile(**(given | changes)))


def test_numbers_of_64_bits_come_back(catalog: Catalog) -> None:
    with catalog.write() as tx:
        row = files.file(tx, _upsert(tx))
        assert row is not None
        assert (row.inode, row.device) == (2**63 + 1, 2**64 - 1)
        raw = tx.exec_driver_sql("SELECT inode, device FROM files").one()
        assert tuple(raw) == ("8000000000000001", "f" * 16)
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match="not an unsigned"), catalog.write() as tx:
            _upsert(tx, path=PATH + "x", inode=wrong)


def test_the_digest_is_filled_in_when_it_is_known(catalog: Catalog) -> None:
    with catalog.write() as tx:
        first = _upsert(tx)
        assert _upsert(tx) == first
        assert _upsert(tx, size=6) == first
        assert _upsert(tx, size=6, sha256="a" * 64) == first
        assert _upsert(tx, size=6) == first
        row = files.file_by_path(tx, "video", PATH)
        assert row is not None
        assert (row.id, row.size, row.sha256) == (first, 6, "a" * 64)


def test_another_content_is_another_row_and_the_old_one_may_come_back(catalog: Catalog) -> None:
    with catalog.write() as tx:
        first = _upsert(tx, sha256="a" * 64)
        second = _upsert(tx, size=7, sha256="b" * 64)
        assert first != second
        assert getattr(files.file_by_path(tx, "video", PATH), "id", None) == second
        assert getattr(files.file(tx, first), "superseded_at", None) is not None
        touched = _upsert(tx, mtime_ns=99)
        assert touched not in (first, second)
        assert _upsert(tx, mtime_ns=99, sha256="a" * 64) == first
        current = files.files_of(tx, CODES[0])
        assert [(f.id, f.mtime_ns, f.sha256) for f in current] == [(first, 99, "a" * 64)]
        assert _upsert(tx, path=PATH + "2", sha256="a" * 64) not in (first, second, touched)


def test_freed_and_retired_files(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        files.mark_freed(tx, file_ids[:1])
        assert [(t.subject, t.files, t.bytes, t.freed_files, t.freed_bytes) for t in files.file_totals(tx)] == [
            (CODES[0], 2, 2001, 1, 1000),
            (CODES[1], 1, 1002, 0, 0),
        ]
        row = files.file(tx, file_ids[0])
        assert row is not None
        assert row.freed_at is not None
        _upsert(tx, path=row.path, size=row.size, sha256=row.sha256)
        assert getattr(files.file(tx, file_ids[0]), "freed_at", "?") is None
        files.retire_files(tx, file_ids[:2])
        assert files.files_of(tx, CODES[0]) == []
        assert files.files_of(tx, CODES[1], "edf") == []
        assert [f.id for f in files.all_files(tx)] == file_ids[2:]
        assert [t.subject for t in files.file_totals(tx, CODES[1])] == [CODES[1]]


@pytest.mark.parametrize(
    "path",
    [
        "Quill~ Nora_GUID/x.erd",
        "abcd1234",
        "abcd1234/",
        "/abcd1234/x",
        "abcd1234/../x",
        "abcd1234//x",
        "abcd1234_Quill/x",
        "abcd1234/Quíll",
        "abcd1234/x\n",
        "f00d5678/x",
    ],
)
def test_a_path_that_may_be_private_is_kept_out(catalog: Catalog, path: str) -> None:
    with pytest.raises(EcogsafeError) as caught, catalog.write() as tx:
        _upsert(tx, path=path)
    assert "Qu" not in str(caught.value)
    row = ClearanceRow(CODES[0], "video", path, 1, "0" * 64, 1, "1", "2026-01-01T00:00:00.000000Z")
    with pytest.raises(EcogsafeError), catalog.write() as tx:
        clearances.record_clearances(tx, [row])


@pytest.mark.parametrize("path", ["abcd1234_edf/abcd1234_1.edf", "abcd1234_vtc/abcd1234_1.txt", "abcd1234/a b/c~2.avi"])
def test_paths_of_our_form(path: str) -> None:
    files.check_path(path, "abcd1234")


def test_the_newest_clearance_counts(catalog: Catalog) -> None:
    rows = [
        ClearanceRow(CODES[n % 2], "edf", f"{CODES[n % 2]}_edf/{n}.edf", n, f"{n:064}", 1, "1", "2026-01-01")
        for n in range(4)
    ]
    with catalog.write() as tx:
        clearances.record_clearances(tx, rows)
        clearances.record_clearances(tx, [])
        newer = replace(rows[2], revision=2, accepted=("id1", "id 2"), at="2026-01-02")
        clearances.record_clearances(tx, [newer])
        assert clearances.clearance_for(tx, "edf", rows[2].path) == newer
        assert clearances.clearance_for(tx, "video", rows[2].path) is None
        assert clearances.clearances_of(tx, CODES[0]) == {
            ("edf", rows[0].path): rows[0],
            ("edf", rows[2].path): newer,
        }
        clearances.withdraw_clearances(tx, [("edf", rows[0].path), ("edf", "none")])
        assert list(clearances.clearances_of(tx, CODES[0])) == [("edf", rows[2].path)]
