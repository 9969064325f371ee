"""The linking key on disk: sealed, changed under a lock, read back before it counts, with its generations."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ecogsafe.core.clock import monotonic
from ecogsafe.core.durable import fsync_directory, write_atomically
from ecogsafe.core.errors import LabKeyError, LockedError, NoSpaceError, UsageError, VerificationError
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_recipients import Identity, Recipient
from ecogsafe.deid.linking_key import LinkingKey

Seal = Callable[[bytes, Sequence[Recipient]], bytes]
OpenSealed = Callable[[bytes, Sequence[Identity]], bytes]
#: Given the sealed bytes of the newest key, puts them into the second places.
Publish = Callable[[bytes], None]

#: Given the former key and the new one, before the new one is put in place.
Announce = Callable[[LinkingKey, LinkingKey], None]

#: Generations kept beside the newest key.
GENERATIONS = 20
_GENERATION = re.compile(r"linking-key-(\d+)\.age")
_ITEM = "linking-key.age"
_LOCK_WAIT_S = 10.0
_LOCK_POLL_S = 0.05


class LinkingKeyFile:
    """``linking-key.age`` and ``generations/`` beside it.

    Parameters
    ----------
    path
        Of ``linking-key.age``; its folder must exist.
    recipients, identities
        To whom it is sealed (all of ``recipients.txt``), and with what it is opened (the lab key).
    publish
        Called with the sealed bytes after every change, when the change already stands on this disk. What
        it raises reaches the caller of `change`: the key is changed then, but has no second copy.
    announce
        Called before a change is put in place, under the lock; what it raises stops the change.
    seal, open_sealed
        The sealing itself; others only in tests.
    lock_wait_s
        How long to wait for another run, in seconds.
    """

    def __init__(
        self,
        path: Path,
        recipients: Sequence[Recipient],
        identities: Sequence[Identity],
        *,
        publish: Publish | None = None,
        seal: Seal = seal,
        open_sealed: OpenSealed = open_sealed,
        announce: Announce | None = None,
        lock_wait_s: float = _LOCK_WAIT_S,
    ) -> None:
        self._path = path
        self._recipients = recipients
        self._identities = identities
        self._publish = publish
        self._seal = seal
        self._open_sealed = open_sealed
        self._announce = announce
        self._lock_wait_s = lock_wait_s
        self._generations = path.parent / "generations"
        #: written beside the key, checked there, then renamed; only the holder of the lock touches it
        self._candidate = path.with_name(f".{path.name}.new")

    def read(self) -> LinkingKey:
        """Return the newest linking key; an empty one where none was ever written.

        Raises
        ------
        LabKeyError
            The file is gone although generations of it are there, or no key opens it.
        VerificationError
            It is damaged.
        UsageError
            It cannot be read.
        """
        sealed = self._sealed()
        return LinkingKey() if sealed is None else self._open(sealed)

    def settled(self) -> LinkingKey:
        """Return the newest linking key while no change of it is under way; errors as `read`, and LockedError."""
        with self._locked():
            return self.read()

    def change(self, change: Callable[[LinkingKey], LinkingKey], *, anew: bool = False) -> LinkingKey:
        """Give the newest key to ``change``, and keep what it returns; returns that.

        Under a lock: read newest, change, seal, write beside, fsync, read back, open and compare, keep the
        former file as a generation, rename. Whatever fails, ``linking-key.age`` is the old file or the new.
        Nothing is written if nothing changed, unless ``anew`` seals it to other recipients than before.

        Raises
        ------
        LockedError
            Another run holds the lock.
        VerificationError
            What was written does not open to what was meant; the old file stands.
        NoSpaceError, UsageError
            The home is full, or cannot be written.
        LabKeyError
            As `read`.
        """
        with self._locked():
            former = self._sealed()
            old = LinkingKey() if former is None else self._open(former)
            new = change(old)
            if new == old and former is not None and not anew:
                return new
            sealed = self._seal(new.to_json(), self._recipients)
            if self._announce is not None:
                self._announce(old, new)
            with _disk_errors():
                self._write_and_compare(sealed, new)
                if former is not None:
                    self._keep_generation(former)
                self._candidate.replace(self._path)
                fsync_directory(self._path.parent)
            self._drop_old_generations()
            if self._publish is not None:
                self._publish(sealed)
        return new

    def generations(self) -> list[Path]:
        """Return the former files, the oldest first."""
        try:
            found = [(int(m[1]), p) for p in self._generations.iterdir() if (m := _GENERATION.fullmatch(p.name))]
        except FileNotFoundError:
            return []
        return [path for _, path in sorted(found)]

    def _sealed(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            if self.generations():
                raise LabKeyError(
                    _ITEM,
                    "is gone, but generations of it are there",
                    next="copy the newest of generations/linking-key-*.age to linking-key.age",
                ) from None
            return None
        except OSError as error:
            raise UsageError(_ITEM, "cannot be read", next="check its permissions") from error

    def _open(self, sealed: bytes) -> LinkingKey:
        return LinkingKey.from_json(self._open_sealed(sealed, self._identities))

    def _write_and_compare(self, sealed: bytes, meant: LinkingKey) -> None:
        write_atomically(self._candidate, sealed)
        try:
            written = self._candidate.read_bytes()
            if written != sealed or self._open(written) != meant:
                raise VerificationError(
                    _ITEM,
                    "did not read back as it was written",
                    safe="The former linking key stands unchanged",
                    next="check the disk of the home, then run the same command again",
                )
        except BaseException:
            self._candidate.unlink(missing_ok=True)
            raise

    def _keep_generation(self, former: bytes) -> None:
        if not self._generations.is_dir():
            self._generations.mkdir(mode=0o700)
            fsync_directory(self._generations.parent)
        kept = self.generations()
        if kept and kept[-1].read_bytes() == former:
            return  # a run was killed between keeping it and the rename
        number = int(kept[-1].stem.rsplit("-", 1)[1]) + 1 if kept else 1
        write_atomically(self._generations / f"linking-key-{number}.age", former, replace=False)

    def _drop_old_generations(self) -> None:
        for path in self.generations()[:-GENERATIONS]:
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _disk_errors():
            fd = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            until = monotonic() + self._lock_wait_s
            while not _try_lock(fd):
                if monotonic() >= until:
                    raise LockedError(_ITEM, "another run is changing it", next="wait for it, then run again")
                time.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(fd)  # lets go of the lock


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn what the disk refuses into our words."""
    try:
        yield
    except OSError as error:
        safe = "The former linking key stands unchanged"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError(_ITEM, "the disk of the home is full", safe=safe, next="make room, run again") from error
        raise UsageError(_ITEM, "cannot be written", safe=safe, next="check the home's permissions") from error
