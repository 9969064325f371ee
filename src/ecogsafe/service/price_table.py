"""What providers charge: a dated data file that a lab can replace by its own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ecogsafe.core.errors import ConfigError

#: the lab's own table, in the home
OWN_TABLE = "prices.toml"
#: who sends the bill: the scheme of the store's URL
Provider: TypeAlias = Literal["s3", "azure"]
S3: Provider = "s3"
AZURE: Provider = "azure"
PROVIDERS = (S3, AZURE)
#: bytes of the GB that the table counts in
GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One way of getting data back out of a class."""

    per_gb: Decimal
    per_1000: Decimal
    #: shortest and longest wait, hours
    hours: tuple[float, float]
    #: what the provider calls it, where that is another word
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPrice:
    """One storage class."""

    gb_month: Decimal
    put_per_1000: Decimal
    get_per_1000: Decimal
    #: an object that goes earlier is billed to this day
    minimum_days: int = 0
    #: a smaller object is billed as this many bytes
    minimum_object_bytes: int = 0
    #: bytes billed on top of each object, at this class
    overhead_bytes: int = 0
    #: and at the usual class
    overhead_standard_bytes: int = 0
    #: by tier: "Bulk", "Standard", "Expedited"
    retrieval: Mapping[str, Retrieval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Everything a price of one provider can be looked up in."""

    date: date
    currency: str
    region: str
    source: str
    egress_gb: Decimal
    egress_free_gb_per_month: int
    classes: Mapping[str, ClassPrice]
    #: the class of what nobody gave one, in which thawed data are read
    usual: str = "STANDARD"
    #: thawing moves the object itself out of its class, and it stays out; else a copy is thawed for some days
    thaws_for_good: bool = False

    def of(self, storage_class: str | None) -> ClassPrice | None:
        """Return the prices of a class; None stands for the usual one, an unknown class has none."""
        return self.classes.get(storage_class or self.usual)

    @property
    def standing(self) -> str:
        """What is printed beside every estimate."""
        return (
            f"list prices of {self.date.isoformat()}, {self.region}; taxes, discounts and failed requests not counted"
        )


def load_price_table(home: Path | None = None, *, provider: Provider = S3) -> PriceTable:
    """Return the table in force: ``prices.toml`` of the home if it is there, else the one that came with us.

    A table of the lab's own that says nothing of a provider leaves that one to ours.

    Raises
    ------
    ConfigError
        The lab's own table cannot be read or does not have the form.
    """
    own = home / OWN_TABLE if home is not None else None
    if own is not None and own.exists():
        try:
            text = own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(OWN_TABLE, "cannot be read", next="check its permissions and encoding") from error
        tables = parse_price_tables(text)
        if provider in tables:
            return tables[provider]
    shipped = files("ecogsafe.service").joinpath("price_table.toml").read_text(encoding="utf-8")
    return parse_price_tables(shipped)[provider]


def price_table_for(url: str, home: Path) -> PriceTable | None:
    """Return the table that speaks of the store at ``url``; None for one that sends no bill.

    Raises
    ------
    ConfigError
        As `load_price_table`.
    """
    provider = next((p for p in PROVIDERS if url.startswith(f"{p}://")), None)
    return None if provider is None else load_price_table(home, provider=provider)


def parse_price_tables(text: str) -> dict[Provider, PriceTable]:
    """Return the tables that ``text`` (TOML) holds, by provider.

    Raises
    ------
    ConfigError
        It does not have the form of the table that comes with ecogsafe.
    """
    try:
        raw = tomllib.loads(text)
        tables: dict[Provider, PriceTable] = {S3: _table(raw, raw["transfer"], raw["s3"])}
        if AZURE in raw:
            azure = raw[AZURE]
            found = _table(azure, azure["transfer"], azure["tier"])
            tables[AZURE] = replace(found, usual="Hot", thaws_for_good=True)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(OWN_TABLE, f"is not TOML ({error})", next="mend it and run again") from error
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise ConfigError(
            OWN_TABLE,
            f"does not have the form of a price table ({type(error).__name__}: {error})",
            next="compare it with docs/restoring.md, mend it and run again",
        ) from error
    for table in tables.values():
        if table.usual not in table.classes:
            raise ConfigError(OWN_TABLE, f"has no class {table.usual}", next="mend it and run again")
    return tables


def _table(raw: Mapping[str, Any], transfer: Mapping[str, Any], classes: Mapping[str, Any]) -> PriceTable:
    return PriceTable(
        date=date.fromisoformat(str(raw["date"])),
        currency=raw["currency"],
        region=raw["region"],
        source=raw["source"],
        egress_gb=_money(transfer["egress_gb"]),
        egress_free_gb_per_month=int(transfer["egress_free_gb_per_month"]),
        classes={name: _class(price) for name, price in classes.items()},
    )


def _money(value: Any) -> Decimal:
    amount = Decimal(str(value))
    if amount < 0 or not amount.is_finite():
        raise ValueError(f"{value} is no price")
    return amount


def _class(raw: Mapping[str, Any]) -> ClassPrice:
    counts = ("minimum_days", "minimum_object_bytes", "overhead_bytes", "overhead_standard_bytes")
    unknown = set(raw) - {"gb_month", "put_per_1000", "get_per_1000", "retrieval", *counts}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)}")
    return ClassPrice(
        gb_month=_money(raw["gb_month"]),
        put_per_1000=_money(raw["put_per_1000"]),
        get_per_1000=_money(raw["get_per_1000"]),
        retrieval={tier: _retrieval(way) for tier, way in raw.get("retrieval", {}).items()},
        **{name: int(raw[name]) for name in counts if name in raw},
    )


def _retrieval(raw: Mapping[str, Any]) -> Retrieval:
    shortest, longest = raw["hours"]
    return Retrieval(
        _money(raw["gb"]), _money(raw["per_1000"]), (float(shortest), float(longest)), str(raw.get("name", ""))
    )
