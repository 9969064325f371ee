"""``key rotate``: a new lab key for what is sealed from now on; the old one stays, and opens what it opened.

One file holds all lab keys, the newest first, so that sheet, key copies and stock ``age`` need nothing else. Which
of them data are sealed to is said by recipients.txt alone. The steps, each of which a kill may follow::

    1  the catalogue notes the public half of the key to come
    2  lab-key.age with the new key in front, proven to open          (data are still sealed to the old one)
    3  the recovery sheet, and copies in every key backup place, read back
    4  recipients.txt with the new key in place of the old one        (from here data are sealed to the new one)
    5  the linking key sealed to it, the sheet and the copies again, a snapshot that it opens
    6  the catalogue forgets step 1

The same command again goes on where it was cut.
"""

from __future__ import annotations

from ecogsafe.catalog import meta
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.copies import sealed_by_store
from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.core.events import Item
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import PublicKey, generate_identity, parse_recipients
from ecogsafe.crypt.lab_key import LabKey
from ecogsafe.service.home import LAB_KEY_COMING, RECIPIENTS_COMING, RECIPIENTS_DIGEST, Home, PasswordSource
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
from ecogsafe.service.persons import open_keys
from ecogsafe.service.recipient_lines import from_labels, with_labels
from ecogsafe.service.running import Run
from ecogsafe.service.snapshots import Snapshots

_AGAIN = "mend that, then run ecogsafe key rotate again: it goes on with the same new key"


def rotate(run: Run, password: PasswordSource) -> None:
    """Make a new lab key, secure it, and seal to it from now on; or go on with a rotation that was cut.

    Raises
    ------
    LabKeyError
        The password is wrong, or recipients.txt is not the one the catalogue knows.
    StoreUnreachableError
        A key backup place could not be given the new key: data are still sealed to the old one.
    LockedError
        Another command changes the keys.
    """
    home = run.home
    secret = password()
    with home.locked():
        recipients = _recipients(run)
        identity = home.identity(lambda: secret, recipients)
        new = _coming(run, identity)
        if new is None:
            identity, new = _make(run, identity, secret)
        if identity.listed(recipients) != new:
            _secure(run)
        _put_in_force(run, identity, new)
        put_sheet(home)
    if home.linking_key.exists():
        open_keys(home, run.catalog, lambda: secret).file.change(lambda key: key, anew=True)
    copies = back_up(run)
    Snapshots(run, [], home.recipients(run.catalog)).finish()
    if not copies.failed:
        with run.catalog.write() as tx:
            meta.set(tx, LAB_KEY_COMING, "")
    run.tally.done += 1
    tell_sheet(run)
    _tell_old(run, identity)
    run.message = "data are sealed to the new lab key from now on" + (
        "" if not copies.failed else "; not every key backup place has its recipients yet: run the same command again"
    )


def _recipients(run: Run) -> list[PublicKey]:
    """Return who recipients.txt lists, of a rotation that was cut too; anything else there is refused."""
    home = run.home
    with run.catalog.read() as tx:
        known, coming = meta.get(tx, RECIPIENTS_DIGEST), meta.get(tx, RECIPIENTS_COMING)
        rotates = meta.get(tx, LAB_KEY_COMING)
    listed = parse_recipients(home.recipient_lines().decode("utf-8"))
    digest = digest_here(home)
    if known != digest and coming == digest and rotates in {r.to_text() for r in listed}:
        return listed
    return list(home.recipients(run.catalog))


def _coming(run: Run, identity: LabKey) -> X25519Identity | None:
    """Return the new key of a rotation that was cut; None where none is under way, or the key was never kept."""
    with run.catalog.read() as tx:
        public = meta.get(tx, LAB_KEY_COMING)
    return next((key for key in identity.identities if key.recipient.to_text() == public), None)


def _make(run: Run, identity: LabKey, secret: Secret) -> tuple[LabKey, X25519Identity]:
    new = generate_identity()
    grown = identity.with_newer(new)
    sealed = sealed_lab_key(grown, secret)
    with run.catalog.write() as tx:
        meta.set(tx, LAB_KEY_COMING, new.recipient.to_text())
        note(run, tx, "key rotate: new key", None, object=new.recipient.to_text())
    put(run.home.lab_key, sealed)
    return grown, new


def _secure(run: Run) -> None:
    """Let the sheet and every key backup place hold the new key before anything is sealed to it."""
    put_sheet(run.home)
    copies = back_up(run)
    if copies.failed:
        url, problem = copies.failed[0]
        raise StoreUnreachableError(
            url,
            f"does not hold the new lab key yet ({problem})",
            safe="The old lab key is in use as before, and nothing was sealed to the new one",
            next=_AGAIN,
        )
    if not copies.complete:
        message = "no [key_backup] place is set: the new key stands in this home and on its recovery sheet alone"
        run.tell(Item(action="key", status="note", message=message))


def _put_in_force(run: Run, identity: LabKey, new: X25519Identity) -> None:
    """Put the new key in the place of the old one in recipients.txt, unless it is there and counts."""
    home = run.home
    text = _in_place(home, identity, new)
    with run.catalog.read() as tx:
        known = meta.get(tx, RECIPIENTS_DIGEST)
    if text.encode() == home.recipient_lines() and known == digest_here(home):
        return
    prove(text, new)
    put_recipients(run, text, "key rotate", object=new.recipient.to_text())


def _in_place(home: Home, identity: LabKey, new: X25519Identity) -> str:
    """Return recipients.txt with the new key where the newest old one stood, and without the other lab keys."""
    ours = {key.recipient.to_text() for key in identity.identities}
    lines = home.recipient_lines().decode("utf-8")
    entries: list[str] = []
    is_in = False
    for entry in with_labels(lines):
        label, _, key = entry.rpartition(": ")
        if key not in ours:
            entries.append(entry)
        elif not is_in:
            entries.append(f"{label or 'lab key'}: {new.recipient.to_text()}")
            is_in = True
    return from_labels(entries)


def _tell_old(run: Run, identity: LabKey) -> None:
    """Say what the new key does not open: what was sealed before, store by store."""
    with run.catalog.read() as tx:
        urls = {row.store_id: row.url for row in catalog_stores.all_stores(tx)}
        held = sealed_by_store(tx)
    number = sum(copies for _, copies, _ in held)
    for store_id, copies, size in held:
        url = urls.get(store_id, store_id)
        message = f"{copies:,} copies there, {size:,} bytes, stay sealed to earlier lab keys"
        details = {"copies": copies, "bytes": size}
        run.tell(Item(action="key", status="note", store=url, message=message, details=details))
    earlier = len(identity.identities) - 1
    which = "the earlier lab key" if earlier == 1 else f"one of the {earlier} earlier lab keys"
    message = (
        f"{number:,} sealed copies, the journals, the snapshots and key copies of before, and uploads under way open "
        f"with {which}, which lab-key.age goes on holding"
    )
    details = {"under_earlier_keys": number, "earlier_keys": earlier}
    run.tell(Item(action="key", status="note", message=message, details=details))
