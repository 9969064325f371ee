"""How fast and when a command may move bytes, as the user asked: ``--limit-rate``, ``--between``."""

from __future__ import annotations

from ecogsafe.core.config import Settings, clinical_zone
from ecogsafe.core.pacing import parse_rate, parse_window
from ecogsafe.service.running import Run
from ecogsafe.stores.limited import Rate
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pace import Pace


def pace_of(run: Run, settings: Settings, meter: Meter, *, limit_rate: str | None, between: str | None) -> Pace:
    """Return the pace of ``run``; ``meter`` tells when it waits.

    The times of ``between`` are those of the recording site (``time_zone`` in config.toml), else of this machine.

    Raises
    ------
    UsageError
        One of them cannot be understood.
    """
    zone = clinical_zone(settings.time_zone) if settings.time_zone is not None else None
    meter.window = parse_window(between, zone) if between is not None else None
    return Pace(
        meter.window,
        rate=Rate(parse_rate(limit_rate)) if limit_rate is not None else None,
        stop=run.stop,
        on_change=meter.wait_for,
    )
