"""The commands for old copies, as somebody types them; the copies are made by the real old command lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.searching import residue
from tests.formats.builders_avi import clip
from tests.formats.builders_edf import Edf
from tests.servers.seaweed import SeaweedServer
from tests.service.old_locks import OLD_PASSWORD, locked, noise, tar_gz

A, B = "abcd1234", "bcde2345"
CLIPS = {f"{A}/{A}_{n}/{A}_{n}_{i:04d}.avi": clip() + noise(20_000, 10 * n + i) for n in (1, 2) for i in (0, 1)}
RECORDING = f"{B}_edf/{B}_1.edf"
#: of a made-up patient, forgotten in the old copies
NAME = "Quillfeather"
_PROVIDERS = ["-provider", "legacy", "-provider", "default"]


@pytest.fixture
def old(lab: Lab) -> Path:
    """Old copies by ``tar zcvf - DIR | openssl enc -e -des`` and ``openssl enc -e -des -in F -out F.enc``."""
    work, made = lab.folder / "work", lab.folder / "old"
    made.mkdir()
    for name, data in CLIPS.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(data)
    (work / A / f"{NAME}.doc").write_bytes(b"a report")
    password = lab.folder / "old-password.txt"
    password.touch(mode=0o600)
    password.write_bytes(OLD_PASSWORD + b"\n")
    lab.extra_env["ECOGSAFE_OLD_PASSWORD_FILE"] = str(password)
    try:
        packed = subprocess.run(["tar", "zcvf", "-", str(work / A)], capture_output=True, check=True)
        done = subprocess.run(
            ["openssl", "enc", "-e", "-des", "-md", "md5", *_PROVIDERS, "-pass", f"file:{password}"],
            input=packed.stdout,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("tar or openssl is not on this machine")
    if done.returncode or b"etting cipher" in done.stderr:
        pytest.skip("this machine's openssl has no DES")
    (made / f"{A}_vid.tar.gz.enc").write_bytes(done.stdout)
    (made / f"{B}_edf.tar.gz.enc").write_bytes(locked(tar_gz({RECORDING: Edf().build()}), "sha256"))
    return made


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_decrypt_gives_back_what_the_old_script_packed(lab: Lab, old: Path) -> None:
    out = lab.folder / "unpacked"
    done = lab.here("--json", "decrypt", old / f"{A}_vid.tar.gz.enc", "--untar", "-o", out)
    unpacked = {Path(p).name: data for p, data in tree(out).items()}
    assert unpacked == {**{Path(p).name: data for p, data in CLIPS.items()}, f"{NAME}.doc": b"a report"}
    assert done.summary["files"]["done"] == 1
    assert "OpenSSL DES (md5, salted)" in done.of("item")[0]["message"]


def test_decrypt_needs_no_home_for_old_files(lab: Lab, old: Path) -> None:
    file = old / f"{B}_edf.tar.gz.enc"
    lab.here("--home", lab.folder / "no home", "decrypt", file)
    assert (old / f"{B}_edf.tar.gz").exists()


def test_decrypt_opens_sealed_copies_with_the_home_or_the_recovery_key(lab: Lab) -> None:
    clips = lab.out / "video" / A / f"{A}_1"
    clips.mkdir(parents=True)
    store = lab.folder / "store"
    store.mkdir()
    for n in (1, 2):
        (clips / f"{A}_1_000{n}.avi").write_bytes(clip() + noise(70_000, n))
    lab.here("upload", "-d", lab.out, "--to", store.as_uri(), "-t", "v")
    sealed = store / A / f"{A}_1" / f"{A}_1_0001.avi.age"
    lab.here("decrypt", sealed, "-o", lab.folder / "one.avi")
    recovery = lab.folder / "recovery-key.txt"
    lab.here("--home", lab.folder / "no home", "decrypt", sealed, "-i", recovery, "-o", lab.folder / "two.avi")
    for name in ("one.avi", "two.avi"):
        assert (lab.folder / name).read_bytes() == (clips / f"{A}_1_0001.avi").read_bytes()
    lab.here("--home", lab.folder / "no home", "decrypt", sealed, "-o", lab.folder / "three.avi", status=12)


def test_a_wrong_old_password_ends_12_and_leaves_nothing(lab: Lab, old: Path) -> None:
    wrong = lab.folder / "wrong.txt"
    wrong.touch(mode=0o600)
    wrong.write_text("not the word\n")
    before = sorted(lab.folder.rglob("*"))
    done = lab.here(
        "--json",
        "decrypt",
        *sorted(old.iterdir()),
        status=12,
        env={"ECOGSAFE_OLD_PASSWORD_FILE": str(wrong)},
    )
    assert {event["code"] for event in done.of("error")} == {"wrong-password"}
    assert [p for p in sorted(lab.folder.rglob("*")) if "home" not in p.parts] == [
        p for p in before if "home" not in p.parts
    ]


def test_without_a_terminal_the_old_password_must_be_named(lab: Lab, old: Path) -> None:
    file = old / f"{A}_vid.tar.gz.enc"
    done = lab.here("decrypt", file, status=12, env={"ECOGSAFE_OLD_PASSWORD_FILE": ""})
    assert "ECOGSAFE_OLD_PASSWORD_FILE" in done.err


def test_download_decrypt_in_one_go_from_a_folder(lab: Lab, old: Path) -> None:
    back = lab.folder / "back"
    back.mkdir()
    lab.here("download", "--from", old.as_uri(), "-d", back, "--decrypt", status=21)
    assert tree(back) == {**CLIPS, RECORDING: Edf().build()}
    lab.here("download", "--from", old.as_uri(), "-d", back, "--decrypt", "--no-decrypt", status=2)


@pytest.mark.server
def test_download_and_modernise_from_a_real_server(lab: Lab, old: Path, s3_server: SeaweedServer) -> None:
    lab.extra_env |= s3_server.env()
    client = s3_server.client()
    for bucket in ("old-copies", "modern-copies"):
        client.create_bucket(Bucket=bucket)
    for file in old.iterdir():
        client.upload_file(str(file), "old-copies", f"azure/{file.name}")
    back, staging = lab.folder / "back", lab.folder / "staging"
    back.mkdir()
    staging.mkdir()
    lab.here("download", "-b", "old-copies", "-d", back, "--decrypt", status=21)
    assert tree(back) == {**CLIPS, RECORDING: Edf().build()}
    lab.here("modernise", "s3://old-copies", "-d", staging, "--to", "s3://modern-copies", status=21)
    again = lab.folder / "again"
    again.mkdir()
    lab.here("download", "-b", "modern-copies", "-d", again)
    assert tree(again) == tree(back)
    lab.here("verify", "--deep")


def test_nothing_of_a_name_in_old_copies_is_told_or_stored(lab: Lab, old: Path) -> None:
    named = old / f"{NAME} 2019.tar.gz.enc"
    (old / f"{A}_vid.tar.gz.enc").rename(named)
    staging, store, back = lab.folder / "staging", lab.folder / "store", lab.folder / "back"
    for folder in (staging, store, back):
        folder.mkdir()
    lab.here("--json", "modernise", old, "-d", staging, "--to", store.as_uri(), status=21)
    lab.here("-v", "modernise", old, "-d", staging, "--to", store.as_uri(), status=21)
    lab.here("-v", "decrypt", named)
    lab.here("-v", "decrypt", named, "--untar", status=0)
    lab.here("-v", "download", "--from", old.as_uri(), "-d", back, "--decrypt", status=None)
    assert not lab.residue_in_words([NAME])
    for place in (lab.home, store):
        assert not residue(place, [NAME], lab.folder / f"parts of {place.name}")
    assert len(tree(store)) > len(CLIPS)
