"""The gate: nothing goes plain but what was searched and is still the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import ExitStatus, SourceChangedError
from ecogsafe.service.gate import Gate
from ecogsafe.service.outgoing import find_outgoing
from ecogsafe.service.running import running
from ecogsafe.transfer.file_order import Cleared, ClearedWatch, FileOrder
from ecogsafe.transfer.source import FileSource
from tests.service.small_lab import CODES, NAME, SmallLab

EDF = f"{CODES[0]}_edf/{CODES[0]}_1.edf"


def refused(small: SmallLab, reason: str, data_type: str = "e", **wishes: Any) -> None:
    """An upload that must end 20 with nothing sent, for ``reason``."""
    ended = small.upload(data_type, **wishes)
    assert ended.status is ExitStatus.IDENTIFIERS, ended
    assert ended.error is not None
    assert reason in ended.error.problem
    assert CODES[0] in ended.error.next
    told = ended.items(action="gate", status="failed")
    assert told
    assert all(reason in item.message for item in told)
    assert small.stored() == []
    # not even the store's own id: nothing at all has left
    assert not (small.folder / "store" / "_ecogsafe").exists()


def test_cleared_recordings_go_plain(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    small_lab.clear()
    ended = small_lab.upload("e")
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("done")) == 4
    assert (small_lab.folder / "store" / EDF).read_bytes() == (small_lab.out / "edf" / EDF).read_bytes()


def test_never_searched(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    refused(small_lab, "was never searched")


def test_one_uncleared_file_holds_everything_back(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    small_lab.clear(CODES[0])
    ended = small_lab.upload("e")
    assert ended.status is ExitStatus.IDENTIFIERS
    assert len(ended.items(action="gate")) == 2
    assert small_lab.stored() == []


def test_the_clearance_of_another_path_does_not_count(small_lab: SmallLab) -> None:
    source = small_lab.edf(number=1)
    small_lab.clear()
    shutil.copy(source, source.with_name(f"{CODES[0]}_2.edf"))
    refused(small_lab, "was never searched")


def test_further_identifiers_make_a_clearance_lapse(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    small_lab.clear(revision=1)
    small_lab.clear(CODES[0], revision=2, path=small_lab.out / "video")
    refused(small_lab, "before further identifiers")
    small_lab.clear(CODES[0], revision=2)
    assert small_lab.upload("e").status is ExitStatus.DONE


def test_a_newer_scanner_makes_a_clearance_lapse(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    small_lab.edf()
    small_lab.clear()
    monkeypatch.setattr("ecogsafe.service.gate.SCANNER_VERSION", 99)
    refused(small_lab, "older scanner")


def test_a_file_that_grew(small_lab: SmallLab) -> None:
    path = small_lab.edf()
    small_lab.clear()
    with path.open("ab") as file:
        file.write(NAME.encode())
    refused(small_lab, "another size")


@pytest.mark.parametrize("offset", [200, 1100])
def test_one_changed_byte_of_text(small_lab: SmallLab, offset: int) -> None:
    path = small_lab.edf()
    small_lab.clear()
    data = bytearray(path.read_bytes())
    # the header's reserved field, and the first annotation of the first record
    place = offset if offset < 256 else data.index(b"+0\x14") + 3
    data[place] ^= 1
    path.write_bytes(data)
    reason = "its header fields" if offset < 256 else "its text is not the one"
    refused(small_lab, reason)


def test_changed_samples_are_no_text(small_lab: SmallLab) -> None:
    path = small_lab.edf()
    small_lab.clear()
    data = bytearray(path.read_bytes())
    data[256 * 4] ^= 1
    path.write_bytes(data)
    assert small_lab.upload("e").status is ExitStatus.DONE


@pytest.mark.parametrize("field", ["patient", "recording"])
def test_header_fields_have_the_form_that_apply_gives_them(small_lab: SmallLab, field: str) -> None:
    """A clearance is not enough: an identifier that nobody knows of would pass the search."""
    value = b"X F 02-FEB-1970 Somebody" if field == "patient" else b"Startdate 05-MAR-2021 EEG-77 Tech X"
    small_lab.edf(**{field: value})
    small_lab.clear()
    refused(small_lab, "its header fields")


def test_unreadable_and_malformed(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_lab.edf()
    small_lab.clear()

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("ecogsafe.service.gate.read_header", broken)
        refused(small_lab, "cannot be read (Input/output error)")
    size = path.stat().st_size
    path.write_bytes(b"not EDF".ljust(size))
    refused(small_lab, "")


def test_a_link_in_place_of_a_cleared_file(small_lab: SmallLab) -> None:
    path = small_lab.edf()
    small_lab.edf(number=2)
    small_lab.clear()
    moved = path.rename(small_lab.folder / "elsewhere.edf")
    path.symlink_to(moved)
    ended = small_lab.upload("e")
    assert ended.status is ExitStatus.NOT_UNDERSTOOD
    assert small_lab.stored() == [f"{CODES[0]}_edf/{CODES[0]}_2.edf"]


def test_mp4_goes_sealed_even_where_plain_is_asked_for(small_lab: SmallLab) -> None:
    small_lab.avi()
    small_lab.avi(index=2)
    clip = f"video/{CODES[0]}/{CODES[0]}_1/{CODES[0]}_1"
    small_lab.write(f"{clip}_0003.mp4", b"\0\0\0\x18ftypmp42" + os.urandom(50))
    small_lab.write(f"{clip}_0004.mov", b"\0\0\0\x14ftypqt  " + os.urandom(50))
    small_lab.clear(CODES[0])
    ended = small_lab.upload("v", plain=True)
    assert ended.status is ExitStatus.DONE
    endings = [Path(name).name.split(".", 1)[1] for name in small_lab.stored()]
    assert endings == ["avi", "avi", "mp4.age", "mov.age"]


def test_plain_video_passes_the_gate_too(small_lab: SmallLab) -> None:
    small_lab.avi()
    ended = small_lab.upload("v", plain=True)
    assert ended.status is ExitStatus.IDENTIFIERS
    assert ended.error is not None
    assert "without --plain" in ended.error.next
    assert "--encrypt" not in ended.error.next


def test_sealed_files_need_no_clearance(small_lab: SmallLab) -> None:
    small_lab.edf()
    small_lab.avi()
    assert small_lab.upload("v").status is ExitStatus.DONE
    assert small_lab.upload("e", encrypt=True).status is ExitStatus.DONE
    assert all(name.endswith(".age") for name in small_lab.stored())


def judged(small: SmallLab) -> tuple[Any, Cleared]:
    """The one outgoing recording and what the gate said of it."""
    small.clear()
    (file,) = find_outgoing(small.out, "e").files
    root = os.open(small.out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with running(small.home, "test", lambda _e: None) as run:
            cleared = Gate(run.catalog).judge(file, root)
    finally:
        os.close(root)
    assert isinstance(cleared, Cleared)
    return file, cleared


@pytest.mark.parametrize("what", ["text", "longer", "samples"])
def test_the_watch_sees_what_was_really_sent(small_lab: SmallLab, what: str) -> None:
    """What the gate read and what is sent are two reads; the second must show the same text and size."""
    path = small_lab.edf()
    _, cleared = judged(small_lab)
    data = bytearray(path.read_bytes())
    if what == "text":
        data[data.index(b"+1\x14") + 3] = ord("Q")
    elif what == "longer":
        data += NAME.encode()
    else:
        data[256 * 4] ^= 1
    watch = ClearedWatch("edf/x", cleared)
    half = len(data) // 2
    watch.feed(0, bytes(data[:half]))
    watch.feed(half, bytes(data[half:]))
    if what == "samples":
        watch.check()
        return
    with pytest.raises(SourceChangedError, match="changed after it was cleared"):
        watch.check()


def test_a_file_replaced_after_the_gate_is_not_opened(small_lab: SmallLab) -> None:
    path = small_lab.edf()
    file, cleared = judged(small_lab)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    root = os.open(small_lab.out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(SourceChangedError):
            FileOrder(root, str(file.relative), file.shown, cleared).open()
        FileOrder(root, str(file.relative), file.shown).open().close()
    finally:
        os.close(root)


@pytest.mark.parametrize("when", ["before the read", "during the read"])
def test_text_that_changes_under_way_ends_22(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    small_lab.edf(number=1)
    changing = small_lab.edf(number=2)
    small_lab.clear()
    times = changing.stat()

    def change() -> None:
        data = changing.read_bytes()
        changing.write_bytes(data.replace(b"+1\x14\x14", b"+1\x14Q"))
        os.utime(changing, ns=(times.st_atime_ns, times.st_mtime_ns))

    real = FileSource.pieces

    def pieces(self: FileSource) -> Any:
        if self.name.endswith("_2.edf"):
            change()
        return real(self)

    if when == "during the read":
        monkeypatch.setattr(FileSource, "pieces", pieces)
    else:
        monkeypatch.setattr("ecogsafe.service.upload.tell_plan", lambda *_a, **_k: change())
    ended = small_lab.upload("e")
    assert ended.status is ExitStatus.SOURCE_CHANGED
    assert small_lab.stored() == [EDF]
    assert NAME.encode() not in (small_lab.folder / "store" / EDF).read_bytes()


def test_a_refusal_never_names_what_stands_in_the_file(small_lab: SmallLab) -> None:
    small_lab.edf(text=NAME)
    scanned = small_lab.clear(CODES[0])
    assert scanned.status is ExitStatus.IDENTIFIERS
    ended = small_lab.upload("e")
    assert ended.items(action="gate")
    assert NAME not in repr(ended.events)
    assert NAME not in str(ended.error)
