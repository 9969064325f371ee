"""EDF and BDF: read a header, tell where text stands, clean it. The parts are in ``edf_*.py``."""

from __future__ import annotations

from ecogsafe.formats.edf_cleaning import has_cleaned_form, patches, patient_field, recording_field
from ecogsafe.formats.edf_header import EdfHeader, EdfSignal, read_header
from ecogsafe.formats.edf_identity import EdfIdentity
from ecogsafe.formats.edf_regions import annotation_blocks, text_regions

__all__ = [
    "EdfHeader",
    "EdfIdentity",
    "EdfSignal",
    "annotation_blocks",
    "has_cleaned_form",
    "patches",
    "patient_field",
    "read_header",
    "recording_field",
    "text_regions",
]
