"""Signal 9 on the real process, at random moments of `deid apply` and `deid undo`: nothing is lost, nothing shows.

`ECOGSAFE_SOAK_KILLS` says how many of each; the seed is printed, and `ECOGSAFE_SEED` gives it back.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ecogsafe.deid.journal_files import JournalFolder
from tests.cli.conftest import hand_over
from tests.cli.lab import Lab
from tests.cli.trees import State, tree_state
from tests.service.looking import cleared, journals, only_patient, outbox, residue, segments

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "10"))
SEED = int(os.environ.get("ECOGSAFE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
#: seconds between the last line that is waited for and the signal
_LATEST_S = 0.06


@pytest.fixture(scope="module")
def template(made_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with the export of one patient, copied for every kill."""
    lab = made_lab.copy_to(tmp_path_factory.mktemp("template"))
    hand_over(lab, "mixed")
    only_patient(lab, "a")
    lab.identifiers("a")
    return lab


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a killed process, unlike a cut power, does not ask for a disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="ecogsafe-", dir=memory))
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def lines(template: Lab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many lines the two commands write when nobody kills them."""
    lab = template.copy_to(tmp_path_factory.mktemp("uncut"))
    done = lab.apply("a")
    return {"apply": len(done.events), "undo": len(lab.here("--json", "deid", "undo", lab.codes["a"]).events)}


def _apply_words(lab: Lab) -> list[str]:
    return ["deid", "apply", str(lab.export), "--to", str(lab.out), "--identifiers", str(lab.identifiers("a"))]


def _kill(lab: Lab, words: Sequence[str], after_lines: int, delay_s: float) -> int | None:
    """Run a command, kill it after so many lines and seconds; return its status, None if the signal ended it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ecogsafe", "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=lab.env(),
        cwd=lab.folder,
    )
    assert process.stdout is not None
    with process.stdout as out:
        for _ in range(after_lines):
            if not out.readline():
                break
        time.sleep(delay_s)
        process.kill()
        out.read()
    status = process.wait(timeout=30)
    return None if status < 0 else status


def _code(lab: Lab) -> str | None:
    names = sorted(path.name for path in (lab.home / "journals").glob("*.age"))
    return names[0].split("-")[0] if names else None


def _is_open(lab: Lab, code: str) -> bool:
    folder = JournalFolder(lab.home / "journals", bytes, bytes)
    return folder.open_id(code) is not None or any(j.state == "open" for j in journals(lab, code))


def _check_cut(lab: Lab) -> None:
    """Look at what a kill has left: nothing that is not clean, and nothing that could be sent."""
    if lab.out.exists():
        assert residue(lab, "a") == []
    code = _code(lab)
    upload = ["upload", "-d", lab.out, "--to", lab.folder.as_uri(), "-t", "v", "--dry-run"]
    if code is None or not any(name.startswith(("video", "text")) for name in outbox(lab)):
        assert lab.here(*upload, status=None).status in (2, 11)
    else:
        lab.here(*upload, status=11 if _is_open(lab, code) else 0)


def _check_whole(lab: Lab) -> str:
    """Everything of an apply stands, known and cleared."""
    code = _code(lab)
    assert code is not None and not _is_open(lab, code)
    assert len(outbox(lab)) == 50 and residue(lab, "a") == []
    assert {f"{tree}/{path}" for tree, path in cleared(lab, code)} == outbox(lab)
    assert [len(row.kinds) for row in segments(lab, code)] == [4, 4, 4]
    return code


def _check_back(lab: Lab, before: State, code: str | None) -> None:
    """Everything is back as it was, and the catalogue knows of nothing."""
    assert tree_state(lab.export) == before
    assert outbox(lab) == set()
    if code is not None:
        assert not _is_open(lab, code)
        assert segments(lab, code, with_retired=True) == [] and cleared(lab, code) == {}


def _moment(lines: int, number: int, kind: str) -> tuple[random.Random, int, float]:
    chance = random.Random(f"{SEED}/{kind}/{number}")
    after, delay = chance.randint(0, lines - 1), chance.uniform(0, _LATEST_S)
    print(f"ECOGSAFE_SEED={SEED}: {kind} {number} is killed {delay:.4f} s after line {after}")
    return chance, after, delay


@pytest.mark.parametrize("number", range(KILLS))
def test_apply_killed(template: Lab, lines: dict[str, int], folder: Path, number: int) -> None:
    lab = template.copy_to(folder)
    before = tree_state(lab.export)
    chance, after, delay = _moment(lines["apply"], number, "apply")
    _kill(lab, _apply_words(lab), after, delay)
    _check_cut(lab)
    code = _code(lab)
    if chance.random() < 0.6:
        lab.here("--json", *_apply_words(lab))
        code = _check_whole(lab)
        lab.here("--json", "deid", "undo", code)
    elif code is not None:
        lab.here("--json", "deid", "undo", code)
    _check_back(lab, before, code)


@pytest.mark.parametrize("number", range(KILLS))
def test_undo_killed(template: Lab, lines: dict[str, int], folder: Path, number: int) -> None:
    lab = template.copy_to(folder)
    before = tree_state(lab.export)
    lab.apply("a")
    code = lab.codes["a"]
    chance, after, delay = _moment(lines["undo"], number, "undo")
    _kill(lab, ["deid", "undo", code], after, delay)
    _check_cut(lab)
    if chance.random() < 0.3:
        lab.here("--json", *_apply_words(lab))
        _check_whole(lab)
    is_back = outbox(lab) == set() and not _is_open(lab, code)
    lab.here("--json", "deid", "undo", code, status=2 if is_back else 0)
    _check_back(lab, before, code)
