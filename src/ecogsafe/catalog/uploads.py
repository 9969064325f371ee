"""Uploads in parts, their acknowledgements, and intents: what tells an object of ours from another's.

Every row is keyed by the random token that the object carries as its ``ecogsafe-upload`` metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import bindparam, delete, exists, func, insert, select, update

from ecogsafe.catalog.bulk import add_rows, among, carry_out
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.guarded import guarded_insert, parameter
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import acks as acks_table
from ecogsafe.catalog.schema import intents, leases, uploads
from ecogsafe.core.errors import EcogsafeError, LockedError

IntentState = Literal["open", "done", "different", "void"]


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One multipart upload to one store."""

    token: str
    sealing_id: str
    store_id: str
    key: str
    #: the store's own name for it; None until the store answered
    upload_id: str | None
    state: Literal["open", "done", "aborted"]
    #: who works on it, and the fence of that owner's lease ``upload:<token>``
    owner: str
    fence: int
    created_at: str
    storage_class: str | None = None


@dataclass(frozen=True, slots=True)
class IntentRow:
    """What we are about to make exist under a key; durable before any PUT or Complete."""

    token: str
    store_id: str
    key: str
    #: of the object, bytes
    size: int
    #: full-object CRC64NVME, unsigned
    crc64: int
    file_id: int
    #: of the plain file
    sha256: str
    sealed: bool
    created_at: str
    state: IntentState = "open"


_BATCH = 500
_UPLOAD = columns_of(UploadRow, uploads)
_INTENT = columns_of(IntentRow, intents)
_ADD_ACK = guarded_insert(
    acks_table,
    exists().where(
        uploads.c.token == parameter(acks_table.c.token),
        uploads.c.state == "open",
        uploads.c.fence <= parameter(uploads.c.fence),
    ),
    ~exists().where(leases.c.name == parameter(leases.c.name, "lease"), leases.c.fence > parameter(uploads.c.fence)),
)
# built once: what a large file needs of the catalogue
_ADD_UPLOAD = insert(uploads)
_UPLOAD_OF = select(*_UPLOAD).where(uploads.c.token == bindparam("a_token"))
_SET_UPLOAD_ID = (
    update(uploads).where(uploads.c.token == bindparam("a_token")).values(upload_id=bindparam("the_upload_id"))
)
_TAKE_OVER = (
    update(uploads)
    .where(uploads.c.token == bindparam("a_token"))
    .values(owner=bindparam("the_owner"), fence=bindparam("the_fence"))
)
_FENCES = select(
    uploads.c.fence.label("of_upload"),
    select(func.max(leases.c.fence)).where(leases.c.name == bindparam("a_name")).scalar_subquery().label("of_lease"),
).where(uploads.c.token == bindparam("a_token"))
_OF_TOKENS = select(uploads.c.token).where(uploads.c.token.in_(bindparam("tokens", expanding=True)))
_OPEN = select(*_UPLOAD).where(uploads.c.state == "open").order_by(uploads.c.created_at, uploads.c.token)
_OPEN_OF_KEY = _OPEN.where(uploads.c.store_id == bindparam("a_store"), uploads.c.key == bindparam("a_key"))
_OPEN_OF_SEALING = _OPEN.where(uploads.c.sealing_id == bindparam("a_sealing"))
_FORGET_ACKS = delete(acks_table).where(acks_table.c.token == bindparam("a_token"))
_END = (
    update(uploads)
    .where(uploads.c.token == bindparam("a_token"), uploads.c.state == "open")
    .values(state=bindparam("ended"))
)
_INTENTS_OF = select(*_INTENT).where(intents.c.token.in_(bindparam("tokens", expanding=True)))
_INTENTS_KNOWN = select(intents.c.token).where(intents.c.token.in_(bindparam("tokens", expanding=True)))
_SETTLE = update(intents).where(intents.c.token == bindparam("a_token")).values(state=bindparam("settled"))
_OPEN_INTENTS_OF = select(intents.c.token, intents.c.key).where(
    intents.c.store_id == bindparam("a_store"),
    intents.c.key.in_(bindparam("keys", expanding=True)),
    intents.c.state == "open",
)


def add_upload(tx: Transaction, row: UploadRow) -> None:
    """Keep a new upload; durable before the store is asked to begin it."""
    tx.execute(_ADD_UPLOAD, values_of(row))


def upload(tx: Transaction, token: str) -> UploadRow | None:
    """Return the upload ``token``."""
    row = tx.execute(_UPLOAD_OF, {"a_token": token}).first()
    return None if row is None else UploadRow(*row)


def set_upload_id(tx: Transaction, token: str, upload_id: str) -> None:
    """Keep the store's name of the upload."""
    tx.execute(_SET_UPLOAD_ID, {"a_token": token, "the_upload_id": upload_id})


def take_over(tx: Transaction, token: str, *, owner: str, fence: int) -> None:
    """Make ``owner``, who holds the lease ``upload:<token>`` with ``fence``, the one who may go on.

    Raises
    ------
    LockedError
        A newer owner has taken it.
    """
    _check_fence(tx, token, fence)
    tx.execute(_TAKE_OVER, {"a_token": token, "the_owner": owner, "the_fence": fence})


def tokens_of_uploads(tx: Transaction, tokens: Sequence[str]) -> list[str]:
    """Return those of ``tokens`` that are of uploads in parts."""
    return list({token for (token,) in among(tx, _OF_TOKENS, {}, tokens=tokens)})


def keys_with_open_uploads(tx: Transaction, store_id: str) -> set[str]:
    """Return the keys at a store for which an upload in parts is neither done nor aborted."""
    query = select(uploads.c.key).where(uploads.c.state == "open", uploads.c.store_id == store_id)
    return set(tx.execute(query).scalars())


def open_uploads(
    tx: Transaction, store_id: str | None = None, key: str | None = None, *, sealing_id: str | None = None
) -> list[UploadRow]:
    """Return the uploads neither done nor aborted, oldest first."""
    if store_id is not None and key is not None and sealing_id is None:
        return [UploadRow(*row) for row in tx.execute(_OPEN_OF_KEY, {"a_store": store_id, "a_key": key})]
    if sealing_id is not None and store_id is None and key is None:
        return [UploadRow(*row) for row in tx.execute(_OPEN_OF_SEALING, {"a_sealing": sealing_id})]
    query = _OPEN
    if store_id is not None:
        query = query.where(uploads.c.store_id == store_id)
    if key is not None:
        query = query.where(uploads.c.key == key)
    if sealing_id is not None:
        query = query.where(uploads.c.sealing_id == sealing_id)
    return [UploadRow(*row) for row in tx.execute(query)]


def check_owner(tx: Transaction, token: str, fence: int) -> None:
    """Raise where somebody newer than the holder of ``fence`` has taken the upload over.

    Raises
    ------
    LockedError
        As `take_over`.
    """
    _check_fence(tx, token, fence)


def _check_fence(tx: Transaction, token: str, fence: int) -> None:
    found = tx.execute(_FENCES, {"a_token": token, "a_name": f"upload:{token}"}).one()
    if fence < max(found.of_upload, found.of_lease or 0):
        raise LockedError("upload", "another run has taken it over", safe="It goes on there")


def add_ack(tx: Transaction, token: str, number: int, etag: str, fence: int) -> None:
    """Note that the store has part ``number``; a part sent again replaces its ETag.

    Raises
    ------
    LockedError
        ``fence`` is older than the upload's owner, or the upload is not open any more: another run has taken it
        over or ended it.
    """
    added = {"token": token, "number": number, "etag": etag, "fence": fence, "lease": f"upload:{token}"}
    if tx.execute(_ADD_ACK, added).rowcount:
        return
    row = upload(tx, token)
    if row is None or row.state != "open":
        raise LockedError(
            "upload",
            "another run has finished it or given it up: it is not open any more",
            safe="What that run stored is not affected",
            next="run the same command again",
        )
    _check_fence(tx, token, fence)
    here = (acks_table.c.token == token, acks_table.c.number == number)
    tx.execute(update(acks_table).where(*here).values(etag=etag))


@dataclass(frozen=True, slots=True)
class AckRow:
    """A part that the store has; `add_ack` has the words."""

    token: str
    number: int
    etag: str
    #: of whoever sent it
    fence: int


def add_acks(tx: Transaction, rows: Sequence[AckRow]) -> None:
    """Do `add_ack` for each of ``rows``; those that are new cost one statement together."""
    added = [values_of(row) | {"lease": f"upload:{row.token}"} for row in rows]
    if tx.execute(_ADD_ACK, added).rowcount != len(added):
        for row in rows:
            add_ack(tx, row.token, row.number, row.etag, row.fence)


def acks(tx: Transaction, token: str) -> dict[int, str]:
    """Return the ETag of each acknowledged part by number; none once the upload is done or aborted."""
    query = select(acks_table.c.number, acks_table.c.etag).where(acks_table.c.token == token)
    return {row.number: row.etag for row in tx.execute(query.order_by(acks_table.c.number))}


def finish_upload(tx: Transaction, token: str) -> None:
    """Note that the object stands; a second time changes nothing."""
    _end(tx, token, "done")


def abort_upload(tx: Transaction, token: str) -> None:
    """Note that the upload is given up; a second time changes nothing."""
    _end(tx, token, "aborted")


def _end(tx: Transaction, token: str, state: str) -> None:
    tx.execute(_FORGET_ACKS, {"a_token": token})
    tx.execute(_END, {"a_token": token, "ended": state})


def add_intents(tx: Transaction, rows: Iterable[IntentRow]) -> None:
    """Keep what is about to be made; one commit serves a batch. The same intent again changes nothing.

    Raises
    ------
    EcogsafeError
        A token was used for another object.
    """
    batch = {row.token: row for row in rows}
    # a token is random: one that is known is that of a write that is carried out again
    tokens = [token for (token,) in among(tx, _INTENTS_KNOWN, {}, tokens=list(batch))]
    for start in range(0, len(tokens), _BATCH):
        for found in tx.execute(_INTENTS_OF, {"tokens": tokens[start : start + _BATCH]}):
            old = IntentRow(*found)
            new = batch.pop(old.token)
            if replace(new, created_at=old.created_at, state=old.state) != old:
                raise EcogsafeError("upload", "its token was used for another object")
    add_rows(tx, intents, [values_of(row) for row in batch.values()])


def intents_for(tx: Transaction, store_id: str, key: str) -> list[IntentRow]:
    """Return every intent of ours for ``key``, oldest first; a void one is left out."""
    query = (
        select(*_INTENT)
        .where(intents.c.store_id == store_id, intents.c.key == key, intents.c.state != "void")
        .order_by(intents.c.created_at, intents.c.token)
    )
    return [IntentRow(*row) for row in tx.execute(query)]


def open_intents(tx: Transaction, store_id: str | None = None) -> list[IntentRow]:
    """Return the intents whose outcome is not known, oldest first."""
    query = select(*_INTENT).where(intents.c.state == "open").order_by(intents.c.created_at, intents.c.token)
    if store_id is not None:
        query = query.where(intents.c.store_id == store_id)
    return [IntentRow(*row) for row in tx.execute(query)]


def settle_intent(tx: Transaction, token: str, state: IntentState) -> None:
    """Note what became of the intent."""
    settle_intents(tx, [token], state)


def settle_intents(tx: Transaction, tokens: Sequence[str], state: IntentState) -> None:
    """Note what became of the intents."""
    carry_out(tx, _SETTLE, [{"a_token": token, "settled": state} for token in tokens])


def void_other_intents(tx: Transaction, store_id: str, tokens: Mapping[str, str]) -> None:
    """Note that open intents for keys that another object holds can no longer come true.

    Every write of ours is conditional: once an object stands under a key, a request for that key that is
    still on its way is refused when it arrives.

    Parameters
    ----------
    tokens
        By key, the token of the object that stands there.
    """
    still_open = among(tx, _OPEN_INTENTS_OF, {"a_store": store_id}, keys=list(tokens))
    settle_intents(tx, [token for token, key in still_open if token != tokens[key]], "void")
