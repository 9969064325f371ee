"""Which kind of file a name, or the first bytes of a text, speak of."""

from __future__ import annotations

from enum import StrEnum


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
