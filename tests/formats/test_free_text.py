"""Free text: annotations and strings typed by people, no labels, no keys, no names of files."""

from __future__ import annotations

import io
import struct

import pytest
from builders_edf import ANNOTATIONS, Edf, Signal, tal
from builders_natus import header

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.free_text import free_text_regions
from ecogsafe.formats.kinds import Kind


def texts(kind: Kind, data: bytes) -> list[bytes]:
    return [data[r.offset : r.stop] for r in free_text_regions(kind, io.BytesIO(data))]


def note(text: bytes, kind: int = 1) -> bytes:
    return struct.pack("<4i", kind, 16 + len(text), 0, 0) + text


def test_of_a_recording_only_what_was_annotated() -> None:
    edf = Edf(
        signals=(Signal(b"LABEL", 8, transducer=b"transducer"), Signal(b"C4", 4), ANNOTATIONS),
        annotations=[[tal("+0", "first")], [tal("+1", "second")]],
    )
    found = texts(Kind.EDF, edf.build() + b"behind the records")
    assert len(found) == 3 and b"first" in found[0] and b"second" in found[1] and found[2] == b"behind the records"


TREE = (
    b'(.(."Type", "Annotation"), (."Text", "typed"), (."ChanNames", ("C3", "C4")), (."Info", (.(."Type", "person"))))'
)


def test_of_key_trees_the_strings_that_are_no_labels() -> None:
    assert texts(Kind.EEG, header(3) + TREE + b"\0") == [b"typed", b"person"]
    ent = header(3) + note(TREE + b"\0") + note(b"no tree at all\0") + note(b"", 0)
    assert texts(Kind.ENT, ent) == [b"typed", b"person", b"no tree at all"]


def test_of_text_outputs_all_and_of_other_kinds_nothing() -> None:
    rows = b"1000\tx\t132594534000000000\r\n"
    assert texts(Kind.SNC_TEXT, rows) == [rows]
    assert texts(Kind.STC, b"whatever") == [] and texts(Kind.REPORT, b"whatever") == []


@pytest.mark.parametrize("kind", [Kind.EDF, Kind.EEG, Kind.ENT, Kind.AVI])
def test_what_cannot_be_walked_is_refused(kind: Kind) -> None:
    with pytest.raises(MalformedFileError):
        texts(kind, b"nothing of the kind")
