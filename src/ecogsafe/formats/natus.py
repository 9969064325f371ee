"""The 352-byte header with which .eeg .ent .erd .etc .snc and .stc files begin (FORMATS 2.1, 2.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from uuid import UUID

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.regions import file_size, read_at

GENERIC_HEADER_BYTES = 352
#: Offsets of the four 80-byte name fields.
LAST_NAME, FIRST_NAME, MIDDLE_NAME, PATIENT_ID = 32, 112, 192, 272
NAME_FIELD_BYTES = 80
#: Where the internal patient and study ids stand, two i32.
INTERNAL_IDS = 24

#: Offset of the four i32 headbox serial numbers in an .erd, by file schema (FORMATS 2.5).
SERIALS_OFFSET = {5: 512, 6: 896, 7: 4480, 8: 4480, 9: 4480}
SERIALS_BYTES = 16
#: Offset of the first sample packet in an .erd, by file schema.
SAMPLES_OFFSET = {5: 592, 6: 976, 7: 4560, 8: 8656, 9: 8656}

#: No schema above this was ever seen; a foreign file with a borrowed extension seldom stays below it.
_HIGHEST_SCHEMA = 99
#: The largest file that is read whole; such files hold names and times only.
_WHOLE_FILE_LIMIT = 256 * 2**20


@dataclass(frozen=True, slots=True)
class GenericHeader:
    """What the generic header says; the four names are private."""

    file_type: UUID
    file_schema: int
    #: 1, rarely 0
    base_schema: int
    created: datetime
    last_name: str
    first_name: str
    middle_name: str
    #: medical record number
    patient_id: str


def decode_text(field: bytes) -> str:
    """Return the text before the first NUL: UTF-8 where it is, else Windows-1252, else Latin-1."""
    field = field.split(b"\0", 1)[0]
    for codec in ("utf-8", "cp1252"):
        try:
            return field.decode(codec).strip()
        except UnicodeDecodeError:
            continue
    return field.decode("latin-1").strip()


def malformed(problem: str) -> MalformedFileError:
    """Return the error for a Natus file that is not what its extension says."""
    return MalformedFileError("a Natus file", problem, next="export the study again, or leave the file behind")


def parse_generic_header(data: bytes) -> GenericHeader:
    """Return the generic header at the start of ``data``.

    Raises
    ------
    MalformedFileError
        Fewer than 352 bytes, or schema numbers that no such file has.
    """
    if len(data) < GENERIC_HEADER_BYTES:
        raise malformed("it is shorter than its 352-byte header")
    file_schema, base_schema, created = struct.unpack_from("<HHi", data, 16)
    if base_schema > 1 or file_schema > _HIGHEST_SCHEMA:
        raise malformed("it does not begin with a Natus header")
    names = [decode_text(data[at : at + NAME_FIELD_BYTES]) for at in (LAST_NAME, FIRST_NAME, MIDDLE_NAME, PATIENT_ID)]
    return GenericHeader(
        UUID(bytes_le=data[:16]),
        file_schema,
        base_schema,
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=created),
        *names,
    )


def read_generic_header(file: BinaryIO) -> GenericHeader:
    """Return the generic header of ``file``.

    Raises
    ------
    MalformedFileError
        As `parse_generic_header`.
    """
    return parse_generic_header(read_at(file, 0, GENERIC_HEADER_BYTES))


def read_whole(file: BinaryIO) -> bytes:
    """Return all of ``file``, one of the small kinds.

    Raises
    ------
    MalformedFileError
        It is larger than any such file is (256 MiB).
    """
    size = file_size(file)
    if size > _WHOLE_FILE_LIMIT:
        raise malformed("it is far larger than a file of its kind")
    return read_at(file, 0, size)


def serials_offset(file: BinaryIO) -> int:
    """Return where the headbox serial numbers of an .erd stand, after a check of its header.

    Raises
    ------
    MalformedFileError
        Not a Natus header, a schema whose layout is unknown, or a file that ends within its header.
    """
    schema = read_generic_header(file).file_schema
    if schema not in SERIALS_OFFSET:
        raise malformed("its .erd schema is not one of 5 to 9")
    if file_size(file) < SAMPLES_OFFSET[schema]:
        raise malformed("it ends within its .erd header")
    return SERIALS_OFFSET[schema]
