"""When two names are one name: case, accents, digraphs, spaces and punctuation do not count.

``Møller``, ``Moller`` and ``Moeller`` are one name, ``Weiß`` and ``Weiss`` are, and so are ``Yıldız`` and ``YILDIZ``.
A name has a *key* (without accents) and further ones for the digraphs by which accents are avoided; two names are
one where they share a key. Which digraphs count is decided where texts are searched for them (`spelling.accents`),
so that what is recognised is also found.
"""

from __future__ import annotations

from functools import lru_cache

from ecogsafe.deid import spelling


def name_key(name: str) -> str:
    """Return what is left of ``name`` when case, accents, spaces and punctuation do not count."""
    return "".join(c for c in spelling.unaccented(name.casefold()) if c.isalnum())


@lru_cache(maxsize=8192)
def name_keys(name: str) -> frozenset[str]:
    """Return every key of ``name``; none for one without a letter or digit."""
    # not what an umlaut in place of its digraph would be without its dots: "Boer" may be "Bör", and is never "Bor"
    plain = (written for written in spelling.accents(name) if written.isascii())
    return frozenset(key for written in (name, *plain) if (key := name_key(written)))


def same_name(a: str, b: str) -> bool:
    """Return whether ``a`` and ``b`` are one name, both known."""
    return not name_keys(a).isdisjoint(name_keys(b))
