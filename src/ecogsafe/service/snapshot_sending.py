"""A snapshot of the catalogue on its way: sealed once, part by part, the same bytes for every place.

A catalogue grows to gigabytes, so neither it nor what is sealed of it is ever in memory whole: at most
`SINGLE_REQUEST_LIMIT` bytes of it are. The file key of a snapshot is never written down: what a kill leaves of it is an
unfinished upload that nobody continues (`ecogsafe.service.inventory_orphans` offers its end), and the next
snapshot is sealed with another one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import FileIO
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, VerificationError
from ecogsafe.crypt.age_recipients import Recipient, seal_header
from ecogsafe.crypt.checksums import combine
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, PAYLOAD_NONCE_BYTES, SealedLayout
from ecogsafe.stores.protocol import ObjectInfo, Store, UploadedPart
from ecogsafe.transfer.cutting import CutPart, PartCutter, SealedForm
from ecogsafe.transfer.parts import SINGLE_REQUEST_LIMIT, SMALLEST_PART, part_size_for

#: whole chunks, so that the cutter keeps nothing back
_READ_BYTES = 16 * CHUNK_BYTES


class Destination:
    """One place that a snapshot goes to, and how that ended there.

    Attributes
    ----------
    is_of_run
        Whether the run works with this place: without a snapshot there it has not done all it should.
    error
        What kept the snapshot from it; the place was left alone after that.
    is_left_open
        Whether it may keep parts of a snapshot that it will never have.
    """

    def __init__(self, store: Store, *, is_of_run: bool = True) -> None:
        self.store = store
        self.is_of_run = is_of_run
        self.error: EcogsafeError | None = None
        self.is_left_open = False
        self._token = secrets.token_hex(16)
        #: key and id of the upload that is open
        self._upload: tuple[str, str] | None = None
        self._parts: list[UploadedPart] = []

    def attempt(self, step: Callable[[], None]) -> None:
        """Take one step of the way; after a failed one none is taken any more."""
        if self.error is not None:
            return
        try:
            step()
        except EcogsafeError as error:
            self.error = error
            self.give_up()

    def put(self, key: str, part: CutPart) -> None:
        """Send a snapshot that is one part."""
        body = _body(part)
        info = self.store.put(key, body, crc64=part.crc64, token=self._token)
        self._check(info, len(body), part.crc64)

    def begin(self, key: str, size: int) -> None:
        """Begin to send ``size`` bytes in parts."""
        self._upload = key, self.store.begin_upload(key, token=self._token, size=size)

    def put_part(self, part: CutPart) -> None:
        """Send the next part."""
        place = part.place
        key, upload_id = self._begun()
        sent = self.store.put_part(key, upload_id, place.number, _body(part), offset=place.start, crc64=part.crc64)
        self._parts.append(sent)

    def finish(self, size: int, crc64: int) -> None:
        """Make the object out of its parts."""
        key, upload_id = self._begun()
        info = self.store.finish_upload(key, upload_id, self._parts, crc64=crc64, size=size, token=self._token)
        self._upload = None
        self._check(info, size, crc64)

    def give_up(self) -> None:
        """Abort the upload that is open; nothing happens where none is."""
        if self._upload is None:
            return
        (key, upload_id), self._upload = self._upload, None
        try:
            self.store.abort_upload(key, upload_id)
        except EcogsafeError:
            self.is_left_open = True

    def _begun(self) -> tuple[str, str]:
        if self._upload is None:
            raise ValueError("this upload was not begun")
        return self._upload

    def _check(self, info: ObjectInfo, size: int, crc64: int) -> None:
        if info.size != size or info.crc64 not in (None, crc64):
            raise VerificationError(
                info.key,
                f"{self.store.name} stored other bytes than were sent",
                safe="This snapshot does not count; the catalogue is as it was",
                next="ask the administrator of the store, then ecogsafe catalog backup",
            )


def _body(part: CutPart) -> memoryview:
    if part.body is None:
        raise ValueError("every part of a snapshot is made")
    return part.body


def send_sealed(path: Path, key: str, recipients: Sequence[Recipient], destinations: Sequence[Destination]) -> int:
    """Seal the file ``path`` and store it under ``key`` at every destination; return the size of the object, bytes.

    What goes wrong at one of them is noted there. Up to `SINGLE_REQUEST_LIMIT` it is one request.

    Raises
    ------
    LabKeyError
        As `seal_header`; no place was asked.
    """
    file_key = FileKey.new()
    header = seal_header(file_key, recipients)
    with path.open("rb", buffering=0) as plain:
        plain_size = os.fstat(plain.fileno()).st_size
        layout = SealedLayout(header, secrets.token_bytes(PAYLOAD_NONCE_BYTES), plain_size)
        form = SealedForm(layout, file_key, plain_size)
        size = form.object_size
        if size <= SINGLE_REQUEST_LIMIT:
            for part in _parts(form, size, plain):
                for destination in destinations:
                    destination.attempt(partial(destination.put, key, part))
        else:
            _send_in_parts(form, key, plain, destinations)
    return size


def _send_in_parts(form: SealedForm, key: str, plain: FileIO, destinations: Sequence[Destination]) -> None:
    size = form.object_size
    crc = 0
    try:
        for destination in destinations:
            destination.attempt(partial(destination.begin, key, size))
        for part in _parts(form, part_size_for(size, least=SMALLEST_PART), plain):
            for destination in destinations:
                destination.attempt(partial(destination.put_part, part))
            if all(destination.error for destination in destinations):
                return
            crc = combine(crc, part.crc64, part.place.length)
        for destination in destinations:
            destination.attempt(partial(destination.finish, size, crc))
    finally:
        # what neither finished nor failed was cut short by a bug, or by whoever ends the process
        for destination in destinations:
            destination.give_up()


def _parts(form: SealedForm, part_size: int, plain: FileIO) -> Iterator[CutPart]:
    """Yield part after part, each in the memory of the one before."""
    room = memoryview(bytearray(part_size))
    cutter = PartCutter(form, part_size, lambda place: room[: place.length])
    piece = memoryview(bytearray(_READ_BYTES))
    while count := plain.readinto(piece):
        yield from cutter.feed(piece[:count])
    yield from cutter.finish()
