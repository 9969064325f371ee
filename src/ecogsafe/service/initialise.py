"""``init``: the home, the lab key, the recovery key and its sheet. It does not end before recovery is proven."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.config import Destination, clinical_zone, parse_settings
from ecogsafe.core.durable import fsync_directory, write_atomically
from ecogsafe.core.errors import EcogsafeError, LabKeyError, UsageError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import generate_identity, parse_identities, parse_recipients
from ecogsafe.crypt.lab_key import identity_text, open_lab_key, protect
from ecogsafe.crypt.recovery_sheet import write_sheet
from ecogsafe.service.acts import note_home
from ecogsafe.service.config_template import config_template
from ecogsafe.service.home import RECIPIENTS_DIGEST, Home
from ecogsafe.service.recipient_lines import from_labels

SMALLEST_PASSWORD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What ``init`` made."""

    sheet: Path
    lab_recipient: str
    recovery_recipient: str


def check_password(password: Secret) -> None:
    """Raise UsageError if ``password`` is too short to protect anything."""
    if len(password.reveal()) < SMALLEST_PASSWORD:
        raise UsageError(
            "the lab password",
            f"is shorter than {SMALLEST_PASSWORD} characters",
            next="run again with a longer one; several words are easiest to remember",
        )


def check_can_initialise(home: Home, recovery_file: Path | None) -> None:
    """Raise UsageError or LabKeyError if ``init`` would stop later: asked before any password is typed."""
    if home.is_initialised:
        raise UsageError(
            "the home folder",
            "is initialised already",
            safe="Its keys are as they were",
            next="ecogsafe status",
        )
    if home.has_lost_its_key:
        raise LabKeyError(
            "the home folder",
            "holds what a lab has made, and its lab-key.age is missing",
            safe="It is as it was",
            next="ecogsafe init --recover recovery-sheet.txt, or name another folder with --home",
        )
    if home.config.exists():
        home.settings()
    if recovery_file is None:
        return
    place = recovery_file.absolute().parent.resolve()
    if not place.is_dir():
        raise UsageError(
            "the recovery file", "cannot be written: its folder is not there", next="name another with --recovery-file"
        )
    if place.is_relative_to(home.root.resolve()):
        raise UsageError(
            "the recovery file",
            "would lie in the home folder, and be lost with it",
            next="name a file on another disk or a USB stick with --recovery-file",
        )
    if os.path.lexists(recovery_file) and _earlier_recovery(home, recovery_file) is None:
        raise UsageError("the recovery file", "exists already", next="name a new file with --recovery-file")


def initialise(
    home: Home,
    password: Secret,
    *,
    recovery_file: Path | None,
    time_zone: str | None,
    outbox: str | None = None,
    destinations: Sequence[Destination] = (),
    work_factor: int | None = None,
    hand_over: Callable[[str], None] | None = None,
) -> Initialised:
    """Make the home. ``lab-key.age`` is written last: until then ``init`` can simply be run again.

    Parameters
    ----------
    recovery_file
        Where the recovery key is written. A file that a run left which was cut is used again.
    time_zone, outbox, destinations
        What config.toml says; a file that is there already stays as it is.
    hand_over
        Without a file: shows the recovery identity to a person and returns once they have it. What it
        raises ends ``init`` before anything depends on the keys.

    Raises
    ------
    UsageError
        The home exists, the password is too short, or a folder cannot be written.
    LockedError
        Another process is making the same home.
    """
    if recovery_file is None and hand_over is None:
        raise UsageError("--recovery-file", "is needed where nobody can be shown the recovery key")
    check_can_initialise(home, recovery_file)
    check_password(password)
    if time_zone is not None:
        clinical_zone(time_zone)
    config = config_template(time_zone, outbox=outbox, destinations=destinations)
    # a file that ecogsafe itself could not read must not be written
    parse_settings(config)
    home.create_folder()
    with home.locked():
        # once more: it may have been made while the password was typed
        check_can_initialise(home, recovery_file)
        if not home.unfinished.exists():
            write_atomically(home.unfinished, b"")
        made = _make(home, password, recovery_file, config, work_factor, hand_over)
        home.unfinished.unlink()
    return made


def _make(
    home: Home,
    password: Secret,
    recovery_file: Path | None,
    config: str,
    work_factor: int | None,
    hand_over: Callable[[str], None] | None,
) -> Initialised:
    lab = generate_identity()
    earlier = _earlier_recovery(home, recovery_file) if recovery_file is not None else None
    recovery = earlier or generate_identity()
    recovery_text = identity_text(recovery)
    sealed_lab = protect(lab, password) if work_factor is None else protect(lab, password, work_factor=work_factor)
    if open_lab_key(sealed_lab, password).identities != (lab,):
        raise LabKeyError("lab-key.age", "does not open with the password it was made with")
    keys = [f"lab key: {lab.recipient.to_text()}", f"recovery key: {recovery.recipient.to_text()}"]
    recipients = from_labels(keys)
    _prove(recipients, [lab.to_text(), recovery.to_text()])
    _make_catalog(home)
    write_atomically(home.unfinished, home.unfinished.read_bytes() + f"{_digest(recipients)}\n".encode())
    # before the recovery file: the next `init` must know that file for one of ours
    write_atomically(home.recipients_file, recipients.encode())
    if recovery_file is not None and earlier is None:
        _write_recovery(recovery_file, recovery_text)
    home.resume_key()
    write_atomically(home.recovery_sheet, write_sheet(sealed_lab, keys, utc_stamp()[:10]).encode())
    if not home.config.exists():
        write_atomically(home.config, config.encode())
    if recovery_file is None and hand_over is not None:
        hand_over(recovery_text)
    _note_recipients(home, recipients)
    write_atomically(home.lab_key, sealed_lab)
    if home.lab_key.read_bytes() != sealed_lab:
        # with it the home would count as made
        home.lab_key.unlink()
        raise LabKeyError("lab-key.age", "could not be read back as it was written")
    return Initialised(
        sheet=home.recovery_sheet,
        lab_recipient=lab.recipient.to_text(),
        recovery_recipient=recovery.recipient.to_text(),
    )


def _earlier_recovery(home: Home, recovery_file: Path) -> X25519Identity | None:
    """Return the recovery key that an ``init`` which was cut wrote to this file; None if it is another file."""
    if not home.unfinished.exists() or recovery_file.is_symlink():
        return None
    try:
        (identity,) = parse_identities(recovery_file.read_text(encoding="ascii"))
        listed = parse_recipients(home.recipient_lines().decode("ascii"))
    except (EcogsafeError, OSError, ValueError):
        return None
    is_ours = isinstance(identity, X25519Identity) and identity.recipient.to_text() in {r.to_text() for r in listed}
    return identity if is_ours and isinstance(identity, X25519Identity) else None


def _make_catalog(home: Home) -> None:
    """Make the catalogue, or refuse one that works with the keys of another home.

    Raises
    ------
    UsageError
        Data would be sealed to keys that the others who use this catalogue do not have.
    """
    catalog = Catalog.open(home.catalog_url or home.catalog_path, create=True)
    try:
        with catalog.read() as tx:
            known = meta.get(tx, RECIPIENTS_DIGEST)
    finally:
        catalog.close()
    if known is not None and known not in home.unfinished.read_text(encoding="ascii").splitlines():
        raise UsageError(
            "the catalogue",
            "belongs to a lab that has its keys already",
            safe="It is as it was",
            next="ecogsafe init --recover with that lab's recovery sheet, or another catalogue",
        )


def _note_recipients(home: Home, recipients: str) -> None:
    catalog = Catalog.open(home.catalog_url or home.catalog_path)
    try:
        with catalog.write() as tx:
            meta.set(tx, RECIPIENTS_DIGEST, _digest(recipients))
            note_home(tx, "init", _digest(recipients))
    finally:
        catalog.close()


def _digest(recipients: str) -> str:
    return hashlib.sha256(recipients.encode()).hexdigest()


def _prove(recipients: str, identities: Sequence[str]) -> None:
    """Seal to ``recipients`` and open with each identity alone, before anything depends on them."""
    probe = secrets.token_bytes(64)
    sealed = seal(probe, parse_recipients(recipients))
    for text in identities:
        if open_sealed(sealed, parse_identities(text)) != probe:
            raise LabKeyError("the new keys", "do not open what is sealed to them")


def _write_recovery(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode(), replace=False)
        if path.read_text(encoding="ascii") != text:
            raise LabKeyError("the recovery file", "could not be read back as it was written")
        fsync_directory(path.parent)
    except OSError as error:
        raise UsageError(
            "the recovery file",
            f"cannot be written ({os.strerror(error.errno or 0)})",
            next="name another place with --recovery-file",
        ) from error
