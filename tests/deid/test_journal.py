"""The journal: nothing is lost on the way through JSON, seal and disk; marks survive a cut."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import UsageError, VerificationError
from ecogsafe.deid.journal import Entry, Journal, JournalKind, Mode, SourceFolder, from_json, to_json
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.layout import Tree
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Patch
from tests.deid.small_export import CODE, journal_folder, open_sealed, seal

_NAMES = st.binary(min_size=1, max_size=30).filter(
    lambda b: b"/" not in b and b"\0" not in b and b not in (b".", b"..")
)


def _entry(name: bytes = b"Quxley.edf", old: bytes = b"old", number: int = 1) -> Entry:
    return Entry(
        source=Path(os.fsdecode(b"/export/" + name)),
        target=f"{CODE}_edf/{CODE}_{number}.edf",
        tree=Tree.EDF,
        kind=Kind.EDF,
        segment=number,
        stem=f"{CODE}_{number}",
        device=2,
        inode=2**63 + 5,
        size=100,
        mode=0o644,
        target_mode=0o640,
        mtime_ns=1_700_000_000_123_456_789,
        target_mtime_ns=1_700_000_000_123_456_789,
        atime_ns=5,
        patches=(Patch(8, old, bytes(len(old))), Patch(90, b"ab", b"xx")),
    )


def _journal(name: str = f"{CODE}-0001-00000000", **more: object) -> Journal:
    journal = Journal(
        id=name,
        subject=CODE,
        kind=JournalKind.APPLY,
        mode=Mode.IN_PLACE,
        tool="0",
        created="2026-01-02T03:04:05.000000Z",
        export_root=Path("/export"),
        out_root=Path("/out"),
        entries=(_entry(), _entry(b"b.edf", number=2)),
        folders_created=("edf", f"edf/{CODE}_edf"),
        source_folders=(SourceFolder(path=Path("/export"), mode=0o755, mtime_ns=3, atime_ns=4),),
    )
    return replace(journal, **more)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_NAMES, st.binary(min_size=1, max_size=64))
def test_any_name_and_any_bytes_survive(name: bytes, old: bytes) -> None:
    journal = _journal(entries=(_entry(name, old), _entry()))
    data = to_json(journal)
    assert data.isascii() and from_json(data) == journal
    assert os.fsencode(from_json(data).entries[0].source) == b"/export/" + name


def test_schema_1_keeps_its_field_names() -> None:
    record = json.loads(to_json(_journal()))
    assert record["schema"] == 1 and set(record) == {
        *("schema", "id", "subject", "kind", "mode", "tool", "created", "export_root", "export_inode", "out_root"),
        *("reverses", "folders_created", "source_folders", "entries"),
    }
    assert set(record["entries"][0]) == {
        *("source", "tree", "target", "kind", "segment", "stem", "device", "inode", "size", "mode", "target_mode"),
        *("mtime_ns", "target_mtime_ns", "atime_ns", "regions"),
    }
    assert record["entries"][0]["regions"][1] == {"offset": 90, "old": "YWI=", "new": "eHg="}


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": "1"}', b'{"schema": 0}'])
def test_a_damaged_journal_is_refused(damage: bytes) -> None:
    with pytest.raises(VerificationError):
        from_json(damage)


def test_a_wrong_type_or_region_is_damage() -> None:
    for change in ({"size": "1"}, {"regions": [{"offset": 1, "old": "YQ==", "new": "YWI="}]}, {"tree": "tree"}):
        record = json.loads(to_json(_journal()))
        record["entries"][1].update(change)
        with pytest.raises(VerificationError):
            from_json(json.dumps(record).encode())


def test_a_later_schema_asks_for_a_newer_version() -> None:
    record = json.loads(to_json(_journal())) | {"schema": 2}
    with pytest.raises(UsageError):
        from_json(json.dumps(record).encode())


def test_a_written_journal_is_sealed_private_and_readable(tmp_path: Path) -> None:
    folder = journal_folder(tmp_path / "journals")
    folder.write(_journal())
    (path,) = (tmp_path / "journals").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600 and b"Quxley" not in path.read_bytes()
    assert folder.read(path.stem) == _journal()
    assert folder.ids(CODE) == [path.stem] and folder.ids("abcd1235") == []


def test_a_journal_that_does_not_read_back_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    lying = JournalFolder(tmp_path / "j", seal, lambda data: open_sealed(data)[:-1])
    with pytest.raises(VerificationError):
        lying.write(_journal())
    assert list((tmp_path / "j").iterdir()) == []


def test_a_journal_is_never_replaced(tmp_path: Path) -> None:
    folder = journal_folder(tmp_path / "j")
    folder.write(_journal())
    with pytest.raises(FileExistsError):
        folder.write(_journal(tool="1"))
    assert folder.read(_journal().id).tool == "0"


def test_a_swapped_or_unknown_journal_is_refused(tmp_path: Path) -> None:
    folder = journal_folder(tmp_path / "j")
    folder.write(_journal())
    other = f"{CODE}-0002-00000000"
    folder.path(_journal().id).rename(folder.path(other))
    with pytest.raises(VerificationError):
        folder.read(other)
    for unknown in (f"{CODE}-0003-00000000", "../../etc/passwd"):
        with pytest.raises(UsageError):
            folder.read(unknown)


def test_ids_count_on_beyond_four_digits(tmp_path: Path) -> None:
    folder = journal_folder(tmp_path / "j")
    for number in ("9999", "10000"):
        folder.write(_journal(f"{CODE}-{number}-00000000"))
    assert folder.ids(CODE)[-1].startswith(f"{CODE}-10000-")
    assert folder.new_id(CODE).startswith(f"{CODE}-10001-")


def test_marks_say_how_far_it_came_and_name_nothing(tmp_path: Path) -> None:
    folder = journal_folder(tmp_path / "j")
    folder.write(_journal())
    name = _journal().id
    assert folder.open_id(CODE) == name
    folder.mark(name, done=[0, 12], left=[3], begun=[4])
    folder.mark(name)
    marks = folder.marks(name)
    assert (marks.done, marks.left, marks.begun, marks.ended) == ({0, 12}, {3}, {4}, False)
    folder.end(name)
    folder.end(name)
    assert folder.marks(name).ended and folder.open_id(CODE) is None
    assert (tmp_path / "j" / f"{name}.marks").read_text() == "0\n12\n3 left\n4 begun\nend\n"


@pytest.mark.parametrize("cut", range(len("12\n345\n6 left\n91 begun\n")))
def test_a_torn_mark_never_becomes_another(tmp_path: Path, cut: int) -> None:
    folder = journal_folder(tmp_path / "j")
    name = _journal().id
    (tmp_path / "j" / f"{name}.marks").write_bytes(b"12\n345\n6 left\n91 begun\n"[:cut])
    folder.mark(name, done=[7], left=[8])
    marks = folder.marks(name)
    assert marks.done - {7} <= {12, 345} and marks.left - {8} <= {6} and marks.begun <= {91}
    assert 7 in marks.done and 8 in marks.left
    (tmp_path / "j" / f"{name}.marks").write_bytes(b"1\nend")
    assert not folder.marks(name).ended
