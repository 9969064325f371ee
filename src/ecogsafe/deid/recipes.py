"""How `apply` cleans a file for a subject: the recipes of `formats`, with this person's identifiers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from ecogsafe.deid.prepare import Clean
from ecogsafe.formats import cleaning
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Find, Patch
from ecogsafe.formats.request import Annotations, CleaningRequest


def cleaner(code: str, find: Find, *, annotations: Annotations = "redact") -> Clean:
    """Return what `apply_plan` takes as ``clean``.

    Parameters
    ----------
    find
        Spans of the subject's identifiers in a byte string.
    """

    def clean(kind: Kind, file: BinaryIO, stem: str) -> Iterable[Patch]:
        request = CleaningRequest(code=code, stem=stem, find=find, annotations=annotations)
        return cleaning.patches(kind, file, request)

    return clean
