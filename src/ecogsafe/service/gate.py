"""The gate (DESIGN 5.5): nothing goes out plain unless it was searched and found clean, as it is now.

It needs no password and reads megabytes: the text regions of every file, before the first byte of any leaves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ecogsafe.catalog import clearances, revisions, subjects
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import EcogsafeError, NotClearedError, StoreError
from ecogsafe.deid.scan import SCANNER_VERSION
from ecogsafe.formats.edf_cleaning import has_cleaned_form
from ecogsafe.formats.edf_header import read_header
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.text_digest import digest_of
from ecogsafe.formats.text_regions import text_regions
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.transfer.file_order import Cleared
from ecogsafe.transfer.source import FileSource


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one file may not go plain."""

    file: OutgoingFile
    reason: str


class Gate:
    """Judges files of known subjects by the clearances in the catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._revisions: dict[str, int | None] = {}
        #: codes of which the linking key may know more than the catalogue: a run was killed between the two
        self._growing: dict[str, bool] = {}
        self._clearances: dict[str, dict[tuple[str, str], ClearanceRow]] = {}

    def _known(self, code: str) -> tuple[int | None, dict[tuple[str, str], ClearanceRow]]:
        if code not in self._revisions:
            with self._catalog.read() as tx:
                row = subjects.subject(tx, code)
                self._revisions[code] = row.revision if row else None
                self._growing[code] = revisions.is_announced(tx, code)
                self._clearances[code] = clearances.clearances_of(tx, code)
        return self._revisions[code], self._clearances[code]

    def judge(self, file: OutgoingFile, root: int) -> Cleared | Refusal:
        """Return whether ``file`` may leave unencrypted, reading its text regions now.

        Parameters
        ----------
        root
            Descriptor of DIR.
        """
        row = self._clearance(file)
        if isinstance(row, Refusal):
            return row
        try:
            with (
                FileSource(root, file.relative, name=file.shown) as source,
                os.fdopen(os.dup(source.descriptor), "rb", buffering=0) as reader,
            ):
                return self._compare(file, reader, source.stat, row)
        except EcogsafeError as error:
            return Refusal(file, error.problem)
        except OSError as error:
            return Refusal(file, f"cannot be read ({os.strerror(error.errno or 0)})")

    def judge_content(self, file: OutgoingFile, reader: BinaryIO, stat: SourceStat) -> Cleared | Refusal:
        """Return whether what ``reader`` gives may leave unencrypted as ``file``; it is no file here.

        Raises
        ------
        StoreError
            The store that has it does not give it.
        """
        row = self._clearance(file)
        if isinstance(row, Refusal):
            return row
        try:
            return self._compare(file, reader, stat, row)
        except StoreError:
            raise
        except EcogsafeError as error:
            return Refusal(file, error.problem)

    def _clearance(self, file: OutgoingFile) -> ClearanceRow | Refusal:
        revision, cleared = self._known(file.parts.code)
        row = cleared.get((file.tree, file.path))
        if revision is None or row is None:
            return Refusal(file, "was never searched for this subject's identifiers")
        if row.revision != revision or self._growing[file.parts.code]:
            return Refusal(file, "was searched before further identifiers of this subject became known")
        if row.scanner_version != str(SCANNER_VERSION):
            return Refusal(file, "was searched by an older scanner, which may have missed something")
        return row

    def _compare(self, file: OutgoingFile, reader: BinaryIO, stat: SourceStat, row: ClearanceRow) -> Cleared | Refusal:
        if stat.size != row.size:
            return Refusal(file, "has another size than when it was searched")
        if file.kind in (Kind.EDF, Kind.BDF) and not has_cleaned_form(read_header(reader), file.parts.code):
            return Refusal(file, "its header fields are not the ones that ecogsafe deid apply writes")
        regions = tuple(text_regions(file.kind, reader))
        if digest_of(reader, regions) != row.text_sha256:
            return Refusal(file, "its text is not the one that was searched")
        return Cleared(regions, row.text_sha256, stat)


def refuse(refusals: Sequence[Refusal]) -> NotClearedError:
    """Return the error that stops a plain upload."""
    first = refusals[0]
    codes = sorted({r.file.parts.code for r in refusals})
    sealed = "--encrypt" if first.file.tree == "edf" else "without --plain"
    more = f" and {len(refusals) - 1} more files" if len(refusals) > 1 else ""
    return NotClearedError(
        f"{first.file.shown}{more}",
        first.reason,
        safe="Nothing was sent",
        next=f"ecogsafe deid scan DIR --subject {codes[0]} (search it now), or send it sealed ({sealed})",
    )
