"""The only place that asks the machine what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


def utc_stamp() -> str:
    """Return the present time as ``2026-01-02T03:04:05.678901Z``; sorts as text."""
    return stamp_of(utc_now())


def stamp_of(at: datetime) -> str:
    """Return an aware time in the form of `utc_stamp`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def monotonic() -> float:
    """Return seconds of a clock that never goes back; only differences mean anything."""
    return time.monotonic()
