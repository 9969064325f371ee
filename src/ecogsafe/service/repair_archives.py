"""What can be done about a bad volume of an archive: it is never sent again as it was, its files are."""

from __future__ import annotations

from ecogsafe.catalog import archives
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.transfer.archive.volumes import parse_volume_key


def advice(tx: Transaction, copy: CopyRow, file: FileRow) -> tuple[str, str]:
    """Return why a volume, or its index, was not sent again, and what to do."""
    name = parse_volume_key(copy.key)
    if name is not None and name.is_index:
        return (
            "it is the index of a volume, which the catalogue can make again",
            f"ecogsafe archive -d DIR --to URL -t {name.kind} sends an index that is gone; until then ecogsafe restore "
            "takes what the catalogue knows",
        )
    kind = "vid" if name is None else name.kind
    held, elsewhere = archives.count_elsewhere(tx, file.id)
    problem = f"it is a volume of {held:,} files, {elsewhere:,} of which have a good copy elsewhere"
    if held > elsewhere:
        problem += f"; {held - elsewhere:,} have none in any store"
    again = f"ecogsafe archive -d DIR --to URL -t {kind} packs them into a new volume, from DIR where they still are"
    fetched = ", or where ecogsafe download has brought them back to"
    return problem, again + (fetched if elsewhere else "")
