"""The whole job, as commands: two patients de-identified, sent, proven, brought back, and taken back."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecogsafe.synthetic.export import Form
from ecogsafe.synthetic.ledger import Ledger, SegmentTruth, search
from tests.cli.conftest import hand_over
from tests.cli.lab import Lab, Result
from tests.cli.recordings import decimated_samples, edfio_onsets, edfio_samples, natus_samples, pyedflib_samples
from tests.cli.searching import residue
from tests.cli.trees import State, digests, tree_state
from tests.servers.seaweed import SeaweedServer


def all_terms(ledger: Ledger) -> list[str]:
    """Return every planted identifier of both patients, and those that stand as another text in the files."""
    terms = {term for patient in ledger.patients for term in patient.terms()}
    return sorted(terms | {p.term for p in ledger.planted if p.encoding != "i32"})


def fetched(server: SeaweedServer, bucket: str, into: Path) -> Path:
    """Copy every object of a bucket into a folder, byte for byte, without the tool."""
    client = server.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            path = into / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
            head = client.head_object(Bucket=bucket, Key=found["Key"])
            assert set(head["Metadata"]) <= {"ecogsafe-upload"}
    return into


@dataclass
class Places:
    """Where the two kinds of data go."""

    #: by ``-t``
    urls: dict[str, str]
    #: by ``-t``; empty where the stores are folders
    buckets: dict[str, str]
    #: folders that are the stores, or take what is fetched from them
    folders: dict[str, Path]


def make_places(lab: Lab, server: SeaweedServer, scheme: str) -> Places:
    folders = {kind: lab.folder / f"store-{kind}" for kind in ("v", "e")}
    for folder in folders.values():
        folder.mkdir()
    if scheme == "file":
        return Places({kind: folder.as_uri() for kind, folder in folders.items()}, {}, folders)
    lab.extra_env = server.env()
    buckets = {kind: server.new_bucket() for kind in folders}
    return Places({kind: f"s3://{bucket}" for kind, bucket in buckets.items()}, buckets, folders)


@pytest.mark.parametrize(("form", "scheme"), [("hospital", "s3"), ("half-processed", "file"), ("mixed", "s3")])
def test_the_whole_job(lab: Lab, s3_server: SeaweedServer, form: Form, scheme: str) -> None:
    hand_over(lab, form)
    assert lab.ledger is not None
    # one form by processes of their own where much is at stake; the rest within this one, to save time
    run = lab.run if form == "hospital" else lab.here
    before = tree_state(lab.export)
    terms = all_terms(lab.ledger)
    opened = {s.edf: read_by_all(lab.export / s.edf) for s in lab.ledger.segments}
    assert sum("pyedflib" in read for read in opened.values()) == 3  # it refuses EDF+D
    thinned = (s.study for s in lab.ledger.segments if s.decimated)
    opened |= {study: {"Decimated": decimated_samples(lab.export / study)} for study in thinned}
    places = make_places(lab, s3_server, scheme)

    plan_both(lab, before)
    assert "report" in run(*lab.apply_words("a"), "-v").said
    lab.apply("b")
    lab.codes["a"] = next(p.name for p in (lab.out / "video").iterdir() if p.name != lab.codes["b"])
    left = {p.relative_to(lab.export).as_posix() for p in lab.export.rglob("*") if p.is_file()}
    assert left == set(lab.ledger.left_behind)
    assert list(search(lab.out, terms)) == []
    check_recordings(lab, opened)
    check_places(lab)

    send_and_bring_back(lab, places, run)

    for bucket, folder in zip(places.buckets.values(), places.folders.values(), strict=False):
        fetched(s3_server, bucket, folder)
    for number, place in enumerate((*places.folders.values(), lab.home)):
        assert any(place.rglob("*.age"))
        assert residue(place, terms, lab.folder / f"scratch-{number}") == []

    for key in ("a", "b"):
        run("--yes", "deid", "undo", lab.codes[key], "-v")
    assert tree_state(lab.export) == before
    assert digests(lab.out) == {}
    assert lab.residue_in_words([*terms, lab.export.parent.name]) == []


def read_by_all(path: Path) -> dict[str, str]:
    """Return what each program that takes the file reads: the digests of its samples, the onsets of its remarks."""
    read = {"edfio": repr(edfio_samples(path)), "onsets": repr(edfio_onsets(path))}
    with contextlib.suppress(OSError):
        read["pyedflib"] = repr(pyedflib_samples(path))
    return read


def plan_both(lab: Lab, before: State) -> None:
    """Look at both plans: they tell the order in time and change nothing."""
    for key in ("a", "b"):
        words = ["deid", "plan", lab.export, "--to", lab.out, "--identifiers", lab.identifiers(key)]
        starts = [e["details"]["start"] for e in lab.here("--json", *words).of("item", action="segment")]
        assert len(starts) == 3
        assert starts == sorted(starts)
    assert tree_state(lab.export) == before
    assert not lab.out.exists()


def send_and_bring_back(lab: Lab, places: Places, run: Callable[..., Result]) -> None:
    """Upload, verify both ways, look at the status, download, and compare."""
    trees = {"v": ("video", "text"), "e": ("edf",)}
    expected = {kind: {n: d for tree in trees[kind] for n, d in digests(lab.out / tree).items()} for kind in trees}
    for kind, url in places.urls.items():
        sent = run("--json", "upload", "-d", lab.out, "--to", url, "-t", kind)
        assert sent.summary["files"]["done"] == len(expected[kind])
    lab.here("verify", "-v")
    lab.here("--json", "verify", "--deep")
    lab.here("status", lab.codes["a"])
    lab.here("--json", "status")
    for kind, url in places.urls.items():
        back = lab.folder / f"back-{kind}"
        back.mkdir()
        run("download", "--from", url, "-d", back, "-v")
        assert digests(back) == expected[kind]


def check_recordings(lab: Lab, opened: dict[str, dict[str, str]]) -> None:
    """Compare what edfio, pyedflib and natus-erd-reader read now with what was recorded, segment by segment."""
    assert lab.ledger is not None
    for segment in lab.ledger.segments:
        code = lab.codes[segment.patient]
        name = f"{code}_{segment.order}"
        (edf,) = (lab.out / "edf" / f"{code}_edf").glob(f"{name}.*")
        now = read_by_all(edf)
        assert {reader: now.get(reader) for reader in opened[segment.edf]} == opened[segment.edf]
        recorded = {Path(d.path).name: d.sha256 for d in segment.digests if d.what == "natus-samples"}
        folder = lab.out / "video" / code / name
        assert natus_samples(folder) == recorded[Path(segment.study).name]
        if segment.decimated:
            assert decimated_samples(folder) == opened[segment.study]["Decimated"]


def target_of(lab: Lab, segment: SegmentTruth, path: str) -> Path | None:
    """Return where a file of the export stands below OUT; None for text outputs and what was left behind."""
    assert lab.ledger is not None
    code = lab.codes[segment.patient]
    name = f"{code}_{segment.order}"
    if path == segment.edf:
        return lab.out / "edf" / f"{code}_edf" / f"{name}{Path(path).suffix}"
    if not path.startswith(f"{segment.study}/") or path in lab.ledger.left_behind:
        return None
    return lab.out / "video" / code / name / path.removeprefix(f"{segment.study}/").replace(segment.stem, name)


def check_places(lab: Lab) -> None:
    """Look where only the place makes an identifier (numbers of the amplifier), and at what had to be kept."""
    assert lab.ledger is not None
    numbers = kept = 0
    for segment in lab.ledger.segments:
        for planted in (p for p in lab.ledger.planted if p.offset is not None):
            target = target_of(lab, segment, planted.path)
            if target is not None:
                numbers += 1
                assert target.read_bytes()[planted.offset :][:4] != planted.needle(), planted.place
        for text in lab.ledger.kept:
            target = target_of(lab, segment, text.path)
            if target is not None:
                kept += 1
                assert text.text.encode() in target.read_bytes(), text.place
    assert numbers > 100
    assert kept == sum(1 for text in lab.ledger.kept if text.path not in lab.ledger.left_behind)


def test_what_is_left_behind_is_listed_one_by_one(handed_over: Lab) -> None:
    assert handed_over.ledger is not None
    handed_over.apply("a")
    last = handed_over.apply("b")
    listed = last.of("item", status="left_behind")
    assert len(listed) == len(handed_over.ledger.left_behind) == last.summary["files"]["left_behind"]
    assert {e["message"] for e in listed} >= {"report", "unknown kind"}


def test_flags_cannot_be_seen_in_the_process_list(handed_over: Lab) -> None:
    lab = handed_over
    assert lab.ledger is not None
    patient = lab.ledger.patient("b")
    gate = lab.folder / "gate"
    os.mkfifo(gate, 0o600)
    words = [
        *("deid", "apply", str(lab.export), "--to", str(lab.out)),
        *("--last-name", patient.last_name, "--first-name", patient.first_name),
        *("--mrn", patient.mrn, "--birth-date", patient.birth_date.isoformat()),
        *(word for term in patient.also for word in ("--also", term)),
    ]
    env = {**lab.env(), "ECOGSAFE_PASSWORD_FILE": str(gate)}
    process = subprocess.Popen(
        [sys.executable, "-m", "ecogsafe", *words],
        env=env,
        cwd=lab.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    seen: list[bytes] = []

    def hand_in_the_password() -> None:
        # opening blocks until the command, well under way, opens the other end
        with gate.open("w") as file:
            for name in ("cmdline", "comm", "status"):
                seen.append(Path(f"/proc/{process.pid}/{name}").read_bytes())
            file.write(lab.password_file.read_text())

    helper = threading.Thread(target=hand_in_the_password)
    helper.start()
    out, err = process.communicate(timeout=60)
    helper.join(timeout=10)
    assert process.returncode == 0, err
    lab.told += [out, err, *(s.decode(errors="replace") for s in seen)]
    assert b"ecogsafe deid" in seen[0]
    assert "--identifiers -" in err
    assert lab.residue_in_words([*patient.terms(), lab.export.parent.name]) == []
