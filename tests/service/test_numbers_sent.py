"""A number that an object in a store bears is taken, also where no segment of it is known here any more."""

from __future__ import annotations

from ecogsafe.service.inventory import InventoryRequest, inventory
from ecogsafe.service.segment_records import existing_segments

from .small_lab import CODES, SmallLab

CODE = CODES[0]


def numbers(lab: SmallLab) -> list[int]:
    with lab.home.open_catalog() as catalog:
        return [segment.number for segment in existing_segments(catalog, CODE)]


def test_of_adopted_objects(small_lab: SmallLab) -> None:
    """As after `catalog rebuild` from a snapshot that is older than the newest recordings."""
    for number in (1, 4):
        small_lab.avi(number=number)
    url = small_lab.folder_store("store")
    small_lab.upload("v", url)
    with small_lab.home.open_catalog() as catalog, catalog.write() as tx:
        for table in ("copies", "intents", "acks", "uploads", "parts", "sealings", "files"):
            tx.exec_driver_sql(f"DELETE FROM {table}")
    assert numbers(small_lab) == []
    small_lab.run("inventory", lambda run: inventory(run, InventoryRequest(url=url, adopt=True), print))
    assert numbers(small_lab) == [1, 4]


def test_a_file_that_was_never_sent_takes_none(small_lab: SmallLab) -> None:
    small_lab.edf(number=3)
    small_lab.clear()
    assert numbers(small_lab) == []
