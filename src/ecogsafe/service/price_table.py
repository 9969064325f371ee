"""What providers charge: a dated data file that a lab can replace by its own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import Any

from ecogsafe.core.errors import ConfigError

#: the lab's own table, in the home
OWN_TABLE = "prices.toml"
#: bytes of the GB that the table counts in
GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One way of getting data back out of a class."""

    per_gb: Decimal
    per_1000: Decimal
    #: shortest and longest wait, hours
    hours: tuple[float, float]


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
    #: and at STANDARD
    overhead_standard_bytes: int = 0
    #: by tier: "Bulk", "Standard", "Expedited"
    retrieval: Mapping[str, Retrieval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """Everything a price can be looked up in."""

    date: date
    currency: str
    region: str
    source: str
    egress_gb: Decimal
    egress_free_gb_per_month: int
    classes: Mapping[str, ClassPrice]

    def of(self, storage_class: str | None) -> ClassPrice | None:
        """Return the prices of a class; None stands for STANDARD, an unknown class has none."""
        return self.classes.get(storage_class or "STANDARD")

    @property
    def standing(self) -> str:
        """What is printed beside every estimate."""
        return (
            f"list prices of {self.date.isoformat()}, {self.region}; taxes, discounts and failed requests not counted"
        )


def load_price_table(home: Path | None = None) -> PriceTable:
    """Return the table in force: ``prices.toml`` of the home if it is there, else the one that came with us.

    Raises
    ------
    ConfigError
        The lab's own table cannot be read or does not have the form.
    """
    own = home / OWN_TABLE if home is not None else None
    if own is None or not own.exists():
        return parse_price_table(files("ecogsafe.service").joinpath("price_table.toml").read_text(encoding="utf-8"))
    try:
        text = own.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(OWN_TABLE, "cannot be read", next="check its permissions and encoding") from error
    return parse_price_table(text)


def parse_price_table(text: str) -> PriceTable:
    """Return the table that ``text`` (TOML) holds.

    Raises
    ------
    ConfigError
        It does not have the form of the table that comes with ecogsafe.
    """
    try:
        raw = tomllib.loads(text)
        transfer = raw["transfer"]
        return PriceTable(
            date=date.fromisoformat(str(raw["date"])),
            currency=raw["currency"],
            region=raw["region"],
            source=raw["source"],
            egress_gb=_money(transfer["egress_gb"]),
            egress_free_gb_per_month=int(transfer["egress_free_gb_per_month"]),
            classes={name: _class(price) for name, price in raw["s3"].items()},
        )
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(OWN_TABLE, f"is not TOML ({error})", next="mend it and run again") from error
    except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
        raise ConfigError(
            OWN_TABLE,
            f"does not have the form of a price table ({type(error).__name__}: {error})",
            next="compare it with docs/costs.md, mend it and run again",
        ) from error


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
    return Retrieval(_money(raw["gb"]), _money(raw["per_1000"]), (float(shortest), float(longest)))
