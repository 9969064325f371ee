"""JSON Lines on standard output: one event a line, flushed, so that a script sees it at once."""

from __future__ import annotations

import json

from ecogsafe.core.events import Event, as_record
from ecogsafe.ui.cli.streams import say


def write_line(event: Event) -> None:
    """Write one event."""
    say(json.dumps(as_record(event), ensure_ascii=False, default=str))
