"""``init``: the home, the lab key, the recovery key and its sheet. It does not end before recovery is proven."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import fsync_directory, write_atomically
from ecogsafe.core.errors import LabKeyError, UsageError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.keys import generate_identity, parse_identities, parse_recipients
from ecogsafe.crypt.lab_key import identity_text, open_lab_key, protect
from ecogsafe.crypt.recovery_sheet import write_sheet
from ecogsafe.service.config_template import config_template
from ecogsafe.service.home import RECIPIENTS_DIGEST, RESUME_KEY_SIZE, Home

SMALLEST_PASSWORD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What ``init`` made."""

    #: the recovery identity file, to be shown once; None if it was written to a file
    recovery_text: str | None
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
    """Raise UsageError if ``init`` would stop later: asked before any password is typed."""
    if home.is_initialised:
        raise UsageError(
            "the home folder",
            "is initialised already",
            safe="Its keys are as they were",
            next="ecogsafe doctor",
        )
    if recovery_file is None:
        return
    if os.path.lexists(recovery_file):
        raise UsageError("the recovery file", "exists already", next="name a new file with --recovery-file")
    if recovery_file.absolute().is_relative_to(home.root.absolute()):
        raise UsageError(
            "the recovery file",
            "would lie in the home folder, and be lost with it",
            next="name a file on another disk or a USB stick with --recovery-file",
        )


def initialise(
    home: Home,
    password: Secret,
    *,
    recovery_file: Path | None,
    time_zone: str | None,
    work_factor: int | None = None,
) -> Initialised:
    """Make the home. ``lab-key.age`` is written last: until then ``init`` can simply be run again.

    Raises
    ------
    UsageError
        The home exists, the password is too short, or a folder cannot be written.
    """
    check_can_initialise(home, recovery_file)
    check_password(password)
    home.create_folder()
    lab, recovery = generate_identity(), generate_identity()
    recovery_text = identity_text(recovery)
    sealed_lab = protect(lab, password) if work_factor is None else protect(lab, password, work_factor=work_factor)
    if open_lab_key(sealed_lab, password).to_text() != lab.to_text():
        raise LabKeyError("lab-key.age", "does not open with the password it was made with")
    recipients = f"# lab key\n{lab.recipient.to_text()}\n# recovery key\n{recovery.recipient.to_text()}\n"
    _prove(recipients, [lab.to_text(), recovery.to_text()])
    if recovery_file is not None:
        _write_recovery(recovery_file, recovery_text)
    write_atomically(home.recipients_file, recipients.encode())
    write_atomically(home.resume_key_file, secrets.token_bytes(RESUME_KEY_SIZE))
    sheet = write_sheet(
        sealed_lab,
        [f"lab key: {lab.recipient.to_text()}", f"recovery key: {recovery.recipient.to_text()}"],
        utc_stamp()[:10],
    )
    write_atomically(home.recovery_sheet, sheet.encode())
    if not home.config.exists():
        write_atomically(home.config, config_template(time_zone).encode())
    home.settings()
    _make_catalog(home, recipients)
    write_atomically(home.lab_key, sealed_lab)
    if open_lab_key(home.lab_key.read_bytes(), password).to_text() != lab.to_text():
        raise LabKeyError("lab-key.age", "could not be read back as it was written")
    return Initialised(
        recovery_text=None if recovery_file else recovery_text,
        sheet=home.recovery_sheet,
        lab_recipient=lab.recipient.to_text(),
        recovery_recipient=recovery.recipient.to_text(),
    )


def _make_catalog(home: Home, recipients: str) -> None:
    catalog = Catalog.open(home.catalog_url or home.catalog_path, create=True)
    try:
        with catalog.write() as tx:
            meta.set(tx, RECIPIENTS_DIGEST, hashlib.sha256(recipients.encode()).hexdigest())
    finally:
        catalog.close()


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
