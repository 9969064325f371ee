"""Which text of a file was typed freely by people: there a search may also look for what only resembles a name.

Channel labels, names of keys, names of files and fields of fixed meaning are text too (`text_regions`), but a label
one letter away from a name is a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import avi, edf, keytree_cleaning, natus, text_outputs
from ecogsafe.formats.edf_regions import annotation_blocks
from ecogsafe.formats.keytree import Token, TokenKind, eeg_tree, ent_notes, tokens
from ecogsafe.formats.kinds import RECORDING_KINDS, TEXT_KINDS, Kind
from ecogsafe.formats.regions import Region


def free_text_regions(kind: Kind, file: BinaryIO) -> Iterator[Region]:
    """Yield the free text of ``file``, in rising order: parts of its text regions.

    EDF/BDF: annotation signals, bytes after the last record. ``.eeg`` ``.ent``: strings, but for those whose key says
    that they are labels or settings. Text outputs: all. AVI: text chunks. Other kinds have none.

    Raises
    ------
    MalformedFileError
        The structure of the kind cannot be walked.
    """
    if kind in RECORDING_KINDS:
        header = edf.read_header(file)
        yield from annotation_blocks(header)
        if header.trailing_bytes:
            yield Region(header.records_stop, header.trailing_bytes)
    elif kind is Kind.EEG:
        data = natus.read_whole(file)
        start, stop = eeg_tree(data)
        yield from _strings(data[start:stop], start)
    elif kind is Kind.ENT:
        data = natus.read_whole(file)
        for note in ent_notes(data):
            text = data[note.start : note.stop].partition(b"\0")[0]
            try:
                # as a list: a note that breaks off may have given strings before
                yield from list(_strings(text, note.start))
            except MalformedFileError:
                if text:
                    yield Region(note.start, len(text))
    elif kind in TEXT_KINDS:
        yield from text_outputs.text_regions(kind, file)
    elif kind is Kind.AVI:
        yield from avi.text_regions(file)


def _strings(text: bytes, offset: int) -> Iterator[Region]:
    for token in tokens(text):
        if token.kind is TokenKind.STRING and token.stop > token.start and not _is_label(token):
            yield Region(offset + token.start, token.stop - token.start)


def _is_label(token: Token) -> bool:
    keys = [key.lower() for key in token.path]
    in_person = any(key in keytree_cleaning.PERSON_BRANCHES for key in keys)
    return bool(keys) and keys[-1] in keytree_cleaning.KEPT_STRINGS and not in_person
