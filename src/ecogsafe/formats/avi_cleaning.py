"""The cleaning recipe of AVI clips (DESIGN 5.3): every text chunk becomes zeros of the same length.

Names and sizes of chunks stay, so the offsets of ``idx1`` and ``indx`` stay valid; frames are not touched.
Faces and voices are identifiers that no recipe here removes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.formats.avi_chunks import text_regions
from ecogsafe.formats.regions import Patch, zero_stretch
from ecogsafe.formats.request import CleaningRequest


def patches(file: BinaryIO, request: CleaningRequest) -> Iterator[Patch]:
    """Yield, in the order of the file, what blanks its text; nothing if that is done.

    Nothing of ``request`` matters here: no chunk of text is worth keeping, so none is searched.

    Raises
    ------
    MalformedFileError
        As `text_regions`; before anything is yielded.
    """
    for region in tuple(text_regions(file)):
        yield from zero_stretch(file, region.offset, region.length)
