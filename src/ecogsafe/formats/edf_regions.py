"""Where text stands in an EDF/BDF file: the header, every annotation signal, what follows the records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.formats.edf_header import EdfHeader, read_header
from ecogsafe.formats.regions import Region


def annotation_blocks(header: EdfHeader) -> Iterator[Region]:
    """Yield each annotation signal of each record, in file order; of a cut record what there is."""
    spans = [(s.offset, s.size) for s in header.annotation_signals]
    if not spans:
        return
    start = header.header_bytes
    for _ in range(header.complete_records_in_file):
        for offset, size in spans:
            yield Region(start + offset, size)
        start += header.record_bytes
    for offset, size in spans:
        if (length := min(size, header.partial_record_bytes - offset)) > 0:
            yield Region(start + offset, length)


def text_regions(file: BinaryIO) -> Iterator[Region]:
    """Yield every stretch of ``file`` that holds text, in order; the same ones before and after cleaning.

    What stands after the last record that the header counts is text too, even if it looks like records:
    nothing says what it is.

    Raises
    ------
    MalformedFileError
        As `read_header`; before anything is yielded.
    """
    header = read_header(file)
    yield Region(0, header.header_bytes)
    yield from annotation_blocks(header)
    if header.trailing_bytes:
        yield Region(header.records_stop, header.trailing_bytes)
