"""Uploads in parts into a folder: one hidden file that fills up, and a journal of the parts on the disk.

``.ecogsafe-<id>.part`` has the object's size from the start; ``.ecogsafe-<id>.upload`` holds JSON lines:
first the upload (format, key, size, started), then one line for each acknowledged part, each fsynced after
the part's bytes. A line that a power cut tore is no acknowledgement.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.durable import fsync_directory, write_atomically
from ecogsafe.core.errors import UploadGoneError
from ecogsafe.stores.keys import TEMPORARY_PREFIX
from ecogsafe.stores.protocol import OpenUpload, UploadedPart

PART_SUFFIX = ".part"
JOURNAL_SUFFIX = ".upload"
FORMAT = 1
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AckedPart:
    """One line of the journal: a part that is on the disk."""

    number: int
    offset: int
    size: int
    crc64: int

    def as_uploaded(self) -> UploadedPart:
        """Return it in the words of the protocol."""
        return UploadedPart(number=self.number, size=self.size, etag=f"{self.crc64:016x}", crc64=self.crc64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One upload: where its two files are, and what its journal says."""

    upload_id: str
    folder: Path
    key: str
    size: int
    started: str
    parts: dict[int, AckedPart]

    @property
    def part_file(self) -> Path:
        """The file that fills up."""
        return _part_file(self.folder, self.upload_id)

    @property
    def journal(self) -> Path:
        """The journal."""
        return _journal(self.folder, self.upload_id)

    def has_room(self) -> bool:
        """Return whether the file that fills up is there: it is made last and goes first."""
        try:
            self.part_file.lstat()
        except FileNotFoundError:
            return False
        return True


def _part_file(folder: Path, upload_id: str) -> Path:
    return folder / f"{TEMPORARY_PREFIX}{upload_id}{PART_SUFFIX}"


def _journal(folder: Path, upload_id: str) -> Path:
    return folder / f"{TEMPORARY_PREFIX}{upload_id}{JOURNAL_SUFFIX}"


def create(folder: Path, key: str, size: int, mode: int) -> str:
    """Begin an upload in ``folder`` and return its id.

    The journal comes first: a kill in between leaves an upload that can be listed and aborted.
    """
    upload_id = secrets.token_hex(16)
    first = {"format": FORMAT, "key": key, "size": size, "started": utc_stamp()}
    write_atomically(_journal(folder, upload_id), json.dumps(first).encode() + b"\n", mode=0o600, replace=False)
    part_file = _part_file(folder, upload_id)
    fd = os.open(part_file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)
    finally:
        os.close(fd)
    fsync_directory(folder)
    return upload_id


def _records(journal: Path) -> list[dict[str, Any]]:
    records = []
    for line in journal.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def gone(store: str) -> UploadGoneError:
    """Return the error for an upload that is not open (any more)."""
    return UploadGoneError(store, "the upload is no longer open there", safe="Other objects are intact")


def read(folder: Path, key: str, upload_id: str, *, store: str) -> Upload:
    """Return the upload ``upload_id`` of ``key``.

    Raises
    ------
    UploadGoneError
        One of its files is not there, or it is another key's.
    """
    upload = _journalled(folder, key, upload_id, store)
    if not upload.has_room():
        raise gone(store)
    return upload


def parts_of(folder: Path, key: str, upload_id: str, *, store: str) -> tuple[AckedPart, ...]:
    """Return the parts of an upload in order; none where a kill left its journal alone, which is to be aborted.

    Raises
    ------
    UploadGoneError
        There is no such upload, or it is another key's.
    """
    upload = _journalled(folder, key, upload_id, store)
    if not upload.has_room():
        return ()
    return tuple(upload.parts[number] for number in sorted(upload.parts))


def _journalled(folder: Path, key: str, upload_id: str, store: str) -> Upload:
    if not _UPLOAD_ID.fullmatch(upload_id):
        raise gone(store)
    try:
        records = _records(_journal(folder, upload_id))
    except (FileNotFoundError, NotADirectoryError):
        raise gone(store) from None
    if not records or records[0].get("format") != FORMAT or records[0].get("key") != key:
        raise gone(store)
    parts = {}
    for record in records[1:]:
        part = AckedPart(**record)
        parts[part.number] = part
    first = records[0]
    return Upload(
        upload_id=upload_id, folder=folder, key=key, size=first["size"], started=first["started"], parts=parts
    )


def acknowledge(upload: Upload, part: AckedPart) -> None:
    """Note durably that ``part`` is on the disk; its bytes were fsynced before."""
    fd = os.open(upload.journal, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        # The newline before keeps this line whole even after one that a power cut tore.
        os.write(fd, b"\n" + json.dumps(asdict(part)).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)


def forget(folder: Path, upload_id: str) -> None:
    """Remove the files of an upload; the journal last, so that a kill in between leaves it listed."""
    if not _UPLOAD_ID.fullmatch(upload_id) or not folder.is_dir():
        return
    _part_file(folder, upload_id).unlink(missing_ok=True)
    _journal(folder, upload_id).unlink(missing_ok=True)
    fsync_directory(folder)


def is_journal(name: str) -> bool:
    """Return whether a file of this name is the journal of an upload."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(JOURNAL_SUFFIX)


def open_upload(journal: Path) -> OpenUpload | None:
    """Return the upload whose journal this file is, None where it ended meanwhile, or is none of ours."""
    name = journal.name
    try:
        records = _records(journal)
    except FileNotFoundError:
        return None
    if not records or records[0].get("format") != FORMAT:
        return None
    return OpenUpload(
        key=str(records[0]["key"]),
        upload_id=name.removeprefix(TEMPORARY_PREFIX).removesuffix(JOURNAL_SUFFIX),
        started=datetime.fromisoformat(records[0]["started"]),
    )
