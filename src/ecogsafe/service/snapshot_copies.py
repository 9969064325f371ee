"""The snapshots that stand in a store: which there are, and one of them opened in the home."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.replacing import open_whole
from ecogsafe.core.durable import write_pieces_atomically
from ecogsafe.core.errors import DamagedCatalogueError, LabKeyError, NoSpaceError, VerificationError
from ecogsafe.core.events import EventSink, Item
from ecogsafe.crypt.age_file import open_pieces
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.service.snapshot_zipping import unzipped_snapshot
from ecogsafe.service.snapshots import PREFIX
from ecogsafe.stores.protocol import Store

_NAME = re.compile(rf"{PREFIX}(?P<at>\d{{8}}T\d{{6}}Z)-[0-9a-f]{{8}}\.sqlite(?:\.zst)?\.age")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot in a store, as its name tells."""

    key: str
    at: datetime
    #: by the store's clock, seconds: within one second the name says nothing
    stored_at: float

    @property
    def name(self) -> str:
        """What ``--snapshot`` takes."""
        return self.key.removeprefix(PREFIX)


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot that is open in the home under a temporary name."""

    snapshot: Snapshot
    #: of the sealed object
    sha256: str
    catalog: Catalog


def is_snapshot_key(key: str) -> bool:
    """Return whether ``key`` is one that `Snapshots` gives."""
    return _NAME.fullmatch(key) is not None


def snapshots_in(store: Store) -> list[Snapshot]:
    """Return the snapshots in ``store``, the newest first by our clock."""
    found: list[Snapshot] = []
    for info in store.list(PREFIX):
        match = _NAME.fullmatch(info.key)
        if match:
            at = datetime.strptime(match["at"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append(Snapshot(info.key, at, info.last_modified.timestamp() if info.last_modified else 0.0))
    return sorted(found, key=lambda s: (s.at, s.stored_at, s.key), reverse=True)


def take(
    store: Store,
    candidates: Sequence[Snapshot],
    identity: X25519Identity,
    target: Path,
    emit: EventSink,
    *,
    fits: Callable[[Catalog], bool] | None = None,
) -> tuple[Taken, bool]:
    """Open the newest of ``candidates`` that is whole, at ``target``; return it, and whether a newer one was not.

    Parameters
    ----------
    fits
        Whether an opened one is wanted; others are passed over.

    Raises
    ------
    VerificationError
        None of them can be used.
    UsageError
        A newer ecogsafe made one of them.
    NoSpaceError
        ``target`` could not be written.
    """
    failures: list[str] = []
    for snapshot in candidates:
        try:
            sha256 = _open_at(target, store, snapshot.key, identity)
            catalog = open_whole(target)
        except (VerificationError, LabKeyError, DamagedCatalogueError) as error:
            failures.append(error.problem)
            message = f"this snapshot cannot be used: {error.problem}"
            emit(Item(action="snapshot", status="failed", key=snapshot.key, store=store.name, message=message))
            continue
        if fits is None or fits(catalog):
            return Taken(snapshot, sha256, catalog), bool(failures)
        catalog.close()
    reason = failures[0] if failures else "they are of other catalogues"
    raise VerificationError(
        store.url,
        f"none of its {len(candidates)} snapshots can be used ({reason})",
        safe="The home is as it was",
        next="name another store with --from",
    )


def _open_at(target: Path, store: Store, key: str, identity: X25519Identity) -> str:
    """Open a snapshot into the file ``target`` as it arrives; return the SHA-256 of the sealed object.

    The file is there only if all of it came and is authentic.
    """
    digest = hashlib.sha256()

    def arriving() -> Iterator[bytes]:
        for piece in store.read(key):
            digest.update(piece)
            yield bytes(piece)

    try:
        write_pieces_atomically(target, unzipped_snapshot(open_pieces(arriving(), [identity]), item=key))
    except OSError as error:
        raise NoSpaceError(
            "the home",
            "has no room for a snapshot, or cannot be written",
            safe="It is as it was",
            next="check its room and permissions, then run the same command again",
        ) from error
    return digest.hexdigest()
