"""The text header of an age file: recipient stanzas and the MAC line, parsed strictly, written canonically.

References
----------
C2SP age, "Header" and "ABNF definition of file header": https://c2sp.org/age
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ecogsafe.crypt.errors import SEALED_DATA, HeaderError

VERSION_LINE = b"age-encryption.org/v1\n"
#: far more than some hundred recipients take; stops a wrong file from being read into memory as a header
MAX_HEADER_BYTES = 1 << 20

_COLUMNS = 64
_MAC_BYTES = 32
_ARGUMENT = re.compile(r"[!-~]+")


def malformed(problem: str) -> HeaderError:
    """Return the error for a header with this ``problem``."""
    return HeaderError(SEALED_DATA, problem)


def encode_base64(data: bytes) -> str:
    """Return ``data`` as age writes it in headers: standard base64 without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").decode("ascii")


def decode_base64(text: str) -> bytes:
    """Return the bytes of unpadded, canonical base64 ``text``.

    Raises
    ------
    HeaderError
        Padding, a character outside the alphabet, or bits set that canonical encoding leaves zero.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("a base64 field is malformed") from error
    if encode_base64(data) != text:
        raise malformed("a base64 field is not canonical")
    return data


@dataclass(frozen=True, slots=True)
class Stanza:
    """One way to get at the file key."""

    #: the recipient type and what it needs; at least one, each of printable ASCII without spaces
    arguments: tuple[str, ...]
    #: the wrapped file key
    body: bytes

    @property
    def kind(self) -> str:
        """The recipient type, such as ``X25519``."""
        return self.arguments[0]

    def marshal(self) -> bytes:
        """Return the stanza as lines; the last is shorter than 64 columns, perhaps empty."""
        text = encode_base64(self.body)
        if len(text) < _COLUMNS:
            return f"-> {' '.join(self.arguments)}\n{text}\n".encode("ascii")
        lines = [text[i : i + _COLUMNS] for i in range(0, len(text) + 1, _COLUMNS)]
        return "\n".join([f"-> {' '.join(self.arguments)}", *lines, ""]).encode("ascii")


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header; its MAC is not yet checked."""

    stanzas: tuple[Stanza, ...]
    #: 32 bytes
    mac: bytes
    #: the bytes the MAC covers: all up to and including ``---``
    covered: bytes
    #: length of the whole header, MAC line and its newline included
    size: int


def marshal_covered(stanzas: Iterable[Stanza]) -> bytes:
    """Return the header up to and including ``---``: what the MAC covers."""
    return VERSION_LINE + b"".join(stanza.marshal() for stanza in stanzas) + b"---"


def marshal_mac_line(mac: bytes) -> bytes:
    """Return what follows `marshal_covered`: a space, the MAC and the newline."""
    return f" {encode_base64(mac)}\n".encode("ascii")


def _header_size(data: bytes | bytearray) -> int | None:
    start = bytes(data[: len(VERSION_LINE)])
    if not VERSION_LINE.startswith(start):
        other = VERSION_LINE.rstrip(b"1\n")
        raise malformed("is of another version of the age format" if start.startswith(other) else "is not an age file")
    # No line of a stanza can begin with "---", so the first that does is the MAC line.
    mark = data.find(b"\n---", len(VERSION_LINE) - 1, MAX_HEADER_BYTES)
    newline = data.find(b"\n", mark + 1, MAX_HEADER_BYTES) if mark >= 0 else -1
    if newline >= 0:
        return newline + 1
    if len(data) >= MAX_HEADER_BYTES:
        raise malformed("has a header without end")
    return None


def _parse_stanza(lines: list[str], at: int) -> tuple[Stanza, int]:
    if not lines[at].startswith("-> "):
        raise malformed("a recipient stanza does not begin with its mark")
    arguments = tuple(lines[at][3:].split(" "))
    if not all(_ARGUMENT.fullmatch(argument) for argument in arguments):
        raise malformed("a recipient stanza has a malformed argument")
    end = at + 1
    while end < len(lines) and len(lines[end]) == _COLUMNS:
        end += 1
    if end == len(lines) or len(lines[end]) > _COLUMNS:
        raise malformed("a recipient stanza does not end with a short line")
    return Stanza(arguments, decode_base64("".join(lines[at + 1 : end + 1]))), end + 1


def parse_header(data: bytes | bytearray) -> Header | None:
    """Return the header at the start of ``data``, or None when ``data`` end before it does.

    Raises
    ------
    HeaderError
        ``data`` do not begin with a well-formed header.
    """
    size = _header_size(data)
    if size is None:
        return None
    try:
        *lines, mac_line = bytes(data[len(VERSION_LINE) : size - 1]).decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise malformed("has a header that is not ASCII") from error
    stanzas: list[Stanza] = []
    at = 0
    while at < len(lines):
        stanza, at = _parse_stanza(lines, at)
        stanzas.append(stanza)
    if not stanzas:
        raise malformed("has no recipient")
    if not mac_line.startswith("--- "):
        raise malformed("has no header MAC")
    mac = decode_base64(mac_line[4:])
    if len(mac) != _MAC_BYTES:
        raise malformed("has a header MAC of the wrong length")
    return Header(tuple(stanzas), mac, bytes(data[: size - 1 - len(mac_line) + 3]), size)
