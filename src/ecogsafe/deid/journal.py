"""The journal of one apply or undo: everything needed to go on or back, as versioned JSON (DESIGN 5.4).

Schema 1, one JSON object in ASCII. Paths are text in which bytes that are no UTF-8 stand as lone surrogates
(``\\udc80`` …, PEP 383), so that any name of the disk survives. Bytes are base64. Times are nanoseconds
since 1970, UTC. Journals hold identifiers: they rest sealed only.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ecogsafe.core.errors import UsageError, VerificationError
from ecogsafe.deid.layout import Tree
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Patch

SCHEMA = 1


class JournalKind(StrEnum):
    """In which direction the entries go."""

    APPLY = "apply"
    UNDO = "undo"


class Mode(StrEnum):
    """How files get from their source to OUT."""

    #: patched where they are, then renamed
    IN_PLACE = "in-place"
    #: a clean copy is made; sources stay untouched
    COPY = "copy"
    #: a clean copy is made; sources are removed when their whole segment stands
    ACROSS = "across"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file: where it was and what it was like, where it goes and what changes in it."""

    source: Path
    #: below ``OUT/<tree>``
    target: str
    tree: Tree
    kind: Kind
    segment: int
    stem: str
    device: int
    inode: int
    size: int
    #: permission bits before and after
    mode: int
    target_mode: int
    mtime_ns: int
    target_mtime_ns: int
    atime_ns: int
    #: in the order of their offsets, none overlapping another
    patches: tuple[Patch, ...] = ()

    @property
    def place(self) -> str:
        """Path below OUT."""
        return f"{self.tree}/{self.target}"

    @property
    def target_atime_ns(self) -> int:
        """Time of access below OUT: moved as far as the time of modification."""
        return max(self.atime_ns + self.target_mtime_ns - self.mtime_ns, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFolder:
    """A folder of the export that files leave, as it was."""

    path: Path
    mode: int
    mtime_ns: int
    atime_ns: int
    #: None in journals of versions that did not note it
    inode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """One apply or undo of one subject."""

    id: str
    subject: str
    kind: JournalKind
    mode: Mode
    tool: str
    #: ``2026-01-02T03:04:05.678901Z``
    created: str
    export_root: Path
    out_root: Path
    entries: tuple[Entry, ...]
    #: folders below OUT that apply makes (undo: takes away when empty), outermost first
    folders_created: tuple[str, ...] = ()
    source_folders: tuple[SourceFolder, ...] = ()
    #: the journal that an undo takes back
    reverses: str | None = None
    #: None in journals of versions that did not note it
    export_inode: int | None = None

    def target(self, entry: Entry) -> Path:
        """Return where ``entry`` goes."""
        return self.out_root / entry.tree / entry.target


def to_json(journal: Journal) -> bytes:
    """Return ``journal`` as the bytes that are sealed."""
    record = {
        "schema": SCHEMA,
        "id": journal.id,
        "subject": journal.subject,
        "kind": journal.kind.value,
        "mode": journal.mode.value,
        "tool": journal.tool,
        "created": journal.created,
        "export_root": str(journal.export_root),
        "export_inode": journal.export_inode,
        "out_root": str(journal.out_root),
        "reverses": journal.reverses,
        "folders_created": list(journal.folders_created),
        "source_folders": [
            {"path": str(f.path), "mode": f.mode, "mtime_ns": f.mtime_ns, "atime_ns": f.atime_ns, "inode": f.inode}
            for f in journal.source_folders
        ],
        "entries": [_entry_record(e) for e in journal.entries],
    }
    return json.dumps(record, ensure_ascii=True).encode("ascii")


def _entry_record(entry: Entry) -> dict[str, Any]:
    return {
        "source": str(entry.source),
        "tree": entry.tree.value,
        "target": entry.target,
        "kind": entry.kind.value,
        "segment": entry.segment,
        "stem": entry.stem,
        "device": entry.device,
        "inode": entry.inode,
        "size": entry.size,
        "mode": entry.mode,
        "target_mode": entry.target_mode,
        "mtime_ns": entry.mtime_ns,
        "target_mtime_ns": entry.target_mtime_ns,
        "atime_ns": entry.atime_ns,
        "regions": [
            {
                "offset": p.offset,
                "old": base64.b64encode(p.old).decode("ascii"),
                "new": base64.b64encode(p.new).decode("ascii"),
            }
            for p in entry.patches
        ],
    }


def from_json(data: bytes) -> Journal:
    """Return the journal that ``data`` holds.

    Raises
    ------
    UsageError
        A later version of ecogsafe wrote it.
    VerificationError
        It is not a journal of schema 1.
    """
    try:
        record = json.loads(data)
        schema = record["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged() from error
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(
            "the journal", f"has schema {schema}, this version knows {SCHEMA}", next="install a newer ecogsafe"
        )
    if schema != SCHEMA:
        raise _damaged()
    try:
        return Journal(
            id=_text(record, "id"),
            subject=_text(record, "subject"),
            kind=JournalKind(record["kind"]),
            mode=Mode(record["mode"]),
            tool=_text(record, "tool"),
            created=_text(record, "created"),
            export_root=Path(_text(record, "export_root")),
            export_inode=_known_number(record, "export_inode"),
            out_root=Path(_text(record, "out_root")),
            reverses=None if record["reverses"] is None else _text(record, "reverses"),
            folders_created=tuple(str(name) for name in record["folders_created"]),
            source_folders=tuple(_folder(f) for f in record["source_folders"]),
            entries=tuple(_entry(e) for e in record["entries"]),
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise _damaged() from error


def _damaged() -> VerificationError:
    return VerificationError(
        "the journal",
        "is damaged",
        safe="No file was touched",
        next="take the sealed copy of journals/ from a key_backup place",
    )


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _number(record: Mapping[str, Any], key: str) -> int:
    value = record[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(key)
    return value


def _known_number(record: Mapping[str, Any], key: str) -> int | None:
    """Return a number that older versions did not note."""
    return None if record.get(key) is None else _number(record, key)


def _folder(record: Mapping[str, Any]) -> SourceFolder:
    return SourceFolder(
        path=Path(_text(record, "path")),
        mode=_number(record, "mode"),
        mtime_ns=_number(record, "mtime_ns"),
        atime_ns=_number(record, "atime_ns"),
        inode=_known_number(record, "inode"),
    )


def _entry(record: Mapping[str, Any]) -> Entry:
    patches = tuple(
        Patch(
            _number(r, "offset"),
            base64.b64decode(_text(r, "old"), validate=True),
            base64.b64decode(_text(r, "new"), validate=True),
        )
        for r in record["regions"]
    )
    return Entry(
        source=Path(_text(record, "source")),
        tree=Tree(record["tree"]),
        target=_text(record, "target"),
        kind=Kind(record["kind"]),
        segment=_number(record, "segment"),
        stem=_text(record, "stem"),
        device=_number(record, "device"),
        inode=_number(record, "inode"),
        size=_number(record, "size"),
        mode=_number(record, "mode"),
        target_mode=_number(record, "target_mode"),
        mtime_ns=_number(record, "mtime_ns"),
        target_mtime_ns=_number(record, "target_mtime_ns"),
        atime_ns=_number(record, "atime_ns"),
        patches=patches,
    )
