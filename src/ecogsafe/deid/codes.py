"""Subject codes: eight lower-case hexadecimal digits, the first a letter, from the system's random source.

A code says nothing about the person: it is drawn, never derived (45 CFR 164.514(c)).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Container

_CODE = re.compile(r"[a-f][0-9a-f]{7}")


def is_code(text: str) -> bool:
    """Return whether ``text`` has the form of a subject code."""
    return _CODE.fullmatch(text) is not None


def new_code(taken: Container[str]) -> str:
    """Return a code that is not in ``taken``."""
    while True:
        code = secrets.choice("abcdef") + f"{secrets.randbits(28):07x}"
        if code not in taken:
            return code
