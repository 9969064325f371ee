"""``init --recover``: a home made anew from the recovery sheet, or from the key copies in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import EcogsafeError, ExitStatus, LabKeyError, UsageError, WrongPasswordError
from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.crypt.lab_key import LabKey, open_lab_key
from ecogsafe.crypt.recovery_sheet import write_sheet
from ecogsafe.service.acts import note_home
from ecogsafe.service.config_template import config_template
from ecogsafe.service.home import RECIPIENTS_DIGEST, Home
from ecogsafe.service.recipient_lines import with_labels
from ecogsafe.service.recovery_sources import KeySource, from_sheet, from_store


def recover(home: Home, source: str, password: Callable[[], Secret], emit: EventSink) -> Summary:
    """Make the home from ``source``: the path of a recovery sheet, or the URL of a store with key copies.

    What the folder holds already and the lab key opens is kept: it may be newer than the source.

    Raises
    ------
    UsageError
        The home exists already, or the source cannot be read.
    WrongPasswordError
        The password does not open the lab key; nothing was written.
    LabKeyError
        The source, or what the folder holds, does not fit the lab key; nothing was written.
    """
    if home.is_initialised:
        raise UsageError("the home folder", "is initialised already", next="name another folder with --home")
    found = from_store(source) if "://" in source else from_sheet(Path(source))
    sealed_lab, identity = _open_lab_key(found, password())
    recipients = _recipients(home, found, identity)
    linking_key, is_newest = _linking_key(home, found, identity)
    home.create_folder()
    with home.locked():
        write_atomically(home.recipients_file, recipients)
        home.resume_key()
        sheet = write_sheet(sealed_lab, with_labels(recipients.decode()), utc_stamp()[:10])
        write_atomically(home.recovery_sheet, sheet.encode())
        if not home.config.exists():
            write_atomically(home.config, config_template(None).encode())
        for name, data in found.journals.items():
            if not (home.journals / name).exists():
                write_atomically(home.journals / name, data, replace=False)
        if found.shares:
            home.shares.mkdir(mode=0o700, exist_ok=True)
        for name, data in found.shares.items():
            if not (home.shares / name).exists():
                write_atomically(home.shares / name, data, replace=False)
        if linking_key is not None and not home.linking_key.exists():
            write_atomically(home.linking_key, linking_key, replace=False)
        _note_recipients(home, recipients)
        write_atomically(home.lab_key, sealed_lab, replace=False)
        home.unfinished.unlink(missing_ok=True)
    _tell(home, found, emit)
    status = ExitStatus.DONE
    if not is_newest:
        status = ExitStatus.PARTIAL
        message = "the newest copy of the linking key cannot be opened: an older one was taken, persons may be missing"
        emit(Item(action="recover", status="failed", message=message))
    files = {"done": 1, "failed": int(not is_newest)}
    message = "the home is recovered"
    return Summary(command="init", exit_status=int(status), files=files, bytes=0, seconds=0.0, message=message)


def _open_lab_key(found: KeySource, password: Secret) -> tuple[bytes, LabKey]:
    """Return the newest lab key that the password opens: one of before a change of the password counts too."""
    failure: EcogsafeError | None = None
    for sealed in found.lab_keys:
        try:
            return sealed, open_lab_key(sealed, password)
        except LabKeyError as error:
            is_telling = isinstance(error, WrongPasswordError) or failure is None
            failure = error if is_telling else failure
    raise failure or LabKeyError("the recovery source", "holds no lab key")


def _recipients(home: Home, found: KeySource, identity: LabKey) -> bytes:
    """Return recipients.txt: the home's own if that is the one the catalogue knows, else the newest that fits."""
    own = [home.recipients_file.read_bytes()] if home.recipients_file.exists() else []
    if own and _known_digest(home) != hashlib.sha256(own[0]).hexdigest():
        own = []
    for lines in [*own, *found.recipients]:
        if identity.listed(parse_recipients(lines.decode("utf-8", "replace"))) is not None:
            return lines
    raise LabKeyError("the recovery source", "its recipients do not include its lab key")


def _linking_key(home: Home, found: KeySource, identity: LabKey) -> tuple[bytes | None, bool]:
    """Return the linking key to write, and whether it is the newest copy; the home's own is never replaced."""
    if home.linking_key.exists():
        try:
            open_sealed(home.linking_key.read_bytes(), [identity])
        except EcogsafeError as error:
            raise LabKeyError(
                "linking-key.age",
                "in this folder does not open with this lab key",
                next="name another folder with --home, or move that file away",
            ) from error
        return None, True
    for age, sealed in enumerate(found.linking_keys):
        try:
            open_sealed(sealed, [identity])
        except EcogsafeError:
            continue
        return sealed, age == 0
    return None, not found.linking_keys


def _known_digest(home: Home) -> str | None:
    if home.catalog_url is None and not home.catalog_path.exists():
        return None
    catalog = Catalog.open(home.catalog_url or home.catalog_path, create=True)
    try:
        with catalog.read() as tx:
            return meta.get(tx, RECIPIENTS_DIGEST)
    finally:
        catalog.close()


def _note_recipients(home: Home, recipients: bytes) -> None:
    catalog = Catalog.open(home.catalog_url or home.catalog_path, create=True)
    try:
        with catalog.write() as tx:
            digest = hashlib.sha256(recipients).hexdigest()
            meta.set(tx, RECIPIENTS_DIGEST, digest)
            note_home(tx, "init --recover", digest)
    finally:
        catalog.close()


def _tell(home: Home, found: KeySource, emit: EventSink) -> None:
    emit(Item(action="recover", status="done", message="lab key opened with the password"))
    journals = sum(1 for _ in home.journals.glob("*.age"))
    if home.linking_key.exists():
        emit(Item(action="recover", status="done", message=f"linking key and {journals} journals"))
    elif found.is_sheet:
        message = "no linking key yet: run init --recover with the URL of a store that holds key copies to get it"
        emit(Item(action="recover", status="note", message=message))
    else:
        emit(Item(action="recover", status="note", message="the store holds no linking key"))
