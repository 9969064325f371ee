"""Where unlocked content ends: by itself first, by the form of padding only then; nothing is lost by chance."""

from __future__ import annotations

import gzip
import random

import pytest
from tests.formats.builders_edf import Edf
from tests.service.old_locks import tar_of

from ecogsafe.formats.content_end import Ending, end_judge
from ecogsafe.formats.plain_content import Content

_NOISE = random.Random(4).randbytes(3000)
EDF = Edf().build()
TAR = tar_of({"a1b2c3d4/one.avi": _NOISE, "a1b2c3d4/two.avi": _NOISE[:900]})
ZIPPED = gzip.compress(_NOISE, mtime=0)


def _judged(content: Content, data: bytes, padding: int, *, step: int = 4096) -> Ending:
    judge = end_judge(content, data)
    for at in range(0, len(data), step):
        judge.feed(data[at : at + step])
    return judge.end(len(data), padding)


@pytest.mark.parametrize("step", [1, 1000, 1 << 20])
@pytest.mark.parametrize("padding", [1, 7, 8])
@pytest.mark.parametrize(("content", "data"), [(Content.EDF, EDF), (Content.GZIP, ZIPPED), (Content.TEXT, b"text")])
def test_padding_behind_the_content_is_found(content: Content, data: bytes, padding: int, step: int) -> None:
    assert _judged(content, data + bytes([padding]) * padding, padding, step=step) == Ending(padding)


def test_a_tar_file_is_padded_by_a_whole_block() -> None:
    assert _judged(Content.TAR, TAR + bytes([8]) * 8, 8) == Ending(8)
    assert _judged(Content.TAR, TAR, 0) == Ending(0)


@pytest.mark.parametrize(("content", "data"), [(Content.EDF, EDF), (Content.GZIP, ZIPPED), (Content.TAR, TAR)])
def test_what_has_the_form_of_padding_by_chance_is_kept(content: Content, data: bytes) -> None:
    assert _judged(content, data, 1) == Ending(0)


@pytest.mark.parametrize(
    ("content", "data"),
    [(Content.EDF, EDF[:-40]), (Content.GZIP, ZIPPED[:-40]), (Content.TAR, TAR[:-40]), (Content.TAR, TAR[:2048])],
)
def test_what_is_cut_is_called_so(content: Content, data: bytes) -> None:
    problem = _judged(content, data, 0).problem
    assert problem is not None
    assert "cut" in problem


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
def test_gzip_members_follow_each_other_and_other_things_do_not(step: int) -> None:
    assert _judged(Content.GZIP, ZIPPED + ZIPPED, 0, step=step) == Ending(0)
    assert _judged(Content.GZIP, ZIPPED + bytes(5), 0, step=step).padding == 5
    behind = _judged(Content.GZIP, ZIPPED + b"more", 0, step=step)
    assert (behind.padding, behind.problem) == (0, "goes on behind the end of its compressed content")


def test_damage_in_the_middle_of_gzip_is_called_damage() -> None:
    data = bytearray(ZIPPED)
    data[-6] ^= 1
    assert "damaged" in (_judged(Content.GZIP, bytes(data), 0).problem or "")
