"""JSON Lines on standard output: one event a line, flushed, so that a script sees it at once."""

from __future__ import annotations

import json
import sys

from ecogsafe.core.events import Event, as_record


def write_line(event: Event) -> None:
    """Write one event."""
    sys.stdout.write(json.dumps(as_record(event), ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
