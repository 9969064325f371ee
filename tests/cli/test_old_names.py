"""The lab's old README, line by line: the commands are typed as it says, installed under the names it gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

import pexpect
import pytest

from ecogsafe.ui.cli.old_names import run_old
from ecogsafe.ui.cli.old_objects import Wish, wished
from tests.cli.conftest import hand_over
from tests.cli.lab import Lab, Result
from tests.cli.trees import digests, tree_state
from tests.formats.builders_avi import clip
from tests.servers.seaweed import SeaweedServer
from tests.service.old_locks import OLD_PASSWORD, locked

COMMANDS = ("removeFiles_inOrder.py", "de_id.py", "upload_to_s3.py", "upload_glacier.py", "download_from_s3.py")


def installed(name: str) -> Path:
    path = Path(sys.executable).parent / name
    assert path.exists(), f"{name} is not installed: pip install -e ."
    return path


def typed(lab: Lab, name: str, *words: str | Path, status: int = 0) -> Result:
    """Run an old command as its user does; nothing it says may be a traceback."""
    line = [str(installed(name)), *map(str, words)]
    done = subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=lab.env(), cwd=lab.folder, check=False
    )
    result = Result(tuple(line), done.returncode, done.stdout, done.stderr)
    lab.told.append(result.said)
    assert "Traceback" not in result.said, result.said
    assert "a bug in ecogsafe" not in result.said, result.said
    assert result.status == status, f"{name} {words}\n-> {result.status}\n{result.said}"
    return result


def here(lab: Lab, name: str, *words: str | Path, status: int) -> Result:
    """Run an old command within this process, which spares the start of Python."""
    with mock.patch("tests.cli.lab.run_cli", lambda words: run_old(name, words)):
        return lab.here(*words, status=status)


def settle(lab: Lab, more: str = "") -> None:
    """Write the outbox in front of the tables of config.toml."""
    config = lab.home / "config.toml"
    config.write_text(f'outbox = "{lab.out}"\n{config.read_text(encoding="utf-8")}\n{more}', encoding="utf-8")


def today(result: Result) -> str:
    """Return the new command line that an old command tells, which it tells once."""
    (line,) = [line for line in result.err.splitlines() if line.startswith("this is now:  ")]
    return line.removeprefix("this is now:  ")


@pytest.mark.server
def test_the_old_readme_line_by_line(lab: Lab, s3_server: SeaweedServer) -> None:
    hand_over(lab, "half-processed")
    assert lab.ledger is not None
    lab.extra_env = s3_server.env()
    video, edf = s3_server.new_bucket(), s3_server.new_bucket()
    deep, scratch = lab.folder / "deep", lab.folder / "scratch"
    deep.mkdir()
    scratch.mkdir()
    lab.out.mkdir()
    settle(lab, f'[[destination]]\nname = "deep"\nurl = "{deep.as_uri()}"\narchive = true\n')
    people = {key: lab.ledger.patient(key).last_name for key in ("a", "b")}
    before = tree_state(lab.export)

    # A-I step 2: sort and number; today it shows the order and touches nothing
    ordered = typed(lab, "removeFiles_inOrder.py", lab.export, people["a"])
    assert today(ordered).startswith("ecogsafe deid plan EXPORT --to OUT --identifiers -")
    assert tree_state(lab.export) == before

    # step 4: de_id.py, with a code that was used before or NONE
    codes = []
    for words in ((people["a"],), (people["b"], "NONE")):
        done = typed(lab, "de_id.py", lab.export, *words)
        assert today(done) == "ecogsafe deid apply EXPORT --to OUT --identifiers -"
        codes += [p.name for p in (lab.out / "video").iterdir() if p.name not in codes]
    assert len(codes) == 2
    assert all((lab.out / "edf" / f"{code}_edf").is_dir() for code in codes)

    # re-run with the ID that was used before: the same person, the same code
    lab.run("--yes", "deid", "undo", codes[0])
    again = typed(lab, "de_id.py", lab.export, people["a"], codes[0])
    assert today(again).endswith("--subject CODE")
    assert {p.name for p in (lab.out / "video").iterdir()} == set(codes)

    # A-II: all subjects below the folder, video and EDF each into their bucket
    for kind, bucket in (("v", video), ("e", edf)):
        sent = typed(lab, "upload_to_s3.py", "-d", lab.out, "-b", bucket, "-t", kind)
        assert today(sent) == f"ecogsafe upload -d DIR -b {bucket} -t {kind}"

    # A-III: one subject a time into the archive, with the temporary folder of old
    for kind, part in (("vid", lab.out / "video" / codes[0]), ("edf", lab.out / "edf" / f"{codes[0]}_edf")):
        sent = typed(lab, "upload_glacier.py", "-d", part, "-td", scratch, "-t", kind)
        assert today(sent).startswith(f"ecogsafe archive -d DIR --to {deep.as_uri()} -t {kind}")
        assert list(deep.rglob(f"{codes[0]}_{kind}_*.tar.zst.age"))
    assert list(scratch.iterdir()) == []

    # B: back again
    back = lab.folder / "back"
    back.mkdir()
    for kind, bucket in (("v", video), ("e", edf)):
        for code in codes:
            got = typed(lab, "download_from_s3.py", "-d", back, "-b", bucket, "-t", kind, "-f", code)
            assert today(got).startswith(f"ecogsafe download -b {bucket} -d DIR -f FILE")
    parts = (digests(lab.out / part) for part in ("video", "edf", "text") if (lab.out / part).exists())
    assert digests(back) == {name: digest for part in parts for name, digest in part.items()}

    terms = {term for patient in lab.ledger.patients for term in patient.terms()}
    assert lab.residue_in_words([*sorted(terms), lab.export.parent.name]) == []


def test_old_locked_files_come_back_opened(lab: Lab) -> None:
    """A file that upload_to_s3.py of old stored has .enc behind its name."""
    wish = wished("a1b2c3d4/a1b2c3d4_1/a1b2c3d4_1_0000.avi.enc", "v")
    store, back = lab.folder / "store", lab.folder / "back"
    back.mkdir()
    for n in (0, 1):
        old = store / "a1b2c3d4" / "a1b2c3d4_1" / f"a1b2c3d4_1_000{n}.avi.enc"
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_bytes(locked(clip()))
    password = lab.folder / "old-password.txt"
    password.touch(mode=0o600)
    password.write_bytes(OLD_PASSWORD)
    globs = [word for glob in wish.globs for word in ("-f", glob)]
    lab.here(
        "download", "--from", store.as_uri(), "-d", back, *globs, "--decrypt",
        env={"ECOGSAFE_OLD_PASSWORD_FILE": str(password)},
    )  # fmt: skip
    assert [p.name for p in back.rglob("*") if p.is_file()] == ["a1b2c3d4_1_0000.avi"]


@pytest.mark.parametrize(
    ("file", "kind", "globs"),
    [
        ("a1b2c3d4", "v", ("a1b2c3d4/*", "a1b2c3d4_vtc/*", "a1b2c3d4_snc/*")),
        ("a1b2c3d4/", "e", ("a1b2c3d4_edf/*",)),
        ("a1b2c3d4/a1b2c3d4_2/", "v", ("a1b2c3d4/a1b2c3d4_2/*",)),
        ("a1b2c3d4_edf/*.edf", "e", ("a1b2c3d4_edf/*.edf", "a1b2c3d4_edf/*.edf/*")),
        ("a1b2c3d4_edf/a1b2c3d4_1.edf", "e", ("a1b2c3d4_edf/a1b2c3d4_1.edf", "a1b2c3d4_edf/a1b2c3d4_1.edf/*")),
    ],
)
def test_what_the_old_file_option_means(file: str, kind: str, globs: tuple[str, ...]) -> None:
    assert wished(file, kind) == Wish(globs)


@pytest.mark.parametrize(
    ("name", "words", "missing"),
    [
        ("upload_to_s3.py", ["-d", "x", "-b", "bucket"], "'-t'"),
        ("upload_to_s3.py", ["-d", "x", "-b", "bucket", "-t", "video"], "-t: the value given does not fit"),
        ("upload_glacier.py", ["-d", "x", "-td", "y", "-t", "v"], "-t: the value given does not fit"),
        ("download_from_s3.py", ["-d", "x", "-b", "bucket", "-t", "v"], "'-f'"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(lab: Lab, name: str, words: list[str], missing: str) -> None:
    assert missing in here(lab, name, *words, status=2).err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_old_command_explains_itself(lab: Lab, name: str) -> None:
    assert f"Usage: {name}" in here(lab, name, "--help", status=0).out


def test_without_an_archive_destination_upload_glacier_says_what_to_add(lab: Lab) -> None:
    done = typed(lab, "upload_glacier.py", "-d", lab.folder, "-td", lab.folder, "-t", "vid", status=2)
    assert "archive = true" in done.err
    assert "Nothing was sent" in done.err


def test_with_two_archive_destinations_upload_glacier_asks_which(lab: Lab) -> None:
    rows = [f'[[destination]]\nname = "{n}"\nurl = "file:///mnt/{n}"\narchive = true\n' for n in ("one", "two")]
    settle(lab, "\n".join(rows))
    done = here(lab, "upload_glacier.py", "-d", lab.folder, "-t", "edf", status=2)
    assert "2 archive destinations" in done.err
    assert "ecogsafe archive -d DIR --to file:///mnt/one -t edf" in done.err


@pytest.mark.parametrize("name", ["de_id.py", "removeFiles_inOrder.py"])
def test_without_outbox_or_terminal_nothing_is_guessed(lab: Lab, name: str) -> None:
    assert "outbox" in here(lab, name, lab.folder, "Quillfeather", status=2).err
    settle(lab)
    done = here(lab, name, status=2)
    assert "nobody is there to be asked" in done.err
    assert f"{name} FOLDER LAST_NAME" in done.err


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_home_each_says_init(tmp_path: Path, name: str) -> None:
    words = {
        "removeFiles_inOrder.py": [".", "Quillfeather"],
        "de_id.py": [".", "Quillfeather"],
        "upload_to_s3.py": ["-d", ".", "-b", "bucket", "-t", "v"],
        "upload_glacier.py": ["-d", ".", "-td", ".", "-t", "vid"],
        "download_from_s3.py": ["-d", ".", "-b", "bucket", "-t", "v", "-f", "x"],
    }
    assert "ecogsafe init" in here(Lab(tmp_path), name, *words[name], status=2).err


def test_at_a_terminal_it_asks_what_was_once_written_into_the_script(lab: Lab) -> None:
    hand_over(lab, "hospital")
    assert lab.ledger is not None
    lab.out.mkdir()
    settle(lab)
    child = pexpect.spawn(
        str(installed("de_id.py")),
        env={**lab.env(), "TERM": "xterm"},  # type: ignore[arg-type]
        cwd=str(lab.folder),
        encoding="utf-8",
        timeout=40,
        dimensions=(40, 200),
    )
    try:
        for question, answer in (
            ("Folder with the export", str(lab.export)),
            ("Last name of the person", lab.ledger.patient("b").last_name),
            ("Code, if the person has one", ""),
        ):
            child.expect(question)
            child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, child.before
        assert "on the command line can be seen" not in (child.before or "")
    finally:
        child.close(force=True)
    assert len(list((lab.out / "video").iterdir())) == 1


def test_a_name_leaves_the_list_of_processes_at_once(lab: Lab) -> None:
    """Whoever looks while the command waits at its prompt sees the command, and no name."""
    settle(lab)
    child = pexpect.spawn(
        str(installed("de_id.py")),
        [str(lab.folder), "Quillfeather"],
        env={**lab.env(), "ECOGSAFE_PASSWORD_FILE": "", "TERM": "xterm"},  # type: ignore[arg-type]
        cwd=str(lab.folder),
        encoding="utf-8",
        timeout=40,
    )
    try:
        child.expect_exact("this is now:")
        seen = Path(f"/proc/{child.pid}/cmdline")
        if seen.exists():
            assert b"Quillfeather" not in seen.read_bytes()
    finally:
        child.close(force=True)
