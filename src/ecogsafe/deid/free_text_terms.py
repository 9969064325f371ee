"""What a line of free text about a person says: names, record numbers, dates.

Legacy EDF headers and notes of the lab come as one text, ``Doe Jane F 24/09/1996 MRN 00471100``. Searched as a
whole it is found nowhere else, so its parts are searched too; those that are ordinary words, abbreviations or short
numbers are not identifiers by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.deid import nicknames, ordinary, spelling, words
from ecogsafe.deid.birth_dates import possible_dates
from ecogsafe.deid.name_rules import SHORT, Rule, letters_in, name_rule

_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_DATE = re.compile(
    r"(?<![\w./-])(?:\d{4}([-/._])\d{1,2}\1\d{1,2}|\d{1,2}([-/._])\d{1,2}\2\d{4}|\d{8}"
    rf"|\d{{1,2}}[-/._ ]*{_MONTH}[-/._, ]*\d{{4}}|{_MONTH}[-/._ ]*\d{{1,2}}[-/._, ]+\d{{4}})"
    r"(?![\w]|[./-]\d)",
    re.IGNORECASE,
)
#: Stand before the date of birth ...
_BIRTH = re.compile(r"(?:\b(?:dob|d\.o\.b\.?|born|birth\w*|bd|geb\w*|nac\w*)|\*)\W{0,4}$", re.IGNORECASE)
#: ... and before dates of service, which are no identifiers (DESIGN 2).
_SERVICE = re.compile(
    r"\b(?:(?:start|rec|exam|stud|visit|adm|implant|surg|test)\w*\W{1,4}(?:(?:of|on|at|from)\W{1,4})?"
    r"|(?:date|from|to|on|until|since)\W{1,4})$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\w@.])[a-z]{0,8}[:#]?\d(?:[-./]?[0-9a-z])*(?![\w@])", re.IGNORECASE)
_NUMBER_LABEL = re.compile(
    r"\b(?:mrn|id|pid|no|nr|num\w*|pat\w*|rec\w*|chart|hosp\w*|acc\w*|case)\W{0,3}$", re.IGNORECASE
)
_LABEL_IN_NUMBER = re.compile(r"(?:mrn|id|pid|no|nr|patid)[:#]?(?=\d)", re.IGNORECASE)
_NAME = re.compile(r"(?<![\w@\\/.])[^\W\d_]+(?:['’-][^\W\d_]+)*(?![\w@\\]|\.\w)")
#: Whole pieces that are no words of a person: an address of mail or of a machine, a path.
_MACHINE = re.compile(r"\S*(?:@|\\|://)\S*")

_LEAST_DIGITS, _LEAST_LABELLED_DIGITS = 6, 4
#: Capitalised, short, and no names.
_ABBREVIATIONS = words.word_set(
    """
    abn acc adm ant apt ave avg bday bed bld blvd chop cns csf dept dob dsa ecg ecog eeg ekg emg emu eog eval ext fax
    fem fri gen gtc her his hosp icu ieeg inf jan feb mar apr jun jul aug sep sept oct nov dec ltm male masc mon mri mrn
    neuro nicu nkda nos npo num nurs occ ofc para pat patid peds phd phn phone picu pid pnes poc pod post prof pts rec
    ref rehab rns rte sat sedn sex sgt sos spec sqr stat std ste sun supt surg tel thu thur tia tmp tue unk unit univ
    usa vns wed wks yob yrs
    """
)


@dataclass(frozen=True, slots=True)
class FreeTextParts:
    """The parts of one text that are searched alone, as they stand there."""

    names: tuple[str, ...]
    numbers: tuple[str, ...]
    dates: tuple[str, ...]


def split_free_text(text: str, *, birth_date_known: bool = False) -> FreeTextParts:
    """Return the names, record numbers and dates of birth in ``text``; nothing for a single word or number.

    Parameters
    ----------
    birth_date_known
        A date that nothing says is a date of birth is then taken for a date of service.
    """
    spaced = _MACHINE.sub(" ", text.replace("_", " "))
    if len(re.findall(r"\w+", spaced)) < 2 or not any(c.isdigit() for c in spaced):
        return FreeTextParts((), (), ())
    dates = tuple(_dates(spaced, birth_date_known=birth_date_known))
    undated = _DATE.sub(lambda found: " " if possible_dates(found[0]) and len(found[0]) != 8 else found[0], spaced)
    numbers = tuple(dict.fromkeys(_numbers(undated)))
    return FreeTextParts(tuple(dict.fromkeys(_names(undated))), numbers, dates)


def _dates(text: str, *, birth_date_known: bool) -> Iterator[str]:
    for found in _DATE.finditer(text):
        before = text[: found.start()]
        if not possible_dates(found[0]):
            continue
        if _BIRTH.search(before) or not (birth_date_known or _SERVICE.search(before)):
            yield found[0]


def _numbers(text: str) -> Iterator[str]:
    for found in _NUMBER.finditer(text):
        labelled = _LABEL_IN_NUMBER.match(found[0])
        number = found[0][labelled.end() :] if labelled else found[0]
        least = _LEAST_DIGITS
        if labelled or _NUMBER_LABEL.search(text[: found.start()]):
            least = _LEAST_LABELLED_DIGITS
        if sum(c.isdigit() for c in number) >= _LEAST_LABELLED_DIGITS and sum(c.isalnum() for c in number) >= least:
            yield number


def _names(text: str) -> Iterator[str]:
    found = _NAME.findall(text)
    sure = [_is_unusual(word) or (_may_be_short(word) and nicknames.is_given_name(word)) for word in found]
    for index, word in enumerate(found):
        beside = any(sure[i] for i in (index - 1, index + 1) if 0 <= i < len(found))
        if sure[index] or (beside and _may_be_short(word)):
            yield word


def _is_unusual(word: str) -> bool:
    """Return whether ``word`` is long enough, and no ordinary word, to be a name by itself."""
    plain = spelling.unaccented(word)
    rule, _ = name_rule(word, whole=False, other=False)
    is_general = words.is_common(plain) or ordinary.is_ordinary(plain) or plain in _ABBREVIATIONS
    return letters_in(word) >= SHORT and rule in (Rule.WORD, Rule.ANYWHERE) and not is_general


def _may_be_short(word: str) -> bool:
    """Return whether ``word`` is a short capitalised one that may be a name: ``Doe``, ``DOE``."""
    plain = spelling.unaccented(word)
    is_general = words.is_common(plain) or ordinary.is_ordinary(plain) or plain in _ABBREVIATIONS
    return 3 <= letters_in(word) < SHORT and word[0].isupper() and not is_general and plain not in words.PARTICLES
