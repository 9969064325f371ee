"""Who the person is and which code is theirs: the linking key, opened with the password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ecogsafe.catalog import revisions, subjects
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import LabKeyError, LockedError, UsageError
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import PublicKey
from ecogsafe.deid.codes import is_code, new_code
from ecogsafe.deid.identifiers import Identifiers, Likeness, same_person
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.deid.linking_key_file import LinkingKeyFile
from ecogsafe.formats.study_names import guid_in
from ecogsafe.service.home import Home, PasswordSource

#: asks a yes/no question; raises ConfirmationNeededError for no
Confirm = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """The lab key, opened, and the linking key it opens."""

    identity: X25519Identity
    recipients: list[PublicKey]
    file: LinkingKeyFile


def open_keys(home: Home, catalog: Catalog, password: PasswordSource) -> OpenedKeys:
    """Ask the password and open what it protects.

    Raises
    ------
    WrongPasswordError, LabKeyError
        It does not open, or recipients.txt is not what the catalogue knows.
    """
    recipients = list(home.recipients(catalog))
    identity = home.identity(password, recipients)
    file = LinkingKeyFile(
        home.linking_key, recipients, [identity], announce=lambda old, new: _announce(catalog, old, new)
    )
    _settle(catalog, file)
    return OpenedKeys(identity, recipients, file)


def _announce(catalog: Catalog, old: LinkingKey, new: LinkingKey) -> None:
    """Let clearances lapse before more is known: a kill between linking key and catalogue must not keep them valid."""
    before = {person.code: person.revision for person in old.persons}
    grown = [(p.code, p.revision) for p in new.persons if p.revision > before.get(p.code, 0)]
    with catalog.write() as tx:
        revisions.announce(tx, grown)


def _settle(catalog: Catalog, file: LinkingKeyFile) -> None:
    """Bring the catalogue up to a linking key that a killed run may have left ahead of it."""
    with catalog.read() as tx:
        pending = revisions.announced(tx)
    if not pending:
        return
    key = file.settled()
    with catalog.write() as tx:
        for code in pending:
            person, row = key.person(code), subjects.subject(tx, code)
            if person is not None and row is not None and row.revision < person.revision:
                subjects.set_revision(tx, code, person.revision)
        revisions.withdraw(tx, pending)


def check_code(code: str | None) -> None:
    """Raise UsageError if ``code`` is given and is no subject code."""
    if code is not None and not is_code(code):
        raise UsageError(
            "--subject", "is not a subject code (8 lower-case hex digits, the first a letter)", next="check the code"
        )


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the linking key says of a set of identifiers. Nothing in it names anybody."""

    #: None: nobody yet, a new entry would be made
    person: Person | None
    #: what is told to the user
    message: str
    #: what a person must say yes to before anything is written; empty where there is no doubt
    question: str = ""
    #: codes of everybody these identifiers could mean
    near: frozenset[str] = frozenset()


def recognise(key: LinkingKey, identifiers: Identifiers, code: str | None) -> Recognised:
    """Return who is meant: by ``code`` if given, else by name, record number, birth date or a study known before.

    Raises
    ------
    UsageError
        Without a code: they fit several persons of the linking key equally well.
    """
    judged = [(person, _likeness(person.identifiers, identifiers)) for person in key.persons]
    same = [p for p, likeness in judged if likeness is Likeness.SAME]
    doubtful = [p for p, likeness in judged if likeness is Likeness.SAME_NAME_ONLY]
    near = frozenset(p.code for p in (*same, *doubtful))
    if code is not None:
        return _by_code(key, code, identifiers, same, doubtful)
    if len(same) > 1:
        raise UsageError(
            "the person", f"fits {len(same)} codes of the linking key ({_codes(same)})", next="say which with --subject"
        )
    if same:
        return Recognised(same[0], f"returning patient: {same[0].code}", near=near)
    if doubtful:
        message = f"a person of the same name, or with one of these studies, has a code ({_codes(doubtful)})"
        question = (
            f"A person of the same name, or with one of these studies, has the code {_codes(doubtful)}, and nothing "
            "else shows that it is the same. Is this a different person, who gets a new code? (If not, answer no and "
            "run again with --subject)"
        )
        return Recognised(None, message, question, near)
    return Recognised(None, "not in the linking key yet", near=near)


def _by_code(
    key: LinkingKey, code: str, identifiers: Identifiers, same: list[Person], doubtful: list[Person]
) -> Recognised:
    near = frozenset(p.code for p in (*same, *doubtful))
    person = key.person(code)
    others = [p for p in same if p.code != code]
    theirs = f" They are those of {_codes(others)}." if others else ""
    if person is not None:
        # who names the code has answered for a namesake; only what speaks against it is asked about
        sure = person in (*same, *doubtful) or person.identifiers.merge(identifiers) == person.identifiers
        question = "" if sure else f"The identifiers do not show that this is {code}.{theirs} Is it the same person?"
        return Recognised(person, f"{code} is known", question, near)
    question = ""
    if others:
        question = f"This person has the code {_codes(others)} already. Do they get {code} as a second one?"
    elif doubtful:
        question = f"A person of the same name has the code {_codes(doubtful)}. Is {code} a different person?"
    return Recognised(None, f"{code} is new to the linking key", question, near)


def _codes(persons: list[Person]) -> str:
    return ", ".join(p.code for p in persons)


def _likeness(known: Identifiers, seen: Identifiers) -> Likeness:
    """Return how alike two sets are; a study that both speak of lifts a doubt, or raises one."""
    likeness = same_person(known, seen)
    if _studies(known) & _studies(seen):
        return Likeness.SAME_NAME_ONLY if likeness is Likeness.DIFFERENT else Likeness.SAME
    return likeness


def _studies(identifiers: Identifiers) -> set[str]:
    return {guid.lower() for term in identifiers.also if (guid := guid_in(term))}


def is_command_of(person: Person, identifiers: Identifiers, code: str | None) -> bool:
    """Return whether a command with these identifiers or this code is about ``person``, by what was typed alone.

    The identifiers of a command that began are in the linking key, so that the same command again fits; one
    that gives none fits everybody.
    """
    if code is not None:
        return person.code == code
    return (
        same_person(person.identifiers, identifiers) is Likeness.SAME
        or person.identifiers.merge(identifiers) == person.identifiers
    )


def choose_code(catalog: Catalog, key: LinkingKey, known: Recognised, code: str | None) -> str:
    """Return the code of ``known``: their own, the one asked for, or a new one. Nothing is written.

    Raises
    ------
    LabKeyError
        The catalogue knows the code asked for and the linking key does not: it is not the newest linking key.
    """
    if known.person is not None:
        return known.person.code
    with catalog.read() as tx:
        taken = {row.code for row in subjects.subjects(tx)}
    if code in taken:
        raise LabKeyError(
            code or "",
            "is in the catalogue, but not in the linking key, which is not the newest one",
            next="copy the newest linking key from a key_backup place to linking-key.age, then run again",
        )
    return code or new_code(key.codes | taken)


def enter_person(
    keys: OpenedKeys, known: Recognised, code: str, identifiers: Identifiers, *, shift_days: int | None = None
) -> tuple[Person, LinkingKey]:
    """Write what is known of the person to the linking key, read back, and return the entry with the whole key.

    Parameters
    ----------
    shift_days
        By how many days the person's dates are moved from now on, 0 for true dates; None leaves that as it is.

    Raises
    ------
    LockedError
        Another run has just given this person a code, or another date shift.
    """

    def change(key: LinkingKey) -> LinkingKey:
        now = utc_stamp()
        entered = with_person(key, now)
        if shift_days is None or (found := entered.person(code)) is None:
            return entered
        if (found.date_shift_days or 0) not in (0, shift_days):
            raise LockedError(code, "another run has just shifted its dates", next="run the same command again")
        return entered.with_date_shift(code, shift_days, now=now) if shift_days else entered

    def with_person(key: LinkingKey, now: str) -> LinkingKey:
        if known.person is not None:
            return key.with_identifiers(code, identifiers, now=now)
        again = {p.code for p in key.persons if _likeness(p.identifiers, identifiers) is not Likeness.DIFFERENT}
        if code in key.codes or not again <= known.near:
            raise LockedError(code, "another run has just entered this person", next="run the same command again")
        return key.with_person(replace(key.new_person(identifiers, now=now), code=code))

    key = keys.file.change(change)
    person = key.person(code)
    if person is None:
        raise LabKeyError("linking-key.age", "does not hold the person it was given", next="run the same command again")
    return person, key
