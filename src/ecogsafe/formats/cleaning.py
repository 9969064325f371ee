"""What de-identifies a file of any kind, as patches of equal length (DESIGN 5.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import avi, edf, keytree_cleaning, natus_cleaning, text_outputs
from ecogsafe.formats.kinds import ALWAYS_SEALED, NATUS_KINDS, RECORDING_KINDS, TEXT_KINDS, Kind
from ecogsafe.formats.regions import Patch
from ecogsafe.formats.request import CleaningRequest

__all__ = ["ALWAYS_SEALED", "CleaningRequest", "patches"]


def patches(kind: Kind, file: BinaryIO, request: CleaningRequest) -> Iterator[Patch]:
    """Yield what de-identifies ``file``; nothing for a file that already is, whoever cleaned it.

    `ALWAYS_SEALED` kinds yield nothing: there is no recipe for them, and they never leave in the plain. With a date
    shift they stay behind, because they hold times of their own.

    Raises
    ------
    MalformedFileError
        The file is not what its kind should be, or the kind has no recipe: leave it behind. It may be
        raised after some patches; none may be applied then.
    """
    if kind in RECORDING_KINDS:
        yield from edf.patches(file, request)
    elif kind in TEXT_KINDS:
        yield from text_outputs.patches(kind, file, request)
    elif kind in (Kind.EEG, Kind.ENT):
        yield from keytree_cleaning.patches(kind, file, request)
    elif kind in NATUS_KINDS:
        yield from natus_cleaning.patches(kind, file, request)
    elif kind is Kind.AVI:
        yield from avi.patches(file, request)
    elif kind not in ALWAYS_SEALED:
        raise MalformedFileError(f"a file of kind {kind}", "there is no recipe that de-identifies it")
    elif request.shift_days:
        raise MalformedFileError(f"a file of kind {kind}", "the dates inside it cannot be shifted")
