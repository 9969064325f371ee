"""The id of a store: a small object that tells this store from another one under the same URL.

``_ecogsafe/store.json`` holds ``{"format": 1, "store_id": 32 hex digits, "created": UTC}``. A disk that is
not mounted has none, so nothing is written to its mount point; two URLs of one store have the same.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field, replace

from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import ObjectExistsError, WrongStoreError
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.protocol import OWN_PREFIX, ObjectInfo, Store

STORE_ID_KEY = f"{OWN_PREFIX}store.json"
FORMAT = 1
_STORE_ID = re.compile(r"[0-9a-f]{32}")
#: nobody's store.json is larger, in bytes
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreId:
    """What ``_ecogsafe/store.json`` says."""

    store_id: str
    #: UTC, ``2026-01-02T03:04:05.678901Z``
    created: str
    #: what the store said of the object: its clock beside ours
    seen: ObjectInfo | None = field(default=None, compare=False)


def read_store_id(store: Store) -> StoreId | None:
    """Return the id of ``store``, None where it has none yet.

    Raises
    ------
    WrongStoreError
        The object is damaged or of a newer format.
    """
    seen = store.head(STORE_ID_KEY)
    if seen is None:
        return None
    data = b"".join(store.read(STORE_ID_KEY, 0, _MAX_BYTES))
    try:
        record = json.loads(data)
        made = StoreId(store_id=record["store_id"], created=record["created"], seen=seen)
        fits = bool(_STORE_ID.fullmatch(made.store_id)) and isinstance(made.created, str)
        is_newer = record["format"] != FORMAT
    except (ValueError, KeyError, TypeError):
        fits, is_newer = False, False
    if not fits or is_newer:
        problem = "is of another format" if is_newer else "is damaged"
        raise WrongStoreError(
            store.url, f"its {STORE_ID_KEY} {problem}", next="use the newest ecogsafe, or another store"
        )
    return made


def create_store_id(store: Store) -> StoreId:
    """Return the id of ``store``, giving it one where it has none; of two who try at once one wins, for both."""
    found = read_store_id(store)
    if found is not None:
        return found
    made = StoreId(store_id=secrets.token_hex(16), created=utc_stamp())
    record = {"format": FORMAT, "store_id": made.store_id, "created": made.created}
    data = json.dumps(record).encode() + b"\n"
    try:
        seen = store.put(STORE_ID_KEY, data, crc64=body_crc64(data), token=secrets.token_hex(16))
    except ObjectExistsError:
        found = read_store_id(store)
        if found is None:
            raise
        return found
    return replace(made, seen=seen)


def require_store_id(store: Store, expected: str) -> None:
    """Refuse a store that is not the one known under this URL.

    Raises
    ------
    WrongStoreError
        It has no id, or another one: perhaps a disk that is not mounted.
    """
    found = read_store_id(store)
    if found is None:
        raise WrongStoreError(
            store.url, f"has no {STORE_ID_KEY}, so it is not the store known here", next="check that it is mounted"
        )
    if found.store_id != expected:
        raise WrongStoreError(store.url, "is another store than the one known here", next="check the URL and the mount")
