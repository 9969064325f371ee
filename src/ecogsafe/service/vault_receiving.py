"""One archive of an old vault into a file: by ranges, each proven by its tree hash before it is written.

Ranges are branches of the archive's tree, so the store tells a tree hash with each. A killed run goes on with the
ranges that were durable. At the end the whole file is read back from the disk, and only if its tree hash is the one of
the vault's list does it get its name.
"""

from __future__ import annotations

import mmap
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ecogsafe.catalog.vaults import VaultArchiveRow
from ecogsafe.core.errors import InterruptedRunError, StoreError, VerificationError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.tree_hash import LEAF_BYTES, TreeHash, tree_hash
from ecogsafe.stores.glacier_vault import GlacierVault, VaultJob
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.landing import Landing

#: of one request: a power of two MiB, so that each range is a branch of the tree
RANGE_BYTES = 16 * LEAF_BYTES
#: requests at once; each holds one range in memory
CONNECTIONS = 4
_READ_BACK = LEAF_BYTES
#: bytes that arrive wrong so often are not wrong by chance
_ATTEMPTS = 3


class VaultReception:
    """One archive on its way.

    Parameters
    ----------
    landing
        The file that it fills.
    on_bytes, on_kept
        Called with the count of bytes that arrived, and that an earlier run had received.
    """

    def __init__(
        self,
        vault: GlacierVault,
        job: VaultJob,
        archive: VaultArchiveRow,
        landing: Landing,
        *,
        on_bytes: Callable[[int], None] = lambda _count: None,
        on_kept: Callable[[int], None] = lambda _count: None,
        stop: threading.Event | None = None,
    ) -> None:
        self._vault = vault
        self._job = job
        self._archive = archive
        self._item = archive.key or archive.archive_id
        self._landing = landing
        self._on_bytes = on_bytes
        self._on_kept = on_kept
        self._stop = stop or threading.Event()
        self._failed = threading.Event()
        self._buffers: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()

    def receive(self) -> None:
        """Fetch what is missing, prove the whole and give the file its name.

        Raises
        ------
        VerificationError
            The bytes do not have the tree hash of the vault's list; no file was made.
        ObjectMissingError
            The job's output has expired; what came is kept.
        StoreError, OSError, LockedError, NoSpaceError, InterruptedRunError
            What came is kept, and the next run goes on with it.
        FileExistsError
            The name appeared meanwhile.
        """
        archive = self._archive
        if self._job.tree_hash not in (None, archive.tree_hash):
            raise self._wrong("the store tells another tree hash for it than its list did")
        info = ObjectInfo(key=self._item, size=archive.size, etag=archive.tree_hash)
        landed = self._landing.open(info, archive.size)
        try:
            kept = set(landed.ranges) if landed is not None else set()
            if landed is not None:
                self._landing.go_on()
            else:
                self._landing.begin(info, archive.size, b"", in_ranges=True)
            self._fetch(kept)
            self._prove()
            self._landing.publish()
        finally:
            # nothing is left to do where it was published or discarded
            self._landing.leave()

    def _fetch(self, kept: set[int]) -> None:
        numbers = range(-(-self._archive.size // RANGE_BYTES))
        self._on_kept(sum(self._stop_of(n) - n * RANGE_BYTES for n in kept if n in numbers))
        workers = min(CONNECTIONS, len(numbers)) or 1
        for _ in range(workers):
            self._buffers.put(mmap.mmap(-1, RANGE_BYTES))
        with ThreadPoolExecutor(workers, thread_name_prefix="vault") as pool:
            futures = [pool.submit(self._fetch_one, n) for n in numbers if n not in kept]
            errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            # those that were not begun any more say nothing of the reason
            raise next((e for e in errors if not isinstance(e, InterruptedRunError)), errors[0])

    def _stop_of(self, number: int) -> int:
        return min((number + 1) * RANGE_BYTES, self._archive.size)

    def _fetch_one(self, number: int) -> None:
        if self._failed.is_set() or self._stop.is_set():
            raise InterruptedRunError(
                self._item,
                "was not fetched to its end",
                safe="What came of it is kept",
                next="run the same command again to continue",
            )
        buffer = self._buffers.get()
        try:
            start, stop = number * RANGE_BYTES, self._stop_of(number)
            with memoryview(buffer)[: stop - start] as view:
                self._fetch_range(view, start, stop)
                self._landing.write(view, start)
                self._landing.note(number, crc64nvme(view), len(view))
            self._on_bytes(stop - start)
        except BaseException:
            self._failed.set()
            raise
        finally:
            self._buffers.put(buffer)

    def _fetch_range(self, view: memoryview, start: int, stop: int) -> None:
        failures = wrong = 0
        while True:
            try:
                output = self._vault.output(self._job.job_id, start, stop)
                if output.size != self._archive.size:
                    raise self._wrong(f"the store gives {output.size:,} bytes for {self._archive.size:,}")
                at = 0
                for piece in output.body:
                    if at + len(piece) > len(view):
                        raise self._wrong(
                            f"the store gives more than bytes {start:,} to {stop:,}, which were asked for"
                        )
                    view[at : at + len(piece)] = piece
                    at += len(piece)
            except StoreError as error:
                failures += 1
                self._vault.patience.wait(error, failures)
                continue
            if at == len(view) and output.tree_hash in (None, tree_hash(view)):
                return
            wrong += 1
            if wrong >= _ATTEMPTS:
                raise self._wrong(
                    f"bytes {start:,} to {stop:,} came {wrong} times with another tree hash than announced"
                )

    def _prove(self) -> None:
        whole = TreeHash()
        buffer = bytearray(_READ_BACK)
        while whole.size < self._archive.size:
            with memoryview(buffer) as view:
                count = self._landing.read(view, whole.size)
                if not count:
                    break
                whole.update(view[: min(count, self._archive.size - whole.size)])
        if whole.hexdigest() != self._archive.tree_hash:
            with suppress(OSError):
                self._landing.discard()
            raise self._wrong("what came does not have the tree hash of the vault's list")

    def _wrong(self, problem: str) -> VerificationError:
        return VerificationError(
            self._item,
            problem,
            safe="No file was made of it; what stands here already was not touched",
            next="run the same command again while the store has it ready; if it stays so, tell AWS support",
        )
