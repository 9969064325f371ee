"""``subjects export``: the table of subjects for a spreadsheet; with names only when asked for, and said so."""

from __future__ import annotations

from pathlib import Path

from ecogsafe.core.events import Item
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.service.acts import note_act
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import Confirm, open_keys
from ecogsafe.service.running import Run
from ecogsafe.service.spreadsheet import Cell, Table, check_target, write_table
from ecogsafe.service.subject_holdings import Holding, holdings

COLUMNS = ("code", "created", "segments", "first_start", "files", "bytes", "copies", "withdrawn")
NAME_COLUMNS = ("last_name", "first_name", "middle_name", "mrn", "birth_date", "also")


def export_subjects(run: Run, path: Path, password: PasswordSource, confirm: Confirm, *, with_names: bool) -> None:
    """Write every subject to the new file ``path`` (``.csv`` or ``.xlsx``).

    Raises
    ------
    UsageError
        The file exists or cannot be written.
    ConfirmationNeededError
        With names: nobody said yes.
    WrongPasswordError
        With names: the password does not open the lab key.
    """
    form = check_target(path)
    key = LinkingKey()
    if with_names:
        key = open_keys(run.home, run.catalog, password).file.read()
        confirm(
            f"Write the names of {len(key.persons)} persons beside their codes, unencrypted, to a file? "
            "Whoever reads it can undo the de-identification"
        )
    table = _table(holdings(run.catalog), key, with_names=with_names)
    write_table(table, path, form)
    with run.catalog.write() as tx:
        note_act(
            tx,
            run,
            "subjects export",
            result=f"{len(table.rows)} subjects, {'with' if with_names else 'without'} names",
        )
    run.tally.done = len(table.rows)
    run.message = f"{len(table.rows)} subjects written, {'WITH' if with_names else 'without'} names"
    if with_names:
        message = (
            "warning: the file ties names to codes and is not encrypted. Keep it on a disk only you can read, never in "
            "a shared folder, a repository or a mail, and remove it when it is no longer needed"
        )
        run.tell(Item(action="export", status="note", message=message))


def _table(found: list[Holding], key: LinkingKey, *, with_names: bool) -> Table:
    rows: list[tuple[Cell, ...]] = []
    known = {holding.code: holding for holding in found}
    for code in sorted({*known, *key.codes}):
        cells = _cells(code, known.get(code), key.person(code))
        rows.append((*cells, *_names(key.person(code))) if with_names else cells)
    return Table((*COLUMNS, *NAME_COLUMNS) if with_names else COLUMNS, rows)


def _cells(code: str, holding: Holding | None, person: Person | None) -> tuple[Cell, ...]:
    created = (holding.created if holding else None) or (person.created if person else None)
    if holding is None:
        return code, _to_seconds(created), 0, None, 0, 0, 0, None
    return (
        code,
        _to_seconds(created),
        holding.segments,
        _to_seconds(holding.first_start),
        holding.files,
        holding.bytes,
        holding.copies,
        _to_seconds(holding.withdrawn),
    )


def _to_seconds(stamp: str | None) -> str | None:
    """Return a time without fractions; what tells its zone stays."""
    if stamp is None:
        return None
    zone = "Z" if stamp.endswith("Z") else "+00:00" if stamp.endswith("+00:00") else ""
    return stamp[:19] + zone


def _names(person: Person | None) -> tuple[Cell, ...]:
    if person is None:
        return (None,) * len(NAME_COLUMNS)
    record = person.identifiers.as_record()
    return (*(record[name] or None for name in NAME_COLUMNS[:-1]), "|".join(record["also"]) or None)
