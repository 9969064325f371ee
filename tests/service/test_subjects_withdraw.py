"""`subjects withdraw`: every copy listed with the command that removes it, nothing sent any more, nothing deleted."""

from __future__ import annotations

import shlex
import subprocess
from datetime import datetime

import pytest

from ecogsafe.catalog import audit, copies, files, stores, subjects, uploads
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.service.home import Home
from tests.cli.lab import Lab
from tests.cli.trees import tree_state
from tests.service.looking import linking_key, reading, write_edf

STAMP = "2026-01-02T03:04:05.000000Z"
STORE = "cc" * 16


def _sent(lab: Lab) -> str:
    (lab.folder / "na's").mkdir()
    url = (lab.folder / "na's").as_uri()
    lab.here("upload", "-d", lab.out, "--to", url, "-t", "e")
    return url


def _in_a_bucket(lab: Lab, code: str, *, versions: tuple[str | None, ...], url: str = "s3://deep-store/lab a") -> None:
    """Note copies in a bucket as an upload would; the last one is of the current content of its file."""
    catalog = Home(lab.home).open_catalog()
    with catalog.write() as tx:
        stores.remember_store(tx, STORE, url, url.partition(":")[0])
        for n, version in enumerate(versions):
            file_id = files.upsert_file(
                tx,
                files.SeenFile(
                    tree="video",
                    path=f"{code}/{code}_1/{code}_1.eeg",
                    subject=code,
                    segment=1,
                    size=10,
                    mtime_ns=n,
                    inode=n,
                    device=1,
                    sha256=f"{n:064x}",
                ),
            )
            row = CopyRow(
                id=0,
                file_id=file_id,
                store_id=STORE,
                key=f"{code}/{code}_1/{code}_1{f'~{n}' if n else ''}.eeg.age",
                sealed=True,
                size=300,
                crc64=5,
                etag="e",
                version_id=version,
                storage_class="DEEP_ARCHIVE",
                token=f"t{n}",
                level="checksum",
                stored_at=STAMP,
                checksum_at=STAMP,
            )
            copies.record_copy(tx, row)
    catalog.close()


def test_every_copy_is_listed_with_the_command_that_removes_it(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    url = _sent(lab)
    _in_a_bucket(lab, code, versions=("v;1", None))
    before = tree_state(lab.folder / "na's")
    refused = lab.here("--json", "subjects", "withdraw", code, status=2)
    assert refused.error["code"] == "confirmation-needed"
    with reading(lab) as tx:
        row = subjects.subject(tx, code)
        assert row is not None and row.withdrawn_at is None
    done = lab.here("--json", "--yes", "subjects", "withdraw", code)
    items = done.of("item", action="withdraw")
    assert done.summary["counts"] | {"copies": 5, "stores": 2} == done.summary["counts"]
    in_bucket = [i for i in items if i["store"] == "s3://deep-store/lab a"]
    key = f"lab a/{code}/{code}_1/{code}_1"
    delete = ["aws", "s3api", "delete-object", "--bucket", "deep-store", "--key"]
    assert sorted(shlex.split(i["details"]["command"]) for i in in_bucket) == [
        [*delete, f"{key}.eeg.age", "--version-id", "v;1"],
        [*delete, f"{key}~1.eeg.age"],
    ]
    assert {i["details"]["superseded"] for i in in_bucket} == {True, False}
    assert all("not known" in i["details"]["retention"] for i in items)
    assert {i["details"]["storage_class"] for i in in_bucket} == {"DEEP_ARCHIVE"}
    on_disk = [i for i in items if i["store"] == url]
    assert sorted(shlex.split(i["details"]["command"])[-1] for i in on_disk) == [
        str(lab.folder / "na's" / i["key"]) for i in sorted(on_disk, key=lambda i: i["key"])
    ]
    assert tree_state(lab.folder / "na's") == before
    with reading(lab) as tx:
        (act,) = [a for a in audit.recent(tx) if a.act == "subjects withdraw"]
        assert (act.subject, act.result) == (code, "5 copies listed") and audit.check(tx) == []


def test_the_printed_script_is_nothing_but_a_script_and_removes_the_copies(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    _sent(lab)
    script = lab.here("--yes", "subjects", "withdraw", code).out
    for line in script.splitlines():
        assert not line or line.startswith(("# ", "rm -- ", "ls -d -- ", "#   "))
    left = {p.name for p in (lab.folder / "na's").rglob("*.edf")} | {
        p.name for p in (lab.folder / "na's").rglob("*.bdf")
    }
    assert any(name.startswith(code) for name in left)
    subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    names = [p.name for p in (lab.folder / "na's").rglob(f"{code}*") if p.is_file()]
    assert names == [] and list((lab.folder / "na's").rglob(f"{applied.codes['b']}*"))
    assert f"video/{code}" in script and "retention not known" in script


def test_nothing_of_it_is_sent_from_then_on(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    (lab.folder / "nas").mkdir()
    lab.here("--yes", "subjects", "withdraw", code)
    words = ("upload", "-d", lab.out, "--to", (lab.folder / "nas").as_uri(), "-t", "e")
    error = lab.here("--json", *words, status=2).error
    assert error["message"].startswith(f"{code}: was withdrawn on ") and "--exclude" in error["next"]
    assert not list((lab.folder / "nas").rglob("*.edf"))
    lab.here("--json", *words, "--exclude", f"{code}*")
    assert {p.name[:8] for p in (lab.folder / "nas").rglob("*.[eb]df")} == {lab.codes["b"]}
    (listed,) = [i for i in lab.here("--json", "subjects", "list").of("item") if i["subject"] == code]
    assert listed["details"]["withdrawn"]
    assert "WITHDRAWN" in lab.here("subjects", "list").out and "WITHDRAWN" in lab.here("subjects", "show", code).out


def test_a_second_time_lists_without_asking_and_undo_takes_it_back(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    assert "was not withdrawn" in lab.here("--json", "subjects", "withdraw", code, "--undo", status=2).error["message"]
    lab.here("--yes", "subjects", "withdraw", code)
    with reading(lab) as tx:
        first = subjects.subject(tx, code)
    assert "was withdrawn on" in lab.here("--json", "subjects", "withdraw", code).summary["message"]
    with reading(lab) as tx:
        assert subjects.subject(tx, code) == first
    assert lab.here("--json", "subjects", "withdraw", code, "--undo", status=2).error["code"] == "confirmation-needed"
    lab.here("--yes", "subjects", "withdraw", code, "--undo")
    _sent(lab)


def test_an_unfinished_upload_is_listed_too(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    _in_a_bucket(lab, code, versions=("1",))
    catalog = Home(lab.home).open_catalog()
    with catalog.write() as tx:
        tx.exec_driver_sql(
            "INSERT INTO sealings VALUES ('s', 1, 1, 1, 1, '1', '1', 1, x'00', x'00', NULL, 1, 1, 'x', 'open')"
        )
        for token, name, upload_id in (("t7", code, "u'7"), ("t8", "f00d5678", "u8"), ("t9", code, None)):
            key = f"{name}/{name}_1/{name}_1_0001.avi.age"
            uploads.add_upload(tx, UploadRow(token, "s", STORE, key, upload_id, "open", "owner", 1, STAMP))
    catalog.close()
    items = lab.here("--json", "--yes", "subjects", "withdraw", code).of("item", action="withdraw")
    (aborted,) = [i for i in items if i["details"]["level"] == "unfinished upload"]
    words = shlex.split(aborted["details"]["command"])
    assert words[:3] == ["aws", "s3api", "abort-multipart-upload"] and words[-2:] == ["--upload-id", "u'7"]


def test_copies_on_azure_are_removed_by_the_tool_of_azure(lab: Lab) -> None:
    code = "f00d5678"
    _in_a_bucket(lab, code, versions=("2026-11-22T10:00:00.0000000Z", None), url="azure://deep-store/lab a")
    key = f"lab a/{code}/{code}_1/{code}_1"
    delete = ["az", "storage", "blob", "delete", "--container-name", "deep-store", "--name"]
    items = lab.here("--json", "--yes", "subjects", "withdraw", code).of("item", action="withdraw")
    versioned = [*delete, f"{key}.eeg.age"]
    assert sorted(shlex.split(i["details"]["command"]) for i in items) == [
        [*versioned, "&&", *versioned, "--version-id", "2026-11-22T10:00:00.0000000Z"],
        [*delete, f"{key}~1.eeg.age"],
    ]


def test_data_that_another_home_de_identified_can_be_withdrawn(lab: Lab) -> None:
    code = "f00d5678"
    assert "not a subject of this" in lab.here("--json", "subjects", "withdraw", code, status=2).error["message"]
    assert "not a subject code" in lab.here("--json", "subjects", "withdraw", "Doe", status=2).error["message"]
    _in_a_bucket(lab, code, versions=("1", "2"))
    done = lab.here("--json", "--yes", "subjects", "withdraw", code)
    assert done.summary["counts"]["copies"] == 2
    (listed,) = lab.here("--json", "subjects", "list").of("item", action="subject")
    assert listed["details"]["withdrawn"] and listed["details"]["segments"] == 0


def test_a_subject_without_copies_says_so(applied: Lab) -> None:
    assert "no copy is recorded" in applied.here("--yes", "subjects", "withdraw", applied.codes["b"]).out


def _more_of(lab: Lab) -> None:
    assert lab.ledger is not None
    write_edf(lab.export, lab.ledger.patient("a"), 1, start=datetime(2023, 5, 6, 7, 8, 9), name="late")


def test_no_further_recording_of_a_withdrawn_person_is_taken_in(applied: Lab) -> None:
    code = applied.codes["a"]
    _more_of(applied)
    applied.here("--yes", "subjects", "withdraw", code)
    before = tree_state(applied.export), tree_state(applied.out), linking_key(applied)
    words = [applied.export, "--identifiers", applied.identifiers("a")]
    for command in (
        ["plan", *words],
        ["apply", *words, "--to", applied.out],
        ["plan", applied.export, "--subject", code],
    ):
        refused = applied.here("--json", "deid", *command, status=2)
        assert "was withdrawn on" in refused.error["message"], command
        assert f"subjects withdraw {code} --undo" in refused.error["next"]
    assert (tree_state(applied.export), tree_state(applied.out), linking_key(applied)) == before
    # what was applied before can be taken back, and a mistake can be mended
    applied.here("--yes", "subjects", "withdraw", code, "--undo")
    applied.here("deid", "apply", *words, "--to", applied.out, "--settle", "0")
    applied.here("--yes", "subjects", "withdraw", code)
    applied.here("--yes", "deid", "undo", code)


def test_an_apply_that_was_cut_is_not_finished_for_a_withdrawn_person(
    applied: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = applied.codes["a"]
    _more_of(applied)
    words = ["deid", "apply", applied.export, "--identifiers", applied.identifiers("a"), "--to", applied.out]

    def killed(*_values: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ecogsafe.deid.mover.patch_source", killed)
    applied.here(*words, "--settle", "0", status=None)
    monkeypatch.undo()
    with reading(applied) as tx:
        assert subjects.open_journals(tx, code)
    applied.here("--yes", "subjects", "withdraw", code)
    assert "was withdrawn on" in applied.here("--json", *words, status=2).error["message"]
    applied.here("--yes", "deid", "undo", code)
    with reading(applied) as tx:
        assert not subjects.open_journals(tx, code)
