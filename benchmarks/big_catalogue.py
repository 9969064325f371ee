"""A catalogue of a million files, written through the catalogue's own tables."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, insert, select, update

from ecogsafe.catalog import schema, stores, subjects, sums
from ecogsafe.catalog.copies import raise_level
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.subjects import SegmentRow
from ecogsafe.core.clock import utc_stamp

SUBJECTS = 40
#: one in so many has no second copy, one in so many was fetched and opened
_LACKING, _RESTORED = 997, 101
_BATCH = 10_000
_STORES = (("5" * 32, "s3://clinic-video", "s3"), ("6" * 32, "file:///archive/clinic", "file"))
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Row = dict[str, object]


def codes() -> list[str]:
    """Return the subjects."""
    return [f"a{number:07x}" for number in range(1, SUBJECTS + 1)]


def _stamp(second: int) -> str:
    return (_BEGAN + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")


def _place(number: int, code: str) -> tuple[str, str, int]:
    """Return tree, path and segment of one file: of twenty, one is a recording, four are texts, the others clips."""
    segment = number // 200 + 1
    kind = number % 20
    if kind == 0:
        return "edf", f"{code}_edf/{code}_{number + 1}.edf", segment
    if kind < 5:
        return "text", f"{code}_vtc/{code}_{number + 1}.txt", segment
    return "video", f"{code}/{code}_{segment}/{code}_{segment}_{number + 1:06d}.avi", segment


def _files(each: int) -> Iterator[Row]:
    file_id = 0
    for code in codes():
        for number in range(each):
            file_id += 1
            tree, path, segment = _place(number, code)
            yield {
                "id": file_id,
                "tree": tree,
                "path": path,
                "subject": code,
                "segment": segment,
                "size": 50_000_000 + file_id,
                "mtime_ns": 1_700_000_000_000_000_000,
                "inode": file_id,
                "device": 2049,
                "sha256": hashlib.sha256(b"%d" % file_id).hexdigest(),
                "first_seen": _stamp(file_id),
                "freed_at": None,
                "superseded_at": None,
            }


def _copies(each: int) -> Iterator[Row]:
    for file in _files(each):
        file_id = int(str(file["id"]))
        for number, (store_id, _, _) in enumerate(_STORES):
            if number and not file_id % _LACKING:
                continue
            was_restored = not file_id % _RESTORED
            yield {
                "file_id": file_id,
                "store_id": store_id,
                "key": f"{file['path']}.age",
                "sealed": True,
                "size": 50_020_000 + file_id,
                "crc64": file_id * 0x9E3779B97F4A7C15 % 2**64,
                "etag": f'"{file_id:032x}-6"',
                "version_id": None,
                "storage_class": None,
                "token": f"{number}{file_id:031x}",
                "level": "restored" if was_restored else "checksum",
                "stored_at": _stamp(file_id + 60),
                "checksum_at": _stamp(file_id + 61),
                "restored_at": _stamp(file_id + 90_000) if was_restored else None,
                "bad_at": None,
                "bad_reason": None,
                "store_date": None,
                "seen_at": None,
                "asked_at": _stamp(file_id + 90_000 if was_restored else file_id + 61),
                "read_at": _stamp(file_id + 90_000) if was_restored else "",
            }


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def fill(path: Path, files: int) -> int:
    """Write ``files`` files of 40 subjects with two copies each into the new catalogue at ``path``.

    Returns
    -------
    int
        The number of copies.
    """
    each = files // SUBJECTS
    written = 0
    with Catalog.open(path) as catalog:
        with catalog.write() as tx:
            for code in codes():
                subjects.add_subject(tx, code)
                rows = (
                    SegmentRow(code, n + 1, _stamp(n * 3600), None, 3600.0, ("recording", "study"), "{}")
                    for n in range(-(-each // 200))
                )
                subjects.add_segments(tx, list(rows))
            for store_id, url, kind in _STORES:
                stores.remember_store(tx, store_id, url, kind)
        for batch in _batches(_files(each)):
            with catalog.write() as tx:
                tx.execute(insert(schema.files), batch)
        for batch in _batches(_copies(each)):
            with catalog.write() as tx:
                tx.execute(insert(schema.copies), batch)
            written += len(batch)
    return written


def prove_all(path: Path) -> float:
    """Note a newer proof of every copy, as one long `verify` does, which puts what it changed in its place as it goes.

    Returns
    -------
    float
        Seconds of it that the sums took.
    """
    took = 0.0
    with Catalog.open(path) as catalog:
        with catalog.read() as tx:
            last = tx.execute(select(func.max(schema.copies.c.id))).scalar_one()
        for start in range(0, last, _BATCH):
            some = schema.copies.c.id.between(start + 1, start + _BATCH)
            with catalog.write() as tx:
                tx.execute(update(schema.copies).where(some).values(checksum_at=utc_stamp()))
            began = time.monotonic()
            sums.keep_sums(catalog)
            took += time.monotonic() - began
    return took


def change_one(path: Path, code: str) -> None:
    """Note a newer proof of one copy of ``code``, as every upload and every `verify` does."""
    with Catalog.open(path) as catalog, catalog.write() as tx:
        joined = schema.copies.join(schema.files, schema.files.c.id == schema.copies.c.file_id)
        query = select(schema.copies.c.id).select_from(joined).where(schema.files.c.subject == code).limit(1)
        raise_level(tx, tx.execute(query).scalar_one(), "checksum", utc_stamp())
