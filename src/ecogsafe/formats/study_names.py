"""Names of the files of a study: ``<stem>.ext``, ``<stem>_001.erd``, ``<stem>_0000.avi`` (FORMATS 1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(r"_[0-9]{3,6}")
_NUMBER_AT_END = re.compile(r"_[0-9]{3,6}$")


def guid_in(name: str) -> str | None:
    """Return the study GUID that ``name`` holds, as written; the last one where it holds several."""
    found = GUID.findall(name)
    return found[-1] if found else None


def number_suffix(name: str, *, stems: Sequence[str] = ()) -> str:
    """Return the ``_001`` or ``_0000`` at the end of ``name`` (without extension), or an empty text.

    What follows one of ``stems``, or else a GUID, decides; only a name that has neither is judged by
    its ending, because a stem such as ``Doe_300`` ends like a segment number.
    """
    for stem in stems:
        if name[: len(stem)].casefold() == stem.casefold():
            rest = name[len(stem) :]
            if not rest or _NUMBER.fullmatch(rest):
                return rest
    guids = list(GUID.finditer(name))
    if guids:
        rest = name[guids[-1].end() :]
        return rest if _NUMBER.fullmatch(rest) else ""
    found = _NUMBER_AT_END.search(name)
    return found.group() if found else ""


def common_stem(names: Sequence[str]) -> str | None:
    """Return the shortest of ``names`` if all others (at least one) are it plus a number, else None."""
    shortest = min(names, key=len, default="")
    others = [name for name in names if name != shortest]
    if not shortest or not others:
        return None
    fits = all(name.startswith(shortest) and _NUMBER.fullmatch(name[len(shortest) :]) for name in others)
    return shortest if fits else None
