"""What the tests of cleaning recipes share: a search for planted terms, and patches applied in memory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import pytest

from ecogsafe.formats.regions import Find, Patch, Region
from ecogsafe.formats.request import Annotations, CleaningRequest

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"


def find_terms(*terms: str) -> Find:
    """Return a search for ``terms``, any case, in UTF-8, Latin-1 and UTF-16."""
    forms: set[bytes] = set()
    for term in terms:
        for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be"):
            forms.add(term.encode(encoding, errors="ignore"))
    pattern = re.compile(b"|".join(re.escape(f) for f in sorted(forms - {b""}, key=len, reverse=True)), re.I)

    def find(data: bytes) -> Iterator[tuple[int, int]]:
        return (m.span() for m in pattern.finditer(data))

    return find


def request_for(*terms: str, annotations: Annotations = "redact") -> CleaningRequest:
    """Return a request for the subject abcd1234, segment 3."""
    return CleaningRequest(code="abcd1234", stem="abcd1234_3", find=find_terms(*terms), annotations=annotations)


def apply(data: bytes, patches: Iterable[Patch]) -> bytes:
    """Return ``data`` patched; fails where a patch does not fit or they are out of order."""
    changed, last = bytearray(data), 0
    for patch in patches:
        assert patch.offset >= last
        assert changed[patch.offset : patch.stop] == patch.old
        assert patch.old != patch.new
        changed[patch.offset : patch.stop] = patch.new
        last = patch.stop
    assert len(changed) == len(data)
    return bytes(changed)


def check_cleaning(
    data: bytes,
    request: CleaningRequest,
    regions: Callable[[BinaryIO], Iterator[Region]],
    patches: Callable[[BinaryIO, CleaningRequest], Iterator[Patch]],
) -> bytes:
    """Return ``data`` cleaned, after checking what holds for every recipe that edits text."""
    places = list(regions(io.BytesIO(data)))
    assert all(a.stop <= b.offset for a, b in pairwise(places))
    assert not places or places[-1].stop <= len(data)
    cleaned = apply(data, patches(io.BytesIO(data), request))
    assert list(regions(io.BytesIO(cleaned))) == places
    assert outside(cleaned, places) == outside(data, places)
    if request.annotations != "keep":
        for place in places:
            assert not list(request.find(cleaned[place.offset : place.stop])), place
    assert not list(patches(io.BytesIO(cleaned), request))
    return cleaned


def outside(data: bytes, regions: Iterable[Region]) -> bytes:
    """Return ``data`` with its text regions zeroed."""
    rest = bytearray(data)
    for region in regions:
        rest[region.offset : region.stop] = bytes(region.length)
    return bytes(rest)


def sample(name: str) -> bytes:
    """Return a public recording; skips where the samples are not at hand, unless they are required."""
    path = SAMPLES / name
    if not path.exists():
        if "samples" in os.environ.get("ECOGSAFE_TEST_REQUIRE", ""):
            pytest.fail(f"required sample {name} is missing")
        pytest.skip("no samples here")
    return path.read_bytes()
