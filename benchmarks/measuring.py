"""One command measured: wall and processor time with its children, memory, bytes read, bytes in temporary files."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import folder_bytes, memory_bytes, session_members, unlinked_bytes

_ROOT = Path(__file__).resolve().parent.parent
#: of the output of a command that failed
_TAIL = 2000
#: more than any of the clients has had
_WOKEN_BYTES = 2**30


class CommandFailed(RuntimeError):
    """A command that shall be measured did not do its work."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is run."""

    arguments: Sequence[str | os.PathLike[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path
    #: what it writes to the terminal
    log: Path
    #: temporary files are looked for here, and wherever it holds a file without a name
    watched: Sequence[Path] = ()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run cost."""

    wall_s: float
    #: user and system, of the command and all its children
    cpu_s: float
    #: most memory of all its processes together, as sampled (shared pages by share); where nothing can be
    #: sampled, of its largest process
    peak_bytes: int
    #: largest sum of temporary files, as sampled
    temp_bytes: int
    #: by name, see `benchmarks.processes.own_io`; empty where the system does not tell
    io: Mapping[str, int]
    #: processor time of the server meanwhile
    server_cpu_s: float = 0.0


class _Sampler:
    """Looks at the processes of a session now and then."""

    def __init__(self, session: int, watched: Sequence[Path], every_s: float) -> None:
        self.peak_bytes = 0
        self.temp_bytes = 0
        self._session = session
        self._watched = watched
        self._every_s = every_s
        self._before = self._named()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _named(self) -> int:
        return sum(folder_bytes(folder) for folder in self._watched)

    def _look(self) -> None:
        while not self._ended.wait(self._every_s):
            # the leader of the session is our own wrapper
            pids = [pid for pid in session_members(self._session) if pid != self._session]
            self.peak_bytes = max(self.peak_bytes, sum(map(memory_bytes, pids)))
            temporary = self._named() - self._before + sum(map(unlinked_bytes, pids))
            self.temp_bytes = max(self.temp_bytes, temporary)

    @contextmanager
    def looking(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()


def _wake_memory() -> None:
    """Touch more memory than any client needs, so that every client finds it in the machine.

    The host of a virtual machine takes back what lies idle. To get it again costs whoever is next 10 us a page: some
    seconds after a client that was slow and small, and nothing after one that was fast and large.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") // 2
    wanted = min(_WOKEN_BYTES, free * mmap.PAGESIZE)
    mmap.mmap(-1, wanted, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def measure(command: Command, *, every_s: float = 0.2) -> Measured:
    """Run ``command`` and return what it cost.

    Parameters
    ----------
    every_s
        How often memory and temporary files are looked at, seconds.

    Raises
    ------
    CommandFailed
        It ended with another status than 0, or left processes behind.
    """
    _wake_memory()
    receive, send = os.pipe()
    arguments = [sys.executable, "-m", "benchmarks.timed", str(send), *(os.fspath(word) for word in command.arguments)]
    # the wrapper finds this package wherever the command shall run
    env = dict(command.env) | {"PYTHONPATH": str(_ROOT)}
    with command.log.open("wb") as log, os.fdopen(receive, "rb") as answer:
        try:
            wrapper = subprocess.Popen(
                arguments,
                env=env,
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(send,),
                start_new_session=True,
            )
        finally:
            os.close(send)
        sampler = _Sampler(wrapper.pid, command.watched, every_s)
        with sampler.looking():
            told = json.loads(answer.read() or b"null")
            wrapper.wait()
    if told is None or told["status"]:
        raise CommandFailed(f"{_word(command)} ended with {told and told['status']}:\n{_tail(command.log)}")
    if session_members(wrapper.pid):
        raise CommandFailed(f"{_word(command)} left processes behind; what they cost is not known")
    return Measured(
        wall_s=told["wall_s"],
        cpu_s=told["cpu_s"],
        peak_bytes=sampler.peak_bytes or told["largest_bytes"],
        temp_bytes=sampler.temp_bytes,
        io=told["io"],
    )


def _word(command: Command) -> str:
    return Path(command.arguments[0]).name


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_TAIL:]
