"""The text form of age files, read and written strictly.

References
----------
C2SP age, "ASCII armor", and RFC 7468, section 3 (figure 3). White space before and after the block and
CRLF line ends are accepted; everything else that is not canonical is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator

from ecogsafe.crypt.errors import SEALED_DATA, ArmorError

BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
END = b"-----END AGE ENCRYPTED FILE-----"

_COLUMNS = 64
_LINE_BYTES = 48
#: white space that may stand before the block, at most; so much is also looked at to recognise one
_LEADING_BYTES = 1024


def is_armored(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` (1 KiB is enough) is in the text form."""
    return head[:_LEADING_BYTES].lstrip().startswith(b"-----BEGIN AGE")


def armor(data: bytes) -> bytes:
    """Return ``data`` in the text form, with a newline at the end."""
    lines = [base64.b64encode(data[i : i + _LINE_BYTES]) for i in range(0, len(data), _LINE_BYTES)]
    return b"\n".join([BEGIN, *lines, END, b""])


def _malformed(problem: str) -> ArmorError:
    return ArmorError(SEALED_DATA, problem)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of ``pieces`` without their LF or CRLF; a last line may lack it."""
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
        if len(held) > _LEADING_BYTES:
            raise _malformed("the text form has a line that is too long")
    if held:
        yield held


def _decode_line(line: bytes) -> bytes:
    if not 0 < len(line) <= _COLUMNS:
        raise _malformed("the text form has an empty or too long line")
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("the text form has a line that is not base64") from error
    if base64.b64encode(data) != line:
        raise _malformed("the text form has a line that is not canonical base64")
    return data


def dearmor_stream(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes that the text form in ``pieces`` (of any length) stands for.

    Raises
    ------
    ArmorError
        While iterated: something other than white space stands before or after the block, or the block
        is not canonical.
    """
    lines = _lines(pieces)
    leading = 0
    for line in lines:
        if line.strip():
            break
        leading += len(line) + 1
        if leading > _LEADING_BYTES:
            raise _malformed("the text form has too much white space before it")
    else:
        raise _malformed("is not in the text form")
    if line.lstrip() != BEGIN:
        raise _malformed("the text form does not begin with its mark")
    short = False
    for line in lines:
        if line == END:
            break
        if short:
            raise _malformed("the text form has a short line that is not its last")
        data = _decode_line(line)
        short = len(data) < _LINE_BYTES
        yield data
    else:
        raise _malformed("the text form does not end with its mark")
    if any(line.strip() for line in lines):
        raise _malformed("there is something after the text form")


def dearmor(text: bytes) -> bytes:
    """Return the bytes that the text form ``text`` stands for.

    Raises
    ------
    ArmorError
        As `dearmor_stream`.
    """
    return b"".join(dearmor_stream([text]))
