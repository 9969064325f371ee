"""What lies below DIR: every way to name DIR, and everything that is not of the form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.service.outgoing import find_outgoing, marked_subjects
from tests.service.small_lab import CODES, SmallLab

CODE = CODES[0]


def paths(folder: Path, data_type: str) -> list[str]:
    return [file.path for file in find_outgoing(folder, data_type).files]


@pytest.fixture
def out(small_lab: SmallLab) -> Path:
    small_lab.two_subjects()
    small_lab.write(f"text/{CODE}_vtc/{CODE}_1.txt", b"text")
    small_lab.write(f"text/{CODE}_snc/{CODE}_1.txt", b"text")
    return small_lab.out


def test_out_itself(out: Path) -> None:
    video = paths(out, "v")
    assert len(video) == 6
    assert f"{CODE}_vtc/{CODE}_1.txt" in video
    assert paths(out, "e") == [f"{c}_edf/{c}_{n}.edf" for c in CODES for n in (1, 2)]
    assert find_outgoing(out, "v").left == []


@pytest.mark.parametrize(
    ("folder", "data_type", "number"),
    [
        ("video", "v", 4),
        ("edf", "e", 4),
        ("text", "v", 2),
        (f"video/{CODE}", "v", 2),
        (f"edf/{CODE}_edf", "e", 2),
        (f"text/{CODE}_vtc", "v", 1),
    ],
)
def test_a_tree_and_one_subject(out: Path, folder: str, data_type: str, number: int) -> None:
    found = find_outgoing(out / folder, data_type)
    assert len(found.files) == number
    assert found.left == []
    # the path is the one below the tree, whatever DIR was
    assert {f.path for f in found.files} <= {*paths(out, data_type)}
    # and `relative` leads to the file
    assert all((out / folder / f.relative).is_file() for f in found.files)


@pytest.mark.parametrize("folder", ["video", "edf", f"video/{CODE}", f"edf/{CODE}_edf"])
def test_the_other_type_is_no_complaint(out: Path, folder: str) -> None:
    """`-t e` on a folder of clips finds nothing, and calls nothing misunderstood."""
    found = find_outgoing(out / folder, "e" if folder.startswith("video") else "v")
    assert (found.files, found.left) == ([], [])


def test_the_old_layout_with_both_kinds_in_one_folder(out: Path) -> None:
    both = out.parent / "both"
    both.mkdir()
    (out / f"video/{CODE}").rename(both / CODE)
    (out / f"edf/{CODE}_edf").rename(both / f"{CODE}_edf")
    for data_type in ("v", "e"):
        found = find_outgoing(both, data_type)
        assert len(found.files) == 2
        assert found.left == []


@pytest.mark.parametrize("name", ["video", f"video/{CODE}", "."])
def test_relative_and_linked(out: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = paths(out / name, "v")
    assert expected
    monkeypatch.chdir(out / name)
    assert paths(Path(), "v") == expected
    assert paths(Path("../" + (out / name).resolve().name), "v") == expected
    link = out.parent / "a link"
    link.symlink_to(out / name)
    assert paths(link, "v") == expected
    monkeypatch.chdir(link)
    assert paths(Path(), "v") == expected


def test_a_subject_folder_that_is_a_link_with_the_right_name(out: Path) -> None:
    moved = (out / f"video/{CODE}").rename(out.parent / "volume 7")
    link = out.parent / CODE
    link.symlink_to(moved)
    assert len(paths(link, "v")) == 2


def test_out_that_is_called_video(out: Path) -> None:
    renamed = out.rename(out.parent / "video")
    assert len(paths(renamed, "v")) == 6


def test_a_tree_that_holds_a_folder_called_text(out: Path) -> None:
    (out / "video/text").mkdir()
    (out / "video/text/notes.doc").write_bytes(b"x")
    found = find_outgoing(out / "video", "v")
    assert len(found.files) == 4
    assert [shown for shown, _ in found.left] == ["video/t•••/n•••.d•••"]


def test_a_tree_that_is_a_link_is_named_and_not_followed(out: Path) -> None:
    moved = (out / "video").rename(out.parent / "volume")
    (out / "video").symlink_to(moved)
    found = find_outgoing(out, "v")
    assert {f.tree for f in found.files} == {"text"}
    assert found.left[0][0] == "video"
    assert "link" in found.left[0][1]


@pytest.mark.parametrize(
    "name",
    [
        f"video/{CODE}/Quillfeather~ Odalys.avi",
        "video/Quillfeather_3/Quillfeather_3_0001.avi",
        f"video/{CODE}/{CODE}_1/{CODE}_1_0001.AVI",
        f"video/{CODE}/{CODE}_1/{CODES[1]}_1_0001.avi",
        f"video/{CODE}/{CODE}_1/{CODE}_2_0001.avi",
        f"video/{CODE}/{CODE}_1/{CODE}_1_0001~2.avi",
        f"video/{CODE}/{CODE}_1/{CODE}_1_0001.avi.age",
        f"video/{CODE}/report.doc",
        "video/1bcd1234/1bcd1234_1/1bcd1234_1.avi",
        f"video/{CODE}_edf/{CODE}_1.edf.bak",
        f"video/Copy of {CODE}/{CODE}_1/{CODE}_1_0001.avi",
        f"video/{CODE} /{CODE}_1/{CODE}_1_0001.avi",
    ],
)
def test_foreign_names_stay_and_are_masked(out: Path, small_lab: SmallLab, name: str) -> None:
    small_lab.write(name, b"x")
    found = find_outgoing(out, "v")
    assert len(found.files) == 6
    ((shown, reason),) = found.left
    assert "Quillfeather" not in shown + reason
    assert "Odalys" not in shown
    # a subject's own folder is shown, so that the file can be found
    first = name.split("/")[1]
    assert shown.startswith(f"video/{CODE}") == (first in (CODE, f"{CODE}_edf"))


def test_names_that_no_terminal_should_see(out: Path) -> None:
    folder = os.fsencode(out / "video" / CODE)
    for name in (b"M\xfcller.avi", b"a\x1b[31mred\n.avi"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"x")
    found = find_outgoing(out, "v")
    assert len(found.left) == 2
    for shown, _ in found.left:
        assert shown.isprintable()
        shown.encode("utf-8")


def test_links_fifos_and_sockets_are_listed_never_followed(out: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.avi"
    secret.write_bytes(b"not ours")
    folder = out / "video" / CODE / f"{CODE}_1"
    (folder / f"{CODE}_1_0007.avi").symlink_to(secret)
    os.mkfifo(folder / f"{CODE}_1_0008.avi")
    (out / "video" / CODE / f"{CODE}_9").symlink_to(tmp_path)
    found = find_outgoing(out, "v")
    assert len(found.files) == 6
    assert len(found.left) == 3
    assert all("links, FIFOs and devices are never followed" in reason for _, reason in found.left)


def test_a_link_that_leads_in_a_circle(out: Path) -> None:
    (out / "video" / CODE / "again").symlink_to(out / "video")
    assert len(find_outgoing(out, "v").files) == 6


def test_our_own_files_are_passed_over(out: Path) -> None:
    (out / "video" / CODE / ".ecogsafe-1f.tmp").write_bytes(b"x")
    (out / f".ecogsafe-open-{CODES[1]}").write_bytes(b"")
    assert find_outgoing(out, "v").left == []


@pytest.mark.parametrize("below", ["", "video", f"video/{CODE}", "edf"])
@pytest.mark.parametrize("how", ["real", "link", "relative"])
def test_markers_of_an_open_journal_are_found_from_everywhere(
    out: Path, below: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / f".ecogsafe-open-{CODE}").write_bytes(b"")
    folder = out / below
    if how == "link":
        link = out.parent / "elsewhere" / "link"
        link.parent.mkdir()
        link.symlink_to(folder)
        folder = link
    elif how == "relative":
        monkeypatch.chdir(folder)
        folder = Path()
    assert marked_subjects(folder) == {CODE}


def test_a_marker_stops_that_subject_only(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    (small_lab.out / f".ecogsafe-open-{CODE}").write_bytes(b"")
    ended = small_lab.upload("v", folder=small_lab.out / "video" / CODE)
    assert ended.status is ExitStatus.LOCKED
    assert small_lab.stored() == []
    assert small_lab.upload("v", folder=small_lab.out / "video" / CODES[1]).status is ExitStatus.DONE


def test_nothing_there(small_lab: SmallLab) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        find_outgoing(small_lab.folder / "nowhere", "v")
    (small_lab.folder / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="not a folder"):
        find_outgoing(small_lab.folder / "file", "v")
    ended = small_lab.upload("v")
    assert ended.status is ExitStatus.USAGE
    small_lab.write("video/Quillfeather/x.avi", b"x")
    small_lab.write("video/Quillfeather/y.avi", b"x")
    ended = small_lab.upload("v")
    assert ended.status is ExitStatus.USAGE
    assert ended.error is not None
    assert "2 other entries" in ended.error.problem


def test_what_cannot_be_entered_is_told_and_the_rest_goes_on(
    small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_lab.two_subjects()
    closed = small_lab.out / "video" / CODE / f"{CODE}_1"
    real = os.scandir

    def scandir(folder: object = ".") -> object:
        if str(folder) == str(closed):
            raise PermissionError(13, "Permission denied")
        return real(folder)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    ended = small_lab.upload("v")
    assert ended.status is ExitStatus.PARTIAL
    (error,) = ended.errors()
    assert "Permission denied" in error.message
    assert len(ended.keys("done")) == 3


def test_left_files_end_21_and_the_others_are_sent(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    small_lab.write(f"video/{CODE}/Quillfeather.avi", b"x")
    ended = small_lab.upload("v")
    assert ended.status is ExitStatus.NOT_UNDERSTOOD
    assert len(ended.keys("done")) == 4
    assert len(ended.items(status="left_behind")) == 1
    assert "Quillfeather" not in repr(ended.events)


def test_exclude(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    ended = small_lab.upload("v", exclude=(f"{CODE}/*", "*_2_0001.avi"))
    assert ended.keys("done") == [f"{CODES[1]}/{CODES[1]}_1/{CODES[1]}_1_0001.avi.age"]
    assert ended.counts["excluded"] == 3
