"""Checks of uploads in parts, and all checks together (`ecogsafe.stores.check` has the rest)."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    ObjectExistsError,
    StoreRefusedError,
    UploadGoneError,
)
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import OBJECT_CHECKS, Check, CheckFailed, put, refusal, require, require_object, sample
from ecogsafe.stores.protocol import Store, UploadedPart


class _Trial:
    """An upload of three parts, the last one small."""

    def __init__(self, store: Store, key: str) -> None:
        self.store = store
        self.key = key
        self.token = secrets.token_hex(16)
        part = max(store.capabilities.min_part_bytes, 100_000)
        self.data = sample(key, 2 * part + 12_345)
        self.crc64 = body_crc64(self.data)
        self.bounds = ((0, part), (part, 2 * part), (2 * part, len(self.data)))
        self.upload_id = store.begin_upload(key, token=self.token, size=len(self.data))

    def body(self, number: int) -> memoryview:
        start, stop = self.bounds[number - 1]
        return memoryview(self.data)[start:stop]

    def send(self, number: int, *, crc64: int | None = None) -> UploadedPart:
        body = self.body(number)
        return self.store.put_part(
            self.key,
            self.upload_id,
            number,
            body,
            offset=self.bounds[number - 1][0],
            crc64=body_crc64(body) if crc64 is None else crc64,
        )

    def finish(self, parts: list[UploadedPart], *, crc64: int | None = None) -> None:
        self.store.finish_upload(
            self.key,
            self.upload_id,
            parts,
            crc64=self.crc64 if crc64 is None else crc64,
            size=len(self.data),
            token=self.token,
        )

    def require_nothing_visible(self, promise: str) -> None:
        require(self.store.head(self.key) is None, self.store, promise)
        require(not list(self.store.list(self.key)), self.store, promise)


def parts_become_one_object(store: Store, under: str) -> None:
    """Parts sent in any order, one of them twice, become one object; before, nothing is visible."""
    trial = _Trial(store, f"{under}parts/one.avi.age")
    third, first = trial.send(3), trial.send(1)
    trial.require_nothing_visible("an unfinished upload is not visible")
    second = trial.send(2)
    second = trial.send(2)
    acked = store.list_parts(trial.key, trial.upload_id)
    sizes = [(part.number, part.size) for part in acked]
    wanted = [(number, len(trial.body(number))) for number in (1, 2, 3)]
    require(sizes == wanted, store, "every acknowledged part is listed once, in order, with its size")
    known = all(part.crc64 in (None, body_crc64(trial.body(part.number))) for part in (*acked, third, first, second))
    require(known, store, "a part's checksum is the true one, or none is told")
    trial.finish([third, first, second])
    require_object(store, trial.key, trial.data, "the parts become one object")
    told = store.head(trial.key, checksum=True)
    if told is not None:
        wanted_crc = trial.crc64 if store.capabilities.full_object_checksum else None
        require(told.crc64 == wanted_crc, store, "HEAD tells the checksum of the whole object, or none")
        require(told.token in (trial.token, None), store, "HEAD tells the upload's token")
    with refusal(store, UploadGoneError, "a finished upload is no longer open"):
        store.list_parts(trial.key, trial.upload_id)


def upload_is_resumed_from_its_list(store: Store, under: str) -> None:
    """The parts that the store lists are enough to finish an upload: a new process has nothing else."""
    trial = _Trial(store, f"{under}parts/resumed.avi.age")
    trial.send(1)
    trial.send(3)
    require([part.number for part in store.list_parts(trial.key, trial.upload_id)] == [1, 3], store, "no part is lost")
    trial.send(2)
    trial.finish(list(store.list_parts(trial.key, trial.upload_id)))
    require_object(store, trial.key, trial.data, "an upload is finished from the store's own list")


def false_part_is_refused(store: Store, under: str) -> None:
    """A part that does not fit its checksum is refused and not listed."""
    trial = _Trial(store, f"{under}parts/false.avi.age")
    trial.send(1)
    with refusal(store, ChecksumRefusedError, "a part that does not fit its checksum is refused"):
        trial.send(2, crc64=body_crc64(trial.body(2)) ^ (1 << 63))
    listed = [part.number for part in store.list_parts(trial.key, trial.upload_id)]
    require(listed == [1], store, "a refused part is not listed")
    store.abort_upload(trial.key, trial.upload_id)


def false_whole_is_refused(store: Store, under: str) -> None:
    """An upload whose whole does not fit its checksum is refused, and nothing becomes visible."""
    trial = _Trial(store, f"{under}parts/whole.avi.age")
    parts = [trial.send(number) for number in (1, 2, 3)]
    with refusal(store, ChecksumRefusedError, "a whole that does not fit its checksum is refused"):
        trial.finish(parts, crc64=trial.crc64 ^ 1)
    trial.require_nothing_visible("a refused upload is not visible")
    store.abort_upload(trial.key, trial.upload_id)


def missing_part_is_noticed(store: Store, under: str) -> None:
    """An upload that lacks a part does not become an object."""
    trial = _Trial(store, f"{under}parts/missing.avi.age")
    parts = [trial.send(number) for number in (1, 2, 3)]
    never_sent = UploadedPart(number=4, size=5, etag=parts[0].etag)
    for wrong in (parts[:2], [parts[0], parts[2]], [*parts, never_sent]):
        try:
            trial.finish(wrong)
        except (StoreRefusedError, ChecksumRefusedError):
            continue
        require(False, store, "an upload that lacks a part is refused")
    trial.require_nothing_visible("an upload that lacks a part is not visible")
    store.abort_upload(trial.key, trial.upload_id)


def finish_never_replaces(store: Store, under: str) -> None:
    """An upload does not replace an object that came meanwhile."""
    trial = _Trial(store, f"{under}parts/kept.avi.age")
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(trial.send, (1, 2, 3)))
    data = sample("meanwhile", 777)
    put(store, trial.key, data)
    with refusal(store, ObjectExistsError, "finishing an upload refuses a key that exists"):
        trial.finish(parts)
    require_object(store, trial.key, data, "a refused upload leaves the object as it was")
    store.abort_upload(trial.key, trial.upload_id)


def abort_forgets(store: Store, under: str) -> None:
    """An aborted upload is gone for every call; aborting again does no harm; others stay open."""
    trial = _Trial(store, f"{under}parts/aborted.avi.age")
    other = _Trial(store, f"{under}parts/open.avi.age")
    trial.send(1)
    for upload_id in (trial.upload_id, trial.upload_id, "0" * 32):
        store.abort_upload(trial.key, upload_id)
    with refusal(store, UploadGoneError, "the parts of an aborted upload are gone"):
        store.list_parts(trial.key, trial.upload_id)
    with refusal(store, UploadGoneError, "an aborted upload takes no parts"):
        trial.send(2)
    open_ids = {upload.upload_id for upload in store.list_uploads(f"{under}parts/")}
    require(trial.upload_id not in open_ids, store, "an aborted upload is not listed")
    require(other.upload_id in open_ids, store, "aborting one upload leaves the others open")
    store.abort_upload(other.key, other.upload_id)


def open_uploads_are_listed(store: Store, under: str) -> None:
    """LIST of uploads shows each open one with its key, also two of one key, and not those of other prefixes."""
    keys = (f"{under}opened/a.age", f"{under}opened/a.age", f"{under}opened/b.age")
    trials = [_Trial(store, key) for key in keys]
    elsewhere = _Trial(store, f"{under}elsewhere/a.age")
    found = sorted((upload.key, upload.upload_id) for upload in store.list_uploads(f"{under}opened/"))
    wanted = sorted((trial.key, trial.upload_id) for trial in trials)
    require(found == wanted, store, "every open upload of a prefix is listed once, and no others")
    for trial in (*trials, elsewhere):
        store.abort_upload(trial.key, trial.upload_id)
    require(not list(store.list_uploads(f"{under}opened/")), store, "aborted uploads are not listed")


CHECKS: tuple[Check, ...] = (
    *OBJECT_CHECKS,
    parts_become_one_object,
    upload_is_resumed_from_its_list,
    false_part_is_refused,
    false_whole_is_refused,
    missing_part_is_noticed,
    finish_never_replaces,
    abort_forgets,
    open_uploads_are_listed,
)


def failed_checks(store: Store, under: str) -> dict[str, CheckFailed]:
    """Run every check and return the failures by the check's name; empty where the store keeps its promises.

    An error that the contract does not foresee is a failure of the check it happened in.

    Parameters
    ----------
    under
        Prefix of the objects to write, ends with a slash; never used before.
    """
    failures: dict[str, CheckFailed] = {}
    for check in CHECKS:
        try:
            check(store, under)
        except CheckFailed as error:
            failures[check.__name__] = error
        except EcogsafeError as error:
            failure = CheckFailed(store.url, f"failed a check: {error.problem}", next="do not rely on this store")
            failure.__cause__ = error
            failures[check.__name__] = failure
    return failures
