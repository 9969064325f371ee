"""The home folder: where the catalogue, the keys and the settings of one lab live."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.config import Settings, load_settings
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import LabKeyError, LockedError, NotInitialisedError, RecipientsChangedError, UsageError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.keys import PublicKey, parse_recipients
from ecogsafe.crypt.lab_key import LabKey, open_lab_key

#: asks a person, or a file named by the environment; the user interface supplies it
PasswordSource = Callable[[], Secret]

RECIPIENTS_DIGEST = "recipients_sha256"
#: the digest that recipients.txt is about to have while a `key` command writes it; else empty
RECIPIENTS_COMING = "recipients_sha256_coming"
#: the public half of the lab key that an unfinished `key rotate` is moving to; else empty
LAB_KEY_COMING = "lab_key_coming"
RESUME_KEY_SIZE = 32


class Home:
    """The paths of one home and what can be opened from them.

    Parameters
    ----------
    root
        The folder.
    catalog_url
        Another catalogue than ``catalog.sqlite`` (SQLAlchemy URL).
    """

    def __init__(self, root: Path, *, catalog_url: str | None = None) -> None:
        self.root = root
        self.catalog_url = catalog_url
        self.config = root / "config.toml"
        self.catalog_path = root / "catalog.sqlite"
        self.lab_key = root / "lab-key.age"
        self.recipients_file = root / "recipients.txt"
        self.recovery_sheet = root / "recovery-sheet.txt"
        self.linking_key = root / "linking-key.age"
        self.journals = root / "journals"
        self.shares = root / "shares"
        self.resume_key_file = root / "resume.key"
        #: opens the lab key at rest; one that has begun already may stand here (`unlock_ahead`)
        self.open_lab_key: Callable[[bytes, Secret], LabKey] = open_lab_key
        #: there while ``init`` works: what it left half-made may be made again. Holds the SHA-256 of each
        #: recipients.txt that it has made so far, one a line
        self.unfinished = root / ".init-unfinished"

    @property
    def is_initialised(self) -> bool:
        """True once ``init`` has finished: the lab key is the last file it writes."""
        return self.lab_key.exists()

    @property
    def has_lost_its_key(self) -> bool:
        """True where a lab has worked and its lab key is no longer there: nothing may be made anew over it."""
        if self.is_initialised:
            return False
        worked = self.linking_key.exists() or any(self.journals.glob("*.age"))
        # the sheet in the home may hold the only copy of the lab key
        return worked or (self.recovery_sheet.exists() and not self.unfinished.exists())

    def require(self) -> None:
        """Raise NotInitialisedError unless ``init`` has finished.

        Raises
        ------
        NotInitialisedError
            ``init`` has not finished here.
        LabKeyError
            It had, and the lab key is gone since.
        """
        if self.has_lost_its_key:
            raise LabKeyError(
                "lab-key.age",
                "is missing, and what this lab has stored is sealed to it",
                next="ecogsafe init --recover FILE, FILE being recovery-sheet.txt (print-out, or the one in the home)",
            )
        if not self.is_initialised:
            raise NotInitialisedError(
                "the home folder",
                "holds no lab key yet",
                next="ecogsafe init, or name the right folder with --home",
            )

    def create_folder(self) -> None:
        """Make the folder and ``journals``, open to this user only.

        Raises
        ------
        UsageError
            The disk does not let us.
        """
        try:
            for folder in (self.root, self.journals):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                folder.chmod(0o700)
            probe = self.root / f".probe-{secrets.token_hex(4)}"
            write_atomically(probe, b"")
            probe.unlink()
        except OSError as error:
            raise UsageError(
                "the home folder",
                f"cannot be written ({os.strerror(error.errno or 0)})",
                next="make it writable for you (chmod u+rwx), or name another one with --home",
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home alone; two ``init`` at once would mix their keys.

        Raises
        ------
        LockedError
            Another process holds it.
        """
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LockedError("the home folder", "is being made by another process", next="wait for it") from error
            yield
        finally:
            os.close(descriptor)  # lets go of the lock

    def settings(self) -> Settings:
        """Return the checked settings."""
        return load_settings(self.config)

    def open_catalog(self, *, only_look: bool = False) -> Catalog:
        """Open the catalogue that ``init`` made; ``only_look`` as in `Catalog.open`."""
        self.require()
        return Catalog.open(self.catalog_url or self.catalog_path, only_look=only_look)

    def recipient_lines(self) -> bytes:
        """Return recipients.txt as it stands."""
        try:
            return self.recipients_file.read_bytes()
        except OSError as error:
            raise LabKeyError(
                "recipients.txt",
                "cannot be read, so nothing can be sealed",
                next="ecogsafe init --recover your recovery sheet",
            ) from error

    def recipients(self, catalog: Catalog) -> Sequence[PublicKey]:
        """Return to whom everything is sealed, after comparing the file with what the catalogue knows.

        Raises
        ------
        RecipientsChangedError
            Somebody changed recipients.txt by hand.
        """
        lines = self.recipient_lines()
        with catalog.read() as tx:
            known, coming = meta.get(tx, RECIPIENTS_DIGEST), meta.get(tx, RECIPIENTS_COMING)
            lab_key = meta.get(tx, LAB_KEY_COMING)
        digest = hashlib.sha256(lines).hexdigest()
        if known != digest and coming == digest:
            rotates = bool(lab_key) and str(lab_key).encode() in lines.split()
            raise RecipientsChangedError(
                "recipients.txt",
                "is half changed: a key was being added to it when that was cut",
                safe="Nothing was sent",
                next="ecogsafe key rotate, which goes on with it"
                if rotates
                else "run the same ecogsafe key add-recipient again",
            )
        if known != digest:
            raise RecipientsChangedError(
                "recipients.txt",
                "is not the file that the catalogue knows: data could be sealed to a stranger, or to nobody you know",
                safe="Nothing was sent",
                next="put the old file back: ecogsafe init --recover with another --home writes it anew",
            )
        return parse_recipients(lines.decode("utf-8"))

    def identity(self, password: PasswordSource, recipients: Sequence[PublicKey]) -> LabKey:
        """Return the lab key, opened, and proven to be among ``recipients``; it opens what earlier ones opened too.

        Raises
        ------
        WrongPasswordError
            The password does not open it.
        LabKeyError
            It is missing, or data is not sealed to it.
        """
        try:
            sealed = self.lab_key.read_bytes()
        except OSError as error:
            raise LabKeyError(
                "lab-key.age", "cannot be read", next="ecogsafe init --recover your recovery sheet"
            ) from error
        identity = self.open_lab_key(sealed, password())
        if identity.listed(recipients) is None:
            raise LabKeyError(
                "recipients.txt",
                "does not list this home's lab key",
                next="put the file back that init wrote; after a rotation elsewhere, ecogsafe key import its sheet",
            )
        return identity

    def resume_key(self) -> bytes:
        """Return the key that wraps file keys of unfinished uploads; made anew where there is none.

        A new one can open no earlier upload: those are begun again.
        """
        if not self.resume_key_file.exists():
            # another run may be faster; a second key would make that run's uploads impossible to continue
            with suppress(FileExistsError):
                write_atomically(self.resume_key_file, secrets.token_bytes(RESUME_KEY_SIZE), replace=False)
        key = self.resume_key_file.read_bytes()
        if len(key) != RESUME_KEY_SIZE:
            raise LabKeyError(
                "resume.key", "is damaged", safe="Stored data is not affected", next="delete it and run again"
            )
        return key
