"""Processes forked from one that was set aside: what they inherit and what not, how they end, and who notices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open(2)")

_FIRST = """
import json, logging, os, signal, sys, threading, time
from ecogsafe.transfer import nursery as module
from ecogsafe.transfer.nursery import Nursery, begun, nursery

def work(connection):
    while (order := connection.recv()) != "end":
        if order == "look":
            found = os.listdir("/proc/self/fd")
            links = {n: os.readlink(f"/proc/self/fd/{n}") for n in found if os.path.exists(f"/proc/self/fd/{n}")}
            connection.send((os.getpid(), os.getpgrp(), links))
        else:
            connection.send(os.listdir(order))

WORKS = {"work": work}

def tell(**what):
    print(json.dumps(what), flush=True)

here = sys.argv[1]
"""


def carried_out(code: str, folder: Path) -> dict[str, Any]:
    """Run ``code`` in a process of its own; return what it told last."""
    command = [sys.executable, "-c", _FIRST + code, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def is_there(process: int) -> bool:
    """Return whether a process runs (what has ended and was not waited for does not)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def test_they_inherit_what_is_given_and_nothing_else(tmp_path: Path) -> None:
    """A terminal, a pipe or a lock that a fork held open would not end with the run."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "clip").touch()
    told = carried_out(
        """
kept = open(here + "/lock", "w")
with nursery(WORKS):
    a, b = (os.open(f"{here}/{name}", os.O_RDONLY) for name in "ab")
    # as they arrive there, one has the number that the other shall have
    process, connection = begun().begin("work", [b, a])
    connection.send("look"); pid, group, links = connection.recv()
    connection.send(a); in_a = connection.recv()
    connection.send(b); in_b = connection.recv()
    connection.send("end"); process.wait()
    tell(a=str(a), b=str(b), in_a=in_a, in_b=in_b, links=links, group=group, pid=pid, ours=os.getpgrp())
""",
        tmp_path,
    )
    assert (told["in_a"], told["in_b"]) == ([], ["clip"])
    links = told["links"]
    assert [links.pop(number) for number in ("0", "1", "2")] == ["/dev/null"] * 3
    assert (links.pop(told["a"]), links.pop(told["b"])) == (str(tmp_path / "a"), str(tmp_path / "b"))
    # the conversation
    assert [link.partition(":")[0] for link in links.values()] == ["socket"]
    # Ctrl-C at the terminal goes to the foreground group: it is for the parent to judge
    assert told["group"] == told["pid"] != told["ours"]


def test_one_is_killed_and_the_other_works_on(tmp_path: Path) -> None:
    told = carried_out(
        """
with nursery(WORKS):
    (one, to_one), (other, to_other) = begun().begin("work", []), begun().begin("work", [])
    one.kill(); one.wait()
    try:
        to_one.recv()
    except EOFError:
        ended = True
    to_other.send(here); found = to_other.recv()
    # it has ended: nobody else is meant
    other.kill(); other.kill(); other.wait()
    tell(ended=ended, found=found)
""",
        tmp_path,
    )
    assert told == {"ended": True, "found": []}


def test_they_are_gone_when_the_command_is_done(tmp_path: Path) -> None:
    """Also one that was never told to end; and their processor time counts as the command's."""
    told = carried_out(
        """
with nursery(WORKS):
    _, connection = begun().begin("work", [])
    connection.send("look"); pid = connection.recv()[0]
    nursery_pid = begun()._process
import resource
used = resource.getrusage(resource.RUSAGE_CHILDREN)
tell(left=[p for p in (pid, nursery_pid) if os.path.exists(f"/proc/{p}")], used=used.ru_maxrss > 0, begun=begun())
""",
        tmp_path,
    )
    assert told == {"left": [], "used": True, "begun": None}


def test_they_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = """
with nursery(WORKS):
    _, connection = begun().begin("work", [])
    connection.send("look")
    tell(found=[connection.recv()[0], begun()._process])
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", _FIRST + code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        found = json.loads(parent.stdout.readline())["found"]
        assert all(is_there(process) for process in found)
        parent.send_signal(signal.SIGKILL)
        # nobody else holds the pipe
        assert parent.stdout.read() == ""
    until = time.monotonic() + 20
    while any(is_there(process) for process in found):
        assert time.monotonic() < until, "a process outlives the run it worked for"
        time.sleep(0.02)


def test_where_none_can_be_forked_one_is_begun_from_nothing(tmp_path: Path) -> None:
    told = carried_out(
        """
from ecogsafe.transfer.processes import begin_process
said = []
logging.getLogger("ecogsafe.transfer.processes").warning = lambda *words: said.append(words[0])
with nursery({"ecogsafe.transfer.cutter": work}):
    os.kill(begun()._process, signal.SIGKILL)
    process, connection = begin_process("ecogsafe.transfer.cutter", [])
    process.kill(); process.wait()
    many = None
    try:
        begun().begin("work", range(1000))
    except OSError as error:
        many = error.errno
    tell(said=said, line=process.args[3], many=many)
""",
        tmp_path,
    )
    assert told == {
        "said": ["a process could not be forked errno=%s"],
        "line": "ecogsafe.transfer.cutter",
        "many": 7,
    }


def test_what_cannot_be_forked_says_why(tmp_path: Path) -> None:
    told = carried_out(
        """
def none(): raise OSError(11, "Resource temporarily unavailable")
fork = os.fork
def only_once():
    os.fork = none
    return fork()
os.fork = only_once
with nursery(WORKS):
    try:
        begun().begin("work", [])
    except OSError as error:
        tell(errno=error.errno)
""",
        tmp_path,
    )
    assert told == {"errno": 11}


def test_no_two_of_them_draw_the_same_chance(tmp_path: Path) -> None:
    """Two files sealed under one key, or two keys wrapped with one secret, would be open to whoever has both."""
    told = carried_out(
        """
import random, secrets, ssl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from ecogsafe.crypt.age_hybrid import HybridIdentity
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.file_key import FileKey
recipients = [kind(bytes(range(32))).recipient for kind in (X25519Identity, HybridIdentity)]
key = FileKey(bytes(16))

def draw():
    drawn = {"pauses": random.random(), "system": secrets.token_hex(), "TLS": ssl.RAND_bytes(16).hex()}
    drawn["file key"] = FileKey.new().reveal().hex()
    drawn["key of OpenSSL"] = X25519PrivateKey.generate().private_bytes_raw().hex()
    for recipient in recipients:
        drawn[recipient.kind] = str(recipient.wrap(key))
    return drawn

def work(connection):
    connection.send([draw(), draw()])

# whatever keeps its chance in this process has begun to before anybody is forked
all_drawn = [draw()]
with nursery({"work": work}):
    for _ in range(3):
        process, connection = begun().begin("work", [])
        all_drawn += connection.recv(); process.wait()
    all_drawn.append(draw())
tell(all=all_drawn)
""",
        tmp_path,
    )
    for kind in told["all"][0]:
        drawn = [one[kind] for one in told["all"]]
        assert len(drawn) == 8 and len(set(drawn)) == 8, f"two processes drew the same {kind}"


@pytest.mark.parametrize("why", ["threads", "one processor", "too many processes"])
def test_none_is_set_aside_where_it_is_not_safe_or_not_worth_it(why: str, tmp_path: Path) -> None:
    told = carried_out(
        f"""
if {why!r} == "threads":
    threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
elif {why!r} == "too many processes":
    def fork(): raise OSError(11, "Resource temporarily unavailable")
    os.fork = fork
    module._log.disabled = True
else:
    os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
with nursery(WORKS):
    tell(begun=begun())
""",
        tmp_path,
    )
    assert told == {"begun": None}
