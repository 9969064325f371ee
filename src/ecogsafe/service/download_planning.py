"""Which objects of a store become which files; keys are taken apart before anything is fetched."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from ecogsafe.catalog import archives, copies
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.errors import ExitStatus, UsageError, VerificationError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.layout import Tree, parse_target
from ecogsafe.service.connections import Connection
from ecogsafe.service.download_replaced import replaced_in
from ecogsafe.service.presence import path_of_key
from ecogsafe.service.running import Run
from ecogsafe.service.target_folder import check_target
from ecogsafe.service.withdrawn import withdrawn_on
from ecogsafe.stores.protocol import OWN_PREFIX, ObjectInfo
from ecogsafe.transfer.archive.volumes import VolumeName, parse_volume_key

DEFAULT_JOBS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """What the user asked for."""

    folder: Path
    url: str
    subjects: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    #: skip what already stands, by path, below this folder
    missing_in: Path | None = None
    decrypt: bool = True
    #: also what the old scripts stored: unlock it with the old password and lay it out
    old_locks: bool = False
    dry_run: bool = False
    jobs: int = DEFAULT_JOBS
    #: as typed: ``20M``, ``18:00-06:00``
    limit_rate: str | None = None
    between: str | None = None

    def check(self) -> None:
        """Raise UsageError for folders that are not there and cannot be made, and codes that are none."""
        check_target(self.folder)
        if self.missing_in is not None and not _is_folder(self.missing_in):
            raise UsageError("--missing-in", "there is no such folder", next="check the path")
        if not all(map(is_code, self.subjects)):
            raise UsageError("-s", "is not a subject code", next="ecogsafe status shows the codes")

    def selects(self, code: str, key: str, target: str) -> bool:
        """Return whether the subject ``code`` and its object ``key``, which becomes ``target``, are wished for."""
        if self.subjects and code not in self.subjects:
            return False
        return not self.globs or any(fnmatch(target, g) or fnmatch(key, g) for g in self.globs)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One object and the file it becomes."""

    info: ObjectInfo
    target: PurePosixPath
    #: it is opened on the way
    sealed: bool
    copy: CopyRow | None
    file: FileRow | None
    subject: str

    @property
    def content_size(self) -> int:
        """Bytes of the file, as far as is known."""
        return self.file.size if self.file and self.expected_sha256 else self.info.size

    @property
    def expected_sha256(self) -> str | None:
        """The digest that the file must have; None where the catalogue knows none of just these bytes."""
        is_content = self.sealed or not self.info.key.endswith(".age")
        return self.file.sha256 if self.file is not None and is_content else None

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Larger for what is better to take where several objects become one file."""
        is_good = self.copy is not None and self.copy.bad_at is None
        is_current = self.file is not None and self.file.superseded_at is None
        return is_good, is_current, not self.sealed


class DownloadPlan:
    """What is fetched, by target.

    Attributes
    ----------
    missing : list of VerificationError
        Copies that the catalogue knows and that are wished for, and that the store does not have.
    withdrawn : Counter of str
        Objects that were passed over because their subject withdrew, by code.
    """

    def __init__(self, run: Run, connection: Connection, request: DownloadRequest) -> None:
        self._run = run
        self._request = request
        self._by_target: dict[str, Wanted] = {}
        with run.catalog.read() as tx:
            pairs = copies.copies_in_store(tx, connection.store_id)
        self._replaced = replaced_in(pairs)
        self._withdrew = withdrawn_on(run)
        self.withdrawn: Counter[str] = Counter()
        known = {copy.key: (copy, file) for copy, file in pairs}
        unlisted = {copy.key for copy, file in pairs if file.subject not in self._withdrew}
        unlisted -= self._replaced.left_out
        for info in _listed(connection, request):
            unlisted.discard(info.key)
            self._add(info, known)
        self.missing = self._look_for(connection, sorted(filter(self._is_wished_for, unlisted)), known)

    @property
    def wanted(self) -> list[Wanted]:
        """What is to be fetched, in the order of the listing."""
        return list(self._by_target.values())

    def _look_for(
        self, connection: Connection, keys: list[str], known: Mapping[str, tuple[CopyRow, FileRow]]
    ) -> list[VerificationError]:
        """Ask for what the catalogue knows and the listing did not show: a tree with a hole is not all there was."""
        missing: list[VerificationError] = []

        def look(key: str) -> ObjectInfo | None:
            # an emptied bucket may be asked for hundreds of thousands
            self._run.check_stop(safe="Nothing was fetched")
            return connection.store.head(key)

        with ThreadPoolExecutor(self._request.jobs, thread_name_prefix="looker") as pool:
            for key, info in zip(keys, pool.map(look, keys), strict=True):
                if info is not None:
                    self._add(info, known)
                else:
                    missing.append(_missing(key))
        return missing

    def _is_wished_for(self, key: str) -> bool:
        """Return whether the object of a recorded copy would be fetched, and no other becomes the same file."""
        request = self._request
        path, is_sealed = path_of_key(key)
        parts = next((p for tree in Tree if (p := parse_target(tree, path))), None)
        target = self._target_of(key, is_sealed=is_sealed)
        if parts is None or target in self._by_target or not request.selects(parts.code, key, target):
            return False
        return request.missing_in is None or not os.path.lexists(request.missing_in / target)

    def _target_of(self, key: str, *, is_sealed: bool) -> str:
        key = self._replaced.named_as.get(key, key)
        return key.removesuffix(".age") if is_sealed and self._request.decrypt else key

    def _add(self, info: ObjectInfo, known: Mapping[str, tuple[CopyRow, FileRow]]) -> None:
        request = self._request
        path, is_sealed = path_of_key(info.key)
        parts = next((p for tree in Tree if (p := parse_target(tree, path))), None)
        if parts is None:
            # a store can hold any name; only those of our own form ever become paths here
            if not info.key.startswith(OWN_PREFIX):
                self._count_other(info.key)
            return
        target = self._target_of(info.key, is_sealed=is_sealed)
        if not request.selects(parts.code, info.key, target):
            return
        if info.key in self._replaced.left_out:
            self._count("replaced")
            return
        if parts.code in self._withdrew:
            self.withdrawn[parts.code] += 1
            return
        if request.missing_in is not None and os.path.lexists(request.missing_in / target):
            self._count("not_missing")
            return
        copy, file = known.get(info.key, (None, None))
        wanted = Wanted(
            info=info,
            target=PurePosixPath(target),
            sealed=is_sealed and request.decrypt,
            copy=copy,
            file=file,
            subject=parts.code,
        )
        earlier = self._by_target.get(target)
        if earlier is not None:
            wanted, other = (wanted, earlier) if wanted.rank > earlier.rank else (earlier, wanted)
            self._tell_twice(wanted, other)
        self._by_target[target] = wanted

    def _count_other(self, key: str) -> None:
        """Count a volume that holds, or may hold, what is wished for; and what is none of ours."""
        volume = parse_volume_key(key)
        if volume is None:
            self._count("foreign_objects")
        elif not volume.is_index and self._may_hold_wishes(volume):
            self._count("archives")

    def _may_hold_wishes(self, volume: VolumeName) -> bool:
        request = self._request
        if request.subjects and volume.subject not in request.subjects:
            return False
        if not request.globs:
            return True
        with self._run.catalog.read() as tx:
            row = archives.volume_named(tx, volume.subject, volume.kind, volume.number)
            members = [] if row is None else archives.members_of(tx, row.volume_id)
        return row is None or any(request.selects(volume.subject, m.path, m.path) for m in members)

    def _count(self, name: str) -> None:
        self._run.counts[name] = self._run.counts.get(name, 0) + 1

    def _tell_twice(self, taken: Wanted, other: Wanted) -> None:
        digests = {w.expected_sha256 for w in (taken, other)}
        is_same = len(digests) == 1 and None not in digests
        message = f"stands in the store both sealed and plain; {'the same content' if is_same else 'only the other'}"
        if not is_same:
            message += f" ({taken.info.key}) is fetched: -f chooses, --no-decrypt fetches both"
            self._run.tally.skipped += 1
            self._run.tally.note(ExitStatus.PARTIAL)
        self._run.tell(
            Item(
                action="download",
                status="note" if is_same else "skipped",
                subject=other.subject,
                key=other.info.key,
                path=str(other.target),
                message=message,
            )
        )


def _missing(key: str) -> VerificationError:
    return VerificationError(
        key,
        "is missing from the store, though a copy of it was recorded there",
        safe="What came is complete",
        next="ecogsafe verify tells which copies are left; then download from another store",
    )


def _listed(connection: Connection, request: DownloadRequest) -> Iterator[ObjectInfo]:
    if not request.subjects:
        yield from connection.store.list()
        return
    for code in dict.fromkeys(request.subjects):
        for prefix in (f"{code}/", f"{code}_edf/", f"{code}_vtc/", f"{code}_snc/"):
            yield from connection.store.list(prefix)
