"""``key``: the lab key's password, who can open what is stored, and the sheet to print; recovery stays proven."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.copies import count_sealed
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import LabKeyError, RecipientsChangedError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.crypt.keys import parse_recipient, parse_recipients
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.crypt.recovery_sheet import read_sheet
from ecogsafe.service.home import RECIPIENTS_COMING, RECIPIENTS_DIGEST, PasswordSource
from ecogsafe.service.initialise import check_password
from ecogsafe.service.key_changes import (
    back_up,
    digest_here,
    note,
    prove,
    put,
    put_recipients,
    put_sheet,
    sealed_lab_key,
    sheet_of,
    tell_sheet,
)
from ecogsafe.service.recipient_lines import from_labels, with_labels
from ecogsafe.service.running import Run
from ecogsafe.service.snapshots import Snapshots


def show_keys(run: Run, password: PasswordSource) -> None:
    """Tell who can open what is stored from now on, after proving that the lab key is one of them.

    Raises
    ------
    LabKeyError
        The password is wrong, the lab key damaged, or recipients.txt not the one the catalogue knows.
    """
    recipients = run.home.recipients(run.catalog)
    identity = run.home.identity(password, recipients)
    present = identity.listed(recipients)
    lab = present.recipient.to_text() if present is not None else ""
    for entry in with_labels(run.home.recipient_lines().decode()):
        label, _, key = entry.rpartition(": ")
        message = f"{label or 'key'}: {key}" + (" (in this home, opened with the password)" if key == lab else "")
        run.tell(Item(action="key", status="note", message=message, details={"recipient": key, "label": label}))
    for earlier in (key.recipient.to_text() for key in identity.identities if key != present):
        message = f"another lab key: {earlier} (in this home too: it opens what was sealed to it)"
        run.tell(
            Item(
                action="key", status="note", message=message, details={"recipient": earlier, "label": "another lab key"}
            )
        )
    places = run.home.settings().key_backup_urls()
    where = ", ".join(places) or "nowhere: see [key_backup] in config.toml"
    run.tell(Item(action="key", status="note", message=f"sealed copies of the keys go to {where}"))
    run.message = f"what is sealed from now on opens with any of {len(recipients)} keys"


def export_keys(run: Run, target: Path, password: PasswordSource) -> None:
    """Write a dated recovery sheet to the new file ``target``, from which ``init --recover`` makes this home anew.

    Raises
    ------
    UsageError
        It exists, would be lost with the home, or cannot be written.
    LabKeyError
        As `show_keys`.
    """
    home = run.home
    if target.absolute().parent.resolve().is_relative_to(home.root.resolve()):
        raise UsageError("the sheet", "would lie in the home, and be lost with it", next="name a place elsewhere")
    known = password()
    identity = home.identity(lambda: known, home.recipients(run.catalog))
    sheet = sheet_of(home, home.lab_key.read_bytes())
    try:
        write_atomically(target, sheet.encode(), replace=False)
        written = target.read_text(encoding="ascii")
    except FileExistsError as error:
        raise UsageError("the sheet", "a file of that name exists", next="name another") from error
    except OSError as error:
        problem = f"cannot be written ({os.strerror(error.errno or 0)})"
        raise UsageError("the sheet", problem, next="name another place") from error
    if open_lab_key(read_sheet(written).lab_key_age, known).text != identity.text:
        raise LabKeyError("the sheet", "could not be read back as it was written", next="write it elsewhere")
    with run.catalog.write() as tx:
        note(run, tx, "key export", None)
    run.tally.done += 1
    run.message = "the recovery sheet is written and was read back; with the lab password it opens everything"


def change_password(run: Run, password: PasswordSource, new_password: PasswordSource) -> None:
    """Seal the lab key by another password. The key itself, and all that is stored, stays as it is.

    Raises
    ------
    LabKeyError
        The present password is wrong; nothing was changed.
    UsageError
        The new one is too short, or the same.
    """
    home = run.home
    old = password()
    identity = home.identity(lambda: old, home.recipients(run.catalog))
    new = new_password()
    check_password(new)
    if new.reveal() == old.reveal():
        raise UsageError("the new password", "is the present one", next="choose another")
    sealed = sealed_lab_key(identity, new)
    with home.locked():
        with run.catalog.write() as tx:
            note(run, tx, "key change-password", hashlib.sha256(sealed).hexdigest())
            put(home.lab_key, sealed)
        put_sheet(home)
    back_up(run)
    run.tally.done += 1
    tell_sheet(run)
    message = "earlier sheets and earlier copies of the key still open with the old password: destroy the print-outs"
    run.tell(Item(action="key", status="note", message=message))
    run.message = "the password is changed"


def add_recipient(run: Run, key: str, label: str, password: PasswordSource) -> None:
    """Let ``key`` open what is sealed from now on.

    Raises
    ------
    LabKeyError
        It is no public key, or the password is wrong.
    RecipientsChangedError
        Somebody changed recipients.txt by hand.
    """
    if not label.isascii() or not label.isprintable():
        raise UsageError("--label", "may hold plain letters, digits and spaces only", next="name it in plain words")
    home = run.home
    added = parse_recipient(key).to_text()
    with home.locked():
        digest, lines = digest_here(home), home.recipient_lines().decode("utf-8")
        with run.catalog.read() as tx:
            known, coming = meta.get(tx, RECIPIENTS_DIGEST), meta.get(tx, RECIPIENTS_COMING)
        was_cut = digest == coming and digest != known
        if not was_cut and digest != known:
            home.recipients(run.catalog)
        recipients = parse_recipients(lines)
        identity = home.identity(password, recipients)
        is_there = added in {r.to_text() for r in recipients}
        if was_cut and not is_there:
            raise RecipientsChangedError(
                "recipients.txt",
                "another key was being added when that was cut",
                next="run that ecogsafe key add-recipient, or ecogsafe key rotate, again first",
            )
        if is_there and not was_cut:
            run.tally.present += 1
            run.message = "this key is among the recipients already"
            return
        text = lines if was_cut else _with(lines, added, label)
        prove(text, identity)
        put_recipients(run, text, "key add-recipient")
        with run.catalog.read() as tx:
            before = count_sealed(tx)
        put_sheet(home)
    back_up(run)
    # a catalogue that comes back from a snapshot must know these recipients
    Snapshots(run, [], home.recipients(run.catalog)).finish()
    run.tally.done += 1
    tell_sheet(run)
    message = (
        f"it opens what is sealed from now on; not the {before:,} sealed copies recorded until now, nor uploads under "
        "way. The linking key is sealed to it when it changes next"
    )
    run.tell(Item(action="key", status="note", message=message, details={"not_opened": before}))
    run.message = "the key is among the recipients"


def _with(lines: str, key: str, label: str) -> str:
    entries = [*with_labels(lines), f"{' '.join(label.replace(':', ' ').split())}: {key}"]
    return from_labels(entries)
