"""``init --recover``: a home made anew from the recovery sheet, or from the key copies in a store."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import LabKeyError, UsageError
from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.crypt.recovery_sheet import read_sheet, write_sheet
from ecogsafe.service.config_template import config_template
from ecogsafe.service.home import RECIPIENTS_DIGEST, RESUME_KEY_SIZE, Home
from ecogsafe.service.key_backup import PREFIX
from ecogsafe.stores.open import open_store


@dataclass(slots=True)
class _Found:
    lab_key: bytes
    recipients: str
    linking_key: bytes | None = None
    journals: dict[str, bytes] = field(default_factory=dict)


def recover(home: Home, source: str, password: Callable[[], Secret], emit: EventSink) -> Summary:
    """Make the home from ``source``: the path of a recovery sheet, or the URL of a store with key copies.

    Raises
    ------
    UsageError
        The home exists already, or the source cannot be read.
    WrongPasswordError
        The password does not open the lab key; nothing was written.
    """
    if home.is_initialised:
        raise UsageError("the home folder", "is initialised already", next="name another folder with --home")
    found = _from_store(source) if "://" in source else _from_sheet(Path(source))
    identity = open_lab_key(found.lab_key, password())
    if identity.recipient.to_text() not in {r.to_text() for r in parse_recipients(found.recipients)}:
        raise LabKeyError("the recovery source", "its recipients do not include its lab key")
    if found.linking_key is not None:
        open_sealed(found.linking_key, [identity])
    home.create_folder()
    write_atomically(home.recipients_file, found.recipients.encode())
    write_atomically(home.resume_key_file, secrets.token_bytes(RESUME_KEY_SIZE))
    lines = [line for line in found.recipients.splitlines() if line and not line.startswith("#")]
    write_atomically(home.recovery_sheet, write_sheet(found.lab_key, lines, "recovered").encode())
    if not home.config.exists():
        write_atomically(home.config, config_template(None).encode())
    for name, data in found.journals.items():
        write_atomically(home.journals / name, data)
    if found.linking_key is not None:
        write_atomically(home.linking_key, found.linking_key)
    catalog = Catalog.open(home.catalog_url or home.catalog_path, create=True)
    try:
        with catalog.write() as tx:
            meta.set(tx, RECIPIENTS_DIGEST, hashlib.sha256(found.recipients.encode()).hexdigest())
    finally:
        catalog.close()
    write_atomically(home.lab_key, found.lab_key)
    _tell(found, emit)
    return Summary(command="init", exit_status=0, files={}, bytes=0, seconds=0.0, message="the home is recovered")


def _tell(found: _Found, emit: EventSink) -> None:
    emit(Item(action="recover", status="done", message="lab key opened with the password"))
    if found.linking_key is None:
        message = "no linking key yet: run init --recover with the URL of a store that holds key copies to get it"
        emit(Item(action="recover", status="note", message=message))
    else:
        emit(Item(action="recover", status="done", message=f"linking key and {len(found.journals)} journals"))


def _from_sheet(path: Path) -> _Found:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            "the recovery sheet", f"cannot be read ({os.strerror(error.errno or 0)})", next="check the path"
        ) from error
    sheet = read_sheet(text)
    return _Found(sheet.lab_key_age, "".join(f"{line}\n" for line in sheet.recipients))


def _from_store(url: str) -> _Found:
    store = open_store(url)
    try:
        keys = sorted(info.key for info in store.list(PREFIX))

        def newest(stem: str) -> bytes | None:
            named = [k for k in keys if k.removeprefix(PREFIX).startswith(stem)]
            return b"".join(store.read(named[-1])) if named else None

        lab_key, recipients = newest("lab-key-"), newest("recipients-")
        if lab_key is None or recipients is None:
            raise UsageError(url, "holds no key copies", next="use the recovery sheet, or another store")
        journals = {k.rsplit("/", 1)[1]: b"".join(store.read(k)) for k in keys if k.startswith(f"{PREFIX}journals/")}
        return _Found(lab_key, recipients.decode(), newest("linking-key-"), journals)
    finally:
        store.close()
