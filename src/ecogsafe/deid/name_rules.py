"""What may stand beside a name for it to count: the rules, and which one a name gets (DESIGN 5.2)."""

from __future__ import annotations

from enum import Enum

from ecogsafe.deid import spelling, words

#: Names below this many letters are short.
SHORT = 5
#: A part of a compound name, and a middle name, is searched alone from so many letters on.
_PART_LETTERS = 3


class Rule(Enum):
    """What may stand beside a term; the value is a clause for the plan."""

    ANYWHERE = "counts anywhere, also inside a longer word"
    WORD = "counts where no letter stands beside it"
    LABEL = "counts where neither a letter nor a digit stands beside it"
    NUMBER = "counts where its digits or letters do not go on"
    JOINED = "counts only together with another name of the person"
    NEAR = "counts in free text also with one letter wrong"
    SHORT_FORM = "counts in free text also in its short forms"
    NOT_SEARCHED = "too short or too general to be searched"


def letters_in(text: str) -> int:
    """Return how many letters ``text`` has."""
    return sum(c.isalpha() for c in text)


def _is_caseless(text: str) -> bool:
    """Whether ``text`` is in a script without upper and lower case, which is also one without word edges."""
    return any(c.isalpha() for c in text) and text.lower() == text.upper()


def name_rule(name: str, *, whole: bool, other: bool) -> tuple[Rule, str]:
    """Return the rule for the name ``name`` searched alone, and why.

    Parameters
    ----------
    whole
        The name is a whole last, first or additional name, not a middle name or a part of a compound.
    other
        The name belongs to another subject than the file.
    """
    letters = letters_in(name)
    plain = spelling.unaccented(name)
    if plain in words.PARTICLES:
        return Rule.JOINED, "a particle or a title"
    if _is_caseless(name):
        return (Rule.ANYWHERE, "a script without word edges") if letters > 1 else (Rule.JOINED, "one letter")
    if letters < 2:
        return Rule.JOINED, "one letter"
    if other and (letters < 3 or words.is_everyday(plain)):
        return Rule.JOINED, "an everyday word or two letters, of another subject"
    if not whole and letters < _PART_LETTERS:
        return Rule.JOINED, "a short part of a name"
    if letters < SHORT:
        return Rule.LABEL, "short"
    if words.is_common(plain):
        return Rule.LABEL, "an ordinary word"
    if words.is_inside_a_word(plain):
        return Rule.WORD, "inside an ordinary word"
    if other:
        return Rule.WORD, "of another subject"
    return (Rule.ANYWHERE, "") if whole else (Rule.WORD, "a part of a name")
