"""The table of prices: it comes with us, a lab can replace it, a wrong one is told."""

from __future__ import annotations

from decimal import Decimal
from importlib.resources import files
from pathlib import Path

import pytest

from ecogsafe.core.errors import ConfigError
from ecogsafe.service.price_table import AZURE, OWN_TABLE, S3, load_price_table, parse_price_tables, price_table_for


def _shipped() -> str:
    return files("ecogsafe.service").joinpath("price_table.toml").read_text(encoding="utf-8")


def test_the_table_says_how_old_it_is() -> None:
    table = load_price_table()
    assert table.date.isoformat() in table.standing
    assert set(table.classes) == {"STANDARD", "STANDARD_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}


def test_no_class_given_means_the_standard_class_and_an_unknown_one_has_no_price() -> None:
    table = load_price_table()
    assert table.of(None) is table.of("STANDARD")
    assert table.of("ARCHIVE_OF_SOMEBODY_ELSE") is None


def test_a_table_in_the_home_replaces_ours(tmp_path: Path) -> None:
    (tmp_path / OWN_TABLE).write_text(_shipped().replace('gb_month = "0.00099"', 'gb_month = "0.5"'))
    deep = load_price_table(tmp_path).of("DEEP_ARCHIVE")
    assert deep is not None
    assert deep.gb_month == Decimal("0.5")


def test_a_home_without_a_table_uses_ours(tmp_path: Path) -> None:
    assert load_price_table(tmp_path) == load_price_table()


@pytest.mark.parametrize(
    "change",
    [
        ("date =", "date_ ="),
        ('date = "2026-11-22"', 'date = "last year"'),
        ('gb_month = "0.00099"', 'gb_month = "cheap"'),
        ('gb_month = "0.00099"', 'gb_month = "-1"'),
        ('gb_month = "0.00099"', 'gb_month = "0.00099"\nput_per_million = "1"'),
        ("hours = [0, 48]", "hours = [48]"),
        ("[transfer]", "[transfer"),
        ("[azure.tier.Hot]", "[azure.tier.Warm]"),
        ('egress_gb = "0.087"', 'egress = "0.087"'),
    ],
)
def test_a_wrong_table_is_named_and_nothing_is_guessed(tmp_path: Path, change: tuple[str, str]) -> None:
    text = _shipped()
    assert change[0] in text
    (tmp_path / OWN_TABLE).write_text(text.replace(*change))
    with pytest.raises(ConfigError) as told:
        load_price_table(tmp_path)
    assert OWN_TABLE in str(told.value)


def test_a_table_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / OWN_TABLE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_price_table(tmp_path)


def test_the_form_is_checked_whole() -> None:
    with pytest.raises(ConfigError):
        parse_price_tables('date = "2026-11-22"')


def test_the_table_of_azure_has_a_date_of_its_own_and_its_own_classes() -> None:
    table = load_price_table(provider=AZURE)
    assert set(table.classes) == {"Hot", "Cool", "Cold", "Archive"}
    assert table.of(None) is table.of("Hot")
    assert table.thaws_for_good
    assert "East US 2" in table.standing and table.date.isoformat() in table.standing
    assert table.source, "nobody could check the figures"


def test_a_table_of_the_lab_without_azure_leaves_azure_to_ours(tmp_path: Path) -> None:
    text = _shipped()
    own = text[: text.index("[azure]")].replace('gb_month = "0.00099"', 'gb_month = "0.5"')
    (tmp_path / OWN_TABLE).write_text(own)
    assert load_price_table(tmp_path, provider=AZURE) == load_price_table(provider=AZURE)
    assert load_price_table(tmp_path) != load_price_table()


def test_each_store_is_priced_by_who_sends_its_bill(tmp_path: Path) -> None:
    assert price_table_for("s3://lab/x", tmp_path) == load_price_table(provider=S3)
    assert price_table_for("azure://lab/x", tmp_path) == load_price_table(provider=AZURE)
    assert price_table_for("file:///nas", tmp_path) is None
