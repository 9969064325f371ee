"""Who the person is and which code is theirs: the linking key, opened with the password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import UsageError
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import PublicKey
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.identifiers import Identifiers, Likeness
from ecogsafe.deid.linking_key import HistoryEntry, LinkingKey, Person
from ecogsafe.deid.linking_key_file import LinkingKeyFile
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
    return OpenedKeys(identity, recipients, LinkingKeyFile(home.linking_key, recipients, [identity]))


def check_code(code: str | None) -> None:
    """Raise UsageError if ``code`` is given and is no subject code."""
    if code is not None and not is_code(code):
        raise UsageError(
            "--subject", "is not a subject code (8 lower-case hex digits, the first a letter)", next="check the code"
        )


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the linking key says of a set of identifiers."""

    #: None: nobody yet
    person: Person | None
    likeness: Likeness | None
    #: what is told to the user; no names
    message: str


def recognise(key: LinkingKey, identifiers: Identifiers, code: str | None) -> Recognised:
    """Return who is meant: by ``code`` if given, else by name, record number or birth date."""
    found = key.find(identifiers)
    if code is not None:
        person = key.person(code)
        if person is None:
            return Recognised(None, None, f"{code} is new to the linking key")
        likeness = next((lk for p, lk in found if p.code == code), Likeness.DIFFERENT)
        return Recognised(person, likeness, f"{code} is known")
    same = [p for p, likeness in found if likeness is Likeness.SAME]
    if len(same) > 1:
        raise UsageError(
            "the person",
            f"fits {len(same)} codes of the linking key ({', '.join(p.code for p in same)})",
            next="say which one with --subject CODE",
        )
    if same:
        return Recognised(same[0], Likeness.SAME, f"returning patient: {same[0].code}")
    named = [p for p, likeness in found if likeness is Likeness.SAME_NAME_ONLY]
    if named:
        codes = ", ".join(p.code for p in named)
        return Recognised(None, Likeness.SAME_NAME_ONLY, f"another person of the same name has a code ({codes})")
    return Recognised(None, None, "not in the linking key yet")


def settle_person(
    keys: OpenedKeys, identifiers: Identifiers, code: str | None, confirm: Confirm
) -> tuple[Person, LinkingKey]:
    """Return the person's entry, written to the linking key and read back, with the whole key.

    A same-named person, or a code whose entry does not fit, is asked about and never merged silently.

    Raises
    ------
    ConfirmationNeededError
        Nobody answered, or the answer was no.
    """
    known = recognise(keys.file.read(), identifiers, code)
    if known.person is None and known.likeness is Likeness.SAME_NAME_ONLY:
        confirm(f"{known.message}. Is this a different person, who gets a new code?")
    if known.person is not None and known.likeness is not Likeness.SAME:
        confirm(f"The identifiers do not show that this is {known.person.code}. Is it the same person?")
    now = utc_stamp()
    chosen: list[str] = []

    def change(key: LinkingKey) -> LinkingKey:
        chosen.clear()
        if known.person is not None:
            chosen.append(known.person.code)
            return key.with_identifiers(known.person.code, identifiers, now=now)
        person = key.new_person(identifiers, now=now)
        if code is not None:
            person = Person(
                code=code,
                created=now,
                identifiers=identifiers,
                history=(HistoryEntry(now, "created with a given code"),),
            )
        chosen.append(person.code)
        return key.with_person(person)

    key = keys.file.change(change)
    person = key.person(chosen[0])
    if person is None:
        raise UsageError("linking-key.age", "does not hold the person it was given", next="ecogsafe doctor")
    return person, key
