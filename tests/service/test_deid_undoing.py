"""`deid undo`: what it leaves in the catalogue, and what becomes of the numbers."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from ecogsafe.deid.journal import JournalKind
from ecogsafe.service.deid_journals import RecordedJournals
from tests.cli.lab import Lab, Result
from tests.cli.trees import tree_state
from tests.service.looking import (
    cleared,
    journals,
    lose_catalogue,
    outbox,
    paths_of,
    segments,
    somebody,
    write_edf,
)

EARLIER = datetime(2023, 10, 1, 12, 0, 0)


def _apply(lab: Lab, *more: str | Path, status: int = 0) -> str:
    done = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--settle", "0", *more, status=status)
    return str(done.of("item", action="segment")[0]["subject"])


def _undo(lab: Lab, code: str, *more: str, status: int = 0) -> Result:
    return lab.here("--json", *more, "deid", "undo", code, status=status)


def _send_edf(lab: Lab) -> Result:
    store = lab.folder / "store"
    store.mkdir(exist_ok=True)
    return lab.here("--json", "upload", "-d", lab.out, "--to", store.as_uri(), "-t", "e")


def _three_recordings(lab: Lab) -> str:
    for order in (1, 2, 3):
        write_edf(lab.export, somebody(), order)
    return _apply(lab)


def test_undo_gives_back_every_byte_and_forgets(handed_over: Lab) -> None:
    lab = handed_over
    before = tree_state(lab.export)
    lab.apply("a")
    code = lab.codes["a"]
    done = _undo(lab, code)
    assert tree_state(lab.export) == before and outbox(lab) == set()
    assert done.summary["files"]["done"] == 50
    assert [(j.kind, j.state) for j in journals(lab, code)] == [("apply", "closed"), ("undo", "closed")]
    assert segments(lab, code, with_retired=True) == [] and cleared(lab, code) == {}
    again = _undo(lab, code, status=2)
    assert "no apply to take back" in again.error["message"]
    assert tree_state(lab.export) == before


def test_undo_of_nobody(lab: Lab) -> None:
    assert "no apply to take back" in _undo(lab, "c0ffee01", status=2).error["message"]
    assert "not a subject code" in _undo(lab, "Post", status=2).error["message"]


def test_numbers_of_what_was_never_sent_are_free_again(lab: Lab) -> None:
    code = _three_recordings(lab)
    _undo(lab, code)
    write_edf(lab.export, somebody(), 1, start=EARLIER, name="earlier")
    assert _apply(lab) == code
    rows = segments(lab, code)
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert rows[0].start_local == EARLIER.isoformat()


def test_numbers_of_what_was_sent_stay_with_their_recordings(lab: Lab) -> None:
    code = _three_recordings(lab)
    _send_edf(lab)
    before = {row.number: row.start_local for row in segments(lab, code)}
    assert _undo(lab, code, status=2).error["code"] == "confirmation-needed"
    _undo(lab, code, "--yes")
    assert segments(lab, code) == [] and len(segments(lab, code, with_retired=True)) == 3
    write_edf(lab.export, somebody(), 1, start=EARLIER, name="earlier")
    assert _apply(lab) == code
    after = {row.number: row.start_local for row in segments(lab, code)}
    assert after == {**before, 4: EARLIER.isoformat()}
    sent = _send_edf(lab)
    assert sent.summary["files"]["present"] + sent.summary["files"]["done"] == 4


def test_a_retired_number_is_never_given_to_another_recording(lab: Lab) -> None:
    code = _three_recordings(lab)
    _send_edf(lab)
    _undo(lab, code, "--yes")
    shutil.rmtree(lab.export)
    write_edf(lab.export, somebody(), 1, start=EARLIER, name="earlier")
    write_edf(lab.export, somebody(), 2, start=EARLIER.replace(hour=20), name="late")
    _apply(lab)
    assert [row.number for row in segments(lab, code)] == [4, 5]


def test_a_new_cleaning_is_not_taken_for_the_copy_that_was_sent(lab: Lab) -> None:
    """Size and time of a file that was cleaned again in another way are the same; its bytes are not."""
    code = _three_recordings(lab)
    _send_edf(lab)
    _undo(lab, code, "--yes")
    _apply(lab, "--annotations", "wipe")
    store = lab.folder / "store"
    done = lab.here("--json", "upload", "-d", lab.out, "--to", store.as_uri(), "-t", "e", status=3)
    assert done.summary["files"]["skipped"] == 3
    assert all("another content" in e["message"] for e in done.of("item", status="skipped"))


def test_only_the_newest_apply_is_taken_back(lab: Lab) -> None:
    code = _three_recordings(lab)
    first = outbox(lab)
    write_edf(lab.export, somebody(), 1, start=EARLIER, name="earlier")
    _apply(lab)
    older, newest = (j.id for j in journals(lab, code))
    both = outbox(lab)
    refused = lab.here("--json", "deid", "undo", code, "--journal", older, status=2)
    assert newest in refused.error["next"] and outbox(lab) == both
    lab.here("--json", "deid", "undo", code, "--journal", newest)
    assert outbox(lab) == first and [row.number for row in segments(lab, code)] == [1, 2, 3]
    _undo(lab, code)
    assert outbox(lab) == set() and len(list(lab.export.iterdir())) == 4


def test_a_part_of_which_older_files_stand_stays_noted(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "b", 3)
    clip = next(study.glob("*_0001.avi"))
    old = clip.stat()
    os.utime(clip)
    lab.apply("b", status=22)
    code = lab.codes["b"]
    os.utime(clip, ns=(old.st_atime_ns, old.st_mtime_ns))
    lab.here("deid", "apply", lab.export, "--to", lab.out, "--identifiers", lab.identifiers("b"))
    assert f"video/{code}/{code}_3/{code}_3_0001.avi" in outbox(lab)
    _undo(lab, code)
    assert "study" in segments(lab, code)[2].kinds and len(segments(lab, code)) == 3
    lab.here("deid", "apply", lab.export, "--to", lab.out, "--identifiers", lab.identifiers("b"))
    assert f"video/{code}/{code}_3/{code}_3_0001.avi" in outbox(lab)
    _undo(lab, code)
    _undo(lab, code)
    assert segments(lab, code, with_retired=True) == [] and outbox(lab) == set()


def test_a_file_that_was_changed_is_left_and_its_segment_stays(lab: Lab) -> None:
    code = _three_recordings(lab)
    victim = lab.out / f"edf/{code}_edf/{code}_2.bdf"
    with victim.open("ab") as file:
        file.write(b"more")
    done = _undo(lab, code, status=3)
    assert done.summary["files"] == {"done": 2, "present": 0, "skipped": 1, "failed": 0, "left_behind": 0}
    assert [row.number for row in segments(lab, code)] == [2] and outbox(lab) == {f"edf/{code}_edf/{code}_2.bdf"}


def test_numbers_that_only_the_journals_know_stay_taken(lab: Lab) -> None:
    code = _three_recordings(lab)
    _undo(lab, code)
    _apply(lab)
    lose_catalogue(lab)
    write_edf(lab.export, somebody(), 1, start=EARLIER, name="earlier")
    assert _apply(lab) == code
    assert [row.number for row in segments(lab, code)] == [1, 2, 3, 4] and len(outbox(lab)) == 4
    assert len(cleared(lab, code)) == 4 and {j.state for j in journals(lab, code)} == {"closed"}
    _undo(lab, code)
    assert len(segments(lab, code)) == 3


class PowerCutError(BaseException):
    """What no code catches."""


@pytest.mark.parametrize("command", ["undo", "apply"])
def test_an_undo_cut_before_it_was_noted(lab: Lab, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """The marks say it has ended, the catalogue does not: no further apply may be taken back in its place."""
    close = RecordedJournals._close

    def cut(self: RecordedJournals, name: str) -> None:
        if self.read(name).kind is JournalKind.UNDO:
            raise PowerCutError
        close(self, name)

    code = _three_recordings(lab)
    first = outbox(lab)
    write_edf(lab.export, somebody(), 1, start=EARLIER, name="earlier")
    _apply(lab)
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(RecordedJournals, "_close", cut)
        _undo(lab, code)
    assert outbox(lab) == first and [j.state for j in journals(lab, code)] == ["closed", "closed", "open"]
    assert len(segments(lab, code)) == 4
    if command == "undo":
        assert "only not been noted" in _undo(lab, code).summary["message"]
        assert [row.number for row in segments(lab, code)] == [1, 2, 3] and outbox(lab) == first
    else:
        _apply(lab)
        assert [row.kinds for row in segments(lab, code)] == [("recording",)] * 4 and len(outbox(lab)) == 4
    assert {j.state for j in journals(lab, code)} == {"closed"}


def test_an_apply_cut_before_it_was_noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(RecordedJournals, "_close", _cut)
        _three_recordings(lab)
    (code,) = {name[:8] for name in os.listdir(lab.home / "journals")}
    assert [row.kinds for row in segments(lab, code)] == [()] * 3 and len(outbox(lab)) == 3
    upload = ["--json", "upload", "-d", lab.out, "--to", lab.folder.as_uri(), "-t", "e"]
    assert lab.here(*upload, status=11).error["code"] == "locked"
    done = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out)
    assert done.summary["counts"]["cleared"] == 3
    assert [row.kinds for row in segments(lab, code)] == [("recording",)] * 3
    assert {j.state for j in journals(lab, code)} == {"closed"}


def test_an_apply_cut_before_its_journal_was_noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(RecordedJournals, "_note_open", _cut)
        _three_recordings(lab)
    assert outbox(lab) == set()
    code = _apply_again(lab)
    assert [row.number for row in segments(lab, code)] == [1, 2, 3] and len(journals(lab, code)) == 1
    assert {f"{t}/{p}" for t, p in cleared(lab, code)} == outbox(lab) and len(outbox(lab)) == 3


def _cut(*arguments: object) -> None:
    raise PowerCutError


def _apply_again(lab: Lab) -> str:
    done = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--settle", "0")
    (code,) = {e["subject"] for e in done.of("item", status="done")}
    return str(code)
