"""What the tables of the catalogue are made of: their collection and the column types of our own."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import BigInteger, Integer, MetaData, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Unsigned64(TypeDecorator[int]):
    """A number of 0 … 2**64-1 (CRC64, inode, device), kept as 16 hexadecimal digits.

    SQLite and PostgreSQL integers are signed, so a value with its top bit set would be refused or come
    back negative.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """Return the digits of ``value``."""
        if value is None:
            return None
        if not 0 <= value < 1 << 64:
            raise ValueError("not an unsigned 64-bit number")
        return f"{value:016x}"

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """Return the number."""
        return None if value is None else int(value, 16)


class TextTuple(TypeDecorator[tuple[str, ...]]):
    """A tuple of texts, kept as a JSON list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str:
        """Return the JSON text of ``value``."""
        return json.dumps(list(value or ()))

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...]:
        """Return the tuple."""
        return tuple(json.loads(value or "[]"))


#: a row number; SQLite numbers only a column declared INTEGER
ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()
