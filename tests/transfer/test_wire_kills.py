"""Campaigns of kills against a real server, with everything that may happen to a lab between two of them.

Files in parts and small ones by the batch, two machines with the same keys, sources that change, older catalogues
put back, clocks that are wrong. Afterwards the ledger of the wire proves that no nonce was used twice, and what the
catalogues call stored is compared with the server.

``ECOGSAFE_SOAK_KILLS`` says how often, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.proxy import Trouble
from tests.servers.seaweed import SeaweedServer

from .wire_lab import CODE, SMALL, Ended, Machine, WireLab, sizes

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "10"))
#: one lab lives through so many; then the next begins
_PER_LAB = 10
_LABS = max(1, KILLS // _PER_LAB)
_WRONG_CLOCKS_S = (0.0, 0.0, 600.0, -600.0)

pytestmark = pytest.mark.server


@pytest.fixture
def lab(tmp_path: Path, s3_server: SeaweedServer) -> Iterator[WireLab]:
    with WireLab(tmp_path, s3_server, machines=2) as lab:
        # every part takes a while, so that kills meet uploads with some parts there
        lab.proxy.make(Trouble("delay", lambda method, target: "partNumber=" in target, times=10**9, seconds=0.02))
        yield lab


class Campaign:
    """What happens to one lab, by chance."""

    def __init__(self, lab: WireLab, numbers: random.Random) -> None:
        self.lab = lab
        self.numbers = numbers
        self.happened: Counter[str] = Counter()
        self._files = 0
        self._kept: list[tuple[Machine, Path, int]] = []
        #: requests between which uploads were begun that no catalogue of today knows
        self._forgotten: list[tuple[int, int]] = []

    def add_files(self) -> None:
        for size in sizes(self.numbers, large=2, small=10).values():
            self._files += 1
            self.lab.write(f"{self._files:04}", self.numbers.randbytes(size))

    def disturb(self) -> None:
        chance = self.numbers.random()
        if chance < 0.25:
            large = [key for key, contents in self.lab.versions.items() if len(contents[-1]) > SMALL]
            self.lab.change(self.numbers.choice(large), self.numbers)
            self.happened["changed source"] += 1
        elif chance < 0.45:
            machine = self.numbers.choice(self.lab.machines)
            old = self.lab.folder / f"old-{len(self._kept)}.sqlite"
            machine.keep_catalogue(old)
            self._kept.append((machine, old, len(self.lab.proxy.seen)))
        elif chance < 0.6 and self._kept:
            machine, old, since = self.numbers.choice(self._kept)
            machine.put_back_catalogue(old)
            self._forgotten.append((since, len(self.lab.proxy.seen)))
            self.happened["older catalogue"] += 1

    def kill_somewhere(self, *words: str) -> bool:
        """Kill a run when some bodies have left; return whether it was still at work."""
        machine = self.numbers.choice(self.lab.machines)
        offset = self.numbers.choice(_WRONG_CLOCKS_S)
        requests = self.lab.proxy.seen
        wanted = len(requests) + self.numbers.randrange(3, 40)
        child = machine.start(*words, clock_offset_s=offset)
        while child.poll() is None and len(requests) < wanted:
            time.sleep(0.005)
        time.sleep(self.numbers.uniform(0, 0.1))
        child.kill()
        out, err = child.communicate()
        assert child.returncode in (-signal.SIGKILL, 0, 3), (out + err).decode()[-3000:]
        is_killed = child.returncode == -signal.SIGKILL
        if is_killed:
            self.happened["kills"] += 1
            self.happened["wrong clock"] += bool(offset)
            self.happened["second machine"] += machine is not self.lab.machines[0]
        return is_killed

    def orphans(self) -> dict[str, str]:
        """Return the uploads that are open at the server and in no catalogue, those of forgotten times left out."""
        known, begun = self.lab.known_uploads(), self.lab.proxy.begun
        return {
            upload_id: key
            for upload_id, key in self.lab.open_uploads().items()
            if upload_id not in known and not any(a <= begun[upload_id] <= b for a, b in self._forgotten)
        }


def _finish(lab: WireLab, machine: Machine) -> Ended:
    ended = machine.run(*lab.upload_words)
    # what another content stands under the name of is listed, and never replaced
    assert ended.status in (0, 3), ended.told
    return ended


def _check_told(lab: WireLab, contents: dict[str, bytes], ended: Ended) -> None:
    """Fail if a run told that a file is stored as it is now, and it is not."""
    told = ended.items("upload")
    for key, status in told.items():
        if status in ("done", "present"):
            assert contents[key] == lab.versions[key][-1], f"{key} was called stored, and holds another content"
        else:
            assert status == "skipped", f"{key}: {status}"
    assert (ended.status == 3) == ("skipped" in told.values())


@pytest.mark.parametrize("number", range(_LABS))
def test_whatever_happens_between_kills(lab: WireLab, number: int) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32)) + number
    print(f"ECOGSAFE_SEED={seed}")
    campaign = Campaign(lab, random.Random(seed))
    campaign.add_files()
    while campaign.happened["kills"] < min(KILLS, _PER_LAB):
        if not campaign.kill_somewhere(*lab.upload_words):
            campaign.add_files()
        for machine in lab.machines:
            lab.check_truth(machine)
        campaign.disturb()
    ends = [_finish(lab, machine) for machine in (*lab.machines, *lab.machines)]
    lab.proxy.calm()
    assert set(lab.objects()) == set(lab.versions)
    contents = lab.check_objects()
    for machine, ended in zip(lab.machines, ends[2:], strict=True):
        lab.check_truth(machine)
        lab.check_catalogue(machine)
        _check_told(lab, contents, ended)
    assert campaign.orphans() == {}, "uploads stay open at the server, and no catalogue knows of them"
    if lab.open_uploads():
        lab.check_uploads_listed(lab.machines[0])
    proof = lab.ledger.prove(lab.identities, [g for m in lab.machines for g in m.geometries()])
    assert proof.chunks > 0
    _bring_back(campaign, contents)
    print(dict(campaign.happened), proof)


def _bring_back(campaign: Campaign, contents: dict[str, bytes]) -> None:
    """Download with kills, then to the end: byte for byte what the objects hold."""
    lab = campaign.lab
    for _ in range(max(1, min(KILLS, _PER_LAB) // 4)):
        campaign.kill_somewhere(*lab.download_words)
        lab.check_named()
    ended = lab.machines[0].run(*lab.download_words)
    assert ended.status == 0, ended.told
    assert lab.check_named() == len(contents)
    for key, content in contents.items():
        assert (lab.back / key.removesuffix(".age")).read_bytes() == content
    assert not list(lab.back.rglob(".*")), "leftovers beside the files"
    assert CODE in {path.name for path in lab.back.iterdir()}
