"""An old copy (a locked file, or a locked tar file of many) becomes files in today's layout.

`download --decrypt`, `restore` and `modernise` use it. Nothing gets its name before the whole old copy is
proven whole: a gzip checksum, say, comes last.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, ExitStatus, MalformedFileError, NoSpaceError, SourceUnreadableError
from ecogsafe.core.events import EventSink, Item, Tally
from ecogsafe.core.private import Private
from ecogsafe.deid.layout import TargetParts
from ecogsafe.formats.plain_content import Content
from ecogsafe.service.expanding import ExpandedFile, expand
from ecogsafe.service.old_layout import Placed, code_of_archive, compared, path_of, place_all, place_of
from ecogsafe.service.shown_names import shown_path
from ecogsafe.service.unlocking import Unlocked, UnlockKeys, unlock
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.hidden_folder import HiddenFolder
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.unzipping import unzipped

_ARCHIVES = (Content.GZIP, Content.TAR, Content.ZSTD)
_LOCKED_ENDS = (".enc", ".age", ".des", ".openssl")
_SAFE = "The old copy is not touched"


@dataclass(frozen=True, slots=True)
class OldCopy:
    """One old copy as it comes."""

    #: its path or key, perhaps with a patient's name in it
    path: Private
    #: its bytes, read once; after the last one, whatever speaks against them is raised
    pieces: Iterable[bytes]
    #: bytes, as far as is known
    size: int
    #: what messages call it; default: the path, in which all is masked that may be a name
    name: str = ""

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.name or shown_path(self.path.reveal().strip("/"))

    @property
    def inside(self) -> str:
        """Its path without what the lock put at its end."""
        path = self.path.reveal()
        return next((path[: -len(end)] for end in _LOCKED_ENDS if path.lower().endswith(end)), path)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one old copy."""

    #: SHA-256 of the old copy as it lies there
    sha256: str
    code: str | None
    how: str
    #: below the folder, of the files that are there and right now
    paths: tuple[str, ...]
    #: files that another content stands in the way of
    different: int
    left_behind: int


class OldCopyTaker:
    """Takes old copies apart into ``folder``.

    Parameters
    ----------
    with_trees
        Lay files out below ``video``, ``edf`` and ``text`` as in OUT; else as `download` does.
    action
        What the events are called.
    """

    def __init__(
        self,
        folder: Path,
        keys: UnlockKeys,
        *,
        with_trees: bool,
        action: str,
        tell: EventSink,
        tally: Tally,
        stop: threading.Event,
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._with_trees = with_trees
        self._action = action
        self._tell = tell
        self._tally = tally
        self._stop = stop
        self._lock = threading.Lock()

    def take(self, copy: OldCopy, *, key: str | None = None) -> Taken:
        """Open ``copy``, put its files in place and tell of each.

        Parameters
        ----------
        key
            Its object key for the events.

        Raises
        ------
        LabKeyError
            The password is wrong, or it is sealed to other keys.
        VerificationError
            It is cut or damaged; nothing of it was put in place.
        MalformedFileError
            It holds what is no recording of today's form, or what must not become files here.
        NoSpaceError
            It does not fit on this disk.
        StoreError, InterruptedRunError
            As its pieces raise them.
        """
        digest = hashlib.sha256()
        try:
            unlocked = unlock(_digested(copy.pieces, digest), self._keys, item=copy.shown)
            is_archive = unlocked.content in _ARCHIVES
            placed = self._unpack(copy, unlocked) if is_archive else [self._single(copy, unlocked)]
        except OSError as error:
            raise _disk_error(copy.shown, error) from error
        with self._lock:
            for each in placed:
                self._note(each, key, _how(unlocked))
        return Taken(
            digest.hexdigest(),
            next((each.place.code for each in placed if each.place), None),
            _how(unlocked),
            tuple(
                str(path_of(each.place, with_trees=self._with_trees))
                for each in placed
                if each.place and each.status in ("done", "present")
            ),
            sum(each.status == "different" for each in placed),
            sum(each.status == "left_behind" for each in placed),
        )

    def _unpack(self, copy: OldCopy, unlocked: Unlocked) -> list[Placed]:
        name = hashlib.sha256(copy.path.reveal().encode("utf-8", "surrogateescape")).hexdigest()[:16]
        with HiddenFolder(self._folder / f"ecogsafe-{name}", shown=copy.shown) as hidden:
            tar = unzipped(unlocked.pieces, unlocked.content, item=copy.shown)
            files = expand(tar, hidden.path, item=copy.shown, stop=self._stop)
            code = code_of_archive(copy.inside.rpartition("/")[2])
            return list(place_all(files, hidden.path, self._folder, code=code, with_trees=self._with_trees))

    def _single(self, copy: OldCopy, unlocked: Unlocked) -> Placed:
        place = place_of(copy.inside)
        if place is None:
            raise MalformedFileError(
                copy.shown,
                "is neither an archive nor a file that ecogsafe has a place for",
                safe=_SAFE,
                next="ecogsafe decrypt opens it where you say",
            )
        target = self._folder / path_of(place, with_trees=self._with_trees)
        if os.path.lexists(target):
            return compared(_read(copy, unlocked), place, target)
        return Placed("done", self._land(copy, unlocked, place), place, "")

    def _land(self, copy: OldCopy, unlocked: Unlocked, place: TargetParts) -> ExpandedFile:
        landing = Landing(self._folder, path_of(place, with_trees=self._with_trees), mtime_ns=None)
        info = ObjectInfo(key=copy.shown, size=copy.size)
        digest, size = hashlib.sha256(), 0
        try:
            landing.open(info, copy.size)
            landing.begin(info, copy.size, b"", in_ranges=False)
            for piece in unlocked.pieces:
                landing.write(memoryview(piece), size)
                digest.update(piece)
                size += len(piece)
            landing.publish()
        except BaseException:
            landing.discard()
            raise
        return ExpandedFile(copy.path, size, digest.hexdigest())

    def _note(self, placed: Placed, key: str | None, how: str) -> None:
        tally = self._tally
        status = placed.status
        if status == "done":
            tally.done += 1
            tally.bytes += placed.file.size
        elif status == "present":
            tally.present += 1
        elif status == "left_behind":
            tally.left_behind += 1
            tally.note(ExitStatus.NOT_UNDERSTOOD)
        else:
            status = "skipped"
            tally.skipped += 1
            tally.note(ExitStatus.PARTIAL)
        place = placed.place
        path = str(path_of(place, with_trees=self._with_trees)) if place else shown_path(placed.file.path.reveal())
        self._tell(
            Item(
                action=self._action,
                status=status,
                subject=place.code if place else None,
                segment=place.number if place else None,
                path=path,
                key=key,
                bytes=placed.file.size,
                digest=placed.file.sha256,
                message=placed.message or how,
            )
        )


def _digested(pieces: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _read(copy: OldCopy, unlocked: Unlocked) -> ExpandedFile:
    digest, size = hashlib.sha256(), 0
    for piece in unlocked.pieces:
        digest.update(piece)
        size += len(piece)
    return ExpandedFile(copy.path, size, digest.hexdigest())


def _how(unlocked: Unlocked) -> str:
    return "; ".join(part for part in (unlocked.how or "not locked", unlocked.note) if part)


def _disk_error(shown: str, error: OSError) -> EcogsafeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpaceError(shown, "does not fit on this disk", safe=f"{_SAFE}; complete files are kept")
    return SourceUnreadableError(
        shown,
        f"could not be read or written ({os.strerror(error.errno or 0)})",
        safe=f"{_SAFE}; complete files are kept",
    )
