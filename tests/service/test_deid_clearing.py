"""What follows a move: files are read back and searched, and only what is clean may leave unencrypted."""

from __future__ import annotations

import pytest

from ecogsafe.catalog import audit
from ecogsafe.service import deid_clearing
from tests.cli.lab import Lab, Result
from tests.service.looking import cleared, lose_catalogue, outbox, reading, revision, somebody, write_edf


def _upload(lab: Lab, data_type: str, *more: str, status: int = 0) -> Result:
    store = lab.folder / "store"
    store.mkdir(exist_ok=True)
    return lab.here("--json", "upload", "-d", lab.out, "--to", store.as_uri(), "-t", data_type, *more, status=status)


def _clear_places(lab: Lab, key: str) -> set[str]:
    return {f"{tree}/{path}" for tree, path in cleared(lab, lab.codes[key])}


def test_names_kept_in_annotations_are_found_and_stop_a_plain_upload(handed_over: Lab) -> None:
    lab = handed_over
    done = lab.apply("a", "--annotations", "keep", status=20)
    found = {e["path"] for e in done.of("finding")}
    assert found and all(path.startswith("edf/") for path in found)
    assert done.summary["counts"]["findings"] == len(done.of("finding")) and done.summary["files"]["done"] == 50
    assert _clear_places(lab, "a") == outbox(lab) - found
    assert "FOUND" in done.summary["message"]
    assert _upload(lab, "e", status=20).error["code"] == "not-cleared"
    assert _upload(lab, "e", "--encrypt").summary["files"]["done"] == 3


def test_annotations_may_be_wiped_whole(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("b", "--annotations", "wipe")
    recordings = b"".join((lab.out / name).read_bytes() for name in outbox(lab) if name.startswith("edf/"))
    assert b"Postictal slowing" not in recordings and b"posterior grid" not in recordings
    assert _upload(lab, "e").summary["files"]["done"] == 3


def test_annotations_that_only_look_like_a_name_survive(handed_over: Lab) -> None:
    handed_over.apply("b")
    recordings = b"".join(p.read_bytes() for p in handed_over.out.rglob("*.?df"))
    assert b"Postictal slowing" in recordings


def test_a_name_of_another_subject_is_found_too(lab: Lab) -> None:
    person = somebody()
    guids = tuple(f"{i}a1b2c3d-0000-4000-8000-00000000000{i}" for i in range(3))
    for order in (1, 2):
        known = somebody(last_name="Kirrendal", first_name="Osk", mrn="55501", study_guids=guids)
        write_edf(lab.export, known, order)
    lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--settle", "0")
    other = lab.folder / "other"
    noted = somebody(own_annotations=("bed of Kirrendal, Osk before", "Electrode check"))
    write_edf(other, noted, 1)
    write_edf(other, person, 2)
    done = lab.here("--json", "deid", "apply", other, "--to", lab.out, "--settle", "0", status=20)
    assert all(e["kind"].endswith("name of another subject") for e in done.of("finding"))
    assert len({e["path"] for e in done.of("finding")}) == 1 and done.summary["counts"]["cleared"] == 1


def test_natus_contents_may_be_kept_and_then_only_go_sealed(handed_over: Lab) -> None:
    lab = handed_over
    done = lab.apply("a", "--keep-native-content")
    native = {p for p in outbox(lab) if p.startswith("video/") and not p.endswith(".avi")}
    assert f"{len(native)} Natus files keep their content and only go sealed" in done.summary["message"]
    assert _clear_places(lab, "a") == outbox(lab) - native
    assert not done.of("finding")
    assert _upload(lab, "e").summary["files"]["done"] == 3
    assert _upload(lab, "v", "--plain", status=20).error["code"] == "not-cleared"
    assert _upload(lab, "v").summary["files"]["done"] == 47
    # the same command without the wish says so again and stays well
    code = lab.codes["a"]
    words = ["--json", "deid", "apply", lab.export, "--to", lab.out, "--identifiers", lab.identifiers("a")]
    assert f"{len(native)} Natus files keep" in lab.here(*words).summary["message"]
    # whoever searches them by hand finds the names, and nothing of it is cleared
    scan = lab.here("--json", "deid", "scan", lab.out, "--subject", code, status=20)
    assert {e["path"] for e in scan.of("finding")} <= native
    assert _clear_places(lab, "a") == outbox(lab) - native


def test_kept_native_content_is_never_cleared_even_without_known_names(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a", "--keep-native-content")
    code = lab.codes["a"]
    (event_file,) = lab.out.glob(f"video/{code}/{code}_1/{code}_1.etc")
    data = bytearray(event_file.read_bytes())
    data[32:352] = b"\x20" * 320
    event_file.write_bytes(data)
    scan = lab.here("--json", "deid", "scan", event_file, "--subject", code)
    assert scan.summary["counts"] == {"findings": 0, "cleared": 0}
    assert "never de-identified" in scan.of("item", action="scan")[0]["message"]


def test_what_a_killed_run_did_not_search_is_searched_by_the_next(
    handed_over: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCutError(BaseException):
        pass

    def cut(*arguments: object, **more: object) -> None:
        raise PowerCutError

    lab = handed_over
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(deid_clearing, "scan_targets", cut)
        lab.apply("a")
    (code,) = {p.split("/")[1] for p in outbox(lab) if p.startswith("video/")}
    lab.codes["a"] = code
    assert _clear_places(lab, "a") == set() and len(outbox(lab)) == 50
    assert _upload(lab, "e", status=20).error["code"] == "not-cleared"
    done = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--identifiers", lab.identifiers("a"))
    assert done.summary["counts"]["cleared"] == 50 and _clear_places(lab, "a") == outbox(lab)
    assert _upload(lab, "e").summary["files"]["done"] == 3


def test_clearances_are_durable_batch_by_batch(handed_over: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = handed_over
    monkeypatch.setattr(deid_clearing, "_BATCH", 20)
    done = lab.apply("a")
    progress = [e for e in done.of("progress") if e["files_total"] == 50 and e["bytes_total"] is None]
    assert [e["files_done"] for e in progress] == [20, 40, 50]
    assert _clear_places(lab, "a") == outbox(lab)


def test_a_file_that_was_changed_after_it_was_cleared_is_searched_again(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("b")
    code = lab.codes["b"]
    place = f"text/{code}_vtc/{code}_1.txt"
    with (lab.out / place).open("ab") as file:
        file.write(b"\r\nQuillan\r\n")
    words = ["--json", "deid", "apply", lab.export, "--to", lab.out, "--identifiers", lab.identifiers("b")]
    done = lab.here(*words, status=20)
    assert {e["path"] for e in done.of("finding")} == {place}
    assert _upload(lab, "v", "--plain", status=20)


def test_scan_ends_20_and_accepts_what_a_person_calls_harmless(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a", "--annotations", "keep", status=20)
    code = lab.codes["a"]
    words = ["--json", "deid", "scan", str(lab.out / "edf"), "--subject", code]
    found = lab.here(*words, status=20).of("finding")
    accept = [word for e in found for word in ("--accept", e["id"])]
    done = lab.here(*words, *accept)
    assert all(e["accepted"] for e in done.of("finding"))
    assert {tuple(sorted(r.accepted)) for r in cleared(lab, code).values()} > {()}
    assert _upload(lab, "e").summary["files"]["done"] == 3
    # what is harmless stays harmless when more is known of the person, and is noted once
    words = ["--json", "deid", "apply", lab.export, "--to", lab.out, "--subject", code, "--also", "Umbrathil"]
    assert all(e["accepted"] for e in lab.here(*words).of("finding"))
    assert revision(lab, code) == 2
    with reading(lab) as tx:
        acts = [row for row in audit.recent(tx, 10_000) if row.act == "accept-finding"]
    assert len(acts) == len(found)


def test_scan_clears_for_a_catalogue_that_does_not_know_the_subject(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    lose_catalogue(lab)
    code = lab.codes["a"]
    assert _upload(lab, "e", status=20).error["code"] == "not-cleared"
    done = lab.here("--json", "deid", "scan", lab.out, "--subject", code)
    assert done.summary["counts"]["cleared"] == 50 and revision(lab, code) == 1
    assert _upload(lab, "e").summary["files"]["done"] == 3


def test_a_word_in_any_file(lab: Lab) -> None:
    path = lab.folder / "notes.txt"
    path.write_text("seen by Umbrathil today")
    done = lab.here("--json", "deid", "scan", path, "--term", "umbrathil", status=20)
    (finding,) = done.of("finding")
    assert "mbrathil" not in done.out and finding["offset"] == 8
    assert lab.here("deid", "scan", path, "--term", "Ombrathil").status == 0
