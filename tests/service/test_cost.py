"""`cost`: sums of a small catalogue against the same reckoned by hand; what has no price is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ecogsafe.catalog import copies, files, inventories, stores
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.errors import ConfigError, ExitStatus, UsageError
from ecogsafe.service.copy_check import MISSING
from ecogsafe.service.costing import CostRequest, tell_cost
from tests.service.small_lab import CODES, Ended, SmallLab

GB = 10**9
WARM, DEEP, AZURE, NAS = "s3://warm", "s3://deep", "azure://blobs", "file:///nas/ecog_project"
_IDS = {url: f"{n}" * 32 for n, url in enumerate((WARM, DEEP, AZURE, NAS))}


class Bill:
    """A catalogue with just the copies that a test names."""

    def __init__(self, small: SmallLab) -> None:
        self.small = small
        self._number = 0
        with small.writing() as tx:
            for url, store_id in _IDS.items():
                stores.remember_store(tx, store_id, url, url.partition(":")[0])

    def holds(
        self,
        url: str,
        storage_class: str | None,
        size: int,
        *,
        code: str = CODES[0],
        days: float = 400,
        bad: str | None = None,
        objects: int = 1,
    ) -> None:
        at = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for _ in range(objects):
            self._number += 1
            path = f"{code}/{code}_1/{code}_1_{self._number:04}.avi"
            with self.small.writing() as tx:
                row = FileRow(0, "video", path, code, 1, size, 1, 1, 1, "0" * 64, at)
                file_id = files.upsert_file(tx, row)
                copy = CopyRow(0, file_id, _IDS[url], f"{path}.age", True, size, 1, None, None, storage_class, "t")
                copies.record_copy(tx, copy)

    def ask(self, subject: str | None = None, *, restore: bool = False) -> Ended:
        request = CostRequest(subject=subject, restore=restore)
        return self.small.run("cost", lambda run: tell_cost(run, request))


@pytest.fixture
def bill(small_lab: SmallLab) -> Bill:
    return Bill(small_lab)


def told(ended: Ended, url: str, **details: Any) -> dict[str, Any]:
    """Return the details of the one item on a store in which these have these values."""
    (item,) = [
        i for i in ended.items(store=url) if all(i.details.get(name) == value for name, value in details.items())
    ]
    return dict(item.details)
