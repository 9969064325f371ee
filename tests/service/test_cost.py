"""`cost`: sums of a small catalogue against the same reckoned by hand; what has no price is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ecogsafe.catalog import copies, files, inventories, stores
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import SeenFile
from ecogsafe.core.errors import ConfigError, ExitStatus, UsageError
from ecogsafe.service.copy_check import MISSING
from ecogsafe.service.costing import CostRequest, tell_cost
from tests.service.small_lab import CODES, Ended, SmallLab

GB = 10**9
WARM, DEEP, AZURE, NAS = "s3://warm", "s3://deep", "azure://blobs", "file:///nas/ecog_project"
_IDS = {url: f"{n}" * 32 for n, url in enumerate((WARM, DEEP, AZURE, NAS))}


#: round figures, so that everybody can reckon them again
PRICES = """
date = "2026-01-31"
currency = "USD"
region = "nowhere"
source = "made up"
[transfer]
egress_gb = "0.10"
egress_free_gb_per_month = 100
[s3.STANDARD]
gb_month = "0.02"
put_per_1000 = "0.01"
get_per_1000 = "0.001"
[s3.STANDARD_IA]
gb_month = "0.01"
put_per_1000 = "0.01"
get_per_1000 = "0.001"
minimum_days = 30
minimum_object_bytes = 131072
retrieval.Standard = { gb = "0.01", per_1000 = "0", hours = [0, 0] }
[s3.DEEP_ARCHIVE]
gb_month = "0.001"
put_per_1000 = "0.05"
get_per_1000 = "0.001"
minimum_days = 180
overhead_bytes = 32768
overhead_standard_bytes = 8192
retrieval.Bulk = { gb = "0.002", per_1000 = "0", hours = [0, 48] }
retrieval.Standard = { gb = "0.02", per_1000 = "0", hours = [0, 12] }
[azure]
date = "2026-01-30"
currency = "EUR"
region = "nowhere"
source = "made up too"
[azure.transfer]
egress_gb = "0.10"
egress_free_gb_per_month = 0
[azure.tier.Hot]
gb_month = "0.03"
put_per_1000 = "0.01"
get_per_1000 = "0.001"
"""


class Bill:
    """A catalogue with just the copies that a test names."""

    def __init__(self, small: SmallLab) -> None:
        self.small = small
        self._number = 0
        (small.home.root / "prices.toml").write_text(PRICES)
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
                seen = SeenFile(
                    tree="video", path=path, subject=code, segment=1, size=size, mtime_ns=1, inode=1, device=1
                )
                file_id = files.upsert_file(tx, seen)
                copy = CopyRow(
                    0, file_id, _IDS[url], f"{path}.age", True, size, 1, None, None, storage_class, "t", "stored", at
                )
                copy_id = copies.record_copy(tx, copy)
                if bad is not None:
                    copies.mark_bad(tx, copy_id, bad)

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


def test_a_month_by_store_class_and_subject(bill: Bill) -> None:
    bill.holds(WARM, "STANDARD", 500 * GB, objects=2)
    bill.holds(WARM, None, 1000 * GB, code=CODES[1])
    bill.holds(DEEP, "DEEP_ARCHIVE", 1000 * GB, objects=2, code=CODES[1])
    ended = bill.ask()
    assert ended.status is ExitStatus.DONE
    # a store that tells no class means its usual one
    warm = told(ended, WARM)
    assert (warm["storage_class"], warm["objects"]) == ("STANDARD", 3)
    assert warm["month"] == pytest.approx(2000 * 0.02)
    # each object 32 KiB more at the class, and 8 KiB at STANDARD
    deep = told(ended, DEEP)
    assert deep["billed_bytes"] == 2000 * GB + 2 * (32768 + 8192)
    assert deep["month"] == pytest.approx(2000 * 0.001, abs=1e-6)
    months = {i.subject: i.details["month"]["USD"] for i in ended.items() if i.subject}
    assert months[CODES[0]] == pytest.approx(20.0) and months[CODES[1]] == pytest.approx(22.0, abs=1e-6)
    assert ended.run is not None and "USD 42.00 a month for 5 objects" in ended.run.message
    (prices,) = [i.message for i in ended.items() if i.message.startswith("prices:") and "USD" not in i.message][:1]
    assert "2026-01-31" in prices and "made up" in prices


def test_small_objects_are_billed_as_larger_ones(bill: Bill) -> None:
    bill.holds(WARM, "STANDARD_IA", 1000, objects=3)
    bill.holds(WARM, "STANDARD_IA", 131_072)
    bill.holds(WARM, "STANDARD_IA", 200_000)
    assert told(bill.ask(), WARM)["billed_bytes"] == 3 * 131_072 + 131_072 + 200_000


@pytest.mark.parametrize(
    ("days", "left"), [(0, 180), (30, 150), (179, 1), (181, 0), (400, 0), (-3, 180)], ids=lambda value: f"{value}"
)
def test_what_would_be_billed_all_the_same(bill: Bill, days: float, left: int) -> None:
    bill.holds(DEEP, "DEEP_ARCHIVE", 500 * GB, objects=2, days=days)
    ended = bill.ask()
    found = told(ended, DEEP)
    assert found["still_billed"] == pytest.approx(found["month"] * left / 30)
    assert any("billed all the same" in i.message for i in ended.items()) == (left > 0)


def test_a_store_without_a_price_is_said_and_not_guessed(bill: Bill) -> None:
    bill.holds(NAS, None, 700 * GB, objects=2)
    bill.holds(WARM, "INTELLIGENT_TIERING", 3 * GB, code=CODES[1])
    bill.holds(AZURE, "Hot", 10 * GB, objects=2)
    ended = bill.ask()
    assert told(ended, NAS) == {"storage_class": "", "objects": 2, "priced": False}
    assert told(ended, WARM)["priced"] is False
    assert told(ended, AZURE)["month"] == pytest.approx(0.6)
    assert ended.run is not None
    assert ended.run.message == (
        "about EUR 0.60 a month for 2 objects, 20,000,000,000 bytes; "
        "3 objects, 1,403,000,000,000 bytes without a known price are not in it"
    )
    (unknown,) = ended.items(subject=CODES[1])
    assert unknown.message.startswith("no known price")


def test_what_is_not_there_costs_nothing_and_what_is_bad_does(bill: Bill) -> None:
    bill.holds(WARM, "STANDARD", 100 * GB, bad=inventories.REMOVED)
    bill.holds(WARM, "STANDARD", 100 * GB, bad=MISSING)
    bill.holds(WARM, "STANDARD", 100 * GB, bad="its content is not ours")
    bill.holds(WARM, "STANDARD", 100 * GB)
    assert told(bill.ask(), WARM)["objects"] == 2


def test_one_subject_alone(bill: Bill) -> None:
    bill.holds(WARM, "STANDARD", 500 * GB)
    bill.holds(WARM, "STANDARD", 700 * GB, code=CODES[1])
    assert told(bill.ask(CODES[1]), WARM)["month"] == pytest.approx(14.0)
    assert isinstance(bill.ask("b7777777").error, UsageError)
    assert isinstance(bill.ask("nobody").error, UsageError)


def test_nothing_recorded_is_said(bill: Bill) -> None:
    assert isinstance(bill.ask().error, UsageError)


def test_bringing_everything_back_by_every_way(bill: Bill) -> None:
    bill.holds(DEEP, "DEEP_ARCHIVE", 500 * GB, objects=2)
    bill.holds(WARM, "STANDARD", 50 * GB, objects=2)
    bill.holds(NAS, None, 5 * GB, objects=2)
    ended = bill.ask(restore=True)
    bulk, standard = (told(ended, DEEP, tier=tier) for tier in ("Bulk", "Standard"))
    thawed = 1000 * 0.02 * 7 / 30
    requests = 2 * 0.001 / 1000
    assert bulk["total"] == pytest.approx(1000 * 0.002 + thawed + requests)
    assert standard["total"] == pytest.approx(1000 * 0.02 + thawed + requests)
    assert (bulk["hours"], standard["hours"]) == ([0, 48], [0, 12])
    (all_of_it,) = [i.details for i in ended.items(store=DEEP) if "cheapest" in i.details]
    # 100 GB a month are free
    assert all_of_it["egress"] == pytest.approx(900 * 0.10)
    assert all_of_it["cheapest"] == pytest.approx(bulk["total"] + 90)
    assert all_of_it["fastest"] == pytest.approx(standard["total"] + 90)
    (warm,) = [i.details for i in ended.items(store=WARM) if "cheapest" in i.details]
    assert warm["egress"] == 0 and warm["cheapest"] == pytest.approx(requests)
    assert told(ended, NAS)["priced"] is False
    assert not any(i.subject for i in ended.items())
    assert ended.run is not None and "up to 48 hours" in ended.run.message and "up to 12 hours" in ended.run.message


def test_a_table_of_the_lab_that_cannot_be_read_is_named(bill: Bill) -> None:
    bill.holds(WARM, "STANDARD", 5 * GB, objects=2)
    (bill.small.home.root / "prices.toml").write_text("date = ")
    assert isinstance(bill.ask().error, ConfigError)


def test_the_tables_that_come_along_know_every_class_that_is_offered(bill: Bill) -> None:
    (bill.small.home.root / "prices.toml").unlink()
    classes = ("STANDARD", "STANDARD_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
    for storage_class in classes:
        bill.holds(WARM, storage_class, 5 * GB, objects=2)
    bill.holds(AZURE, "Archive", 5 * GB, objects=2)
    for restore in (False, True):
        ended = bill.ask(restore=restore)
        assert ended.status is ExitStatus.DONE
        assert not any(i.details.get("priced") is False for i in ended.items())
