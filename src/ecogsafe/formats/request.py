"""What a cleaning recipe is asked to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ecogsafe.formats.date_shift import text_dates
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
    #: whole days by which every date is moved; then cleaning twice moves twice, so it is done from a journal
    shift_days: int = 0
    #: the search for what only resembles an identifier (``--near``); None: there is none
    find_near: Find | None = None

    @property
    def find_in_text(self) -> Find:
        """The search in free text: with a date shift, dates there count as identifiers."""
        return self._find_with_dates if self.shift_days else self.find

    @property
    def find_in_annotations(self) -> Find:
        """The search in what staff typed, where nothing is a label or a key: with ``find_near`` that as well."""
        return self._find_all if self.find_near else self.find_in_text

    def _find_all(self, data: bytes) -> Iterable[tuple[int, int]]:
        near = self.find_near(data) if self.find_near else ()
        return [*self.find_in_text(data), *near]

    def _find_with_dates(self, data: bytes) -> Iterable[tuple[int, int]]:
        return [*self.find(data), *text_dates(data)]

    def __post_init__(self) -> None:
        if not _CODE.fullmatch(self.code):
            raise ValueError("a subject code is lower-case letters and digits, a letter first")
        if self.annotations not in ("redact", "wipe", "keep"):
            raise ValueError("annotations is one of redact, wipe, keep")
