"""What messages call a file that is not below OUT: its name where that is made of a code, else its mask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.core.private import Private
from ecogsafe.deid.layout import CODE

_WORDS = r"vid|edf|video|vtc|snc|text|decimated"
_OURS = re.compile(rf"{CODE}(?:_(?:{_WORDS}|\d{{1,6}}))*(?:\.[a-z][a-z0-9]{{0,4}}){{0,4}}", re.ASCII | re.IGNORECASE)


def shown_name(name: str) -> str:
    """Return ``name`` if a code, numbers, known words and extensions are all there is to it; else its mask."""
    return name if _OURS.fullmatch(name) else str(Private(name))


def shown_path(path: str) -> str:
    """Return ``path`` with each of its components as `shown_name` has it."""
    return "/".join(shown_name(part) for part in path.split("/"))


@contextmanager
def key_hidden(key: str) -> Iterator[None]:
    """Let the errors of the block show ``key``, which may hold a name, as `shown_path` has it."""
    try:
        yield
    except EcogsafeError as error:
        shown = shown_path(key)
        for name in ("item", "problem", "safe", "next"):
            setattr(error, name, getattr(error, name).replace(key, shown))
        error.args = (error.item, error.problem)
        raise


def code_in(name: str) -> str | None:
    """Return the code that a name of our form begins with; None for others."""
    return name[:8] if _OURS.fullmatch(name) and re.match(CODE, name) else None
