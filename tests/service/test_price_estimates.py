"""Money, against sums done by hand for one patient of 300 GB."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ecogsafe.service.price_estimates import (
    FetchingCost,
    KeepingCost,
    Weight,
    early_deletion_cost,
    fetching_cost,
    hours_in_words,
    keeping_cost,
    money,
    tiers,
)
from ecogsafe.service.price_table import AZURE, GB, load_price_table

TABLE = load_price_table()
PATIENT = 300 * GB
PARTS_OF_64_MIB = -(-PATIENT // (64 << 20))


def kept(storage_class: str | None, *weights: Weight) -> KeepingCost:
    cost = keeping_cost(TABLE, storage_class, weights)
    assert cost is not None
    return cost


def fetched(storage_class: str | None, tier: str, *, size: int, objects: int = 1) -> FetchingCost:
    cost = fetching_cost(TABLE, storage_class, tier, objects=objects, size=size)
    assert cost is not None
    return cost


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))


def test_a_patient_on_standard_costs_6_90_a_month() -> None:
    assert kept(None, Weight(PATIENT)).month == Decimal("6.90")


def test_a_patient_as_one_tar_in_deep_archive_costs_30_cents_a_month() -> None:
    assert cents(kept("DEEP_ARCHIVE", Weight(PATIENT)).month) == Decimal("0.30")


def test_sending_that_tar_in_parts_of_64_mib_costs_2_cents() -> None:
    assert PARTS_OF_64_MIB == 4471
    requests = kept("DEEP_ARCHIVE", Weight(PATIENT, PARTS_OF_64_MIB)).requests
    # the parts and the beginning at STANDARD, the completion at the class
    assert requests == Decimal("0.000005") * 4472 + Decimal("0.00005")
    assert cents(requests) == Decimal("0.02")


def test_3000_separate_objects_cost_15_cents_to_send_and_120_mb_of_overhead() -> None:
    cost = kept("DEEP_ARCHIVE", *[Weight(PATIENT // 3000)] * 3000)
    assert cost.requests == Decimal("0.15")
    assert cost.billed_bytes - cost.bytes == 3000 * 40 * 1024


def test_a_terabyte_of_1_mb_files_costs_52_to_send() -> None:
    files = 1 << 20
    cost = kept("DEEP_ARCHIVE", *[Weight(1 << 20)] * files)
    assert cents(cost.requests) == Decimal("52.43")


def test_small_objects_are_billed_at_the_least_size_of_the_class() -> None:
    assert kept("GLACIER_IR", Weight(1000), Weight(200_000)).billed_bytes == 131_072 + 200_000


def test_deleting_before_the_least_time_bills_the_rest() -> None:
    month = kept("DEEP_ARCHIVE", Weight(PATIENT)).month
    assert early_deletion_cost(TABLE, "DEEP_ARCHIVE", PATIENT, 30) == month * 150 / 30
    assert early_deletion_cost(TABLE, "DEEP_ARCHIVE", PATIENT, 200) == 0
    assert kept("DEEP_ARCHIVE", Weight(PATIENT)).least == month * 180 / 30


def test_a_full_bulk_restore_costs_20_36_and_egress_is_most_of_it() -> None:
    cost = fetched("DEEP_ARCHIVE", "Bulk", size=PATIENT)
    assert cents(cost.retrieval) == Decimal("0.75")
    assert cents(cost.thawed_copy) == Decimal("1.61")
    assert cost.egress == Decimal("18.00")
    assert cents(cost.total) == Decimal("20.36")


def test_a_range_of_an_object_is_thawed_whole_and_carried_in_part() -> None:
    cost = fetching_cost(TABLE, "DEEP_ARCHIVE", "Standard", objects=1, size=PATIENT, fetched=120 * GB)
    assert cost is not None
    assert cost.retrieval == Decimal("6.00")
    assert cost.egress == Decimal("1.80")


def test_the_free_transfer_of_a_month_is_counted_once() -> None:
    cost = fetching_cost(TABLE, None, "Standard", objects=1, size=50 * GB, free_egress_bytes=0)
    assert cost is not None
    assert cost.egress == Decimal("4.50")


def test_standard_is_read_at_once_and_without_a_thawed_copy() -> None:
    cost = fetched(None, "Standard", size=50 * GB, objects=1000)
    assert cost.total == Decimal("0.0004")
    assert hours_in_words(cost.hours) == "at once"


def test_deep_archive_offers_no_expedited_way() -> None:
    assert tiers(TABLE, "DEEP_ARCHIVE") == ("Bulk", "Standard")
    assert fetching_cost(TABLE, "DEEP_ARCHIVE", "Expedited", objects=1, size=1) is None
    assert tiers(TABLE, "GLACIER") == ("Bulk", "Standard", "Expedited")


def test_an_unknown_class_has_no_price_rather_than_a_wrong_one() -> None:
    assert keeping_cost(TABLE, "SOMETHING", [Weight(1)]) is None
    assert fetching_cost(TABLE, "SOMETHING", "Bulk", objects=1, size=1) is None
    assert early_deletion_cost(TABLE, "SOMETHING", 1, 1) is None
    assert tiers(TABLE, "SOMETHING") == ()


@pytest.mark.parametrize(
    ("storage_class", "tier", "words"),
    [
        ("DEEP_ARCHIVE", "Bulk", "up to 48 hours"),
        ("DEEP_ARCHIVE", "Standard", "up to 12 hours"),
        ("GLACIER", "Bulk", "5-12 hours"),
        ("GLACIER", "Expedited", "1-5 minutes"),
        ("GLACIER_IR", "Standard", "at once"),
    ],
)
def test_waiting_times_in_words(storage_class: str, tier: str, words: str) -> None:
    assert hours_in_words(fetched(storage_class, tier, size=1).hours) == words


def test_money_in_words() -> None:
    assert money(Decimal("1234.5"), "USD") == "USD 1,234.50"
    assert money(Decimal("0.001"), "USD") == "USD < 0.01"
    assert money(Decimal(0), "USD") == "USD 0.00"


# Azure


AZURE_TABLE = load_price_table(provider=AZURE)


def azure(storage_class: str | None, tier: str, *, size: int = PATIENT, objects: int = 1) -> FetchingCost:
    cost = fetching_cost(AZURE_TABLE, storage_class, tier, objects=objects, size=size, days=7)
    assert cost is not None
    return cost


@pytest.mark.parametrize(
    ("tier", "month", "least"),
    # 300 GB; the least: one month, three months, six months of the tier
    [("Hot", "5.52", "0"), ("Cool", "3.00", "3.00"), ("Cold", "1.08", "3.24"), ("Archive", "0.60", "3.60")],
)
def test_a_patient_on_azure_by_hand(tier: str, month: str, least: str) -> None:
    cost = keeping_cost(AZURE_TABLE, tier, [Weight(PATIENT)])
    assert cost is not None
    assert (cost.month, cost.least) == (Decimal(month), Decimal(least))


def test_sending_an_archive_to_azure_in_blocks_by_hand() -> None:
    # 4,471 blocks and the one that opens at Hot (0.0055 the thousand), the list at Archive (0.011 the thousand)
    cost = keeping_cost(AZURE_TABLE, "Archive", [Weight(PATIENT, PARTS_OF_64_MIB)])
    assert cost is not None
    assert cost.requests == Decimal("0.0000055") * 4472 + Decimal("0.000011")


def test_ten_archives_out_of_azures_archive_by_hand() -> None:
    slow = azure("Archive", "Standard", objects=10)
    assert slow.retrieval == Decimal("6.60")  # 300 x 0.022
    assert slow.requests == Decimal("0.0055") + Decimal("0.0000044")  # ten changes of tier, ten reads in Hot
    assert slow.thawed_copy == Decimal("5.52")  # a month in Hot, whatever the days
    assert slow.egress == Decimal("17.40")  # (300 - 100) x 0.087
    assert cents(slow.total) == Decimal("29.53")
    assert slow.early == Decimal("3.60")  # six months of Archive at the most
    assert hours_in_words(slow.hours) == "up to 15 hours"
    fast = azure("Archive", "Expedited", objects=10)
    assert (fast.retrieval, cents(fast.requests)) == (Decimal("30.00"), Decimal("0.06"))
    assert hours_in_words(fast.hours) == "1-15 hours"


def test_what_is_not_in_archive_is_read_at_once_and_cool_data_costs_by_the_gigabyte() -> None:
    assert azure("Hot", "Standard").retrieval == 0
    assert azure("Cool", "Standard").retrieval == Decimal("3.00")
    assert azure("Cold", "Standard").retrieval == Decimal("9.00")
    for tier in ("Hot", "Cool", "Cold"):
        cost = azure(tier, "Standard")
        assert (cost.thawed_copy, cost.early, hours_in_words(cost.hours)) == (0, 0, "at once")


def test_azure_has_two_ways_out_and_the_cheap_one_comes_first() -> None:
    assert tiers(AZURE_TABLE, "Archive") == ("Standard", "Expedited")
