"""recipients.txt in the form that ``age -R`` reads: a comment names the key in the line below it."""

from __future__ import annotations

from collections.abc import Iterable


def from_labels(keys: Iterable[str]) -> str:
    """Return recipients.txt from ``label: age1…`` or ``age1…``, as a recovery sheet has them."""
    lines: list[str] = []
    for entry in keys:
        label, _, key = entry.rpartition(": ")
        lines += [f"# {label}", key] if label else [key]
    return "".join(f"{line}\n" for line in lines)


def with_labels(recipients: str) -> list[str]:
    """Return the keys of recipients.txt as a recovery sheet has them."""
    found: list[str] = []
    label = ""
    for line in filter(None, map(str.strip, recipients.splitlines())):
        if line.startswith("#"):
            label = line.lstrip("# ").replace(":", " ")
        else:
            found.append(f"{label}: {line}" if label else line)
            label = ""
    return found
