"""AVI clips: tell where text stands, clean it, tell how long one plays. The parts are in ``avi_*.py``."""

from __future__ import annotations

from ecogsafe.formats.avi_chunks import clip_duration_s, text_regions
from ecogsafe.formats.avi_cleaning import patches

__all__ = ["clip_duration_s", "patches", "text_regions"]
