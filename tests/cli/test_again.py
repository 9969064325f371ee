"""Commands run a second time, on the same and on changed data; what is there is neither sent twice nor replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import subjects
from ecogsafe.service.home import Home
from tests.cli.lab import Lab
from tests.cli.test_gate import edf_of
from tests.cli.trees import digests, tree_state


@pytest.fixture
def store(applied: Lab) -> Path:
    folder = applied.folder / "store"
    folder.mkdir()
    return folder


def data_in(store: Path) -> dict[str, str]:
    return {name: digest for name, digest in digests(store).items() if not name.startswith("_ecogsafe/")}


@pytest.mark.parametrize("kind", ["v", "e"])
def test_a_second_upload_sends_nothing(applied: Lab, store: Path, kind: str) -> None:
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", kind]
    first = applied.here(*words)
    before = tree_state(store)
    again = applied.here(*words)
    assert again.summary["files"]["done"] == 0
    assert again.summary["files"]["present"] == first.summary["files"]["done"] > 0
    assert again.summary["bytes"] == 0
    after = tree_state(store)
    assert {n: s for n, s in after.items() if "_ecogsafe" not in n} == {
        n: s for n, s in before.items() if "_ecogsafe" not in n
    }


def test_a_touched_file_is_read_and_not_sent(applied: Lab, store: Path) -> None:
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v"]
    applied.here(*words)
    before = data_in(store)
    for clip in applied.out.rglob("*.avi"):
        clip.touch()
    assert applied.here(*words).summary["files"]["done"] == 0
    assert data_in(store) == before


def test_changed_content_is_skipped_and_with_new_version_kept_beside(applied: Lab, store: Path) -> None:
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v"]
    applied.here(*words)
    before = data_in(store)
    clip = sorted(applied.out.rglob("*.avi"))[0]
    clip.write_bytes(clip.read_bytes()[:-8] + b"changed!")
    done = applied.here(*words, status=3)
    assert done.summary["files"]["skipped"] == 1
    assert data_in(store) == before
    (skipped,) = done.of("item", status="skipped")
    assert "--new-version" in skipped["message"]
    sent = applied.here(*words, "--new-version")
    (item,) = sent.of("item", action="upload", status="done")
    assert item["key"].endswith("~2.avi.age")
    assert {n: d for n, d in data_in(store).items() if n != item["key"]} == before
    again = applied.here(*words, "--new-version")
    assert again.summary["files"]["done"] == 0, "the second version was sent once more"


def test_both_versions_come_back(applied: Lab, store: Path) -> None:
    words = ["upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v"]
    applied.here(*words)
    clip = sorted(applied.out.rglob("*.avi"))[0]
    old = clip.read_bytes()
    clip.write_bytes(old[:-8] + b"changed!")
    applied.here(*words, "--new-version")
    back = applied.folder / "back"
    back.mkdir()
    applied.here("--json", "download", "--from", store.as_uri(), "-d", back)
    relative = clip.relative_to(applied.out / "video")
    assert (back / relative).read_bytes() == old
    assert (back / relative.with_name(f"{clip.stem}~2.avi")).read_bytes() == clip.read_bytes()


def test_a_second_download_fetches_nothing_and_replaces_nothing(applied: Lab, store: Path) -> None:
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    back = applied.folder / "back"
    back.mkdir()
    words = ["--json", "download", "--from", store.as_uri(), "-d", back]
    first = applied.here(*words)
    before = tree_state(back)
    again = applied.here(*words)
    assert again.summary["files"]["present"] == first.summary["files"]["done"]
    assert tree_state(back) == before
    mine = sorted(back.rglob("*.txt"))[0]
    mine.write_bytes(b"notes of my own")
    gone = sorted(back.rglob("*.avi"))[0]
    gone.unlink()
    third = applied.here(*words, status=3)
    assert mine.read_bytes() == b"notes of my own"
    assert gone.exists()
    assert (third.summary["files"]["done"], third.summary["files"]["skipped"]) == (1, 1)


def test_download_missing_in_and_filters(applied: Lab, store: Path) -> None:
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    code = applied.codes["a"]
    for name in ("one", "two", "three"):
        (applied.folder / name).mkdir()
    url = store.as_uri()
    applied.here("download", "--from", url, "-d", applied.folder / "one", "-s", code, "-f", "*.avi")
    one = digests(applied.folder / "one")
    assert len(one) == 6
    assert all(name.startswith(f"{code}/") and name.endswith(".avi") for name in one)
    applied.here(
        "download", "--from", url, "-d", applied.folder / "two", "-s", code, "--missing-in", applied.folder / "one"
    )
    assert not set(digests(applied.folder / "two")) & set(one)
    applied.here("download", "--from", url, "-d", applied.folder / "three", "-s", code, "--no-decrypt")
    assert {n for n in data_in(store) if code in n} == set(digests(applied.folder / "three"))


def test_dry_runs_write_nothing(applied: Lab, store: Path) -> None:
    back = applied.folder / "back"
    back.mkdir()
    url = store.as_uri()
    done = applied.here("--json", "upload", "-d", applied.out, "--to", url, "-t", "v", "--dry-run")
    assert len(done.of("item", status="planned")) == len(digests(applied.out / "video")) + len(
        digests(applied.out / "text")
    )
    assert digests(store) == {}, "a dry run wrote to the store"
    assert done.summary["files"]["done"] == 0
    applied.here("upload", "-d", applied.out, "--to", url, "-t", "v")
    before = digests(store)
    applied.here("upload", "-d", applied.out, "--to", url, "-t", "e", "--dry-run")
    done = applied.here("--json", "download", "--from", url, "-d", back, "--dry-run")
    assert done.of("item", status="planned")
    assert list(back.iterdir()) == []
    assert digests(store) == before


def test_exclude_leaves_files_out(applied: Lab, store: Path) -> None:
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v"]
    done = applied.here(*words, "--exclude", "*.avi", "--exclude", "*/Decimated/*")
    assert not [n for n in data_in(store) if ".avi" in n or "Decimated" in n]
    assert done.summary["counts"]["excluded"] == 12 + 10
    rest = applied.here(*words)
    assert rest.summary["files"]["done"] == 12 + 10


@pytest.mark.parametrize("where", ["out", "tree", "subject"])
@pytest.mark.parametrize("kind", ["v", "e"])
def test_every_form_of_dir_gives_the_same_keys(applied: Lab, store: Path, where: str, kind: str) -> None:
    tree = "video" if kind == "v" else "edf"
    code = applied.codes["b"]
    folder = {
        "out": applied.out,
        "tree": applied.out / tree,
        "subject": applied.out / tree / (code if kind == "v" else f"{code}_edf"),
    }[where]
    applied.here("upload", "-d", folder, "--to", store.as_uri(), "-t", kind)
    expected = set(digests(applied.out / tree))
    if kind == "v" and where == "out":
        expected |= set(digests(applied.out / "text"))
    if where == "subject":
        expected = {n for n in expected if code in n}
    ending = ".age" if kind == "v" else ""
    assert set(data_in(store)) == {f"{n}{ending}" for n in expected}


def test_a_prefix_comes_before_every_key_and_back_off(applied: Lab, store: Path) -> None:
    (store / "lab" / "2024").mkdir(parents=True)
    url = f"{store.as_uri()}/lab/2024"
    applied.here("upload", "-d", applied.out, "--to", url, "-t", "e")
    back = applied.folder / "back"
    back.mkdir()
    applied.here("download", "--from", url, "-d", back)
    assert digests(back) == digests(applied.out / "edf")


def test_a_second_apply_does_nothing(handed_over: Lab) -> None:
    first = handed_over.apply("a")
    out = tree_state(handed_over.out)
    words = handed_over.apply_words("a")
    again = handed_over.here("--json", *words, status=None)
    # nothing of the person is left in EXPORT but reports: there is nothing to do, and that is said
    assert again.status in (0, 2)
    assert first.summary["files"]["done"] > again.summary["files"]["done"] == 0
    assert tree_state(handed_over.out) == out


def test_apply_copy_leaves_the_export_and_again_finds_it_done(handed_over: Lab) -> None:
    before = tree_state(handed_over.export)
    handed_over.apply("a", "--copy")
    assert tree_state(handed_over.export) == before
    out = tree_state(handed_over.out)
    again = handed_over.apply("a", "--copy")
    assert again.summary["files"]["done"] == 0
    assert tree_state(handed_over.out) == out
    handed_over.here("--yes", "deid", "undo", handed_over.codes["a"])
    assert tree_state(handed_over.export) == before
    assert digests(handed_over.out) == {}


def test_undo_of_files_that_were_changed_leaves_and_lists_them(handed_over: Lab) -> None:
    handed_over.apply("b")
    changed = edf_of(handed_over, "b", 1)
    changed.write_bytes(changed.read_bytes()[:-4] + b"\1\2\3\4")
    done = handed_over.here("--json", "deid", "undo", handed_over.codes["b"], status=3)
    assert changed.exists()
    assert done.summary["files"]["skipped"] == 1
    assert [e["path"] for e in done.of("item", action="undo", status="failed")] or done.of("item", status="skipped")


def test_uploads_are_refused_while_the_catalogue_knows_an_open_journal(applied: Lab, store: Path) -> None:
    """Somebody removed the marker; the catalogue still knows, and so does `status`."""
    code = applied.codes["a"]
    catalog = Home(applied.home).open_catalog()
    with catalog.write() as tx:
        subjects.open_journal(tx, f"{code}-0009-00000000", subject=code, kind="apply", sha256="0" * 64, undoes=None)
    catalog.close()
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e"]
    assert applied.here(*words, status=11).error["code"] == "locked"
    assert not data_in(store)
    assert f"{code}: de-identification is unfinished" in applied.here("status").said


def test_uploads_are_refused_while_a_marker_lies_in_the_outbox(applied: Lab, store: Path) -> None:
    """The marker alone is enough: the outbox may be on another computer's disk."""
    code = applied.codes["a"]
    marker = applied.out / f".ecogsafe-open-{code}"
    marker.write_text("")
    for folder in (applied.out, applied.out / "video", applied.out / "video" / code):
        done = applied.here("--json", "upload", "-d", folder, "--to", store.as_uri(), "-t", "v", status=11)
        assert done.error["code"] == "locked"
        assert code in done.error["message"]
    assert not data_in(store)
    other = applied.out / "video" / applied.codes["b"]
    applied.here("upload", "-d", other, "--to", store.as_uri(), "-t", "v")
    marker.unlink()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
