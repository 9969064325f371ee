"""The JSON Lines contract (DESIGN 4), checked on the output of every command that is run with ``--json``."""

from __future__ import annotations

import json
import re
from typing import Any

#: fields that are always there, and their types
ALWAYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "item": {"action": str, "status": str},
    "progress": {
        "files_done": int,
        "files_total": (int, type(None)),
        "bytes_done": int,
        "bytes_total": (int, type(None)),
        "bytes_per_s": (int, float),
        "seconds_left": (int, float, type(None)),
    },
    "finding": {"id": str, "path": str, "offset": int, "encoding": str, "kind": str, "masked": str},
    "error": {"code": str, "exit_status": int, "message": str, "safe": str, "next": str},
    "summary": {
        "command": str,
        "exit_status": int,
        "files": dict,
        "bytes": int,
        "seconds": (int, float),
        "counts": dict,
    },
}
#: fields an item has where they mean something
ITEM_FIELDS: dict[str, type] = {
    "subject": str,
    "segment": int,
    "path": str,
    "key": str,
    "store": str,
    "bytes": int,
    "digest": str,
    "message": str,
    "details": dict,
}
ITEM_STATUSES = {"done", "present", "skipped", "failed", "left_behind", "conflict", "planned", "note"}
FILE_COUNTS = {"done", "skipped", "failed", "left_behind"}
_CODE = re.compile(r"[a-f][0-9a-f]{7}")


def check_stream(out: str, status: int) -> None:
    """Raise AssertionError unless ``out`` is what a script may rely on for a process that ended with ``status``."""
    lines = out.splitlines()
    assert lines, "nothing on standard output"
    events = [json.loads(line) for line in lines]
    for event in events:
        check_event(event)
    assert [e["message_type"] for e in events].count("summary") == 1, "not exactly one summary"
    last = events[-1]
    assert last["message_type"] == "summary", f"the last line is {last}"
    assert last["exit_status"] == status, f"the summary says {last['exit_status']}, the process {status}"


def check_event(event: dict[str, Any]) -> None:
    """Raise AssertionError unless one record has the fields of its type."""
    kind = event["message_type"]
    for name, wanted in ALWAYS[kind].items():
        assert name in event, f"{kind} without {name}: {event}"
        assert isinstance(event[name], wanted), f"{kind}.{name} is {event[name]!r}"
    if kind == "item":
        assert event["status"] in ITEM_STATUSES, event
        for name, value in event.items():
            assert name in ("message_type", "action", "status") or isinstance(value, ITEM_FIELDS[name]), event
        assert _CODE.fullmatch(event.get("subject", "a0000000")), event
    if kind == "summary":
        assert set(event["files"]) >= FILE_COUNTS, event
        assert all(isinstance(n, int) for n in event["files"].values()), event
