"""A catalogue with two subjects, two stores and three files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.catalog import files, stores, subjects
from ecogsafe.catalog.database import Catalog

CODES = ("abcd1234", "f00d5678")
STORE_IDS = ("aa" * 16, "bb" * 16)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.sqlite", create=True) as opened:
        yield opened


@pytest.fixture
def file_ids(catalog: Catalog) -> list[int]:
    with catalog.write() as tx:
        for code in CODES:
            subjects.add_subject(tx, code)
        stores.remember_store(tx, STORE_IDS[0], "s3://bucket", "s3")
        stores.remember_store(tx, STORE_IDS[1], "file:///nas/place", "file")
        return [
            files.upsert_file(
                tx,
                files.SeenFile(
                    tree="video",
                    path=path,
                    subject=path[:8],
                    segment=1,
                    size=1000 + n,
                    mtime_ns=10**18 + n,
                    inode=2**64 - 1 - n,
                    device=7,
                    sha256=f"{n:064x}",
                ),
            )
            for n, path in enumerate(
                ["abcd1234/abcd1234_1/abcd1234_1_0001.avi", "abcd1234/abcd1234_1.txt", "f00d5678/f00d5678_1/a.avi"]
            )
        ]
