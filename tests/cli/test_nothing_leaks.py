"""Name, first name, record number and birth date: nowhere in what a run leaves or says, however it ends.

Searched: both streams (text and JSON), log records of every library, the home with catalogue, journals and
linking key, OUT, stores, what came back, the folder for temporary files, and the process list.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ecogsafe.service import deid_applying, deid_planning
from ecogsafe.synthetic.patients import birth_date_texts
from tests.cli.lab import Lab
from tests.cli.restricted import NEEDS_SETPRIV, need_mounts, small_disk, without_override
from tests.cli.searching import residue
from tests.servers.seaweed import SeaweedServer

#: below the folder of the lab; where names stand because the user put them there is not among them
PLACES = ("home", "outbox", "store-v", "store-e", "back", "tmp", "account")


def terms_of(lab: Lab) -> list[str]:
    """Return what must not be seen, of both patients; the words of the path of EXPORT too."""
    assert lab.ledger is not None
    terms = [lab.export.parent.name]
    for patient in lab.ledger.patients:
        names = (patient.last_name, patient.first_name, patient.folded_last_name, patient.folded_first_name)
        terms += [*names, patient.mrn, *birth_date_texts(patient.birth_date)]
    return list(dict.fromkeys(terms))


def leaks(lab: Lab, *but: str) -> list[str]:
    """Return where a term stands, in any of four encodings and any case; the places ``but`` are left out."""
    terms, found = terms_of(lab), []
    for name in (name for name in PLACES if name not in but and (lab.folder / name).exists()):
        scratch = lab.folder / f"scratch-{name}"
        found += [f"{name}: {line}" for line in residue(lab.folder / name, terms, scratch)]
        shutil.rmtree(scratch)
    return [*found, *(f"said: {term}" for term in lab.residue_in_words(terms))]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    """Every record of every logger, however fine, is taken; `everything_told` puts it beside what was said."""
    caplog.set_level(logging.DEBUG)


def everything_told(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    # a word of HTTP, and of the library that speaks it, is no name
    lab.told.append(re.sub(r"\bPOST\b|_post\b", "", caplog.text))


def make_stores(lab: Lab) -> dict[str, str]:
    for name in ("store-v", "store-e", "back", "tmp", "account"):
        (lab.folder / name).mkdir(exist_ok=True)
    lab.extra_env["TMPDIR"] = str(lab.folder / "tmp")
    return {kind: (lab.folder / f"store-{kind}").as_uri() for kind in ("v", "e")}


def test_a_search_that_finds_nothing_could_find_something(handed_over: Lab) -> None:
    lab = handed_over
    assert lab.ledger is not None
    make_stores(lab)
    first, second = lab.ledger.patients
    (lab.folder / "tmp" / "log").write_bytes(f"... {first.last_name.upper()} ...".encode("utf-16-be"))
    (lab.home / "journals" / f"{second.first_name}.marks").write_bytes(b"")
    (lab.folder / "store-v" / "x").write_bytes(first.birth_date.isoformat().encode())
    lab.told.append(f"error: {second.mrn}")
    assert sorted({line.split(":")[0] for line in leaks(lab)}) == ["home", "said", "store-v", "tmp"]


def test_when_all_goes_well(handed_over: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab = handed_over
    urls = make_stores(lab)
    assert lab.ledger is not None
    second = lab.ledger.patient("b")
    for key in ("a", "b"):
        lab.here("deid", "plan", lab.export, "--identifiers", lab.identifiers(key), "-v")
        lab.here("deid", "plan", lab.export, "--identifiers", lab.identifiers(key), "--json")
    lab.run(*lab.apply_words("a"), "-v")
    lab.apply("b", "-v")
    lab.codes["a"] = next(p.name for p in (lab.out / "video").iterdir() if p.name != lab.codes["b"])
    code = lab.codes["b"]
    lab.here("deid", "scan", lab.out, "--subject", code, "--term", second.last_name, "-v")
    for kind, url in urls.items():
        lab.here("upload", "-d", lab.out, "--to", url, "-t", kind, "-v")
    lab.here("download", "--from", urls["v"], "-d", lab.folder / "back", "-s", code, "-v")
    lab.here("verify", "-v")
    lab.here("verify", "--deep", "--json")
    table = lab.folder / f"{second.last_name}.csv"
    table.write_text(f"code,last_name,first_name,mrn\nc0ffee11,Quaverly,Ottilie,{second.mrn}1\n")
    table.chmod(0o600)
    lab.here("subjects", "import", table, "-v")
    lab.here("subjects", "add", "--identifiers", lab.identifiers("b"), "-v")
    for words in (["list"], ["show", code], ["statement", code], ["export", "-o", lab.folder / "out.csv"]):
        lab.here("subjects", *words)
        lab.here("--json", "subjects", *[w if w != lab.folder / "out.csv" else lab.folder / "out.xlsx" for w in words])
    lab.here("--json", "status", "-v")
    lab.here("status", code)
    lab.here("--json", "deid", "reidentify", code, "--to", lab.folder / second.last_name)
    group = next(iter(Path("/etc/group").read_text().splitlines())).split(":")[0]
    lab.here("--yes", "share", lab.out, "--group", group, "-v", status=None)
    lab.here("share", lab.out, "--undo", "-v", status=None)
    lab.here("--yes", "subjects", "withdraw", code, "--json")
    lab.here("--yes", "subjects", "withdraw", code, "--undo")
    lab.here("--yes", "deid", "undo", code, "-v")
    everything_told(lab, caplog)
    assert sum(len(told) for told in lab.told) > 10_000
    assert leaks(lab) == []


Failure = Callable[[Lab, pytest.MonkeyPatch], None]


def wrong_password(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.write_password("not these words")
    lab.here(*lab.apply_words("a"), "-v", status=12)


def identifiers_others_may_read(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.identifiers("a").chmod(0o644)
    lab.here("--json", *lab.apply_words("a"), status=2)


def identifiers_that_are_no_toml(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    name = lab.ledger.patient("a").last_name
    for typed in (f"last_name = {name}", f'{name} = "x"', f'last_name = ["{name}"]'):
        lab.here("deid", "apply", lab.export, "--to", lab.out, "--identifiers", "-", typed=typed, status=2)


def settings_that_are_no_toml(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    settings = (lab.home / "config.toml").read_bytes()
    lab.configure(f"outbox = /data/{lab.ledger.patient('a').last_name}")
    lab.here("--json", *lab.apply_words("a"), status=2)
    lab.here("status", status=2)
    (lab.home / "config.toml").write_bytes(settings)


def two_patients(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.here("deid", "apply", lab.export, "--to", lab.out, "-v", status=2)


def an_export_that_is_gone(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.here("--json", "deid", "apply", lab.export / "gone", "--to", lab.out, "--last-name", "Post", status=2)


def an_out_inside_the_export(lab: Lab, _: pytest.MonkeyPatch) -> None:
    words = ["deid", "apply", lab.export, "--to", lab.export / "out", "--identifiers", lab.identifiers("a")]
    lab.here("--json", *words, status=2)


def options_that_do_not_fit(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    name = lab.ledger.patient("a").last_name
    for words in (
        ["deid", "apply", lab.export, "--to", lab.out, "--annotations", name],
        ["deid", "apply", lab.export, name, "--to", lab.out],
        ["deid", "apply", lab.export, "--to", lab.out, "--settle", name],
        ["deid", "undo", name],
        ["deid", "scan", lab.export / name],
        ["subjects", "show", name],
        ["share", lab.export / name, "--group", "users"],
    ):
        lab.here(*words, status=2)
        lab.here("--json", *words, status=2)


def a_conflict(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    source = lab.export / lab.ledger.segments_of("b")[0].edf
    shutil.copy2(source, source.with_name(f"Post_22{source.suffix}"))
    lab.here("deid", "plan", lab.export, "--identifiers", lab.identifiers("b"), "-v", status=4)
    lab.here("--json", *lab.apply_words("b"), status=4)


def a_damaged_recording(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    for segment in lab.ledger.segments_of("b")[:2]:
        path = lab.export / segment.edf
        path.write_bytes(path.read_bytes()[:300])
    lab.here(*lab.apply_words("b"), "--settle", "0", "-v", status=21)


def a_source_that_changed(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    os.utime(lab.export / lab.ledger.segments_of("b")[0].edf)
    lab.here("--json", *lab.apply_words("b"), status=22)


def a_disk_error_that_names_its_path(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own errors carry the path of the file."""
    real = os.pread

    def refuse(fd: int, size: int, offset: int) -> bytes:
        name = os.readlink(f"/proc/self/fd/{fd}")
        if name.endswith(".avi"):
            raise OSError(5, "Input/output error", name)
        return real(fd, size, offset)

    monkeypatch.setattr(os, "pread", refuse)
    lab.here(*lab.apply_words("b"), "-v", status=None)


def a_bug(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw: its text, its notes and its arguments are full of names."""
    assert lab.ledger is not None
    patient = lab.ledger.patient("b")

    def broken(*_: object, **__: object) -> None:
        try:
            raise FileNotFoundError(2, "No such file", str(lab.export / patient.stem(1)))
        except FileNotFoundError as error:
            bug = RuntimeError(f"{patient.full_name} {patient.mrn}", patient)
            bug.add_note(patient.full_name)
            raise bug from error

    for module, name in ((deid_planning, "plan_deid"), (deid_applying, "apply_plan")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            for words in (["-v"], ["--json"]):
                with pytest.raises(AssertionError, match=r"a bug in ecogsafe \(RuntimeError at "):
                    lab.here(*lab.apply_words("b"), *words, status=1)


def a_damaged_linking_key(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.apply("a")
    path = lab.home / "linking-key.age"
    path.write_bytes(path.read_bytes()[:-30])
    lab.here(*lab.apply_words("b"), status=None)


def findings_at_the_gate(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    patient = lab.ledger.patient("b")
    lab.apply("b")
    path = next((lab.out / "edf").rglob("*.edf"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"Postictal", b"Quillan  ").replace(b"C4  ", b"Post"))
    upload = ["upload", "-d", lab.out, "--to", (lab.folder / "store-e").as_uri(), "-t", "e"]
    lab.here(*upload, "-v", status=20)
    lab.here("deid", "scan", lab.out, "--subject", lab.codes["b"], "-v", status=20)
    lab.here("--json", "deid", "scan", lab.out, "--term", patient.first_name, status=20)
    lab.here("--json", *upload, status=20)


def a_store_that_vanished(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.apply("b")
    words = ["upload", "-d", lab.out, "--to", (lab.folder / "store-v").as_uri(), "-t", "v", "-v"]
    lab.here(*words)
    shutil.rmtree(lab.folder / "store-v")
    (lab.folder / "store-v").mkdir()
    lab.here(*words, status=10)


def a_copy_that_is_damaged(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.apply("b")
    lab.here("upload", "-d", lab.out, "--to", (lab.folder / "store-v").as_uri(), "-t", "v")
    victim = next((lab.folder / "store-v").rglob("*.avi.age"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    lab.here("verify", "--deep", "-v", status=30)
    lab.here("download", "--from", (lab.folder / "store-v").as_uri(), "-d", lab.folder / "back", "-v", status=None)


def a_subject_that_was_withdrawn(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.apply("b")
    words = ["upload", "-d", lab.out, "--to", (lab.folder / "store-v").as_uri(), "-t", "v"]
    lab.here(*words)
    lab.here("--yes", "subjects", "withdraw", lab.codes["b"], "-v")
    lab.here(*words, "-v", status=None)


def a_table_that_does_not_fit(lab: Lab, _: pytest.MonkeyPatch) -> None:
    assert lab.ledger is not None
    patient = lab.ledger.patient("a")
    table = lab.folder / f"{patient.last_name}.csv"
    for row in (f"{patient.last_name},{patient.mrn},x", f"c0ffee11,{patient.first_name},{patient.last_name} 1987"):
        table.write_text(f"code,first_name,birth_date\n{row}\n")
        table.chmod(0o600)
        lab.here("subjects", "import", table, status=2)
    lab.here("--json", "subjects", "import", table.with_name(f"{patient.first_name}.csv"), status=2)


def names_where_they_must_not_go(lab: Lab, _: pytest.MonkeyPatch) -> None:
    """`reidentify` into a folder that is not empty, and a table over one that is there."""
    assert lab.ledger is not None
    lab.apply("b")
    folder = lab.folder / lab.ledger.patient("b").last_name
    folder.mkdir()
    (folder / "x.csv").write_bytes(b"")
    lab.here("--json", "deid", "reidentify", lab.codes["b"], "--to", folder, status=2)
    lab.here("subjects", "export", "-o", folder / "x.csv", status=2)
    lab.here("--json", "subjects", "export", "-o", folder / "y.csv", "--with-names", status=2)


FAILURES: list[Failure] = [
    wrong_password,
    identifiers_others_may_read,
    identifiers_that_are_no_toml,
    settings_that_are_no_toml,
    two_patients,
    an_export_that_is_gone,
    an_out_inside_the_export,
    options_that_do_not_fit,
    a_conflict,
    a_damaged_recording,
    a_source_that_changed,
    a_disk_error_that_names_its_path,
    a_bug,
    a_damaged_linking_key,
    findings_at_the_gate,
    a_store_that_vanished,
    a_copy_that_is_damaged,
    a_subject_that_was_withdrawn,
    a_table_that_does_not_fit,
    names_where_they_must_not_go,
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_when_it_fails(
    handed_over: Lab, failure: Failure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_stores(handed_over)
    failure(handed_over, monkeypatch)
    monkeypatch.undo()
    everything_told(handed_over, caplog)
    # names written into OUT on purpose are there until somebody takes them out
    assert leaks(handed_over, *(["outbox"] if failure is findings_at_the_gate else [])) == []


def test_when_the_disk_is_full(handed_over: Lab) -> None:
    need_mounts()
    make_stores(handed_over)
    handed_over.out.mkdir()
    listing = handed_over.folder / "tmp" / "listing"
    handed_over.run(*handed_over.apply_words("a"), "-v", status=3, prefix=small_disk(handed_over.out, "300k", listing))
    assert leaks(handed_over) == []


@NEEDS_SETPRIV
def test_when_a_file_cannot_be_read(handed_over: Lab) -> None:
    make_stores(handed_over)
    assert handed_over.ledger is not None
    segments = handed_over.ledger.segments_of("b")
    for path in (handed_over.export / segments[0].edf, handed_over.export / segments[1].study):
        path.chmod(0)
    handed_over.run(*handed_over.apply_words("b"), "-v", status=None, prefix=without_override())
    assert leaks(handed_over) == []


def test_when_the_store_is_down(applied: Lab, s3_server: SeaweedServer, caplog: pytest.LogCaptureFixture) -> None:
    """The library that speaks to the store logs every request; wrong keys and a bucket that is not there."""
    make_stores(applied)
    applied.extra_env |= {**s3_server.env(), "AWS_SECRET_ACCESS_KEY": "wrong"}
    applied.here("upload", "-d", applied.out, "-b", s3_server.new_bucket(), "-t", "e", "-v", status=10)
    applied.extra_env |= s3_server.env()
    applied.here("--json", "upload", "-d", applied.out, "-b", "no-such-bucket-here", "-t", "v", status=10)
    everything_told(applied, caplog)
    assert leaks(applied) == []


@pytest.mark.parametrize("after", [1, 25, 55])
def test_when_it_is_killed_and_goes_on(handed_over: Lab, after: int) -> None:
    lab = handed_over
    urls = make_stores(lab)
    words = [sys.executable, "-m", "ecogsafe", "--json", *map(str, lab.apply_words("b"))]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=lab.env(), cwd=lab.folder)
    assert process.stdout is not None
    said = b"".join(process.stdout.readline() for _ in range(after))
    process.kill()
    rest, err = process.communicate(timeout=30)
    lab.told += [(said + rest).decode(), err.decode()]
    assert leaks(lab) == []
    # most often locked (11); or nothing is there yet (2), or the run was through (0)
    lab.here("upload", "-d", lab.out, "--to", urls["v"], "-t", "v", "-v", status=None)
    lab.here(*lab.apply_words("b"), "-v")
    assert leaks(lab) == []


def gated(lab: Lab, words: list[str]) -> list[bytes]:
    """Run a command that waits for its password, and return what the process list shows of it meanwhile."""
    gate = lab.folder / "gate"
    os.mkfifo(gate, 0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "ecogsafe", *words],
        env={**lab.env(), "ECOGSAFE_PASSWORD_FILE": str(gate)},
        cwd=lab.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    seen: list[bytes] = []

    def look() -> None:
        # opening blocks until the command, well under way, opens the other end
        with gate.open("w") as file:
            seen.extend(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "comm", "environ"))
            file.write(lab.password_file.read_text())

    threading.Thread(target=look, daemon=True).start()
    lab.told += process.communicate(timeout=60)
    return seen


@pytest.mark.parametrize("command", ["apply", "scan", "add", "import", "export", "reidentify", "share"])
def test_the_process_list_shows_no_argument(applied: Lab, command: str) -> None:
    assert applied.ledger is not None
    patient = applied.ledger.patient("b")
    person = ["--last-name", patient.last_name, "--first-name", patient.first_name, "--mrn", patient.mrn]
    folder = applied.folder / patient.last_name
    lines = {
        "apply": ["deid", "apply", str(folder), "--to", str(applied.out), *person],
        "scan": ["deid", "scan", str(applied.out), "--subject", applied.codes["b"], "--term", patient.mrn],
        "add": ["subjects", "add", *person, "--birth-date", patient.birth_date.isoformat()],
        "import": ["subjects", "import", str(folder / "table.csv")],
        "export": ["--yes", "subjects", "export", "--with-names", "-o", str(applied.folder / f"{patient.mrn}.csv")],
        "reidentify": ["deid", "reidentify", applied.codes["b"], "--to", str(folder / "again")],
        "share": ["share", str(folder), "--undo"],
    }
    folder.mkdir()
    (folder / "table.csv").write_text(f"code,last_name\nc0ffee11,{patient.first_name}\n")
    (folder / "table.csv").chmod(0o600)
    cmdline, comm, environ = gated(applied, lines[command])
    applied.told += [part.decode(errors="replace") for part in (cmdline, comm, environ)]
    assert cmdline.startswith(b"ecogsafe ") and b"/" not in cmdline
    assert leaks(applied) == []
