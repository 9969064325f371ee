"""Values that must not be seen: names, source paths, GUIDs. They print as a mask.

Only code that has to read or rename a source calls ``reveal()``; everything that prints, logs or
stores shows the mask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")


def mask(text: str) -> str:
    """Return ``text`` with each word cut to its first letter: ``Doe~ Jane`` gives ``D•••~ J•••``.

    Words of one letter and every digit run are hidden whole, so that a record number or a GUID shows nothing.
    What cannot be printed (a byte that is no UTF-8, an escape sequence) becomes U+FFFD.
    """
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

    def cut(match: re.Match[str]) -> str:
        word = match.group()
        return "•••" if len(word) < 2 or any(c.isdigit() for c in word) else f"{word[0]}•••"

    return _WORD.sub(cut, text)


@dataclass(frozen=True, slots=True)
class Private:
    """A private value; ``str``, ``repr`` and ``format`` give its mask, ``reveal`` the value."""

    _value: str

    def reveal(self) -> str:
        """Return the value itself; never for output."""
        return self._value

    def __str__(self) -> str:
        return mask(self._value)

    def __repr__(self) -> str:
        return f"Private({mask(self._value)!r})"

    def __format__(self, spec: str) -> str:
        return format(mask(self._value), spec)


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or key in memory; it never prints."""

    _value: bytes

    def reveal(self) -> bytes:
        """Return the bytes; never for output, never for an argument of a process."""
        return self._value

    def __str__(self) -> str:
        return "•••"

    __repr__ = __str__
