"""Whether an OLE2 document is encrypted: then its streams are there, and say nothing.

References
----------
[MS-OFFCRYPTO] 2.3.4.4 (EncryptedPackage), [MS-DOC] 2.5.2 (fEncrypted), [MS-XLS] 2.4.117 (FilePass),
[MS-PPT] 2.3.2 (headerToken)
"""

from __future__ import annotations

import struct
from typing import Any

#: Bit 8 of the flags at byte 10 of a Word document.
_WORD_FLAGS, _WORD_ENCRYPTED = 10, 0x0100
_EXCEL_FILE_PASS, _EXCEL_EOF = 0x2F, 0x0A
_POWERPOINT_TOKEN, _POWERPOINT_ENCRYPTED = 12, 0xF3D1C4DF
#: The password record stands among the first of a workbook.
_MOST_RECORDS, _BOOK_HEAD = 20, 65_536


def is_encrypted_ole(compound: Any) -> bool:
    """Return whether the opened compound file (``olefile.OleFileIO``) holds an encrypted document."""
    if compound.exists("EncryptedPackage"):
        return True
    if compound.exists("WordDocument"):
        head = compound.openstream("WordDocument").read(_WORD_FLAGS + 2)
        if len(head) == _WORD_FLAGS + 2 and struct.unpack_from("<H", head, _WORD_FLAGS)[0] & _WORD_ENCRYPTED:
            return True
    if compound.exists("Current User"):
        head = compound.openstream("Current User").read(_POWERPOINT_TOKEN + 4)
        if head[_POWERPOINT_TOKEN:] == struct.pack("<I", _POWERPOINT_ENCRYPTED):
            return True
    return any(
        compound.exists(name) and _has_file_pass(compound.openstream(name).read(65_536))
        for name in ("Workbook", "Book")
    )


def _has_file_pass(data: bytes) -> bool:
    position = 0
    for _ in range(_MOST_RECORDS):
        if position + 4 > len(data):
            return False
        record, length = struct.unpack_from("<HH", data, position)
        if record == _EXCEL_FILE_PASS:
            return True
        if record == _EXCEL_EOF:
            return False
        position += 4 + length
    return False
