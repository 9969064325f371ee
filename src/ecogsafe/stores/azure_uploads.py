"""Uploads in parts on Azure: blocks that wait under a blob's name, until one list makes them the blob.

An upload is opened by a block of its own, so that it is known before its first part; it ends when its
blocks are committed, or with another such block when it is given up. Blocks that wait are seen by nobody,
and Azure drops them a week after the last of them came; there is no other way to be rid of them that would
not make, replace or delete a blob.

References
----------
https://learn.microsoft.com/en-us/rest/api/storageservices/put-block-list
https://learn.microsoft.com/en-us/rest/api/storageservices/get-block-list
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectExistsError,
    ObjectMissingError,
    StillColdError,
    StoreRefusedError,
    UploadGoneError,
)
from ecogsafe.stores.azure_blocks import (
    ENDING,
    NO_TIER,
    OPENING,
    TIERS,
    Block,
    Held,
    block_of,
    is_upload_id,
    tier_of,
    vouched_crc64,
    whole_crc64,
)
from ecogsafe.stores.azure_container import Container, Leaving, content_md5
from ecogsafe.stores.azure_errors import azure_errors, writing
from ecogsafe.stores.bodies import body_crc64, body_size
from ecogsafe.stores.keys import is_listed
from ecogsafe.stores.protocol import Body, OpenUpload, UploadedPart

#: what the blocks hold that only say something; Azure takes no empty ones
_NOTHING = b"\0"


class BlockUploads:
    """The uploads of one container; used by all threads."""

    def __init__(self, container: Container) -> None:
        self._container = container
        #: what this process knows, so that not every part asks; others are asked about once
        self._open: set[str] = set()
        self._ended: set[str] = set()
        self._lock = threading.Lock()

    def begin(self, key: str, *, tier: str | None) -> str:
        """Open an upload; returns its id."""
        upload_id = secrets.token_hex(16) + (TIERS[tier] if tier else NO_TIER)
        self._stage(key, Block(upload_id, OPENING, int(utc_now().timestamp())), _NOTHING)
        self._note(upload_id, is_open=True)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: Body, crc64: int) -> UploadedPart:
        """Stage one part; see `Store.put_part`."""
        if upload_id not in self._open:
            self._held(key, upload_id)
        block = Block(upload_id, number, crc64)
        self._stage(key, block, body)
        return UploadedPart(number=number, size=body_size(body), etag=block.name, crc64=crc64)

    def parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """Return the acknowledged parts; of a number that came with several contents, none: it is to be sent again."""
        held = [each for each in self._held(key, upload_id) if each.is_part]
        often = Counter(each.block.number for each in held)
        return tuple(
            UploadedPart(number=each.block.number, size=each.size, etag=each.block.name, crc64=each.block.crc64)
            for each in sorted(held, key=lambda each: each.block.number)
            if often[each.block.number] == 1
        )

    def finish(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[UploadedPart],
        *,
        crc64: int,
        size: int,
        metadata: Mapping[str, str],
    ) -> tuple[Mapping[str, Any], int | None]:
        """Make the blob; returns Azure's answer and the checksum that its own list of the blocks vouches for.

        Raises as `Store.finish_upload` does.
        """
        names = self._chosen(key, upload_id, parts, crc64=crc64, size=size)
        answer = self._commit(key, upload_id, names, metadata)
        self._note(upload_id, is_open=False)
        try:
            told = self._container.blocks(key, committed=True)
        except StillColdError:
            # Of a blob that is frozen at once no list is given. Azure commits the list it is sent, or refuses it.
            return answer, crc64
        return answer, crc64 if [name for name, _ in told] == names and vouched_crc64(told, size) == crc64 else None

    def _chosen(self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int) -> list[str]:
        """Return the ids of the blocks that become the blob, in order, when Azure holds every one of them."""
        try:
            held = {each.block.name: each for each in self._held(key, upload_id)}
        except UploadGoneError:
            self._refuse_taken(key)
            raise
        ordered = sorted(parts, key=lambda part: part.number)
        chosen = [held[part.etag] for part in ordered if part.etag in held and held[part.etag].size == part.size]
        numbers = [each.block.number for each in chosen]
        if len(chosen) != len(parts) or numbers != list(range(1, len(parts) + 1)):
            raise self._incomplete("a part of the upload is missing or changed")
        if sum(each.size for each in chosen) != size:
            raise self._incomplete("the parts of the upload have another size than the whole")
        if whole_crc64(chosen) != crc64:
            raise ChecksumRefusedError(
                f"{self._container.url}/{key}",
                "the parts have another checksum than the whole",
                safe="Nothing was stored",
            )
        return [each.block.name for each in chosen]

    def _incomplete(self, problem: str) -> StoreRefusedError:
        return StoreRefusedError(self._container.url, problem, next="run again, the upload starts anew")

    def _refuse_taken(self, key: str) -> None:
        """Raise where a blob has the name: it may have come meanwhile, and the blocks that waited are gone then."""
        with azure_errors(self._container.url, key):
            is_taken = self._container.blob(key).exists()
        if is_taken:
            item = f"{self._container.url}/{key}"
            raise ObjectExistsError(item, "is already there", safe="It was not changed")

    def _commit(self, key: str, upload_id: str, names: list[str], metadata: Mapping[str, str]) -> Mapping[str, Any]:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock, BlockState, StandardBlobTier

        tier = tier_of(upload_id)

        with writing(), azure_errors(self._container.url, key):
            answer: Mapping[str, Any] = self._container.blob(key).commit_block_list(
                [BlobBlock(name, state=BlockState.UNCOMMITTED) for name in names],
                metadata=dict(metadata),
                standard_blob_tier=None if tier is None else StandardBlobTier(tier),
                match_condition=MatchConditions.IfMissing,
                validate_content=True,
            )
        return answer

    def abort(self, key: str, upload_id: str) -> None:
        """Give an upload up; nothing happens where there is none."""
        try:
            self._held(key, upload_id)
        except UploadGoneError:
            return
        self._note(upload_id, is_open=False)
        self._stage(key, Block(upload_id, ENDING, 0), _NOTHING)

    def open_uploads(self, prefix: str) -> Iterator[OpenUpload]:
        """Yield the open uploads of keys that begin with ``prefix``.

        Those of a key that has become a blob meanwhile are not told: they can never be finished.
        """
        container = self._container
        for found, _ in container.pages(prefix, uncommitted=True):
            for blob in found:
                key = blob.name.removeprefix(container.prefix)
                if not blob.size and key and not key.endswith("/") and is_listed(key, prefix):
                    yield from self._open_of(key)

    def _open_of(self, key: str) -> Iterator[OpenUpload]:
        try:
            waiting = self._waiting(key)
        except (ObjectMissingError, StillColdError):
            return  # finished meanwhile, or a blob: nothing waits there
        ended = {each.block.upload_id for each in waiting if each.block.number == ENDING}
        for each in waiting:
            if each.block.number == OPENING and each.block.upload_id not in ended:
                yield OpenUpload(key=key, upload_id=each.block.upload_id, started=each.block.began)

    def _waiting(self, key: str) -> list[Held]:
        """Return the blocks of ours that wait under a name."""
        told = self._container.blocks(key, committed=False)
        return [Held(block, size) for name, size in told if (block := block_of(name)) is not None]

    def _held(self, key: str, upload_id: str) -> list[Held]:
        """Return the blocks of an open upload; raises `UploadGoneError` where it is not open."""
        try:
            waiting = self._waiting(key) if is_upload_id(upload_id) and upload_id not in self._ended else []
        except (ObjectMissingError, StillColdError):
            waiting = []
        held = [each for each in waiting if each.block.upload_id == upload_id]
        numbers = {each.block.number for each in held}
        if OPENING not in numbers or ENDING in numbers:
            self._note(upload_id, is_open=False)
            item = f"{self._container.url}/{key}"
            raise UploadGoneError(item, "the upload is no longer open there", safe="Other objects are intact")
        self._note(upload_id, is_open=True)
        return held

    def _note(self, upload_id: str, *, is_open: bool) -> None:
        with self._lock:
            (self._open.add if is_open else self._open.discard)(upload_id)
            (self._ended.discard if is_open else self._ended.add)(upload_id)

    def _stage(self, key: str, block: Block, body: Body) -> None:
        blob = self._container.blob(key)
        crc64 = block.crc64 if block.number not in (OPENING, ENDING) else body_crc64(body)
        md5 = content_md5(body, crc64, f"{self._container.url}/{key}")
        with writing(), azure_errors(self._container.url, key):
            # the SDK's types do not know a body with a length that is given in pieces; its transport does
            data: Any = Leaving(body)
            blob.stage_block(block.name, data, length=len(data), headers={"Content-MD5": md5})
