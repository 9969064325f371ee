"""Names below OUT (DESIGN 3): made from a code, a number and a source name, and taken apart again. Pure.

The gate sends only paths that `parse_target` understands, so nothing that kept a name of the hospital
can leave by accident.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ecogsafe.formats.kinds import CLIP_KINDS, NATUS_KINDS, Kind
from ecogsafe.formats.study_names import number_suffix

#: 8 lower-case hex digits, first a letter (DESIGN 2).
CODE = r"[a-f][0-9a-f]{7}"

DECIMATED = "Decimated"


class Tree(StrEnum):
    """The three parts of OUT."""

    VIDEO = "video"
    EDF = "edf"
    TEXT = "text"


_EDF_KINDS = {"edf": Kind.EDF, "bdf": Kind.BDF}
_TEXT_KINDS = {"vtc": Kind.VTC_TEXT, "snc": Kind.SNC_TEXT}
_STUDY_KINDS = {
    "eeg": Kind.EEG,
    "ent": Kind.ENT,
    "erd": Kind.ERD,
    "etc": Kind.ETC,
    "snc": Kind.SNC,
    "stc": Kind.STC,
    "vtc": Kind.VTC,
    "vt2": Kind.VT2,
    "avi": Kind.AVI,
    "mp4": Kind.MP4,
    "m4v": Kind.MP4,
    "mov": Kind.MOV,
    "mpg": Kind.MPG,
    "mpeg": Kind.MPG,
}
_VIDEO_PATH = re.compile(
    rf"(?P<code>{CODE})/(?P=code)_(?P<number>[1-9]\d{{0,5}})/(?:(?P<decimated>{DECIMATED})/)?"
    rf"(?P=code)_(?P=number)(?:_(?P<index>\d{{3,6}}))?\.(?P<extension>[a-z0-9]+)",
    re.ASCII,
)
_EDF_PATH = re.compile(rf"(?P<code>{CODE})_edf/(?P=code)_(?P<number>[1-9]\d{{0,5}})\.(?P<extension>edf|bdf)", re.ASCII)
_TEXT_PATH = re.compile(
    rf"(?P<code>{CODE})_(?P<kind>vtc|snc)/(?P=code)_(?P<number>[1-9]\d{{0,5}})\.(?P<extension>txt)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetParts:
    """What a path below OUT says."""

    tree: Tree
    code: str
    #: segment number, from 1
    number: int
    kind: Kind
    extension: str
    #: digits of a clip or data segment as they stand in the name, "" without
    index: str = ""
    decimated: bool = False

    @property
    def stem(self) -> str:
        """``<code>_<n>``, the word that takes the place of the study's name."""
        return f"{self.code}_{self.number}"

    @property
    def relpath(self) -> str:
        """The path below the tree, with ``/``."""
        if self.tree is Tree.EDF:
            return f"{self.code}_edf/{self.stem}.{self.extension}"
        if self.tree is Tree.TEXT:
            word = "vtc" if self.kind is Kind.VTC_TEXT else "snc"
            return f"{self.code}_{word}/{self.stem}.{self.extension}"
        folder = f"{self.code}/{self.stem}/{DECIMATED}" if self.decimated else f"{self.code}/{self.stem}"
        return f"{folder}/{self.stem}{'_' if self.index else ''}{self.index}.{self.extension}"


def index_of(name: str, study: str) -> str:
    """Return the digits that number the file ``name`` within the study named ``study``, "" if it has none.

    A stem that is the study's own carries no number, even where the study's name ends in digits.
    """
    stem, _ = split_name(name)
    return number_suffix(stem, stems=(study,) if study else ())[1:]


def split_name(name: str) -> tuple[str, str]:
    """Return stem and lower-case extension of a file name."""
    stem, _, extension = name.rpartition(".")
    return (stem, extension.lower()) if stem else (name, "")


def target_for(
    kind: Kind, *, code: str, number: int, name: str, study: str = "", decimated: bool = False
) -> TargetParts | None:
    """Return where a file goes, or None for a kind that stays behind.

    Parameters
    ----------
    name
        File name of the source.
    study
        Name of the study folder the file belongs to (Natus files and clips).
    """
    _, extension = split_name(name)
    if kind in _EDF_KINDS.values():
        return TargetParts(tree=Tree.EDF, code=code, number=number, kind=kind, extension=kind.value)
    if kind in _TEXT_KINDS.values():
        return TargetParts(tree=Tree.TEXT, code=code, number=number, kind=kind, extension="txt")
    if kind not in NATUS_KINDS | CLIP_KINDS:
        return None
    return TargetParts(
        tree=Tree.VIDEO,
        code=code,
        number=number,
        kind=kind,
        extension=extension if _STUDY_KINDS.get(extension) is kind else kind.value,
        index=index_of(name, study),
        decimated=decimated,
    )


def parse_target(tree: str, relpath: str) -> TargetParts | None:
    """Return what the path ``relpath`` below ``OUT/<tree>`` says; None if it is not of DESIGN 3's form."""
    if tree == Tree.EDF:
        match = _EDF_PATH.fullmatch(relpath)
        kind = _EDF_KINDS.get(match["extension"]) if match else None
    elif tree == Tree.TEXT:
        match = _TEXT_PATH.fullmatch(relpath)
        kind = _TEXT_KINDS.get(match["kind"]) if match else None
    elif tree == Tree.VIDEO:
        match = _VIDEO_PATH.fullmatch(relpath)
        kind = _STUDY_KINDS.get(match["extension"]) if match else None
    else:
        return None
    if match is None or kind is None:
        return None
    groups = match.groupdict()
    return TargetParts(
        tree=Tree(tree),
        code=match["code"],
        number=int(match["number"]),
        kind=kind,
        extension=match["extension"],
        index=groups.get("index") or "",
        decimated=bool(groups.get("decimated")),
    )


def collision_key(relpath: str) -> str:
    """Return what two names have in common when some file system takes them for one: NFC and case folding."""
    return _fold(relpath)


def _fold(text: str) -> str:
    # folding can undo the composition, hence twice
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def subject_folders(code: str) -> tuple[str, ...]:
    """Return the folders below OUT that hold the files of the subject ``code``."""
    return (f"video/{code}", f"edf/{code}_edf", f"text/{code}_vtc", f"text/{code}_snc")


def open_marker(out: Path, code: str) -> Path:
    """Return the file below OUT that says a journal of the subject is open (DESIGN 5.4)."""
    return out / f".ecogsafe-open-{code}"
