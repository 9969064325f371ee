"""Which entries of an export are about the person asked for, and which about somebody else. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ecogsafe.core.errors import MixedPatientsError
from ecogsafe.deid.birth_dates import possible_dates
from ecogsafe.deid.identifiers import Identifiers, Likeness, mrn_key, same_person
from ecogsafe.deid.name_keys import name_key, same_name
from ecogsafe.formats.found import Discovery, LooseRecording, PersonHints, StudyFolder, TextOutput

Source = StudyFolder | LooseRecording | TextOutput
#: True: about this person; False: about another; None: says nothing.
Belongs = Callable[[PersonHints, str], bool | None]

#: Hospital form: ``Last~ First_GUID`` (FORMATS 1).
_HOSPITAL_NAME = re.compile(r"(?P<last>[^~]+)~\s*(?P<first>[^_~]*)")
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Shares:
    """The entries of an export, divided by whom they are about."""

    ours: tuple[Source, ...]
    others: tuple[Source, ...]
    #: say nothing of anybody, and the export holds other people: nobody can tell
    unclear: tuple[Source, ...]
    #: of ``ours``: say nothing of anybody, taken to belong because the export names nobody else
    unnamed: tuple[Source, ...]


def stem_of(source: Source) -> str:
    """Return the name of an entry without its extension."""
    return source.file.path.stem if isinstance(source, TextOutput) else source.stem


def belongs_to(person: Identifiers) -> Belongs:
    """Return the question "is an entry with these hints and this name about ``person``?"."""

    def belongs(hints: PersonHints, stem: str) -> bool | None:
        seen = Identifiers.from_hints([hints])
        answer = None if _says_nobody(seen) else _agree(person, seen)
        return _by_name(person, stem) if answer is None else answer

    return belongs


def divide(discovery: Discovery, belongs: Belongs, person: Identifiers | None = None) -> Shares:
    """Return whose every entry is.

    Parameters
    ----------
    person
        Who is meant, if known: entries that fit fully may then differ in name (before and after marriage).

    Raises
    ------
    MixedPatientsError
        Entries that fit the identifiers contradict each other: they are about several people.
    """
    sources: tuple[Source, ...] = (*discovery.studies, *discovery.recordings, *discovery.texts)
    answers = [(source, _ask(source, discovery, belongs)) for source in sources]
    ours = [s for s, answer in answers if answer]
    others = tuple(s for s, answer in answers if answer is False)
    silent = tuple(s for s, answer in answers if answer is None)
    _refuse_mixed([s.person for s in ours], person or Identifiers())
    if others:
        return Shares(tuple(ours), others, silent, ())
    return Shares((*ours, *silent), (), (), silent)


def _ask(source: Source, discovery: Discovery, belongs: Belongs) -> bool | None:
    """Ask the entry itself, then the folders it lies in, up to the export."""
    answer = belongs(source.person, stem_of(source))
    path = source.path if isinstance(source, StudyFolder) else source.file.path
    for folder in path.parents:
        if answer is not None or not folder.is_relative_to(discovery.root) or folder == discovery.root:
            break
        answer = belongs(PersonHints(), folder.name)
    return answer


def _refuse_mixed(hints: Sequence[PersonHints], person: Identifiers) -> None:
    people = [Identifiers.from_hints([h]) for h in dict.fromkeys(hints)]
    people = [p for p in people if not _says_nobody(p)]
    for i, one in enumerate(people):
        for other in people[i + 1 :]:
            if _contradict(one, other, both_sure=_fits_fully(person, one) and _fits_fully(person, other)):
                raise MixedPatientsError(
                    "EXPORT",
                    "the identifiers fit recordings of more than one person",
                    next="give more identifiers (--first-name, --mrn, --birth-date, or --identifiers -)",
                )


def _contradict(a: Identifiers, b: Identifiers, *, both_sure: bool) -> bool:
    """Return whether two entries cannot be about one person; names may differ where ``both_sure``."""
    mrn_a, mrn_b = mrn_key(a.mrn), mrn_key(b.mrn)
    days_a, days_b = possible_dates(a.birth_date), possible_dates(b.birth_date)
    if mrn_a and mrn_b and mrn_a != mrn_b:
        return True
    if days_a and days_b and not set(days_a) & set(days_b) and not (mrn_a and mrn_a == mrn_b):
        return True
    return not both_sure and _agree(a, b) is False


def _fits_fully(person: Identifiers, seen: Identifiers) -> bool:
    """Return whether more than the last name says that ``seen`` is ``person``."""
    for order in _orders(seen):
        likeness = same_person(person, order)
        both_names = bool(name_key(person.first_name) and name_key(order.first_name))
        if likeness is Likeness.SAME or (likeness is Likeness.SAME_NAME_ONLY and both_names):
            return True
    return False


def _says_nobody(seen: Identifiers) -> bool:
    return not (name_key(seen.last_name) or name_key(seen.first_name) or mrn_key(seen.mrn) or seen.birth_date)


def _agree(a: Identifiers, b: Identifiers) -> bool | None:
    """Return whether two sets of identifiers can be one person's; None if they cannot be compared."""
    mrn_a, mrn_b = mrn_key(a.mrn), mrn_key(b.mrn)
    named = bool(a.last_name or a.first_name) and bool(b.last_name or b.first_name)
    if named or (mrn_a and mrn_b):
        pairs = ((x, y) for x in _orders(a) for y in _orders(b))
        return any(same_person(x, y) is not Likeness.DIFFERENT for x, y in pairs)
    days_a, days_b = possible_dates(a.birth_date), possible_dates(b.birth_date)
    if days_a and days_b:
        # one birth date is shared by many people: it can only exclude
        return None if set(days_a) & set(days_b) else False
    return None


def _orders(person: Identifiers) -> Iterator[Identifiers]:
    """Yield ``person`` with names as given, turned round, and cut where one field holds both."""
    yield person
    last, first = person.last_name, person.first_name
    if last and first:
        yield replace(person, last_name=first, first_name=last)
        return
    words = (last or first).replace(",", " ").split()
    for cut in range(1, len(words)):
        head, tail = " ".join(words[:cut]), " ".join(words[cut:])
        yield replace(person, last_name=head, first_name=tail)
        yield replace(person, last_name=tail, first_name=head)
    if first:
        yield replace(person, last_name=first, first_name="")


def _by_name(person: Identifiers, stem: str) -> bool | None:
    """Return what the name of a file or folder says of ``person``."""
    hospital = _HOSPITAL_NAME.match(stem)
    if hospital:
        seen = Identifiers(last_name=hospital["last"], first_name=hospital["first"])
        if not _says_nobody(seen) and (person.last_name or person.first_name):
            return _agree(replace(person, mrn="", birth_date=""), seen)
    words = _WORD.findall(stem)
    for last in (person.last_name, *person.also):
        wanted = _WORD.findall(last)
        places = range(len(words) - len(wanted) + 1) if wanted else ()
        if any(all(map(same_name, words[at : at + len(wanted)], wanted)) for at in places):
            return True
    return None
