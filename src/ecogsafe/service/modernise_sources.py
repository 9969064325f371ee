"""The old copies that ``modernise`` is given: files, folders of them, stores."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.errors import SourceUnreadableError, UsageError
from ecogsafe.core.private import Private
from ecogsafe.service.connections import connected
from ecogsafe.service.decrypting import LOCKED_ENDS, LocalSource
from ecogsafe.service.download_old import Fetching
from ecogsafe.service.modernise_notes import identity_of
from ecogsafe.service.old_copies import OldCopy
from ecogsafe.service.old_layout import LOCKED_END
from ecogsafe.service.running import Run
from ecogsafe.service.shown_names import code_in, key_hidden, shown_name, shown_path
from ecogsafe.stores.protocol import OWN_PREFIX, ObjectInfo, Store
from ecogsafe.transfer.meter import Meter


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A file."""

    path: Path
    status: os.stat_result

    @property
    def shown(self) -> str:
        """What messages call it."""
        return shown_name(self.path.name)

    @property
    def subject(self) -> str | None:
        """The code that its name begins with."""
        return code_in(self.path.name)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.status.st_size

    @property
    def store_id(self) -> str:
        """Of no store."""
        return ""

    @property
    def identity(self) -> str:
        """What stands for it in the notes."""
        return identity_of("file", self.path.absolute(), self.status.st_size, self.status.st_mtime_ns)

    @contextmanager
    def opened(self, meter: Meter, stop: threading.Event) -> Iterator[OldCopy]:
        """Give it to read."""
        with LocalSource(self.path, meter, stop) as source:
            yield OldCopy(Private(str(self.path.absolute())), _checked(source), source.size, self.shown)


def _checked(source: LocalSource) -> Iterator[bytes]:
    yield from source
    source.check_unchanged()


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """An object."""

    store: Store
    store_id: str
    info: ObjectInfo

    @property
    def shown(self) -> str:
        """What messages call it."""
        return shown_path(self.info.key)

    @property
    def subject(self) -> str | None:
        """The code that its name begins with."""
        return code_in(self.info.key.rpartition("/")[2])

    @property
    def size(self) -> int:
        """Bytes."""
        return self.info.size

    @property
    def identity(self) -> str:
        """What stands for it in the notes."""
        tag = self.info.etag or self.info.last_modified
        return identity_of("object", self.store.url, self.info.key, self.info.size, tag)

    @contextmanager
    def opened(self, meter: Meter, stop: threading.Event) -> Iterator[OldCopy]:
        """Give it to read."""
        with key_hidden(self.info.key):
            info = self.store.head(self.info.key) or self.info
            yield OldCopy(Private(info.key), Fetching(self.store, info, meter, stop), info.size)


def old_copies_in(run: Run, source: str) -> Iterator[LocalCopy | StoredCopy]:
    """Yield the old copies of one SOURCE; a store stays open until the iteration ends.

    A file is taken as it is. Of a folder, every file with an extension of a lock; of a store, every object
    whose key ends with ``.enc``.

    Raises
    ------
    UsageError
        There is no such file or folder.
    StoreError
        The store cannot be reached.
    """
    if "://" in source:
        with connected(run.catalog, source, to_write=False, stop=run.stop, tell=run.tell) as connection:
            for info in connection.store.list():
                if info.key.endswith(LOCKED_END) and not info.key.startswith(OWN_PREFIX):
                    yield StoredCopy(connection.store, connection.store_id, info)
        return
    path = Path(source)
    try:
        if not path.is_dir():
            yield LocalCopy(path, path.stat())
            return
        for file in sorted(path.rglob("*")):
            if file.name.lower().endswith(LOCKED_ENDS) and file.is_file() and not file.is_symlink():
                yield LocalCopy(file, file.stat())
    except FileNotFoundError as error:
        raise UsageError("SOURCE", "there is no such file or folder", next="check the path") from error
    except OSError as error:
        raise SourceUnreadableError("SOURCE", f"cannot be read ({os.strerror(error.errno or 0)})") from error
