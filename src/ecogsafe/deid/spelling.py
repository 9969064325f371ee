"""The ways one name, record number or term is written: accents, digraphs, joins, separators.

Everything here is text to text, lower- or mixed-case; `ecogsafe.deid.encoded` adds cases and encodings.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
import uuid
from collections.abc import Iterator

from ecogsafe.deid import words

#: Letters that Unicode does not decompose, and the digraphs by which German, Danish and others avoid accents.
_PLAIN = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i"}
)
_DIGRAPHS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "æ": "ae", "å": "aa", "œ": "oe", "đ": "dj"}
)
_UMLAUTS = (("ae", "ä"), ("oe", "ö"), ("ue", "ü"))
_NORDIC = (("ae", "æ"), ("oe", "ø"), ("aa", "å"))

#: A vowel that may have lost its dots: not beside another vowel, which it would be said with.
_MAY_BE_UMLAUT = re.compile(r"(?<![aeiouq])[aou](?![aeiou])|(?<![aeiouq])a(?=u)")
_DIGRAPH = re.compile(r"(?<![aeiouq])(?:ae(?![aeio])|[ou]e(?![aeiou]))")
_LEAST_FOR_DIGRAPHS = 4
_MOST_UMLAUTS = 2

#: What stands between the parts of a name: "O'Brien-Smith", "van der Berg".
_PART = re.compile(r"[\s\-‐-―_'’ʼ`´.,/~+]+")
#: ... without apostrophes: "O'Brien" is one part here.
_WORD = re.compile(r"[\s\-‐-―_.,/~+]+")
_PART_JOINS = (" ", "-", "_", "", "'", "’", ".")
#: What stands between two names: "Doe, Jane", "Doe~ Jane", "Doe^Jane" …
_NAME_JOINS = (
    " ",
    "_",
    ", ",
    ",",
    "~ ",
    "~",
    "-",
    ".",
    "^",
    "; ",
    ";",
    "__",
    "  ",
    "/",
    "+",
    "|",
    "\t",
    "%20",
)

_NOT_ALNUM = re.compile(r"[^0-9A-Za-z]+")


def parts_of(name: str) -> list[str]:
    """Return the parts of ``name``: ``O'Brien-Smith`` gives ``O``, ``Brien``, ``Smith``."""
    return [p for p in _PART.split(name) if p]


def words_of(name: str) -> list[str]:
    """Return the words of ``name``: ``O'Brien-Smith`` gives ``O'Brien``, ``Smith``."""
    return [p for p in _WORD.split(name) if p]


def unaccented(name: str) -> str:
    """Return ``name``, lower-case, without accents: ``é`` gives ``e``, ``ß`` gives ``ss``."""
    decomposed = unicodedata.normalize("NFKD", name.lower().translate(_PLAIN))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(_PLAIN)


def accents(name: str) -> Iterator[str]:
    """Yield ``name`` and its spellings with, without and instead of accents, composed and decomposed."""
    composed = unicodedata.normalize("NFC", name.lower())
    digraphs = unaccented(composed.translate(_DIGRAPHS))
    spellings = [composed, unaccented(composed), digraphs]
    if composed.isascii():
        for pairs in (_UMLAUTS, _NORDIC):
            umlauts = composed
            for pair, letter in pairs:
                umlauts = umlauts.replace(pair, letter)
            spellings.append(umlauts)
        spellings += _without_umlauts(composed)
    for spelling in dict.fromkeys(spellings):
        yield spelling
        yield unicodedata.normalize("NFD", spelling)


def _without_umlauts(name: str) -> Iterator[str]:
    """Yield ``Mueller`` for ``Muller`` and ``Muller`` for ``Mueller``: both are ``Müller`` as somebody typed it.

    Short names stay as they are, and no ordinary word is made of a name.
    """
    if sum(c.isalpha() for c in name) < _LEAST_FOR_DIGRAPHS:
        return
    places = [m.end() for m in _MAY_BE_UMLAUT.finditer(name)]
    most = len(places) if len(places) <= _MOST_UMLAUTS else 1
    written = [
        "".join(c + ("e" if at in chosen else "") for at, c in enumerate(name, 1))
        for count in range(1, most + 1)
        for chosen in itertools.combinations(places, count)
    ]
    # "ue" after "q" or a vowel is none of them: Queen, Bauer
    written += (
        _DIGRAPH.sub(lambda m: m[0][0], name),
        *(name[: m.start() + 1] + name[m.end() :] for m in _DIGRAPH.finditer(name)),
    )
    for text in written:
        plain = sum(c.isalpha() for c in text) >= _LEAST_FOR_DIGRAPHS
        if text != name and plain and not words.is_common(text) and not words.is_inside_a_word(text):
            yield text


def whole_name(name: str) -> Iterator[str]:
    """Yield the spellings of a whole name, its parts joined in every usual way.

    The first one is the name as it stands. The same text can come more than once.
    """
    for spelling in accents(name):
        yield spelling
        yield spelling.replace(" ", "_")  # as EDF+ writes it
        for parts in (words_of(spelling), parts_of(spelling)):
            if len(parts) > 1:
                yield from (join.join(parts) for join in _PART_JOINS)


def _run_together(name: str) -> dict[str, None]:
    return dict.fromkeys(text for s in accents(name) for text in (s, "".join(words_of(s)), "".join(parts_of(s))))


def both_names(last: str, first: str, *, separated: bool) -> Iterator[str]:
    """Yield ``last`` and ``first`` written as one: ``DoeJane``, ``JaneDoe``.

    With ``separated`` also ``Doe, Jane``, ``Doe~ Jane``, ``Jane_Doe`` and so on: needed only where a
    name is not searched alone, because a separator ends a word.
    """
    for a, b in itertools.product(_run_together(last), _run_together(first)):
        yield a + b
        yield b + a
    if separated:
        for a, b in itertools.product(dict.fromkeys(accents(last)), dict.fromkeys(accents(first))):
            for join in _NAME_JOINS:
                yield a + join + b
                yield b + join + a


def with_initial(last: str, first: str) -> Iterator[str]:
    """Yield logins such as ``jdoe`` and ``doej``."""
    initial = unaccented(first)[:1]
    plain = "".join(parts_of(unaccented(last)))
    yield initial + plain
    yield plain + initial


def record_number(mrn: str) -> Iterator[str]:
    """Yield ``mrn`` as it stands, without separators, and without leading zeros."""
    bare = _NOT_ALNUM.sub("", mrn)
    for text in (mrn, bare):
        yield text.lower()
        yield text.lstrip("0").lower()


def telephone(text: str) -> Iterator[str]:
    """Yield the usual ways to write ``text`` if it is a telephone number, else nothing.

    Ten digits (or eleven after a leading 1) are grouped as in North America; others lose their separators.
    """
    digits = _NOT_ALNUM.sub("", text)
    if not digits.isdecimal() or not 7 <= len(digits) <= 15:
        return
    yield digits
    local = digits[1:] if len(digits) == 11 and digits[0] == "1" else digits
    if len(local) == 10:
        area, exchange, line = local[:3], local[3:6], local[6:]
        yield local
        yield f"({area}) {exchange}-{line}"
        yield f"({area}){exchange}-{line}"
        for sep in "-. _/":
            yield sep.join((area, exchange, line))


def guid(text: str) -> uuid.UUID | None:
    """Return the GUID that ``text`` is, in any of its written forms; None for anything else."""
    bare = text.strip().strip("{}").replace("-", "").replace("_", "")
    if len(bare) != 32:
        return None
    try:
        return uuid.UUID(bare)
    except ValueError:
        return None
