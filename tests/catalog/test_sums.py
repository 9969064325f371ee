"""The kept sums of `status` are those of the rows, whoever changed these."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update

from ecogsafe.catalog import archives, copies, database, files, inventories, schema, standing, summaries, sums
from ecogsafe.catalog.archives import MemberRow, VolumeRow
from ecogsafe.catalog.copies import LEVELS
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import LockedError
from tests.catalog.conftest import CODES, STORE_IDS
from tests.catalog.test_rows_of_transfer import _copy, day

#: subject, tree, kind, copies of each file, freed
Counted = Counter[tuple[object, ...]]


def pending(catalog: Catalog) -> int:
    """How many changes are not in their place yet."""
    with catalog.read() as tx:
        return int(tx.execute(select(func.count()).select_from(schema.touched)).scalar_one())


def one_by_one(tx: Transaction) -> Counted:
    """Count every current file, copy by copy, without any sum."""
    found: Counted = Counter()
    for file in files.all_files(tx):
        if file.tree == "archive":
            continue
        held = [(c, c.restored_at) for c in copies.copies_of_file(tx, file.id)]
        for member, volume in archives.volumes_holding(tx, [file.id]):
            for c in copies.copies_of_file(tx, volume.volume_id):
                best = max(filter(None, (member.restored_at, c.restored_at)), default=None)
                held.append((replace(c, level="restored") if member.restored_at else c, best))
        states = []
        for c, restored in held:
            if c.bad_at:
                states.append((c.store_id, -2 if c.bad_reason == inventories.REMOVED else -1, "", ""))
            else:
                proof = c.stored_at if c.level == "stored" else max(c.checksum_at or "", restored or "")
                states.append((c.store_id, LEVELS.index(c.level), proof[:13], (restored or "")[:13]))
        kind = standing.kind_of(file.path)
        found[file.subject, file.tree, kind, tuple(sorted(states)), "files"] += 1
        found[file.subject, file.tree, kind, tuple(sorted(states)), "bytes"] += file.size
        if file.freed_at:
            found[file.subject, file.tree, kind, tuple(sorted(states)), "freed"] += 1
    return found


def by_sums(tx: Transaction) -> Counted:
    found: Counted = Counter()
    for each in sums.sums(tx):
        for alike in each.files:
            key = (each.subject, alike.tree, alike.kind, tuple(tuple(state) for state in alike.held))
            found[*key, "files"] = alike.files
            found[*key, "bytes"] = alike.bytes
            if alike.freed_files:
                found[*key, "freed"] = alike.freed_files
    return found


def check(catalog: Catalog) -> None:
    """The sums are right before the changes are in their place, and after."""
    with catalog.read() as tx:
        truth = one_by_one(tx)
        assert by_sums(tx) == truth
    sums.keep_sums(catalog)
    assert pending(catalog) == 0
    with catalog.read() as tx:
        assert by_sums(tx) == truth
        empty = tx.execute(select(func.count()).select_from(schema.alike).where(schema.alike.c.files == 0))
        assert empty.scalar_one() == 0


@pytest.fixture
def summed(catalog: Catalog, file_ids: list[int]) -> Catalog:
    """Three files of two subjects with a copy each, and a volume of the first two; counted."""
    with catalog.write() as tx:
        for number, file_id in enumerate(file_ids):
            copies.record_copy(tx, _copy(file_id, number % 2))
        volume(tx, file_ids[:2])
    check(catalog)
    return catalog


def volume(tx: Transaction, members: list[int]) -> int:
    """Record a volume of these files with a copy in the second store; return its id."""
    key = f"{CODES[0]}/{CODES[0]}_vid_0001.tar.zst.age"
    path = key.removesuffix(".age")
    seen = files.SeenFile(
        tree="archive", path=path, subject=CODES[0], segment=None, size=9, mtime_ns=1, inode=1, device=1, sha256=None
    )
    volume_id = files.upsert_file(tx, seen)
    row = VolumeRow(
        volume_id=volume_id,
        subject=CODES[0],
        kind="vid",
        number=1,
        store_id=STORE_IDS[1],
        key=key,
        storage_class=None,
        state="stored",
        sealing_id="s",
        tar_size=9,
        part_size=9,
        zstd_version="1",
        created_at=day(1),
    )
    archives.add_volume(tx, row)
    stat = SourceStat(size=1, mtime_ns=1, ctime_ns=1, inode=1, device=1)
    rows = [
        MemberRow(
            volume_id=volume_id,
            position=n,
            file_id=file_id,
            tree="video",
            path=f"{CODES[0]}/{n}.avi",
            source=stat,
            stored=True,
            data_offset=n,
        )
        for n, file_id in enumerate(members)
    ]
    archives.begin_again(tx, row, rows)
    copies.record_copy(tx, replace(_copy(volume_id, 1), key=key, token="of the volume"))
    return volume_id


def _one(tx: Transaction) -> int:
    found: int = tx.execute(select(schema.copies.c.id).order_by(schema.copies.c.id).limit(1)).scalar_one()
    return found


def _volume(tx: Transaction) -> int:
    return archives.volumes_of(tx)[0].volume_id


def _of_volume(tx: Transaction) -> int:
    return copies.copies_of_file(tx, _volume(tx))[0].id


CHANGES: dict[str, Callable[[Transaction], object]] = {
    "a level rises": lambda tx: copies.raise_level(tx, _one(tx), "restored", day(9)),
    "a proof is newer": lambda tx: copies.raise_level(tx, _one(tx), "checksum", day(9)),
    "a copy turns bad": lambda tx: copies.mark_bad(tx, _one(tx), "short"),
    "a copy is removed": lambda tx: copies.mark_bad(tx, _one(tx), inventories.REMOVED),
    "a copy's row is deleted": lambda tx: tx.execute(delete(schema.copies).where(schema.copies.c.id == _one(tx))),
    "a copy is of another file": lambda tx: tx.execute(
        update(schema.copies).where(schema.copies.c.id == _one(tx)).values(file_id=3)
    ),
    "a file is freed": lambda tx: files.mark_freed(tx, [1]),
    "a file is retired": lambda tx: files.retire_files(tx, [1]),
    "a file grows": lambda tx: tx.execute(update(schema.files).where(schema.files.c.id == 1).values(size=7)),
    "a volume turns bad": lambda tx: copies.mark_bad(tx, _of_volume(tx), "short"),
    "a volume is proven": lambda tx: copies.raise_level(tx, _of_volume(tx), "checksum", day(5)),
    "a member is fetched": lambda tx: archives.mark_restored(tx, _volume(tx), [1], day(6)),
    "a member is another file": lambda tx: archives.set_digest(tx, _volume(tx), 0, sha256="a" * 64, file_id=3),
    "members are forgotten": lambda tx: tx.execute(delete(schema.archive_members)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_by_whomever_is_in_the_sums_at_once(summed: Catalog, change: Callable[[Transaction], object]) -> None:
    with summed.read() as tx:
        before = by_sums(tx)
    with summed.write() as tx:
        change(tx)
    assert pending(summed)
    with summed.read() as tx:
        assert by_sums(tx) != before
    check(summed)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.booleans()), max_size=8))
def test_any_row_of_changes_is_counted_right(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bool]]
) -> None:
    path = tmp_path_factory.mktemp("sums") / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        with catalog.write() as tx:
            from ecogsafe.catalog import stores

            for store_id in STORE_IDS:
                stores.remember_store(tx, store_id, f"s3://{store_id}", "s3")
            for n in range(1, 4):
                values = {"tree": "edf", "size": n, "mtime_ns": 1, "inode": 1, "device": 1, "first_seen": day(1)}
                code = CODES[n // 3]
                tx.execute(insert(schema.files).values(path=f"{code}_edf/{n}.edf", subject=code, **values))
                copies.record_copy(tx, _copy(n, n % 2))
            volume(tx, [1, 2])
        for name, keep in steps:
            with catalog.write() as tx:
                if tx.execute(select(func.count()).select_from(schema.archive_members)).scalar_one() == 2:
                    CHANGES[name](tx)
                else:
                    copies.raise_level(tx, _of_volume(tx), "restored", day(20))
            if keep:
                sums.keep_sums(catalog)
        check(catalog)


def test_a_listing_that_shows_the_same_object_touches_nothing(summed: Catalog) -> None:
    with summed.write() as tx:
        copies.see_again(tx, [1, 2, 3], day(20))
        tx.execute(update(schema.files).values(size=schema.files.c.size))
    assert pending(summed) == 0


def test_kept_sums_are_read_instead_of_the_rows(summed: Catalog) -> None:
    """What makes `status` fast: were the rows read, this plant would not be seen."""
    with summed.write() as tx:
        tx.execute(update(schema.alike).where(schema.alike.c.subject == CODES[1]).values(files=5))
    with summed.read() as tx:
        assert [t.files for t in summaries.file_totals(sums.sums(tx, CODES[1]))] == [5]


def test_changes_are_put_in_their_place_in_small_transactions(summed: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    with summed.write() as tx:
        for n in range(1, 4):
            copies.raise_level(tx, n, "checksum", day(9))
    monkeypatch.setattr(sums, "_CHUNK", 1)
    check(summed)


def test_two_at_once_count_nothing_twice(summed: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run puts the changes in their place just before this one begins to write."""
    with summed.write() as tx:
        copies.raise_level(tx, 1, "checksum", day(5))
    honest = sums._keep_some

    def after_another(tx: Transaction, upto: int) -> bool:
        monkeypatch.setattr(sums, "_keep_some", honest)
        assert honest(tx, upto)
        return honest(tx, upto)

    monkeypatch.setattr(sums, "_keep_some", after_another)
    sums.keep_sums(summed)
    check(summed)


def test_where_nothing_can_be_written_the_sums_are_right_all_the_same(
    summed: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with summed.write() as tx:
        copies.mark_bad(tx, 1, "short")

    def refuse() -> None:
        raise LockedError("catalogue", "is locked")

    with monkeypatch.context() as patch:
        patch.setattr(summed, "write", refuse)
        sums.keep_sums(summed)
        assert pending(summed)
        with summed.read() as tx:
            assert sums.sums(tx, CODES[0])[0].copies[0].bad == 1
    check(summed)


def test_a_catalogue_of_before_is_counted_when_it_is_first_asked(summed: Catalog) -> None:
    """As the migration leaves it: nothing counted, every file noted as touched."""
    with summed.write() as tx:
        for table in (schema.alike, schema.standings):
            tx.execute(delete(table))
        ids = select(schema.files.c.id).where(schema.files.c.superseded_at.is_(None))
        tx.execute(insert(schema.touched).from_select(["file_id"], ids))
    check(summed)


def test_a_catalogue_of_revision_0008_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.sqlite"
    monkeypatch.setattr(database, "REVISION", "0008")
    with Catalog.open(path, create=True) as catalog, catalog.write() as tx:
        tx.exec_driver_sql(f"INSERT INTO stores VALUES ('{STORE_IDS[0]}', 's3://a', 's3', '{day(1)}', '{day(1)}')")
        for n, code in enumerate((CODES[0], CODES[0], CODES[1]), start=1):
            tx.exec_driver_sql(
                "INSERT INTO files (id, tree, path, subject, size, mtime_ns, inode, device, first_seen) "
                f"VALUES ({n}, 'edf', '{code}_edf/{n}.edf', '{code}', {n}, 1, '1', '1', '{day(1)}')"
            )
            tx.exec_driver_sql(
                "INSERT INTO copies (file_id, store_id, key, sealed, size, token, level, stored_at, checksum_at) "
                f"VALUES ({n}, '{STORE_IDS[0]}', 'key-{n}', 0, {n}, 't', 'checksum', '{day(1)}', '{day(2)}')"
            )
    monkeypatch.undo()
    with Catalog.open(path) as catalog:
        check(catalog)
        with catalog.read() as tx:
            assert [(each.subject, each.files[0].files) for each in sums.sums(tx)] == [(CODES[0], 2), (CODES[1], 1)]
        with catalog.write() as tx:
            copies.mark_bad(tx, 1, "short")
        check(catalog)


def test_the_summaries_are_those_counted_one_by_one(catalog: Catalog, file_ids: list[int]) -> None:
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
    check(catalog)
    with catalog.read() as tx:
        assert summaries.file_totals(sums.sums(tx)) == files.file_totals(tx)
        for summary in summaries.copy_summaries(tx):
            rows = [
                (row, file)
                for row, file in copies.copies_in_store(tx, summary.store_id, summary.subject)
                if file.tree == summary.tree
            ]
            good = [(row, file) for row, file in rows if row.bad_at is None]
            assert summary.files == len(good)
            assert summary.bytes == sum(file.size for _, file in good)
            assert summary.bad == len(rows) - len(good)
            levels = Counter(row.level for row, _ in good)
            assert (summary.stored, summary.checksum, summary.restored) == tuple(levels[level] for level in LEVELS)
            assert summary.proven_files == len({file.id for row, file in good if row.level != "stored"})


def test_what_kind_a_file_is_of() -> None:
    assert standing.kind_of("abcd1234/abcd1234_1/abcd1234_1_0001.avi") == "avi"
    assert standing.kind_of("abcd1234_edf/abcd1234_1.EDF") == "edf"
