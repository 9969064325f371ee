"""`upload -t e` sends nothing plain that was not searched and found clean as it is now (DESIGN 5.5)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.lab import Lab, Result
from tests.cli.trees import digests


@pytest.fixture
def store(applied: Lab) -> Path:
    folder = applied.folder / "store"
    folder.mkdir()
    return folder


def upload(lab: Lab, store: Path, *more: str, kind: str = "e", status: int = 0) -> Result:
    return lab.here("--json", "upload", "-d", lab.out, "--to", store.as_uri(), "-t", kind, *more, status=status)


def edf_of(lab: Lab, key: str, number: int) -> Path:
    code = lab.codes[key]
    (path,) = (lab.out / "edf" / f"{code}_edf").glob(f"{code}_{number}.*")
    return path


def patch(path: Path, offset: int, data: bytes) -> None:
    """Write bytes over a file, keeping its time, as an editor that hides its traces would."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def nothing_sent(store: Path) -> bool:
    return not [p for p in store.rglob("*") if p.is_file() and "_ecogsafe" not in p.parts]


def test_an_edf_that_was_copied_in_by_hand(applied: Lab, store: Path) -> None:
    """Its form is right, nobody searched it: nothing at all is sent, the next step is named, and works."""
    first = edf_of(applied, "b", 1)
    shutil.copy(first, first.with_name(f"{applied.codes['b']}_4.edf"))
    done = upload(applied, store, status=20)
    assert done.error["code"] == "not-cleared"
    assert f"edf/{applied.codes['b']}_edf/{applied.codes['b']}_4.edf" in done.error["message"]
    assert "deid scan" in done.error["next"]
    assert "--encrypt" in done.error["next"]
    assert nothing_sent(store)
    applied.here("--json", "deid", "scan", applied.out, "--subject", applied.codes["b"])
    assert upload(applied, store).summary["files"]["done"] == 7


@pytest.mark.parametrize(("what", "offset"), [("patient field", 8), ("recording field", 88), ("signal label", 256)])
def test_a_name_written_into_a_cleared_header(applied: Lab, store: Path, what: str, offset: int) -> None:
    assert applied.ledger is not None
    patient = applied.ledger.patient("a")
    name = f"{patient.folded_last_name}".encode()[:12]
    patch(edf_of(applied, "a", 2), offset, name)
    done = upload(applied, store, status=20)
    assert done.of("item", action="gate", status="failed"), what
    assert nothing_sent(store)
    assert applied.residue_in_words([name.decode()]) == []
    scanned = applied.here("--json", "deid", "scan", applied.out, "--subject", applied.codes["a"], status=20)
    assert scanned.of("finding")
    assert upload(applied, store, status=20).error["code"] == "not-cleared"
    # sealed, it may go
    assert upload(applied, store, "--encrypt").summary["files"]["done"] == 6


def test_a_name_in_an_annotation(applied: Lab, store: Path) -> None:
    assert applied.ledger is not None
    path = edf_of(applied, "b", 3)
    data = path.read_bytes()
    at = data.index(b"Postictal")
    patch(path, at, b"Quillan  ")
    assert upload(applied, store, status=20).error["code"] == "not-cleared"
    assert nothing_sent(store)


def test_a_name_of_another_subject_is_found_too(applied: Lab, store: Path) -> None:
    assert applied.ledger is not None
    path = edf_of(applied, "b", 3)
    patch(path, path.read_bytes().index(b"Postictal"), applied.ledger.patient("a").mrn.encode())
    scanned = applied.here("--json", "deid", "scan", applied.out, "--subject", applied.codes["b"], status=20)
    assert len(scanned.of("finding")) == 1


def test_an_accepted_finding_is_bound_to_the_bytes(applied: Lab, store: Path) -> None:
    path = edf_of(applied, "b", 3)
    at = path.read_bytes().index(b"Postictal")
    patch(path, at, b"Quillan  ")
    code = applied.codes["b"]
    (found,) = applied.here("--json", "deid", "scan", path, "--subject", code, status=20).of("finding")
    accepted = applied.here("--json", "deid", "scan", path, "--subject", code, "--accept", found["id"])
    assert accepted.of("finding")[0]["accepted"] is True
    upload(applied, store)
    patch(path, at, b"quillan  ")
    refused = applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e", status=20)
    assert refused.status == 20


def test_new_identifiers_make_old_clearances_worthless(handed_over: Lab) -> None:
    handed_over.apply("b")
    store = handed_over.folder / "store"
    store.mkdir()
    code = handed_over.codes["b"]
    extra = handed_over.folder / "extra.toml"
    extra.touch(mode=0o600)
    # a text that was kept so far, as it was no identifier
    extra.write_text(handed_over.identifiers("b").read_text().replace("also = [", 'also = [\n  "Postictal slowing",'))
    words = ["deid", "apply", handed_over.export, "--to", handed_over.out, "--subject", code]
    done = handed_over.here("--json", *words, "--identifiers", extra, status=20)
    assert done.of("finding")
    refused = upload(handed_over, store, status=20)
    assert refused.error["code"] == "not-cleared"
    assert nothing_sent(store)


def test_natus_files_go_plain_only_to_a_folder_and_only_if_cleared(applied: Lab, store: Path) -> None:
    done = upload(applied, store, "--plain", kind="v")
    code = applied.codes["a"]
    there = digests(store)
    assert {n for n in there if not n.startswith("_")} == {
        n for t in ("video", "text") for n in digests(applied.out / t)
    }
    assert done.summary["files"]["failed"] == 0
    eeg = applied.out / "video" / code / f"{code}_1" / f"{code}_1.eeg"
    patch(eeg, 500, b"Quillan")
    refused = applied.here(
        "--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v", "--plain", status=20
    )
    assert refused.error["code"] == "not-cleared"


def test_plain_video_never_goes_to_a_bucket(applied: Lab) -> None:
    done = applied.here("--json", "upload", "-d", applied.out, "-b", "lab-video", "-t", "v", "--plain", status=2)
    assert "file://" in done.error["next"]
    applied.here("upload", "-d", applied.out, "-b", "lab-edf", "-t", "e", "--plain", "--encrypt", status=2)


def test_names_that_are_not_ours_stay_and_are_masked(applied: Lab, store: Path) -> None:
    strange = applied.out / "edf" / "Post Quillan"
    strange.mkdir()
    shutil.copy(edf_of(applied, "b", 1), strange / "Post_3.edf")
    (applied.out / "edf" / f"{applied.codes['b']}_edf" / "Post Quillan.edf").symlink_to(edf_of(applied, "b", 1))
    done = upload(applied, store, status=21)
    assert done.summary["files"]["done"] == 6
    assert done.summary["files"]["left_behind"] == 2
    assert not [n for n in digests(store) if "Post" in n]
    assert applied.residue_in_words(["Post", "Quillan"]) == []


def test_links_and_pipes_with_right_names_are_not_followed(applied: Lab, store: Path) -> None:
    import os

    code = applied.codes["b"]
    folder = applied.out / "edf" / f"{code}_edf"
    secret = applied.folder / "secret"
    secret.write_bytes(b"a secret of this computer")
    (folder / f"{code}_7.edf").symlink_to(secret)
    os.mkfifo(folder / f"{code}_8.edf")
    done = upload(applied, store, status=21)
    assert {e["message"].split(":")[0] for e in done.of("item", status="left_behind")} == {"is not a regular file"}
    assert done.summary["files"]["done"] == 6
