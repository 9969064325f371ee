"""Tables as files that spreadsheets open: CSV, and XLSX where openpyxl is installed.

A cell of text is never taken for a formula: names and notes come from files of others, and a cell such as
``=HYPERLINK(…)`` would be carried out by whoever opens the table.
"""

from __future__ import annotations

import csv
import errno
import io
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import NoSpaceError, UsageError

Cell = str | int | None
#: what begins a formula, or is cut off so that a formula is left (OWASP, "CSV Injection")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


class Form(StrEnum):
    """Kinds of file."""

    CSV = ".csv"
    XLSX = ".xlsx"


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and rows; every row has a cell for every column."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


def check_target(path: Path) -> Form:
    """Return which kind of file ``path`` is to be.

    Raises
    ------
    UsageError
        Its ending is neither ``.csv`` nor ``.xlsx``, openpyxl is missing, it exists, or its folder does not.
    """
    try:
        form = Form(path.suffix.lower())
    except ValueError:
        raise UsageError("-o", "names neither a .csv nor an .xlsx file", next="-o subjects.csv") from None
    if form is Form.XLSX:
        try:
            import openpyxl  # noqa: F401
        except ImportError:
            raise UsageError(
                "-o", "XLSX needs a package that is not installed", next="pip install 'ecogsafe[xlsx]', or -o FILE.csv"
            ) from None
    if path.is_symlink() or path.exists():
        raise _exists()
    if not path.parent.is_dir():
        raise UsageError("-o", "its folder does not exist", next="make the folder, or name another")
    return form


def write_table(table: Table, path: Path, form: Form) -> None:
    """Write ``table`` to the new file ``path``, readable by its owner only.

    Raises
    ------
    UsageError
        It exists, or cannot be written.
    NoSpaceError
        The disk is full.
    """
    data = as_csv(table) if form is Form.CSV else as_xlsx(table)
    try:
        write_atomically(path, data, mode=0o600, replace=False)
    except FileExistsError:
        raise _exists() from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceError("-o", "the disk is full", next="make room, then run again") from None
        raise UsageError("-o", "cannot be written", next="check the permissions of its folder") from None


def _exists() -> UsageError:
    return UsageError("-o", "exists already; it is never replaced", next="name a new file")


def as_csv(table: Table) -> bytes:
    """Return ``table`` as CSV in UTF-8; with a byte order mark if it is not ASCII, for spreadsheets need that."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([_shielded(cell) for cell in row] for row in table.rows)
    whole = text.getvalue()
    return whole.encode("utf-8" if whole.isascii() else "utf-8-sig")


def _shielded(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def as_xlsx(table: Table) -> bytes:
    """Return ``table`` as a workbook of one sheet; texts are texts, numbers numbers."""
    from openpyxl import Workbook
    from openpyxl.styles import Font

    book = Workbook()
    book.properties.creator = "ecogsafe"
    sheet = book.active
    sheet.title = "subjects"
    sheet.freeze_panes = "A2"
    for row_number, row in enumerate([table.columns, *table.rows], 1):
        for column_number, value in enumerate(row, 1):
            if value is None:
                continue
            cell = sheet.cell(row=row_number, column=column_number)
            if isinstance(value, str):
                # a control character is not allowed in XLSX
                cell.value = "".join(c if c.isprintable() else " " for c in value)
                cell.data_type = "s"
                cell.quotePrefix = value.startswith(_FORMULA)
            else:
                cell.value = value
            if row_number == 1:
                cell.font = Font(bold=True)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()
