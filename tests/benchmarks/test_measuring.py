"""What a run cost: children counted, memory and temporary files seen, failures not taken for results."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from benchmarks.measuring import Command, CommandFailed, Measured, measure

_BURN = "import time\nend = time.process_time() + {s}\nwhile time.process_time() < end: pass\n"
_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def run(folder: Path, script: str, *, every_s: float = 0.02) -> Measured:
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary)}
    command = Command(
        arguments=(sys.executable, "-c", script), env=env, cwd=folder, log=folder / "log", watched=(temporary,)
    )
    return measure(command, every_s=every_s)


def test_processor_time_of_children_counts(tmp_path: Path) -> None:
    child = f"[sys.executable, '-c', {_BURN.format(s=0.15)!r}]"
    cost = run(tmp_path, f"import subprocess, sys\nfor _ in range(2): subprocess.run({child}, check=True)")
    assert 0.3 <= cost.cpu_s < 2
    assert cost.wall_s >= 0.3


@_LINUX
def test_bytes_read_by_children_count(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(3_000_000))
    read = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', \"open('data', 'rb').read()\"], check=True)"
    before = run(tmp_path, "pass").io["rchar"]
    assert 3_000_000 <= run(tmp_path, read).io["rchar"] - before < 6_000_000


@_LINUX
def test_memory_of_all_processes_together_is_seen(tmp_path: Path) -> None:
    hold = "import time; kept = bytearray(b'x') * 40_000_000; time.sleep(0.6)"
    script = f"import subprocess, sys\nran = [subprocess.Popen([sys.executable, '-c', {hold!r}]) for _ in range(2)]\n"
    cost = run(tmp_path, script + "for each in ran: each.wait()")
    assert 80_000_000 < cost.peak_bytes < 200_000_000


@_LINUX
@pytest.mark.parametrize("has_name", [True, False], ids=["named", "unlinked"])
def test_temporary_files_are_seen(tmp_path: Path, *, has_name: bool) -> None:
    kind = "NamedTemporaryFile" if has_name else "TemporaryFile"
    script = f"import tempfile, time\nf = tempfile.{kind}()\nf.write(bytes(500_000)); f.flush(); time.sleep(0.5)"
    assert run(tmp_path, script).temp_bytes == 500_000
    assert run(tmp_path, "pass").temp_bytes == 0


def test_a_failure_is_told_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"ended with 3:\nwhat went wrong"):
        run(tmp_path, "import sys; print('what went wrong'); sys.exit(3)")


@_LINUX
def test_processes_left_behind_are_noticed(tmp_path: Path) -> None:
    stay = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3)']).pid)"
    with pytest.raises(CommandFailed, match="left processes behind"):
        run(tmp_path, stay)
