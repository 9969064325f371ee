"""Where a file of any kind holds text: what the gate digests and the scanner searches (DESIGN 5.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import avi, edf, keytree_cleaning, natus_cleaning, text_outputs
from ecogsafe.formats.kinds import NATUS_KINDS, RECORDING_KINDS, TEXT_KINDS, Kind
from ecogsafe.formats.regions import Region


def text_regions(kind: Kind, file: BinaryIO) -> Iterator[Region]:
    """Yield the text regions of ``file``, in rising order, not overlapping.

    EDF/BDF: header, annotation signals, bytes after the last record. ``.erd`` ``.etc`` ``.snc``: headers.
    ``.stc`` ``.vtc`` ``.vt2`` ``.eeg`` ``.ent`` and text outputs: all. AVI: text chunks and bytes after
    the end. Everything else is sample or picture data.

    Raises
    ------
    MalformedFileError
        The structure of the kind cannot be walked, or nobody knows where the kind holds text
        (MP4, MOV, MPEG-1, reports, unknown).
    """
    if kind in RECORDING_KINDS:
        yield from edf.text_regions(file)
    elif kind in TEXT_KINDS:
        yield from text_outputs.text_regions(kind, file)
    elif kind in (Kind.EEG, Kind.ENT):
        yield from keytree_cleaning.text_regions(kind, file)
    elif kind in NATUS_KINDS:
        yield from natus_cleaning.text_regions(kind, file)
    elif kind is Kind.AVI:
        yield from avi.text_regions(file)
    else:
        raise MalformedFileError(f"a file of kind {kind}", "where it holds text is not known")
