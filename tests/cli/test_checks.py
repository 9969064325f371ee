"""The checks that the tests of this folder rely on fire when there is something to find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.searching import residue
from tests.cli.trees import tree_state

_AGE = b"age-encryption.org/v1\n"
_TERMS = ["Ode", "80055310", "451907"]


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("plain.bin", b"..\x00Ode\x00..", ["Ode"]),
        ("plain.bin", "80055310".encode("utf-16-le"), ["80055310"]),
        ("sealed.age", _AGE + b"..80055310..", ["80055310"]),
        # three letters come up in ciphertext by chance
        ("sealed.age", _AGE + b"..\x00Ode\x00..", []),
        ("of Ode.age", _AGE, ["Ode"]),
        ("80055310.age", _AGE, ["80055310"]),
        ("plain.bin", b'{"serial": 451907}', ["451907"]),
        ("plain.bin", "451907".encode("utf-16-be"), ["451907"]),
        ("digest.bin", b"a04519077f", []),
        ("clean.bin", b"Model", []),
    ],
)
def test_the_search_of_stores_and_home(tmp_path: Path, name: str, data: bytes, found: list[str]) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / name).write_bytes(data)
    assert {line.rsplit(": ", 1)[1] for line in residue(place, _TERMS, tmp_path / "scratch")} == set(found)


@pytest.mark.parametrize("what", ["bytes", "mode", "time", "name"])
def test_the_state_of_a_tree(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a" / "file"
    path.parent.mkdir()
    path.write_bytes(b"1234")
    before = tree_state(tmp_path)
    stamp = path.stat().st_mtime_ns
    if what == "bytes":
        path.write_bytes(b"1235")
        os.utime(path, ns=(stamp, stamp))
    elif what == "mode":
        path.chmod(0o400)
    elif what == "time":
        os.utime(path, ns=(stamp, stamp + 1000))
    else:
        path.rename(path.with_name("File"))
    assert tree_state(tmp_path) != before


def test_words_of_any_command_are_searched(lab: Lab) -> None:
    lab.here("status")
    assert lab.residue_in_words(["Quillan"]) == []
    lab.told.append("café … QUILLAN …")
    assert lab.residue_in_words(["Quillan"]) == ["Quillan"]
