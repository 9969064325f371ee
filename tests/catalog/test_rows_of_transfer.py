"""Sealings, parts, uploads, acknowledgements, intents, copies and their summaries."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ecogsafe.catalog import copies, leases, sealings, summaries, uploads
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.uploads import AckRow, IntentRow, UploadRow
from ecogsafe.core.errors import EcogsafeError, LockedError, SourceChangedError

from .conftest import CODES, STORE_IDS

STAT = SourceStat(1000, 10**18, 10**18 + 1, 2**64 - 1, 2**63)
CRCS = (0, 2**63 - 1, 2**63, 2**64 - 1)


def day(n: int) -> str:
    return f"2026-01-{n:02}T00:00:00.000000Z"


def _sealing(name: str, file_id: int) -> SealingRow:
    return SealingRow(name, file_id, STAT, True, b"header\n", b"n" * 16, b"\x00key\xff", 2**23, 2**40, day(1))


def _upload(token: str, sealing_id: str, store: int = 0) -> UploadRow:
    return UploadRow(token, sealing_id, STORE_IDS[store], f"key-{token}", None, "open", "me", 1, day(1))


def _intent(token: str, file_id: int, crc64: int = 2**64 - 1) -> IntentRow:
    return IntentRow(token, STORE_IDS[0], "the-key", 2**40, crc64, file_id, "0" * 64, True, day(1))


def _copy(file_id: int, store: int, *, token: str = "t", at: str = day(1)) -> CopyRow:
    key = f"key-{file_id}"
    return CopyRow(0, file_id, STORE_IDS[store], key, True, 2**40, 2**64 - 2, "e", "v", "STANDARD", token, "stored", at)


def test_sealings_and_parts_come_back_as_they_were(catalog: Catalog, file_ids: list[int]) -> None:
    rows = [_sealing("s1", file_ids[0]), _sealing("s2", file_ids[1])]
    plain = replace(rows[1], id="s3", sealed=False, header=b"", payload_nonce=b"", wrapped_key=None)
    parts = [PartRow("s1", n, bytes([n]) * 32, 2**33, crc) for n, crc in enumerate(CRCS, start=1)]
    with catalog.write() as tx:
        for row in (*rows, plain):
            sealings.add_sealing(tx, row)
        for part in reversed(parts):
            sealings.add_part(tx, part)
            sealings.add_part(tx, part)
    with catalog.read() as tx:
        assert [sealings.sealing(tx, name) for name in ("s1", "s3", "none")] == [rows[0], plain, None]
        assert sealings.open_sealings(tx, file_ids[1]) == [rows[1], plain]
        assert [s.id for s in sealings.open_sealings(tx)] == ["s1", "s2", "s3"]
        assert list(sealings.parts_of(tx, "s1").items()) == list(enumerate(parts, start=1))
        assert sealings.parts_of(tx, "s2") == {}


@pytest.mark.parametrize("change", [{"prefix_sha256": b"x" * 32}, {"length": 1}, {"crc64": 1}])
def test_a_part_is_never_another_one(catalog: Catalog, file_ids: list[int], change: dict[str, object]) -> None:
    part = PartRow("s1", 2, b"p" * 32, 8, 2**63)
    with catalog.write() as tx:
        sealings.add_sealing(tx, _sealing("s1", file_ids[0]))
        sealings.add_part(tx, part)
    with pytest.raises(SourceChangedError), catalog.write() as tx:
        sealings.add_part(tx, replace(part, **change))  # type: ignore[arg-type]
    with catalog.read() as tx:
        assert sealings.parts_of(tx, "s1") == {2: part}


def test_rows_that_come_together_are_judged_each_by_itself(catalog: Catalog, file_ids: list[int]) -> None:
    parts = [PartRow("s1", n, bytes([n]) * 32, 8, n) for n in (1, 2, 3)]
    acks = [AckRow("t1", n, f"e{n}", 1) for n in (1, 2, 3)]
    with catalog.write() as tx:
        sealings.add_sealing(tx, _sealing("s1", file_ids[0]))
        uploads.add_upload(tx, replace(_upload("t1", "s1"), fence=1))
        sealings.add_parts(tx, parts[:2])
        sealings.add_parts(tx, parts)
        uploads.add_acks(tx, acks[:2])
        uploads.add_acks(tx, [replace(acks[0], etag="again"), *acks[1:]])
        assert sealings.parts_of(tx, "s1") == {part.number: part for part in parts}
        assert uploads.acks(tx, "t1") == {1: "again", 2: "e2", 3: "e3"}
    with pytest.raises(SourceChangedError), catalog.write() as tx:
        sealings.add_parts(tx, [PartRow("s1", 4, bytes(32), 8, 4), replace(parts[0], crc64=7)])
    with pytest.raises(LockedError), catalog.write() as tx:
        uploads.add_acks(tx, [AckRow("t1", 4, "e4", 1), AckRow("none", 4, "e4", 1)])
    with catalog.read() as tx:
        assert (len(sealings.parts_of(tx, "s1")), len(uploads.acks(tx, "t1"))) == (3, 3)


@pytest.mark.parametrize("end", [sealings.finish_sealing, sealings.abandon_sealing])
def test_the_end_of_a_sealing_erases_its_key(catalog: Catalog, file_ids: list[int], end: object) -> None:
    with catalog.write() as tx:
        for name in ("s1", "s2"):
            sealings.add_sealing(tx, _sealing(name, file_ids[0]))
            sealings.add_part(tx, PartRow(name, 1, b"p" * 32, 8, 5))
        end(tx, "s1")  # type: ignore[operator]
        ended = sealings.sealing(tx, "s1")
        assert ended is not None
        assert ended.wrapped_key is None
        assert ended.state == ("done" if end is sealings.finish_sealing else "abandoned")
        sealings.abandon_sealing(tx, "s1")
        assert sealings.sealing(tx, "s1") == ended
        assert [s.id for s in sealings.open_sealings(tx, file_ids[0])] == ["s2"]
        assert sealings.parts_of(tx, "s1") == {}
        assert len(sealings.parts_of(tx, "s2")) == 1
        with pytest.raises(EcogsafeError, match="not open"):
            sealings.add_part(tx, PartRow("s1", 1, b"p" * 32, 8, 5))
        with pytest.raises(EcogsafeError, match="not open"):
            sealings.add_part(tx, PartRow("none", 1, b"p" * 32, 8, 5))


def test_uploads_and_acknowledgements(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        for n in (1, 2):
            sealings.add_sealing(tx, _sealing(f"s{n}", file_ids[n]))
            for store in (0, 1):
                uploads.add_upload(tx, _upload(f"t{n}{store}", f"s{n}", store))
        uploads.set_upload_id(tx, "t10", "their-id")
        for number in (3, 1, 2, 3):
            uploads.add_ack(tx, "t10", number, f"etag{number}", 1)
        uploads.add_ack(tx, "t10", 2, "again", 1)
        assert uploads.acks(tx, "t10") == {1: "etag1", 2: "again", 3: "etag3"}
        assert getattr(uploads.upload(tx, "t10"), "upload_id", None) == "their-id"
        assert [u.token for u in uploads.open_uploads(tx)] == ["t10", "t11", "t20", "t21"]
        assert [u.token for u in uploads.open_uploads(tx, STORE_IDS[1])] == ["t11", "t21"]
        assert [u.token for u in uploads.open_uploads(tx, STORE_IDS[1], "key-t11")] == ["t11"]
        assert [u.token for u in uploads.open_uploads(tx, sealing_id="s2")] == ["t20", "t21"]
        uploads.finish_upload(tx, "t10")
        uploads.abort_upload(tx, "t10")
        uploads.abort_upload(tx, "t11")
        assert [getattr(uploads.upload(tx, t), "state", None) for t in ("t10", "t11", "x")] == ["done", "aborted", None]
        assert uploads.acks(tx, "t10") == {}
        assert [u.token for u in uploads.open_uploads(tx)] == ["t20", "t21"]
        for token in ("t10", "none"):
            with pytest.raises(EcogsafeError, match="not open"):
                uploads.add_ack(tx, token, 1, "e", 9)


def test_an_owner_that_was_fenced_off_acknowledges_nothing(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        sealings.add_sealing(tx, _sealing("s1", file_ids[0]))
        old = leases.acquire(tx, "upload:t1", "old", -1, shared=False)
        uploads.add_upload(tx, replace(_upload("t1", "s1"), owner="old", fence=old.fence))
        uploads.add_ack(tx, "t1", 1, "e1", old.fence)
        new = leases.acquire(tx, "upload:t1", "new", 60, shared=False)
        with pytest.raises(LockedError):
            uploads.add_ack(tx, "t1", 2, "e2", old.fence)
        uploads.take_over(tx, "t1", owner="new", fence=new.fence)
        leases.release(tx, new)
        with pytest.raises(LockedError):
            uploads.add_ack(tx, "t1", 2, "e2", old.fence)
        with pytest.raises(LockedError):
            uploads.take_over(tx, "t1", owner="old", fence=old.fence)
        uploads.add_ack(tx, "t1", 2, "e2", new.fence)
        assert uploads.acks(tx, "t1") == {1: "e1", 2: "e2"}
        assert getattr(uploads.upload(tx, "t1"), "owner", None) == "new"


def test_intents_tell_ours_from_others(catalog: Catalog, file_ids: list[int]) -> None:
    rows = [_intent(f"t{n}", file_ids[0], crc) for n, crc in enumerate(CRCS)]
    with catalog.write() as tx:
        uploads.add_intents(tx, rows)
        uploads.add_intents(tx, [replace(rows[1], created_at=day(2)), _intent("t9", file_ids[1])])
        uploads.add_intents(tx, [])
        for token, state in (("t0", "done"), ("t1", "void"), ("t2", "different")):
            uploads.settle_intent(tx, token, state)  # type: ignore[arg-type]
        found = uploads.intents_for(tx, STORE_IDS[0], "the-key")
        assert [(i.token, i.crc64, i.state) for i in found] == [
            ("t0", CRCS[0], "done"),
            ("t2", CRCS[2], "different"),
            ("t3", CRCS[3], "open"),
            ("t9", 2**64 - 1, "open"),
        ]
        assert uploads.intents_for(tx, STORE_IDS[1], "the-key") == []
        assert [i.token for i in uploads.open_intents(tx, STORE_IDS[0])] == ["t3", "t9"]
        assert uploads.open_intents(tx, STORE_IDS[1]) == []
        assert len(uploads.open_intents(tx)) == 2
        with pytest.raises(EcogsafeError, match="another object"):
            uploads.add_intents(tx, [replace(rows[0], crc64=17)])


def test_levels_only_rise(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        copy_id = copies.record_copy(tx, _copy(file_ids[0], 0))
        assert copies.record_copy(tx, _copy(file_ids[1], 1)) != copy_id
        assert copies.copy(tx, copy_id) == replace(_copy(file_ids[0], 0), id=copy_id)
        assert copies.raise_level(tx, copy_id, "restored", day(5), store_date=day(6))
        assert copies.raise_level(tx, copy_id, "checksum", day(4), etag="e2")
        assert copies.raise_level(tx, copy_id, "checksum", day(3))
        copies.see_again(tx, [copy_id], day(7))
        row = copies.copy_by_key(tx, STORE_IDS[0], f"key-{file_ids[0]}")
        assert row is not None
        assert (row.level, row.stored_at, row.checksum_at, row.restored_at) == ("restored", day(1), day(4), day(5))
        assert (row.etag, row.version_id, row.store_date, row.seen_at) == ("e2", "v", day(6), day(7))
        again = replace(_copy(file_ids[0], 0), level="checksum", checksum_at=day(8))
        assert copies.record_copy(tx, again) == copy_id
        row = copies.copy(tx, copy_id)
        assert row is not None
        assert (row.level, row.checksum_at) == ("restored", day(8))
        assert not copies.raise_level(tx, 999, "checksum", day(9))


def test_bad_stays_bad_until_proven_good(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        copy_id = copies.record_copy(tx, _copy(file_ids[0], 0))
        copies.mark_bad(tx, copy_id, "missing")
        copies.mark_bad(tx, copy_id, "changed")
        assert not copies.raise_level(tx, copy_id, "checksum", day(2))
        copies.record_copy(tx, _copy(file_ids[0], 0))
        row = copies.copy(tx, copy_id)
        assert row is not None
        assert (row.bad_reason, row.checksum_at) == ("missing", day(2))
        assert summaries.bad_copies(tx) == [(STORE_IDS[0], row.key, "missing")]
        assert summaries.bad_copies(tx, CODES[1]) == []
        copies.prove_good(tx, copy_id, "restored", day(3))
        row = copies.copy(tx, copy_id)
        assert row is not None
        assert (row.bad_at, row.bad_reason, row.level) == (None, None, "restored")
        copies.record_copy(tx, replace(_copy(file_ids[0], 0), bad_at=day(3), bad_reason="changed"))
        assert getattr(copies.copy(tx, copy_id), "bad_reason", None) == "changed"
        assert copies.record_copy(tx, _copy(file_ids[0], 0, token="repaired", at=day(4))) == copy_id
        row = copies.copy(tx, copy_id)
        assert row is not None
        assert (row.bad_at, row.level, row.restored_at, row.stored_at) == (None, "stored", None, day(4))


def test_summaries(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        a, b, c = file_ids
        ids = {(f, s): copies.record_copy(tx, _copy(f, s)) for f, s in ((a, 0), (a, 1), (b, 0), (c, 1))}
        copies.raise_level(tx, ids[a, 0], "checksum", day(2))
        copies.raise_level(tx, ids[a, 0], "restored", day(9))
        copies.raise_level(tx, ids[a, 1], "checksum", day(5))
        copies.mark_bad(tx, ids[c, 1], "short")
        found = summaries.copy_summaries(tx)
        one, two, three = found
        assert (one.subject, one.tree, one.store_id, one.files, one.bytes) == (CODES[0], "video", STORE_IDS[0], 2, 2001)
        assert (one.stored, one.checksum, one.restored, one.bad) == (1, 0, 1, 0)
        assert (one.oldest_evidence, one.newest_restored) == (day(1), day(9))
        assert (two.store_id, two.files, two.checksum, two.oldest_evidence) == (STORE_IDS[1], 1, 1, day(5))
        assert (three.subject, three.files, three.bytes, three.oldest_evidence, three.bad) == (CODES[1], 0, 0, None, 1)
        assert summaries.copy_summaries(tx, CODES[1]) == [three]
        in_store = copies.copies_in_store(tx, STORE_IDS[0])
        assert [(row.file_id, file.path[:8]) for row, file in in_store] == [(a, CODES[0]), (b, CODES[0])]
        assert [row.id for row, _ in copies.copies_in_store(tx, STORE_IDS[1], CODES[1])] == [ids[c, 1]]
        assert [row.id for row, _ in copies.copies_of_subject(tx, CODES[0])] == [ids[b, 0], ids[a, 0], ids[a, 1]]
        assert [row.id for row in copies.copies_of_file(tx, a)] == [ids[a, 0], ids[a, 1]]


_SEND = """
import sys
from ecogsafe.catalog import sealings
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.sealings import PartRow
catalog = Catalog.open(sys.argv[1])
for n in range(1, 10**6):
    with catalog.write() as tx:
        sealings.add_part(tx, PartRow("s1", n, bytes(32), n, 2**64 - n))
    print(n, flush=True)
"""


def test_a_part_that_was_told_of_is_durable_after_a_kill(catalog: Catalog, file_ids: list[int]) -> None:
    with catalog.write() as tx:
        sealings.add_sealing(tx, _sealing("s1", file_ids[0]))
    assert catalog.path is not None
    for wanted in (5, 40):
        command = [sys.executable, "-c", _SEND, str(Path(catalog.path))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = 0
            for line in child.stdout:
                told = int(line)
                if told == wanted:
                    child.send_signal(signal.SIGKILL)
        with catalog.read() as tx:
            assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            parts = sealings.parts_of(tx, "s1")
        assert told <= len(parts) <= told + 1
        assert all(row.crc64 == 2**64 - n for n, row in parts.items())
