"""``key``: the lab key's password, who can open what is stored, and the sheet to print; recovery stays proven.

recipients.txt and the digest of it in the catalogue are two places. The digest to come is noted first, then the
file is written, then the digest counts. After a kill in between nothing is sealed, and the same command ends it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from ecogsafe.catalog import audit, meta
from ecogsafe.catalog.copies import count_sealed
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import ExitStatus, LabKeyError, RecipientsChangedError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import parse_recipient, parse_recipients
from ecogsafe.crypt.lab_key import open_lab_key, protect
from ecogsafe.crypt.recovery_sheet import read_sheet, write_sheet
from ecogsafe.service.home import RECIPIENTS_COMING, RECIPIENTS_DIGEST, Home, PasswordSource
from ecogsafe.service.initialise import check_password
from ecogsafe.service.key_backup import back_up_keys
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
    lab = run.home.identity(password, recipients).recipient.to_text()
    for entry in with_labels(run.home.recipient_lines().decode()):
        label, _, key = entry.rpartition(": ")
        message = f"{label or 'key'}: {key}" + (" (in this home, opened with the password)" if key == lab else "")
        run.tell(Item(action="key", status="note", message=message, details={"recipient": key, "label": label}))
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
    sheet = _sheet(home, home.lab_key.read_bytes())
    try:
        write_atomically(target, sheet.encode(), replace=False)
        written = target.read_text(encoding="ascii")
    except FileExistsError as error:
        raise UsageError("the sheet", "a file of that name exists", next="name another") from error
    except OSError as error:
        problem = f"cannot be written ({os.strerror(error.errno or 0)})"
        raise UsageError("the sheet", problem, next="name another place") from error
    if open_lab_key(read_sheet(written).lab_key_age, known).to_text() != identity.to_text():
        raise LabKeyError("the sheet", "could not be read back as it was written", next="write it elsewhere")
    with run.catalog.write() as tx:
        _note(run, tx, "key export", None)
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
    sealed = protect(identity, new)
    if open_lab_key(sealed, new).to_text() != identity.to_text():
        raise LabKeyError("lab-key.age", "does not open with the new password; the old one stays")
    with home.locked():
        with run.catalog.write() as tx:
            _note(run, tx, "key change-password", hashlib.sha256(sealed).hexdigest())
            _put(home.lab_key, sealed)
        _put(home.recovery_sheet, _sheet(home, sealed).encode())
    _back_up(run)
    run.tally.done += 1
    _tell_sheet(run)
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
        digest, lines = _digest_here(home), home.recipient_lines().decode("utf-8")
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
                next="run that ecogsafe key add-recipient again first",
            )
        if is_there and not was_cut:
            run.tally.present += 1
            run.message = "this key is among the recipients already"
            return
        text = lines if was_cut else _with(lines, added, label)
        _prove(text, identity)
        coming = hashlib.sha256(text.encode()).hexdigest()
        with run.catalog.write() as tx:
            meta.set(tx, RECIPIENTS_COMING, coming)
        _put(home.recipients_file, text.encode())
        with run.catalog.write() as tx:
            meta.set(tx, RECIPIENTS_DIGEST, coming)
            meta.set(tx, RECIPIENTS_COMING, "")
            _note(run, tx, "key add-recipient", coming)
            before = count_sealed(tx)
        _put(home.recovery_sheet, _sheet(home, home.lab_key.read_bytes()).encode())
    _back_up(run)
    # a catalogue that comes back from a snapshot must know these recipients
    Snapshots(run, [], home.recipients(run.catalog)).finish()
    run.tally.done += 1
    _tell_sheet(run)
    message = (
        f"it opens what is sealed from now on; not the {before:,} sealed copies recorded until now, nor uploads under "
        "way. The linking key is sealed to it when it changes next"
    )
    run.tell(Item(action="key", status="note", message=message, details={"not_opened": before}))
    run.message = "the key is among the recipients"


def _put(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        problem = f"cannot be written ({os.strerror(error.errno or 0)})"
        raise UsageError(path.name, problem, next="mend that, then run the same command again") from error


def _with(lines: str, key: str, label: str) -> str:
    entries = [*with_labels(lines), f"{' '.join(label.replace(':', ' ').split())}: {key}"]
    return from_labels(entries)


def _prove(recipients: str, identity: X25519Identity) -> None:
    """Seal to all of ``recipients`` and open with the lab key, before anything depends on them."""
    probe = secrets.token_bytes(64)
    if open_sealed(seal(probe, parse_recipients(recipients)), [identity]) != probe:
        raise LabKeyError("the recipients", "do not let the lab key open what is sealed to them")


def _digest_here(home: Home) -> str:
    return hashlib.sha256(home.recipient_lines()).hexdigest()


def _sheet(home: Home, sealed_lab: bytes) -> str:
    return write_sheet(sealed_lab, with_labels(home.recipient_lines().decode("utf-8")), utc_stamp()[:10])


def _tell_sheet(run: Run) -> None:
    message = "written anew: print it, and destroy the earlier print-out"
    run.tell(Item(action="key", status="done", path=run.home.recovery_sheet.name, message=message))


def _back_up(run: Run) -> None:
    copies = back_up_keys(run.home, run.catalog)
    _tell_places(run, copies.complete)
    for url, problem in copies.failed:
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(Item(action="key", status="failed", store=url, message=f"no new key copy there: {problem}"))


def _tell_places(run: Run, urls: Sequence[str]) -> None:
    for url in urls:
        run.tell(Item(action="key", status="done", store=url, message=f"sealed copies of the keys stand in {url}"))


def _note(run: Run, tx: Transaction, act: str, digest: str | None) -> None:
    actor = run.actor
    audit.append(tx, run_id=run.run_id, who=actor.who, host=actor.host, version=actor.version, act=act, digest=digest)
