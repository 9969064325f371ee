"""Which kind of file a name, or the first bytes of a text, speak of."""

from __future__ import annotations

import re
from enum import StrEnum

from ecogsafe.formats.text_rows import TextView, parse_clip_row, parse_sync_row


class Kind(StrEnum):
    """The kinds of file an export can hold."""

    EDF = "edf"
    BDF = "bdf"
    EEG = "eeg"
    ENT = "ent"
    ERD = "erd"
    ETC = "etc"
    SNC = "snc"
    STC = "stc"
    VTC = "vtc"
    VT2 = "vt2"
    AVI = "avi"
    VTC_TEXT = "vtc-text"
    SNC_TEXT = "snc-text"
    MP4 = "mp4"
    MOV = "mov"
    MPG = "mpg"
    EPO = "epo"
    REPORT = "report"
    OTHER = "other"


#: Binary kinds of a Natus study (FORMATS 2); ``.epo`` is not among them: it is left behind by rule.
NATUS_KINDS = frozenset({Kind.EEG, Kind.ENT, Kind.ERD, Kind.ETC, Kind.SNC, Kind.STC, Kind.VTC, Kind.VT2})
#: Those that begin with the 352-byte generic header (FORMATS 2.1).
HEADER_KINDS = NATUS_KINDS - {Kind.VTC, Kind.VT2}
CLIP_KINDS = frozenset({Kind.AVI, Kind.MP4, Kind.MOV, Kind.MPG})
RECORDING_KINDS = frozenset({Kind.EDF, Kind.BDF})
TEXT_KINDS = frozenset({Kind.VTC_TEXT, Kind.SNC_TEXT})
#: What a de-identified tree is made of; a file of such a kind that cannot be understood is worth telling.
UNDERSTOOD_KINDS = NATUS_KINDS | CLIP_KINDS | RECORDING_KINDS | TEXT_KINDS
#: Kinds whose text nobody here knows how to find: never sent unsealed, whatever the destination.
ALWAYS_SEALED = frozenset({Kind.MP4, Kind.MOV, Kind.MPG})

_BY_EXTENSION = {
    **{kind.value: kind for kind in NATUS_KINDS | CLIP_KINDS | RECORDING_KINDS | {Kind.EPO}},
    "m4v": Kind.MP4,
    "mpeg": Kind.MPG,
    "doc": Kind.REPORT,
    "docx": Kind.REPORT,
    "pdf": Kind.REPORT,
    "rtf": Kind.REPORT,
}

_BACKUP = re.compile(r"(?P<original>.+)(?:\.(?:old|bak|orig|backup)\d{0,3}|~)", re.IGNORECASE | re.DOTALL)

#: Bytes of a ``.txt`` that `kind_of_text` wants to see: both tools write at most ten preamble lines.
TEXT_HEAD_BYTES = 65_536


def kind_of_name(name: str) -> Kind:
    """Return the kind that the extension of ``name`` stands for, in any case.

    A ``.txt`` is `Kind.OTHER` until `kind_of_text` has seen it. ``._name`` files (a macOS habit on
    network drives) hold no recording whatever their extension says.
    """
    if name.startswith("._"):
        return Kind.OTHER
    base, dot, extension = name.rpartition(".")
    return _BY_EXTENSION.get(extension.lower(), Kind.OTHER) if base and dot else Kind.OTHER


def backup_of(name: str) -> str | None:
    """Return the name of the file that ``name`` is a backup of, such as ``stem.ent`` for ``stem.ent.old``.

    NeuroWorks and people leave such copies behind; they hold all that the file held (FORMATS 2.4). None where the name
    says nothing of the kind, or where the file would be of no kind that is understood.
    """
    match = _BACKUP.fullmatch(name)
    return match["original"] if match and kind_of_name(match["original"]) in UNDERSTOOD_KINDS else None


def kind_of_text(head: bytes) -> Kind:
    """Return which text tool wrote ``head``, the first `TEXT_HEAD_BYTES` of a file.

    Returns
    -------
    Kind
        `VTC_TEXT` (ReadVTC: rows with a clip name and two bracketed times), `SNC_TEXT` (Snc2Txt:
        TAB-separated rows, an integer first and a FILETIME last), or `OTHER`.
    """
    for line in TextView.of(head).text.split("\n"):
        if parse_clip_row(line) is not None:
            return Kind.VTC_TEXT
        if parse_sync_row(line) is not None:
            return Kind.SNC_TEXT
    return Kind.OTHER
