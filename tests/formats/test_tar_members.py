"""A tar stream of somebody else is read to its end mark, or called cut."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.core.private import Private
from ecogsafe.formats.tar_members import TarMembers, problem_with

NAMES = ("a1b2c3d4/one.avi", f"a1b2c3d4/{'long' * 30}/{'name' * 20}.txt", "a1b2c3d4/électrode.txt")


def _tar(form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number, name in enumerate(NAMES):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 700 * number, 1_600_000_000 + number
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    return out.getvalue()


def _read(data: bytes, step: int = 1000) -> list[tuple[str, bytes, float]]:
    pieces = (data[at : at + step] for at in range(0, len(data), step))
    return [(m.path.reveal(), b"".join(m.content), m.mtime) for m in TarMembers(pieces)]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@pytest.mark.parametrize("step", [1, 511, 512, 100_000])
def test_every_file_comes_out_whole_in_pieces_of_any_length(form: int, step: int) -> None:
    expected = [(name, bytes([n]) * 700 * n, 1_600_000_000 + n) for n, name in enumerate(NAMES)]
    assert _read(_tar(form), step) == expected


def test_what_is_not_read_is_passed_over() -> None:
    assert [m.size for m in TarMembers([_tar()])] == [0, 700, 1400]


def test_what_the_tar_of_this_machine_writes_is_read(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None:
        pytest.skip("there is no tar on this machine")
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes([number]) * 700 * number)
    done = subprocess.run([tar, "cf", "-", "a1b2c3d4"], cwd=tmp_path, capture_output=True, check=True)
    found = {m.path.reveal(): (m.is_folder, m.size) for m in TarMembers([done.stdout])}
    assert {name: size for name, (is_folder, size) in found.items() if not is_folder} == {
        name: 700 * n for n, name in enumerate(NAMES)
    }
    assert found["a1b2c3d4"][0]


@pytest.mark.parametrize("cut", [1, 512, 1000, 2000, 5000])
def test_a_stream_that_ends_before_its_end_mark_is_cut(cut: int) -> None:
    whole = _tar()
    end = len(whole.rstrip(b"\0"))
    with pytest.raises(MalformedFileError, match="cut"):
        _read(whole[: max(end - cut, 700)])


def test_a_damaged_header_in_the_middle_is_not_the_end() -> None:
    data = bytearray(_tar())
    at = data.index(b"lectrode") - 10
    data[at + 120] ^= 1
    with pytest.raises(MalformedFileError, match="header that is damaged"):
        _read(bytes(data))


@pytest.mark.parametrize("record", [b"5 path=", b"99 path=x\n", b"nonsense\n", b"12 size=many\n"])
def test_damaged_pax_headers_are_refused(record: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("head")
        info.type, info.size = tarfile.XHDTYPE, len(record)
        tar.addfile(info, io.BytesIO(record))
        tar.addfile(tarfile.TarInfo("file"), io.BytesIO(b""))
    with pytest.raises(MalformedFileError):
        _read(out.getvalue())


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a1b2c3d4/one.avi", None),
        ("./a1b2c3d4/one.avi", None),
        ("a1b2c3d4/..hidden", None),
        ("/etc/passwd", "absolute"),
        ("../one", "outside"),
        ("a/../../one", "outside"),
        ("", "no file"),
        ("a\0b", "no file"),
        ("x" * 300, "no file"),
    ],
)
def test_paths_that_may_become_files(path: str, problem: str | None) -> None:
    found = problem_with(Private(path))
    assert (found is None) if problem is None else (found is not None and problem in found)
