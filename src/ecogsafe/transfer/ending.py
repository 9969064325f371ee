"""Objects that came to an end: the proven get their names, in an order that survives a power failure.

Every file is on the disk before any of them has its name, and every folder before any of them counts. So small
files wait for the disk together: one commit of its journal holds many of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecogsafe.core.durable import fsync_directory
from ecogsafe.transfer.receiving import Reception


def end_together(receptions: Sequence[Reception]) -> list[bool]:
    """End ``receptions``, each with its own result; return for each whether it is to begin once more."""
    for reception in receptions:
        reception.prove()
    for reception in receptions:
        reception.name()
    for folder in dict.fromkeys(reception.folder for reception in receptions):
        if folder is None:
            continue
        try:
            fsync_directory(folder)
        except OSError as error:
            for reception in receptions:
                if reception.folder == folder:
                    reception.error = error
    return [reception.conclude() for reception in receptions]
