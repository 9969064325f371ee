"""The steps that every change of the keys is made of, each safe to be killed after: file, sheet, copies, record.

recipients.txt and the digest of it in the catalogue are two places. The digest to come is noted first, then the
file is written, then the digest counts. After a kill in between nothing is sealed, and the same command ends it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from ecogsafe.catalog import audit, meta
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import ExitStatus, LabKeyError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.crypt.lab_key import LabKey, open_lab_key, protect
from ecogsafe.crypt.recovery_sheet import write_sheet
from ecogsafe.service.home import RECIPIENTS_COMING, RECIPIENTS_DIGEST, Home
from ecogsafe.service.key_backup import KeyCopies, back_up_keys
from ecogsafe.service.recipient_lines import with_labels
from ecogsafe.service.running import Run


def put(path: Path, data: bytes) -> None:
    """Give the file ``path`` of the home the content ``data``; it holds the old or the new, whatever happens.

    Raises
    ------
    UsageError
        The disk refuses.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        problem = f"cannot be written ({os.strerror(error.errno or 0)})"
        raise UsageError(path.name, problem, next="mend that, then run the same command again") from error


def sealed_lab_key(identity: LabKey, password: Secret) -> bytes:
    """Return lab-key.age for ``identity`` under ``password``, proven to open to just that.

    Raises
    ------
    LabKeyError
        It does not open.
    """
    sealed = protect(identity, password)
    if open_lab_key(sealed, password).text != identity.text:
        raise LabKeyError("lab-key.age", "does not open as it was sealed; the one in the home stays")
    return sealed


def prove(recipients: str, identity: Identity) -> None:
    """Seal to all of ``recipients`` and open with ``identity`` alone, before anything depends on them.

    Raises
    ------
    LabKeyError
        It does not open.
    """
    probe = secrets.token_bytes(64)
    if open_sealed(seal(probe, parse_recipients(recipients)), [identity]) != probe:
        raise LabKeyError("the recipients", "do not let the lab key open what is sealed to them")


def digest_here(home: Home) -> str:
    """Return the SHA-256 of recipients.txt as it stands."""
    return hashlib.sha256(home.recipient_lines()).hexdigest()


def put_recipients(run: Run, text: str, act: str, *, object: str | None = None) -> None:
    """Write ``text`` to recipients.txt so that a kill in between is known for what it is, and note the act."""
    coming = hashlib.sha256(text.encode()).hexdigest()
    with run.catalog.write() as tx:
        meta.set(tx, RECIPIENTS_COMING, coming)
    put(run.home.recipients_file, text.encode())
    with run.catalog.write() as tx:
        meta.set(tx, RECIPIENTS_DIGEST, coming)
        meta.set(tx, RECIPIENTS_COMING, "")
        note(run, tx, act, coming, object=object)


def sheet_of(home: Home, sealed_lab: bytes) -> str:
    """Return the recovery sheet of the home, dated today."""
    return write_sheet(sealed_lab, with_labels(home.recipient_lines().decode("utf-8")), utc_stamp()[:10])


def put_sheet(home: Home) -> None:
    """Write the home's recovery sheet anew."""
    put(home.recovery_sheet, sheet_of(home, home.lab_key.read_bytes()).encode())


def tell_sheet(run: Run) -> None:
    """Say that the sheet is another one now."""
    message = "written anew: print it, and destroy the earlier print-out"
    run.tell(Item(action="key", status="done", path=run.home.recovery_sheet.name, message=message))


def back_up(run: Run) -> KeyCopies:
    """Put the keys into every key backup place, read back; one that fails is told, and the run ends with 3."""
    copies = back_up_keys(run.home, run.catalog)
    for url in copies.complete:
        run.tell(Item(action="key", status="done", store=url, message=f"sealed copies of the keys stand in {url}"))
    for url, problem in copies.failed:
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(Item(action="key", status="failed", store=url, message=f"no new key copy there: {problem}"))
    return copies


def note(run: Run, tx: Transaction, act: str, digest: str | None, *, object: str | None = None) -> None:
    """Add the act to the audit record."""
    actor = run.actor
    audit.append(
        tx,
        run_id=run.run_id,
        who=actor.who,
        host=actor.host,
        version=actor.version,
        act=act,
        object=object,
        digest=digest,
    )
