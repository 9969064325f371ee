"""What a cleaning recipe is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ecogsafe.formats.regions import Find

#: `redact`: identifiers in annotation text become ``x``; `wipe`: all of the text; `keep`: the text stays.
Annotations = Literal["redact", "wipe", "keep"]

_CODE = re.compile(r"[a-z][0-9a-z]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningRequest:
    """For whom, under which name and with what search a file is cleaned."""

    #: subject code, such as ``abcd1234``
    code: str
    #: new file stem, such as ``abcd1234_3``
    stem: str
    #: the search for this subject's identifiers
    find: Find
    annotations: Annotations = "redact"

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise ValueError("a subject code is lower-case letters and digits, a letter first")
        if self.annotations not in ("redact", "wipe", "keep"):
            raise ValueError("annotations is one of redact, wipe, keep")
