"""Ordinary words, by which the search for misspelt names is kept from destroying text (`ecogsafe.deid.near`).

A patient named Parsons must not cost every ``persons`` of the annotations. The words are those of
`ecogsafe.deid.words` and a longer list shipped beside this module, each with its usual endings.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources

from ecogsafe.deid import words

#: Words of `words.COMMON` that a staff member who types them means as a name: one letter away from the patient's
#: name, they are taken for it.
RATHER_NAMES = words.word_set(
    """
    abbott archer bailey barker brooks carter chandler cooper daisy foster garland glover graham grant hayes hazel
    hobbs holly holmes jasper jordan kirk logan lowe lynn lyons mason mills myers nelson nolan owens palmer parker
    parson parsons perry pierce piper potter pratt ralph ramsay ramsey randal reese robin sawyer scott shaw
    shepherd sommer spencer stokes stubbs tanner taylor terry torres travis tucker tyler underwood vogel wagner waller
    warner webb wells wheeler whittle wills winters wray yates
    """
)

_LEAST_STEM = 2
#: ending -> what may have stood in its place
_ENDINGS = (
    ("iest", "y"), ("iness", "y"), ("ations", "ate"), ("ation", "ate"), ("ments", ""), ("ment", ""), ("ness", ""),
    ("less", ""), ("able", ""), ("ions", ""), ("ings", ""), ("ies", "y"), ("ied", "y"), ("ier", "y"), ("ily", "y"),
    ("ing", ""), ("ers", ""), ("ors", ""), ("est", ""), ("ful", ""), ("ion", ""), ("ed", ""), ("er", ""), ("or", ""),
    ("es", ""), ("ly", ""), ("al", ""), ("s", ""), ("y", ""),
)  # fmt: skip
_BEGINNINGS = re.compile("(?:un|re|dis|mis|non|over|under|out|pre|post)")


@cache
def _listed() -> frozenset[str]:
    text = resources.files("ecogsafe.deid").joinpath("ordinary_words.txt").read_text(encoding="utf-8")
    shipped = {word for line in text.splitlines() if not line.startswith("#") for word in line.split()}
    return (words.EVERYDAY | words.COMMON | words.VOCABULARY | shipped) - RATHER_NAMES


def is_listed(word: str) -> bool:
    """Return whether ``word`` itself, without a further ending, is an ordinary word or one that is also a name."""
    return word in _listed() or word in RATHER_NAMES


@lru_cache(maxsize=65_536)
def is_ordinary(word: str) -> bool:
    """Return whether ``word`` (lower-case, no accents) is an ordinary word, with or without a usual ending."""
    if word in RATHER_NAMES:
        return False
    if _is_form_of_a_word(word):
        return True
    beginning = _BEGINNINGS.match(word)
    return beginning is not None and _is_form_of_a_word(word[beginning.end() :])


def _is_form_of_a_word(word: str) -> bool:
    listed = _listed()
    if word in listed:
        return True
    for ending, instead in _ENDINGS:
        if not word.endswith(ending):
            continue
        stem = word[: -len(ending)] + instead
        if len(stem) < _LEAST_STEM:
            continue
        undoubled = stem[:-1] if stem[-1] == stem[-2] else ""
        if stem in listed or stem + "e" in listed or (len(undoubled) >= _LEAST_STEM and undoubled in listed):
            return True
    return False
