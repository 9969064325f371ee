"""Where a good copy of a file is to be had: below the outbox, else in another store; each proven while it is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from ecogsafe.catalog import copies
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.copies import LEVELS, CopyRow
from ecogsafe.catalog.due import Pair
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.config import Settings
from ecogsafe.core.errors import (
    EcogsafeError,
    InterruptedRunError,
    SourceChangedError,
    SourceUnreadableError,
    VerificationError,
)
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.deid.layout import parse_target
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.evidence import CONTENT
from ecogsafe.service.gate import Gate, Refusal
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.service.running import Run
from ecogsafe.service.upload import descriptor_of
from ecogsafe.transfer.file_order import Cleared, ClearedWatch
from ecogsafe.transfer.source import FileSource, Source
from ecogsafe.transfer.stored_content import DigestWatch, StoredContent, StoredReader, StoredSource, not_it
from ecogsafe.transfer.work import TextWatch

#: of a file that nobody has
NO_GOOD_COPY = "there is no good copy of it, neither below the outbox nor in another store"


class _Watches:
    """Several watches as one."""

    def __init__(self, watches: Sequence[TextWatch]) -> None:
        self._watches = watches

    def feed(self, offset: int, piece: bytes | memoryview) -> None:
        for watch in self._watches:
            watch.feed(offset, piece)

    def check(self) -> None:
        for watch in self._watches:
            watch.check()


@dataclass(frozen=True, slots=True)
class GoodCopy:
    """One copy that should hold the content."""

    #: what messages call it
    name: str
    file: FileRow
    open: Callable[[], Source]
    #: its text, if it is to go plain
    cleared: Cleared | None
    #: None: a file here
    copy: CopyRow | None

    def watch(self) -> TextWatch:
        """Return what proves, while it is read, that it is the content, and that its text was cleared."""
        shown = f"{self.file.tree}/{self.file.path}"
        watches: list[TextWatch] = [DigestWatch(self.name, self.file.sha256 or "")]
        if self.cleared is not None:
            watches.append(ClearedWatch(shown, self.cleared))
        return _Watches(watches)


class GoodCopies:
    """Finds good copies: a file here first, then those of other stores, the best proven first.

    Attributes
    ----------
    outbox : Path or None
        The folder of the config that de-identified files lie in, where it is there.
    """

    def __init__(
        self, run: Run, settings: Settings, identities: Callable[[], Sequence[Identity]], stack: ExitStack
    ) -> None:
        self._run = run
        self._identities = identities
        self._stack = stack
        self._gate = Gate(run.catalog)
        self._open: dict[str, Connection | None] = {}
        #: why a content may not go out plain, by its id
        self._refusals: dict[int, str] = {}
        folder = None if settings.outbox is None else Path(settings.outbox)
        self.outbox = folder if folder is not None and folder.is_dir() else None
        self._root = None if self.outbox is None else stack.enter_context(descriptor_of(self.outbox))

    def of(self, pair: Pair) -> Iterator[GoodCopy]:
        """Yield what may be tried for a bad copy, in order; each is opened when it is its turn.

        Raises
        ------
        LabKeyError
            A sealed copy is to be read, and its key cannot be had.
        """
        copy, file = pair
        if file.sha256 is None:
            # an adopted object that nobody ever read: what it should hold nobody knows
            return
        local = self._local(file, sealed=copy.sealed)
        if local is not None:
            yield local
        for other in self._others(copy):
            stored = self._stored(other, file, sealed=copy.sealed)
            if stored is not None:
                yield stored

    def why_not(self, pair: Pair) -> str | None:
        """Return why the gate kept every copy of the content back, if it did."""
        reason = self._refusals.get(pair[1].id)
        return None if reason is None else f"it would go out plain, and {reason}"

    def note_failure(self, good: GoodCopy, error: EcogsafeError | None) -> None:
        """Mark a stored copy bad that turned out not to hold the content."""
        copy = good.copy
        if copy is None or not isinstance(error, SourceChangedError) or error.item != good.name:
            return
        reason = f"{CONTENT} {error.problem}"
        with self._run.catalog.write() as tx:
            copies.mark_bad(tx, copy.id, reason, graver=True)

    def _local(self, file: FileRow, *, sealed: bool) -> GoodCopy | None:
        relative = PurePosixPath(file.tree, file.path)
        if self._root is None:
            return None
        try:
            with FileSource(self._root, relative, name=f"{file.tree}/{file.path}") as source:
                if source.size != file.size:
                    return None
                status = os.fstat(source.descriptor)
        except SourceUnreadableError:
            return None
        cleared = None
        if not sealed:
            judged = self._gate.judge(_outgoing(file, relative, status), self._root)
            if isinstance(judged, Refusal):
                self._refusals[file.id] = judged.reason
                return None
            cleared = judged
        open_source = partial(FileSource, self._root, relative, name=f"{file.tree}/{file.path}")
        return GoodCopy("the outbox", file, open_source, cleared, None)

    def _others(self, bad: CopyRow) -> list[CopyRow]:
        with self._run.catalog.read() as tx:
            found = copies.copies_of_file(tx, bad.file_id)
        good = [c for c in found if c.bad_at is None and c.store_id != bad.store_id]
        return sorted(good, key=lambda c: (-LEVELS.index(c.level), c.sealed))

    def _stored(self, copy: CopyRow, file: FileRow, *, sealed: bool) -> GoodCopy | None:
        connection = self._connection(copy.store_id)
        if connection is None:
            return None
        identities = self._identities() if copy.sealed else None
        store = connection.store

        def content() -> StoredContent:
            info = store.head(copy.key)
            if info is None:
                raise SourceUnreadableError(copy.key, f"is missing at {store.name}")
            return StoredContent(store, info, identities)

        name = f"the copy at {store.name}"

        def open_source() -> Source:
            try:
                return StoredSource(content(), name)
            except VerificationError as error:
                raise not_it(name, error.problem) from error

        cleared = None
        if not sealed:
            try:
                opened = content()
            except InterruptedRunError:
                raise
            except EcogsafeError:
                return None
            with io.BufferedReader(StoredReader(opened)) as reader:
                stat = StoredSource(opened, name).stat
                status = os.stat_result((0,) * 10)
                judged = self._gate.judge_content(_outgoing(file, PurePosixPath(file.path), status), reader, stat)
            if isinstance(judged, Refusal):
                self._refusals[file.id] = judged.reason
                return None
            cleared = judged
        return GoodCopy(name, file, open_source, cleared, copy)

    def _connection(self, store_id: str) -> Connection | None:
        if store_id not in self._open:
            self._open[store_id] = None
            with self._run.catalog.read() as tx:
                url = next((s.url for s in catalog_stores.all_stores(tx) if s.store_id == store_id), None)
            try:
                if url is not None:
                    opened = self._stack.enter_context(
                        connected(self._run.catalog, url, to_write=False, stop=self._run.stop, tell=self._run.tell)
                    )
                    self._open[store_id] = opened if opened.store_id == store_id else None
            except InterruptedRunError:
                raise
            except EcogsafeError as error:
                # the next best copy is tried
                message = f"no good copy can be had from there now: {error.problem}"
                self._run.tell(Item(action="repair", status="note", store=url, message=message))
        return self._open[store_id]


def _outgoing(file: FileRow, relative: PurePosixPath, status: os.stat_result) -> OutgoingFile:
    parts = parse_target(file.tree, file.path)
    if parts is None:
        raise EcogsafeError(file.subject, "a path that is not of our form stands in the catalogue")
    return OutgoingFile(tree=file.tree, path=file.path, parts=parts, below_dir=str(relative), status=status)
