"""A subject that withdrew: nothing is sent any more, and every copy is listed with the command that removes it.

Nothing is deleted here: stores have no delete (DESIGN 7). An administrator carries the commands out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from ecogsafe.catalog import copies, inventories, stores, subjects, uploads
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.stores import StoreRow
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.layout import subject_folders
from ecogsafe.service.acts import note_act
from ecogsafe.service.running import Run
from ecogsafe.service.subject_holdings import check_subject
from ecogsafe.stores.open import StoreAddress, parse_store_url

if TYPE_CHECKING:
    from ecogsafe.service.persons import Confirm

#: what no store has been asked yet
RETENTION = "not known: object lock and retention rules are not asked of stores yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """One object, or one unfinished upload, that an administrator removes."""

    store: str
    #: below the prefix of the store
    key: str
    #: shell command, one line; None where this version knows none for such a store
    command: str | None
    bytes: int
    level: str
    path: str | None = None
    segment: int | None = None
    storage_class: str | None = None
    version_id: str | None = None
    stored_at: str | None = None
    #: it holds an older content of its file
    superseded: bool = False
    retention: str = RETENTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """What is recorded of a subject in stores, and how it is removed."""

    code: str
    withdrawn_at: str
    items: tuple[Removable, ...]
    #: (store, a command that lists everything whose key begins with the code)
    checks: tuple[tuple[str, str], ...]
    #: (store, copies, time) of copies that `inventory` proved to be removed
    gone: tuple[tuple[str, int, str], ...]
    #: folders below OUT that may stand on this or another computer
    local_folders: tuple[str, ...]


def refuse_withdrawn(run: Run, codes: Iterable[str]) -> None:
    """Raise UsageError if a subject of ``codes`` was withdrawn: nothing of it may be sent."""
    with run.catalog.read() as tx:
        rows = {row.code: row for row in subjects.subjects(tx)}
    for code in codes:
        row = rows.get(code)
        if row is not None and row.withdrawn_at is not None:
            raise UsageError(
                code,
                f"was withdrawn on {row.withdrawn_at[:10]}: nothing of this subject is sent any more",
                safe="Nothing was sent",
                next=f"send the others with --exclude '{code}*', and remove its folders from DIR "
                f"(if it was a mistake: ecogsafe subjects withdraw {code} --undo)",
            )


def refuse_more_data(run: Run, code: str) -> None:
    """Raise UsageError if ``code`` was withdrawn: no further recording of that person is taken in."""
    with run.catalog.read() as tx:
        row = subjects.subject(tx, code)
    if row is not None and row.withdrawn_at is not None:
        raise UsageError(
            code,
            f"was withdrawn on {row.withdrawn_at[:10]}: no further recording of this person is de-identified",
            next=f"leave EXPORT as it is; ecogsafe deid undo {code} takes back what was applied before "
            f"(if the withdrawal was a mistake: ecogsafe subjects withdraw {code} --undo)",
        )


def withdraw(run: Run, code: str, confirm: Confirm, *, tell: bool = True) -> Withdrawal:
    """Record the withdrawal of ``code`` and return every copy the catalogue knows; a second time only lists.

    Parameters
    ----------
    tell
        Whether each copy is also told as an event.

    Raises
    ------
    UsageError
        There is no such subject.
    ConfirmationNeededError
        Nobody said yes; nothing was recorded.
    LockedError
        Another run works on the subject.
    """
    check_subject(run.catalog, code)
    # alone: an upload under way would add copies after the list is made
    run.hold_subject(code, shared=False)
    with run.catalog.read() as tx:
        known = subjects.subject(tx, code)
        found = list(_removables(tx, code))
        gone = list(_gone(tx, code))
        checks = list(_checks(tx, code, {item.store for item in found} | {store for store, _, _ in gone}))
    is_new = known is None or known.withdrawn_at is None
    if is_new:
        where = f"{len(found)} copies in {len({i.store for i in found})} stores"
        confirm(f"Withdraw {code} ({where})? Nothing of it is sent from then on; nothing is deleted by this command")
    with run.catalog.write() as tx:
        row = subjects.withdraw_subject(tx, code)
        if is_new:
            note_act(tx, run, "subjects withdraw", subject=code, result=f"{len(found)} copies listed")
    if tell:
        for item in found:
            run.tell(_as_item(code, item))
    run.counts |= {"copies": len(found), "stores": len({item.store for item in found})}
    when = "is withdrawn now" if is_new else f"was withdrawn on {(row.withdrawn_at or '')[:10]}"
    run.message = f"{code} {when}; {len(found)} copies are listed, none was deleted"
    if gone:
        run.counts["gone"] = sum(number for _, number, _ in gone)
        run.message += f"; {run.counts['gone']} more are proven gone"
    return Withdrawal(
        code=code,
        withdrawn_at=row.withdrawn_at or "",
        items=tuple(found),
        checks=tuple(checks),
        gone=tuple(gone),
        local_folders=subject_folders(code),
    )


def reinstate(run: Run, code: str, confirm: Confirm) -> None:
    """Take the withdrawal of ``code`` back.

    Raises
    ------
    UsageError
        It was not withdrawn.
    ConfirmationNeededError
        Nobody said yes.
    """
    run.hold_subject(code, shared=False)
    with run.catalog.read() as tx:
        row = subjects.subject(tx, code)
    if row is None or row.withdrawn_at is None:
        raise UsageError(code, "was not withdrawn", next="ecogsafe subjects list")
    confirm(f"Take the withdrawal of {code} back? Its data may be sent again then")
    with run.catalog.write() as tx:
        subjects.reinstate_subject(tx, code)
        note_act(tx, run, "subjects withdraw --undo", subject=code, result="done")
    run.message = f"the withdrawal of {code} is taken back"


def _removables(tx: Transaction, code: str) -> Iterator[Removable]:
    for store in stores.all_stores(tx):
        address = _address(store.url)
        for copy, file in copies.copies_in_store(tx, store.store_id, code):
            if copy.bad_reason != inventories.REMOVED:
                yield _of_copy(store, address, copy, file)
        for upload in uploads.open_uploads(tx, store.store_id):
            sent_by = upload.key.split("/", 1)[0].partition("_")[0]
            if sent_by == code and upload.upload_id is not None:
                yield Removable(
                    store=store.url,
                    key=upload.key,
                    command=_abort_command(address, upload.key, upload.upload_id),
                    bytes=0,
                    level="unfinished upload",
                    storage_class=upload.storage_class,
                    stored_at=upload.created_at,
                )


def _gone(tx: Transaction, code: str) -> Iterator[tuple[str, int, str]]:
    """Yield the stores that an inventory found without copies they had: how many, and when that was noted last."""
    urls = {store.store_id: store.url for store in stores.all_stores(tx)}
    for store_id, rows in groupby(inventories.removed(tx, code), key=lambda row: row.store_id):
        times = [row.bad_at or "" for row in rows]
        yield urls[store_id], len(times), max(times)


def _of_copy(store: StoreRow, address: StoreAddress | None, copy: CopyRow, file: FileRow) -> Removable:
    return Removable(
        store=store.url,
        key=copy.key,
        command=_delete_command(address, copy.key, copy.version_id),
        bytes=copy.size,
        level="bad" if copy.bad_at else copy.level,
        path=f"{file.tree}/{file.path}",
        segment=file.segment,
        storage_class=copy.storage_class,
        version_id=copy.version_id,
        stored_at=copy.stored_at,
        superseded=file.superseded_at is not None,
    )


def _address(url: str) -> StoreAddress | None:
    try:
        return parse_store_url(url)
    except UsageError:
        return None


def _full_key(address: StoreAddress, key: str) -> str:
    return f"{address.prefix}/{key}" if address.prefix else key


def _delete_command(address: StoreAddress | None, key: str, version_id: str | None) -> str | None:
    if address is None:
        return None
    if address.folder is not None:
        return shlex.join(["rm", "--", str(address.folder / key)])
    if address.scheme == "azure":
        return _azure_delete_command(address, key, version_id)
    words = ["aws", "s3api", "delete-object", "--bucket", address.bucket, "--key", _full_key(address, key)]
    return shlex.join([*words, *(["--version-id", version_id] if version_id is not None else [])])


def _azure_delete_command(address: StoreAddress, key: str, version_id: str | None) -> str:
    """Return what makes the blob an older version, where the account keeps those, and then deletes that version."""
    words = ["az", "storage", "blob", "delete", "--container-name", address.bucket, "--name", _full_key(address, key)]
    if version_id is None:
        return shlex.join(words)
    return f"{shlex.join(words)} && {shlex.join([*words, '--version-id', version_id])}"


def _abort_command(address: StoreAddress | None, key: str, upload_id: str) -> str | None:
    # Azure has no such command: it drops the parts a week after the last of them came
    if address is None or address.scheme != "s3":
        return None
    words = ["aws", "s3api", "abort-multipart-upload", "--bucket", address.bucket, "--key", _full_key(address, key)]
    return shlex.join([*words, "--upload-id", upload_id])


def _checks(tx: Transaction, code: str, urls: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what shows afterwards that a store holds nothing of ``code``, older versions included."""
    for url in sorted(urls):
        address = _address(url)
        if address is None:
            continue
        if address.folder is not None:
            yield url, f"ls -d -- {shlex.quote(str(address.folder / code))}*"
        elif address.scheme == "azure":
            words = ["az", "storage", "blob", "list", "--container-name", address.bucket, "--include", "vsd"]
            yield url, shlex.join([*words, "--prefix", _full_key(address, code)])
        else:
            words = ["aws", "s3api", "list-object-versions", "--bucket", address.bucket]
            yield url, shlex.join([*words, "--prefix", _full_key(address, code)])


def _as_item(code: str, item: Removable) -> Item:
    return Item(
        action="withdraw",
        status="note",
        subject=code,
        segment=item.segment,
        path=item.path,
        key=item.key,
        store=item.store,
        bytes=item.bytes,
        message=item.command or "this version knows no command for such a store",
        details={
            "level": item.level,
            "storage_class": item.storage_class,
            "version_id": item.version_id,
            "stored_at": item.stored_at,
            "superseded": item.superseded,
            "retention": item.retention,
            "command": item.command,
        },
    )
