"""The layout of the tar stream, read back by Python's own reader."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.transfer.archive.tar_stream import MANIFEST, Entry, header_of, manifest_content, plan_tar

_ENTRIES = st.lists(
    st.tuples(st.from_regex(r"[a-f0-9_]{1,140}", fullmatch=True), st.integers(0, 3000), st.integers(0, 2**34)),
    max_size=6,
    unique_by=lambda entry: entry[0],
)


def whole(entries: list[Entry]) -> bytes:
    plan = plan_tar(entries)
    out = bytearray(plan.size)
    digests = [f"{n:064x}" for n in range(len(entries))]
    for placed, data in zip(
        (*plan.members, plan.manifest),
        [*(b"d" * entry.size for entry in entries), manifest_content(plan, digests)],
        strict=True,
    ):
        header = header_of(placed.entry)
        out[placed.start : placed.start + len(header)] = header
        assert placed.start + len(header) == placed.data_offset
        assert len(data) == placed.entry.size
        out[placed.data_offset : placed.data_stop] = data
    return bytes(out)


@settings(max_examples=40, deadline=None)
@given(_ENTRIES)
def test_python_reads_back_what_was_planned(entries: list[tuple[str, int, int]]) -> None:
    wanted = [Entry(*entry) for entry in entries]
    with tarfile.open(fileobj=io.BytesIO(whole(wanted))) as tar:
        members = tar.getmembers()
    assert [(m.name, m.size, int(m.mtime)) for m in members[:-1]] == [(e.path, e.size, e.mtime) for e in wanted]
    assert members[-1].name == MANIFEST
    assert {(m.uid, m.gid, m.uname, m.gname, m.mode, m.type) for m in members} == {(0, 0, "", "", 0o640, b"0")}


def test_a_file_of_more_than_8_gib_gets_a_pax_header() -> None:
    entry = Entry("abcd1234/abcd1234_1/abcd1234_1_0001.avi", 2**33 + 1, 5)
    plan = plan_tar([entry, Entry("abcd1234/abcd1234_1/abcd1234_1_0002.avi", 7, 5)])
    header = header_of(entry)
    assert len(header) == 1536
    assert f"size={2**33 + 1}\n".encode() in header
    assert plan.members[1].start == 1536 + 2**33 + 512
    assert plan.size % 10_240 == 0


def test_every_byte_belongs_to_one_member() -> None:
    plan = plan_tar([Entry("a/1", 1, 0), Entry("a/2", 0, 0), Entry("a/3", 1024, 0)])
    assert [plan.index_at(placed.start) for placed in plan.members] == [0, 1, 2]
    assert [plan.index_at(placed.stop - 1) for placed in plan.members] == [0, 1, 2]
    assert plan.index_at(plan.manifest.start) == plan.index_at(plan.size - 1) == 3


def test_the_manifest_is_what_sha256sum_reads() -> None:
    plan = plan_tar([Entry("a/1", 1, 0), Entry("b/2", 2, 0)])
    assert manifest_content(plan, ["0" * 64, "f" * 64]) == b"0" * 64 + b"  a/1\n" + b"f" * 64 + b"  b/2\n"


@pytest.mark.parametrize("paths", [("a/1", "a/1"), (MANIFEST,), ("/a",), ("a\n",), ("a\\b",)])
def test_names_that_a_manifest_cannot_hold_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(EcogsafeError):
        plan_tar([Entry(path, 1, 0) for path in paths])
