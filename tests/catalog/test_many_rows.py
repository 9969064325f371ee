"""Rows by the batch: the same as one by one, in a few statements."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from ecogsafe.catalog import audit, copies, files, leases, uploads
from ecogsafe.catalog.audit import Act
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.files import SeenFile
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.errors import EcogsafeError

from .conftest import CODES, STORE_IDS


def seen(number: int, *, content: int | None = 0, mtime: int = 0) -> SeenFile:
    sha256 = None if content is None else f"{content:064x}"
    path = f"{CODES[0]}/{CODES[0]}_1/{CODES[0]}_1_{number:04}.avi"
    return SeenFile(
        tree="video" if number % 2 else "text",
        path=path,
        subject=CODES[0],
        segment=1,
        size=10 + number,
        mtime_ns=mtime,
        inode=2**64 - 1 - number,
        device=7,
        sha256=sha256,
    )


@pytest.mark.parametrize("seed", range(4))
def test_files_noted_together_are_as_files_noted_one_by_one(tmp_path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    rounds = [
        [
            seen(n, content=numbers.choice([None, 0, 1, 2]), mtime=numbers.randrange(2))
            for n in numbers.sample(range(12), 7)
        ]
        for _ in range(6)
    ]
    dumps = []
    for name in ("together", "single"):
        with Catalog.open(tmp_path / name, create=True) as catalog:
            for noted in rounds:
                with catalog.write() as tx:
                    if name == "together":
                        ids = files.upsert_files(tx, noted)
                    else:
                        ids = [files.upsert_file(tx, one) for one in noted]
                    for one, number in zip(noted, ids, strict=True):
                        row = files.file(tx, number)
                        assert row is not None
                        assert (row.tree, row.path, row.superseded_at) == (one.tree, one.path, None)
            with catalog.read() as tx:
                rows = tx.exec_driver_sql("SELECT tree, path, size, mtime_ns, sha256, superseded_at IS NULL FROM files")
                dumps.append(Counter(tuple(row) for row in rows))
    assert dumps[0] == dumps[1]


def test_a_path_twice_in_a_batch_is_taken_in_order_and_a_foreign_path_refused(catalog: Catalog) -> None:
    with catalog.write() as tx:
        first, second, third = files.upsert_files(tx, [seen(1, content=1), seen(1, content=2), seen(1, content=1)])
        assert first == third != second
        with pytest.raises(EcogsafeError, match="not of our form"):
            files.upsert_files(tx, [seen(2), replace(seen(3), path="abcd1234/../x")])
        assert files.file_by_path(tx, "text", seen(2).path) is None


def test_copies_recorded_together_add_evidence_to_those_known(catalog: Catalog, file_ids: list[int]) -> None:
    def copy(number: int, store: int, token: str) -> CopyRow:
        return CopyRow(0, file_ids[0], STORE_IDS[store], f"k{number}", True, 5, 2**64 - 1, "e", None, None, token, "stored", "t1")  # fmt: skip  # noqa: E501

    with catalog.write() as tx:
        copies.record_copies(tx, [copy(n, s, f"a{n}{s}") for n in range(3) for s in (0, 1)])
        proven = replace(copy(1, 0, "a10"), level="checksum", checksum_at="t2")
        copies.record_copies(tx, [proven, copy(2, 1, "other"), copy(7, 0, "new"), copy(7, 0, "newer")])
        copies.record_copies(tx, [])
        found = {(row.key, row.store_id): row for s in STORE_IDS for row, _ in copies.copies_in_store(tx, s)}
    assert len(found) == 7
    assert (found["k1", STORE_IDS[0]].level, found["k1", STORE_IDS[0]].checksum_at) == ("checksum", "t2")
    assert found["k2", STORE_IDS[1]].token == "other"
    assert found["k7", STORE_IDS[0]].token == "newer"


def test_acts_appended_together_are_one_chain_in_few_statements(catalog: Catalog) -> None:
    who = {"run_id": "r1", "who": "lab", "host": "h", "version": "1"}
    statements: list[str] = []
    with catalog.write() as tx:
        audit.append(tx, **who, act="first")
        audit.append(tx, **{**who, "run_id": "r2"}, act="between")
        event.listen(tx, "before_cursor_execute", lambda c, cursor, text, *rest: statements.append(text))
        rows = audit.append_all(tx, [Act(act="upload", object=f"k{n}") for n in range(300)], **who)
        assert audit.append_all(tx, [], **who) == []
    assert [row.seq for row in rows] == list(range(3, 303))
    assert len(statements) <= 5
    with catalog.read() as tx:
        assert audit.check(tx, anchor=rows[17].hash) == []
        assert [row.object for row in audit.recent(tx, 2)] == ["k299", "k298"]


def test_intents_of_a_key_that_is_taken_can_no_longer_come_true(catalog: Catalog, file_ids: list[int]) -> None:
    def intent(token: str, key: str, store: int = 0) -> IntentRow:
        return IntentRow(token, STORE_IDS[store], key, 5, 1, file_ids[0], "0" * 64, True, "t")

    with catalog.write() as tx:
        uploads.add_intents(
            tx, [intent("old1", "k1"), intent("new1", "k1"), intent("old2", "k2"), intent("done", "k1")]
        )
        uploads.add_intents(tx, [intent("far", "k1", store=1), intent("else", "k3")])
        uploads.settle_intents(tx, ["done", "new1"], "done")
        uploads.settle_intents(tx, [], "void")
        uploads.void_other_intents(tx, STORE_IDS[0], {"k1": "new1", "k2": "old2"})
        states = {row.token: row.state for row in tx.exec_driver_sql("SELECT token, state FROM intents")}
    assert states == {"old1": "void", "new1": "done", "old2": "open", "done": "done", "far": "open", "else": "open"}


def test_leases_of_uploads_whose_run_was_killed_do_not_pile_up(catalog: Catalog) -> None:
    with catalog.write() as tx:
        for n in range(3):
            leases.acquire(tx, f"upload:{n}", "killed", -1, shared=False)
        living = leases.acquire(tx, "upload:9", "living", 60, shared=False)
        waiting = leases.acquire(tx, "run", "asleep", -1, shared=True)
        leases.acquire(tx, "upload:10", "next", 60, shared=False)
        names = [row.name for row in tx.exec_driver_sql("SELECT name FROM leases ORDER BY fence")]
        assert names == ["upload:9", "run", "upload:10"]
        assert leases.holders(tx, "upload:9") == [living]
        # a run that was suspended may still renew what nobody took
        assert leases.renew(tx, waiting, 60).fence == waiting.fence
