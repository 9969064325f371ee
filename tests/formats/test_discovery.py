"""Discovery: every entry of an export is found, in exactly one place, and nothing is followed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from builders_edf import Edf
from builders_natus import GUID, START, STEM, Person, erd, header, other_person, snc, stc, vtc, write_study
from test_text_outputs import snc_text, vtc_text

from ecogsafe.core.errors import SourceUnreadableError, UsageError
from ecogsafe.formats.discovery import discover
from ecogsafe.formats.found import Discovery, OtherEntry
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.opening import open_regular

SECOND = "11112222-3333-4444-5555-666677778888"


def all_paths(found: Discovery) -> list[Path]:
    paths = [f.path for s in found.studies for f in (*s.files, *s.decimated)]
    paths += [r.file.path for r in found.recordings]
    paths += [t.file.path for t in found.texts]
    return paths + [o.file.path for o in found.others]


def on_disk(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder) / name for name in names)


def other(found: Discovery, name: str) -> OtherEntry:
    (entry,) = (o for o in found.others if o.file.path.name == name)
    return entry


def test_hospital_form(tmp_path: Path) -> None:
    folder = write_study(tmp_path / STEM)
    write_study(folder / "DECIMATED", clips=0)
    (tmp_path / f"{STEM}.edf").write_bytes(Edf().build())
    (folder / "report of Odalys.doc").write_bytes(b"\xd0\xcf")
    (folder / f"{STEM}.epo").write_bytes(b"\xd0\xcf")
    (folder / f"{STEM}.ent.old").write_bytes(b"x")
    found = discover(tmp_path)
    (study,) = found.studies
    assert (study.path, study.stem, len(study.files), len(study.decimated)) == (folder, STEM, 12, 10)
    assert (study.start_utc, study.end_utc) == (START, START + timedelta(minutes=20))
    person = study.person
    assert (person.last_name, person.first_name, person.middle_name) == ("Quillfeather", "Odalys", "Brynhild")
    assert (person.mrn, person.birth_date) == ("MRN-004711", "1970-02-02")
    assert {GUID, "206-555-0147", "zuniga7", "EEGROOM4"} <= set(person.also)
    assert not study.problems
    (recording,) = found.recordings
    assert recording.stem == STEM
    assert recording.start_local == datetime(2021, 3, 5, 10, 11, 12)
    assert (recording.person.last_name, recording.person.first_name) == ("Quillfeather", "Odalys")
    assert (recording.person.mrn, recording.person.birth_date) == ("MRN-004711", "1970-02-02")
    assert GUID in recording.person.also
    assert {o.reason for o in found.others} == {"report", "OLE compound file (.epo)", "backup copy"}
    assert all(o.by_rule for o in found.others)
    assert sorted(all_paths(found)) == sorted(on_disk(tmp_path))


def test_half_processed_form_nested_and_mixed(tmp_path: Path) -> None:
    top = tmp_path / "deep" / "Quillfeather"
    for number in (2, 10):
        folder = write_study(top / f"Quillfeather_{number}")
        for clip in folder.glob("*.avi"):
            clip.rename(folder / clip.name.replace(STEM, f"Quillfeather_{number}"))
        (folder / f"Quillfeather_{number}.edf").write_bytes(Edf(patient=b"X X X X").build())
    clips = tmp_path / "Quillfeather_3"
    clips.mkdir()
    for name in ("Quillfeather_3_0000.AVI", "Quillfeather_3_0001.mp4", "lonely.mov"):
        (clips / name).write_bytes(b"RIFF")
    for name, text in (("vtc", vtc_text()), ("SNC", snc_text())):
        (tmp_path / f"{name} Quillfeather").mkdir()
        (tmp_path / f"{name} Quillfeather" / "Quillfeather_3.TXT").write_text(text, encoding="latin-1")
    found = discover(tmp_path)
    assert [(s.path.name, s.stem, len(s.files)) for s in found.studies] == [
        ("Quillfeather_3", "Quillfeather_3", 3),
        ("Quillfeather_10", STEM, 12),
        ("Quillfeather_2", STEM, 12),
    ]
    assert found.studies[0].start_utc is None
    assert found.studies[0].person.last_name == "Quillfeather"
    assert [r.person.last_name for r in found.recordings] == ["Quillfeather"] * 2
    assert [(t.file.kind, t.start_utc) for t in found.texts] == [(Kind.SNC_TEXT, START), (Kind.VTC_TEXT, START)]
    assert [t.person.first_name for t in found.texts] == ["Odalys", "Odalys"]
    assert all(GUID in t.person.also for t in found.texts)
    assert not found.others
    assert sorted(all_paths(found)) == sorted(on_disk(tmp_path))


def test_several_studies_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    write_study(tmp_path / "all")
    for name in (f"Quillfeather~ Odalys_{SECOND}", "Quillfeather_7"):
        write_study(tmp_path / "tmp", stem=name)
        for file in (tmp_path / "tmp").iterdir():
            file.rename(tmp_path / "all" / file.name)
        (tmp_path / "tmp").rmdir()
    (tmp_path / "all" / "lonely.avi").write_bytes(b"RIFF")
    write_study(tmp_path / "all" / "Decimated", stem=f"Quillfeather~ Odalys_{SECOND}", clips=0)
    (tmp_path / "all" / "Decimated" / "stray.erd").write_bytes(erd())
    found = discover(tmp_path)
    assert sorted((s.stem, len(s.files), len(s.decimated)) for s in found.studies) == [
        ("Quillfeather_7", 12, 0),
        (f"Quillfeather~ Odalys_{SECOND}", 12, 10),
        (STEM, 12, 0),
    ]
    assert [(o.file.path.name, o.reason, o.by_rule) for o in found.others] == [
        ("stray.erd", "name tells none of the studies in its folder", False),
        ("lonely.avi", "name tells none of the studies in its folder", False),
    ]
    assert sorted(all_paths(found)) == sorted(on_disk(tmp_path))


def test_clips_of_two_numbered_stems_are_two_studies(tmp_path: Path) -> None:
    for name in ("Quillfeather_1_0000.avi", "Quillfeather_1_0001.avi", "Quillfeather_2_0000.avi"):
        (tmp_path / name).write_bytes(b"RIFF")
    assert [(s.stem, len(s.files)) for s in discover(tmp_path).studies] == [
        ("Quillfeather_1", 2),
        ("Quillfeather_2", 1),
    ]


def test_start_falls_back_to_the_clips(tmp_path: Path) -> None:
    folder = write_study(tmp_path / STEM)
    (folder / f"{STEM}.snc").unlink()
    (study,) = discover(tmp_path).studies
    assert (study.start_utc, study.end_utc) == (START, START + timedelta(minutes=6))
    (folder / f"{STEM}.vtc").unlink()
    assert discover(tmp_path).studies[0].start_utc == START
    (folder / f"{STEM}.vt2").unlink()
    assert discover(tmp_path).studies[0].start_utc is None
    (folder / f"{STEM}.vt2").write_bytes(b"unknown layout Quillfeather_0000.avi")
    assert not discover(tmp_path).studies[0].problems


def test_broken_natus_files_are_problems_of_their_study(tmp_path: Path) -> None:
    folder = write_study(tmp_path / STEM)
    broken = {
        f"{STEM}.erd": b"",
        f"{STEM}_001.erd": erd()[:5000],
        f"{STEM}.snc": snc()[:340],
        f"{STEM}.vtc": vtc((b"Odalys", b"x")),
        f"{STEM}.eeg": header(3) + b'(."A", "x',
        f"{STEM}.ent": header(3) + b"cut",
        f"{STEM}.stc": stc((b"a", b"b"))[:-1],
    }
    for name, data in broken.items():
        (folder / name).write_bytes(data)
    (study,) = discover(tmp_path).studies
    assert {path.name for path in study.problems} == set(broken)
    assert study.problems[folder / f"{STEM}.erd"] == "empty"
    assert not any("Odalys" in problem for problem in study.problems.values())
    assert study.start_utc == START


def test_file_of_another_patient_is_a_problem_and_no_hint(tmp_path: Path) -> None:
    folder = write_study(tmp_path / STEM)
    (folder / f"{STEM}_002.erd").write_bytes(erd(person=other_person()))
    (folder / f"{STEM}_003.erd").write_bytes(erd(person=Person(b"", b"", b"", b"")))
    (study,) = discover(tmp_path).studies
    assert [path.name for path in study.problems] == [f"{STEM}_002.erd"]
    assert "Underbough" not in (study.person.last_name, *study.person.also)


def test_decimated_without_its_study_is_told(tmp_path: Path) -> None:
    write_study(tmp_path / "here" / "Decimated", clips=1)
    write_study(tmp_path / "here" / "Decimated" / "below", clips=1)
    found = discover(tmp_path)
    assert not found.studies
    assert {(o.reason, o.by_rule) for o in found.others} == {("low-rate copy without its study", False)}
    assert len(found.others) == 22


def test_links_and_special_files_are_listed_and_never_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = write_study(tmp_path / "outside")
    export = tmp_path / "export"
    export.mkdir()
    (export / "folder").symlink_to(outside, target_is_directory=True)
    (export / "a.edf").symlink_to(outside / f"{STEM}.erd")
    (export / "loop").symlink_to(export)
    os.mkfifo(export / "b_0000.avi")
    monkeypatch.chdir(export)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("c.erd")
        found = discover(export)
    assert [(o.file.path.name, o.reason, o.by_rule) for o in found.others] == [
        ("a.edf", "symbolic link", False),
        ("b_0000.avi", "FIFO", False),
        ("c.erd", "socket", False),
        ("folder", "symbolic link", True),
        ("loop", "symbolic link", True),
    ]
    assert not found.studies
    assert not found.recordings


def test_empty_files_are_told(tmp_path: Path) -> None:
    for name in ("Quillfeather_3_0000.avi", "x.edf", "y.txt", "z.doc"):
        (tmp_path / name).touch()
    found = discover(tmp_path)
    assert [(o.file.path.name, o.reason, o.by_rule) for o in found.others] == [
        ("Quillfeather_3_0000.avi", "empty", False),
        ("x.edf", "empty", False),
        ("y.txt", "empty", True),
        ("z.doc", "report", True),
    ]


def test_unreadable_files_and_folders_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_study(tmp_path / STEM, clips=1)
    (tmp_path / "x.edf").write_bytes(Edf().build())
    (tmp_path / "locked").mkdir()
    (tmp_path / "gone.avi").write_bytes(b"RIFF")
    (tmp_path / "hidden.avi").write_bytes(b"RIFF")
    real_open, real_scan, real_lstat = os.open, os.scandir, Path.lstat

    def refusing_open(path: Path, *rest: int) -> int:
        if Path(path).suffix in (".edf", ".snc"):
            raise PermissionError(13, "denied")
        return real_open(path, *rest)

    def refusing_scan(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "denied")
        return real_scan(path)

    def refusing_lstat(path: Path) -> os.stat_result:
        if path.name == "gone.avi":
            raise FileNotFoundError
        if path.name == "hidden.avi":
            raise PermissionError
        return real_lstat(path)

    monkeypatch.setattr(os, "open", refusing_open)
    monkeypatch.setattr(os, "scandir", refusing_scan)
    monkeypatch.setattr(Path, "lstat", refusing_lstat)
    found = discover(tmp_path)
    assert {(o.file.path.name, o.reason, o.by_rule, o.file.readable) for o in found.others} == {
        ("x.edf", "cannot be read", False, False),
        (f"{STEM}.snc", "cannot be read", False, False),
        ("hidden.avi", "cannot be read", False, False),
        ("locked", "folder cannot be read", False, False),
    }
    assert found.studies[0].path == folder
    assert found.studies[0].start_utc == START


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path)
    os.mkdir(raw + b"/M\xfcller_1")
    for name in (b"/M\xfcller_1/a.edf", b"/\xff.avi"):
        with open(raw + name, "wb") as file:
            file.write(b"x")
    found = discover(tmp_path)
    assert [(os.fsencode(o.file.path.name), o.reason, o.by_rule) for o in found.others] == [
        (b"a.edf", "name is not UTF-8", False),
        (b"\xff.avi", "name is not UTF-8", False),
    ]
    assert all(o.file.path.exists() for o in found.others)


def test_malformed_recordings_and_texts_are_told(tmp_path: Path) -> None:
    (tmp_path / "Quillfeather_1.edf").write_bytes(b"not an EDF at all")
    (tmp_path / "a.txt").write_text("x_0000.avi [99/99/2021 10:00:00] [99/99/2021 10:00:00]\n")
    (tmp_path / "b.txt").write_text("1\tx\t999999999999999999\n")
    (tmp_path / "c.txt").write_text("a shopping list\n")
    found = discover(tmp_path)
    (recording,) = found.recordings
    assert recording.problem
    assert recording.start_local is None
    assert [(t.start_utc, bool(t.problem)) for t in found.texts] == [(None, True), (None, True)]
    assert other(found, "c.txt").by_rule


def test_legacy_free_text_is_a_hint(tmp_path: Path) -> None:
    legacy = Edf(patient=b"Quillfeather, Odalys MRN 004711 02/02/1970", reserved=b"")
    (tmp_path / "a.edf").write_bytes(legacy.build())
    (tmp_path / "b.edf").write_bytes(Edf(patient=b"abcd1234 X X X", recording=b"Startdate 05-MAR-2021 X X X").build())
    first, second = discover(tmp_path).recordings
    assert (first.person.last_name, first.person.first_name) == ("Quillfeather", "Odalys")
    assert "Quillfeather, Odalys MRN 004711 02/02/1970" in first.person.also
    assert (second.person.last_name, second.person.mrn, second.person.also) == ("", "", ())


def test_export_must_be_a_readable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(UsageError):
            discover(path)

    def refuse(path: Path) -> object:
        raise PermissionError

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError):
        discover(tmp_path)


def test_file_that_became_a_fifo_or_link_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(__file__)
    for name in ("fifo", "link", "none"):
        with pytest.raises(SourceUnreadableError) as caught:
            open_regular(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.__cause__ is None


def test_found_files_carry_their_lstat(tmp_path: Path) -> None:
    (tmp_path / "a_0000.avi").write_bytes(b"RIFFxxxx")
    os.link(tmp_path / "a_0000.avi", tmp_path / "b_0000.avi")
    files = [f for s in discover(tmp_path).studies for f in s.files]
    status = (tmp_path / "a_0000.avi").lstat()
    for file in files:
        assert (file.size, file.links, file.inode, file.device) == (8, 2, status.st_ino, status.st_dev)
        assert (file.mtime_ns, file.ctime_ns, stat.S_ISREG(file.mode)) == (status.st_mtime_ns, status.st_ctime_ns, True)


def test_backups_stay_and_one_without_its_original_is_told_apart(tmp_path: Path) -> None:
    folder = write_study(tmp_path / STEM)
    names = {f"{STEM}.ent.old": True, f"{STEM}.EEG.BAK": True, f"{STEM}_009.erd.old2": False, f"{STEM}.notes.old": None}
    for name in names:
        (folder / name).write_bytes(b"Quillfeather")
    (tmp_path / "Quillfeather_3.edf~").write_bytes(b"Quillfeather")
    found = discover(tmp_path)
    assert sorted(all_paths(found)) == sorted(on_disk(tmp_path))
    for name, is_there in {**names, "Quillfeather_3.edf~": False}.items():
        entry = other(found, name)
        assert entry.by_rule
        word = {None: "unknown kind", True: "backup copy", False: "backup copy alone"}[is_there]
        assert entry.reason == word, "a backup that may be the only copy of a recording is not told apart"
