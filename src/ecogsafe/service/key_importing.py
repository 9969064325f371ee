"""``key import``: keys from a file into a home that has keys already; what it holds is added to, never replaced.

A recovery sheet or a ``lab-key.age`` gives lab keys: those the home lacks are put behind its own, so that what was
sealed to them opens here. A sheet also gives recipients.txt where the catalogue knows just those lines: a second
home of one lab, after the first has rotated its key. A ``linking-key.age`` is taken if it knows all that the home's
knows and more; two that contradict each other are for a person to judge.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import (
    EcogsafeError,
    LabKeyError,
    UsageError,
    VerificationError,
    WrongPasswordError,
)
from ecogsafe.core.events import Item
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.age_header import VERSION_LINE, parse_header
from ecogsafe.crypt.age_recipients import PASSWORD_KIND
from ecogsafe.crypt.armor import dearmor, is_armored
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.crypt.lab_key import LabKey, open_lab_key
from ecogsafe.crypt.recovery_sheet import read_sheet
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.service.home import RECIPIENTS_DIGEST, PasswordSource
from ecogsafe.service.key_changes import (
    back_up,
    digest_here,
    note,
    prove,
    put,
    put_recipients,
    put_sheet,
    sealed_lab_key,
    tell_sheet,
)
from ecogsafe.service.persons import Confirm, open_keys
from ecogsafe.service.recipient_lines import from_labels
from ecogsafe.service.running import Run

_ITEM = "the key file"
_MOST_BYTES = 1 << 28
_SHOWN = 5
#: a line of an identity file; a sheet speaks of such lines and holds none
_SECRET = re.compile(rb"^\s*AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{20}", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the file holds: one of a sealed lab key (with recipients, from a sheet) and a sealed linking key."""

    lab_key: bytes | None = None
    recipients: bytes | None = None
    linking_key: bytes | None = None


def import_key(
    run: Run, source: Path, password: PasswordSource, source_password: PasswordSource, confirm: Confirm
) -> None:
    """Add the keys in ``source`` to the home, proven to open and compared with what the home has.

    Parameters
    ----------
    source_password
        Asked only where the lab password does not open the file.

    Raises
    ------
    UsageError
        The file cannot be read, or its linking key contradicts the home's.
    LabKeyError
        It holds no key, or nothing here opens it.
    ConfirmationNeededError
        It holds the key of another lab, and nobody said yes.
    """
    found = _read(source)
    if found.linking_key is not None:
        _import_linking_key(run, found.linking_key, password)
    elif found.lab_key is not None:
        _import_lab_key(run, found.lab_key, found.recipients, password, source_password, confirm)


def _read(source: Path) -> _Found:
    try:
        with source.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise UsageError(_ITEM, f"cannot be read ({os.strerror(error.errno or 0)})", next="check the path") from error
    if is_armored(data) or data.startswith(VERSION_LINE):
        try:
            header = parse_header(dearmor(data) if is_armored(data) else data)
        except VerificationError as error:
            raise LabKeyError(_ITEM, f"is damaged: {error.problem}", next="take another copy of it") from error
        if header is not None and [stanza.kind for stanza in header.stanzas] == [PASSWORD_KIND]:
            return _Found(lab_key=data)
        return _Found(linking_key=data)
    if _SECRET.search(data):
        raise LabKeyError(
            _ITEM,
            "is a secret key without a password; such a key does not belong into the home",
            next="keep it apart; ecogsafe decrypt -i uses it where it is",
        )
    sheet = read_sheet(data.decode("utf-8", "replace"))
    return _Found(lab_key=sheet.lab_key_age, recipients=from_labels(sheet.recipients).encode())


def _import_lab_key(
    run: Run,
    sealed: bytes,
    lines: bytes | None,
    password: PasswordSource,
    source_password: PasswordSource,
    confirm: Confirm,
) -> None:
    home = run.home
    secret = password()
    with home.locked():
        own = open_lab_key(home.lab_key.read_bytes(), secret)
        adopted = _vouched(run, lines)
        theirs = _open_theirs(sealed, secret, source_password)
        if adopted is None:
            home.identity(lambda: secret, home.recipients(run.catalog))
        elif own.with_others(theirs, at="").listed(parse_recipients(adopted)) is None:
            raise LabKeyError("the sheet", "lists none of its own lab keys, nor one of this home")
        if adopted is None and not any(key in own.identities for key in theirs.identities):
            confirm(
                f"The file holds {len(theirs.identities)} lab keys of which this home knows none. Add them to "
                "lab-key.age, so that what was sealed to them opens with this home's password?"
            )
        merged = own.with_others(theirs, at=utc_stamp())
        if merged is own and adopted is None:
            run.tally.present += 1
            run.message = "this home holds every key of the file already; they were compared"
            return
        if merged is not own:
            again = sealed_lab_key(merged, secret)
            with run.catalog.write() as tx:
                note(run, tx, "key import", hashlib.sha256(again).hexdigest())
            put(home.lab_key, again)
        if adopted is not None:
            prove(adopted, merged)
            put_recipients(run, adopted, "key import")
        put_sheet(home)
    back_up(run)
    run.tally.done += 1
    tell_sheet(run)
    added = len(merged.identities) - len(own.identities)
    run.message = f"{added} keys were added to lab-key.age, which was proven to open" + (
        "" if adopted is None else "; recipients.txt is the one the catalogue knows again"
    )


def _vouched(run: Run, lines: bytes | None) -> str | None:
    """Return the sheet's recipients if the catalogue knows them, and those of the home not; else None."""
    with run.catalog.read() as tx:
        known = meta.get(tx, RECIPIENTS_DIGEST)
    if lines is None or known is None or hashlib.sha256(lines).hexdigest() != known or digest_here(run.home) == known:
        return None
    return lines.decode("utf-8")


def _open_theirs(sealed: bytes, secret: Secret, source_password: PasswordSource) -> LabKey:
    try:
        return open_lab_key(sealed, secret, name=_ITEM)
    except WrongPasswordError:
        return open_lab_key(sealed, source_password(), name=_ITEM)


def _import_linking_key(run: Run, sealed: bytes, password: PasswordSource) -> None:
    keys = open_keys(run.home, run.catalog, password)
    try:
        theirs = LinkingKey.from_json(open_sealed(sealed, [keys.identity]))
    except EcogsafeError as error:
        raise LabKeyError(
            _ITEM,
            f"is no linking key that this home's lab keys open: it {error.problem}",
            next="import the lab key it was sealed to first (ecogsafe key import SHEET)",
        ) from error
    own = keys.file.read()
    outcome = _compare(own, theirs)
    if outcome is not None:
        run.tally.present += 1
        run.message = outcome
        return

    def take(newest: LinkingKey) -> LinkingKey:
        # another run may have entered somebody meanwhile
        return newest if _compare(newest, theirs) is not None else theirs

    keys.file.change(take)
    if keys.file.read() != theirs:
        raise LabKeyError("linking-key.age", "was changed by another run meanwhile", next="run the same command again")
    with run.catalog.write() as tx:
        note(run, tx, "key import", hashlib.sha256(run.home.linking_key.read_bytes()).hexdigest())
    back_up(run)
    run.tally.done += 1
    more = len(theirs.persons) - len(own.persons)
    if own.persons:
        message = "the linking key of before is kept among the generations"
        run.tell(Item(action="key", status="note", message=message))
    run.message = f"the linking key is taken: {len(theirs.persons)} persons, {more} more than before"


def _compare(own: LinkingKey, theirs: LinkingKey) -> str | None:
    """Return why there is nothing to do; None where ``theirs`` knows all that ``own`` does, and more.

    Raises
    ------
    UsageError
        Each knows something that the other does not.
    """
    if own == theirs or set(own.persons) == set(theirs.persons):
        return "the home's linking key is the same; they were compared"
    missing = [p.code for p in own.persons if not _covers(theirs.person(p.code), p)]
    if not missing:
        return None
    if all(_covers(own.person(p.code), p) for p in theirs.persons):
        return "the home's linking key knows all of it and more: an older one is not taken"
    raise UsageError(
        "linking-key.age",
        f"contradicts the file, or knows what it does not, for {len(missing)} subjects ({', '.join(missing[:_SHOWN])})",
        safe="The home's is as it was",
        next="ecogsafe subjects export --with-names in each of the two homes shows what differs",
    )


def _covers(newer: Person | None, older: Person) -> bool:
    """Return whether ``newer`` is the same entry, or has grown out of ``older``."""
    if newer is None or newer == older:
        return newer is not None
    return (
        newer.created == older.created
        and newer.revision >= older.revision
        and newer.identifiers.merge(older.identifiers) == newer.identifiers
        and older.date_shift_days in (None, newer.date_shift_days)
        and newer.history[: len(older.history)] == older.history
    )
