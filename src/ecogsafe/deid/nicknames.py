"""Short and pet forms of given names, from the list shipped beside this module."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources

from ecogsafe.deid import spelling


@cache
def _by_form() -> dict[str, frozenset[str]]:
    """Return, for every form, all forms that stand in a line with it; lower-case, no accents."""
    found: dict[str, set[str]] = {}
    for group in groups():
        for form in group:
            found.setdefault(form, set()).update(group)
    return {form: frozenset(forms) for form, forms in found.items()}


def groups() -> Iterator[frozenset[str]]:
    """Yield the groups of the list; within one, every form stands for every other."""
    text = resources.files("ecogsafe.deid").joinpath("nicknames.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield frozenset("".join(spelling.parts_of(spelling.unaccented(form))) for form in line.split())


def other_forms(name: str) -> frozenset[str]:
    """Return the forms that stand for the given name ``name``, itself left out; lower-case, no accents."""
    plain = "".join(spelling.parts_of(spelling.unaccented(name)))
    return _by_form().get(plain, frozenset()) - {plain}


def is_given_name(name: str) -> bool:
    """Return whether ``name`` is a given name, or a short form of one, that the list has."""
    return spelling.unaccented(name) in _by_form()
