"""The text files of a Natus study: the key tree of the .eeg, the notes of the .ent (FORMATS 2.2 to 2.4)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.synthetic.natus_files import GenericHeader


@dataclass(frozen=True, slots=True)
class Atom:
    """A value written as it stands, without quotes: a hex blob, a GUID."""

    text: str


def key_tree(value: object) -> str:
    """Return the text of a value: mappings as trees, sequences as lists, floats with six decimals.

    Raises
    ------
    TypeError
        A value of another kind.
    """
    if isinstance(value, Atom):
        return value.text
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if isinstance(value, bool):
        raise TypeError("key trees hold integers")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, Mapping):
        return "(." + ", ".join(f'(."{_escaped(str(k))}", {key_tree(v)})' for k, v in value.items()) + ")"
    if isinstance(value, Sequence):
        return "(" + ", ".join(key_tree(v) for v in value) + ")"
    raise TypeError(type(value).__name__)


def _escaped(text: str) -> str:
    r"""Return ``text`` with the escapes of NeuroWorks; a carriage return is ``\xd`` and a space."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\xd ")


def write_eeg(path: Path, header: GenericHeader, tree: Mapping[str, object], *, encoding: str = "latin-1") -> None:
    """Write a new .eeg: one NUL-terminated key tree to the end of the file."""
    with path.open("xb") as out:
        out.write(header.to_bytes("eeg") + key_tree(tree).encode(encoding) + b"\0")


def write_ent(path: Path, header: GenericHeader, notes: Sequence[Mapping[str, object]]) -> None:
    """Write a new .ent: a record a note, then one of type 0."""
    with path.open("xb") as out:
        out.write(header.to_bytes("ent"))
        previous = 0
        for index, note in enumerate(notes):
            text = key_tree(note).encode() + b"\0\0"
            length = 16 + len(text)
            out.write(struct.pack("<4i", 1, length, previous, index) + text)
            previous = length
        out.write(struct.pack("<4i", 0, 16, previous, 0))
