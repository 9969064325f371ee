"""`free` while stores lose, truncate, swap and flip what they hold, and while it is killed at any moment.

``ECOGSAFE_SOAK_MUTATIONS`` says how many mutations, ``ECOGSAFE_SOAK_KILLS`` how many kills, ``ECOGSAFE_SEED`` with
which random numbers.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import audit, files
from ecogsafe.core.errors import ExitStatus
from ecogsafe.service import free_local, free_note, free_work
from ecogsafe.service.free_evidence import Witnesses
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.memory import MemoryStore
from tests.service.small_lab import CODES, Ended, SmallLab, StoresInMemory, patched
from tests.service.test_free import freed, local
from tests.service.test_mutations import KINDS, Folder, Memory, Place

MUTATIONS = int(os.environ.get("ECOGSAFE_SOAK_MUTATIONS", "20"))
KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "4"))
SEED = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
PATHS = tuple(f"{code}_edf/{code}_{number}.edf" for code in CODES for number in (1, 2, 3, 4))


class Lab:
    """Eight recordings here, sealed in a bucket and plain on the disk of another computer; two copies are wanted."""

    def __init__(self, small: SmallLab) -> None:
        self.small = small
        self.stores = StoresInMemory()
        self.bucket = Memory(self.stores, lies=False)
        self.nas = Folder(small.folder / "nas")
        store = DirectoryStore(small.folder / "nas")
        store.place = "device:another computer"
        self.stores.by_url[self.nas.url] = store
        small.home.config.write_text("[policy]\ncopies = 2\noffsite = 1\nrestored_within_days = 0\n")
        for number, path in enumerate(PATHS):
            small.edf(path[:8], int(path[-5]), text="seizure " * number)
        small.clear()
        with patched(self.stores):
            assert small.upload("e", self.bucket.url, encrypt=True).status is ExitStatus.DONE
            assert small.upload("e", self.nas.url).status is ExitStatus.DONE
        self.places: Mapping[str, tuple[Place, Callable[[str], str]]] = {
            "bucket": (self.bucket, lambda path: f"{path}.age"),
            "nas": (self.nas, lambda path: path),
        }
        self._kept = small.folder / "kept"
        for part in ("home", "out"):
            shutil.copytree(small.folder / part, self._kept / part)

    def put_back(self) -> None:
        """Make everything what it was before `free`."""
        for place, _ in self.places.values():
            place.put_back()
        for part in ("home", "out"):
            shutil.rmtree(self.small.folder / part)
            shutil.copytree(self._kept / part, self.small.folder / part)

    def free(self) -> Ended:
        with patched(self.stores):
            return freed(self.small)

    def contents(self) -> dict[tuple[str, str], bytes | None]:
        """What stands under every key; None for what is gone."""
        found: dict[tuple[str, str], bytes | None] = {}
        for name, (place, key_of) in self.places.items():
            for path in PATHS:
                try:
                    found[name, path] = place.get(key_of(path))
                except (KeyError, FileNotFoundError):
                    found[name, path] = None
        return found


@pytest.fixture
def lab(small_lab: SmallLab) -> Lab:
    return Lab(small_lab)


def mutate(lab: Lab, draw: random.Random) -> str:
    """Do one thing to one place; return what."""
    name = draw.choice(sorted(lab.places))
    place, key_of = lab.places[name]
    kind = draw.choice(sorted(KINDS))
    do, number = KINDS[kind]
    standing = [path for path in PATHS if lab.contents()[name, path]]
    keys = [key_of(path) for path in draw.sample(standing, number)]
    do(place, draw, keys)
    return f"{kind} {', '.join(keys)} at {name}"


@contextmanager
def just_before_the_stores_are_asked(work: Callable[[], None]) -> Iterator[None]:
    """Do ``work`` when the files here were read and the stores are about to be asked."""
    honest = Witnesses.prove
    done: list[bool] = []

    def prove(self: Witnesses, wanted: Any) -> Any:
        if not done:
            work()
            done.append(True)
        return honest(self, wanted)

    with mock.patch.object(Witnesses, "prove", prove):
        yield


def test_free_never_frees_a_file_whose_copies_are_not_what_they_claim(lab: Lab) -> None:
    print(f"ECOGSAFE_SEED={SEED} ECOGSAFE_SOAK_MUTATIONS={MUTATIONS}")
    draw = random.Random(SEED)
    sound = lab.contents()
    left = MUTATIONS
    while left:
        number = min(left, draw.randrange(1, 9))
        left -= number
        what: list[str] = []

        def work(number: int = number, what: list[str] = what) -> None:
            what += [mutate(lab, draw) for _ in range(number)]

        if draw.random() < 0.5:
            work()
            ended = lab.free()
        else:
            with just_before_the_stores_are_asked(work):
                ended = lab.free()
        told = f"seed {SEED}: {'; '.join(what)}"
        damaged = {path for (name, path), data in lab.contents().items() if data != sound[name, path]}
        assert local(lab.small) == sorted(f"edf/{path}" for path in damaged), told
        assert ended.status is (ExitStatus.VERIFY_FAILED if damaged else ExitStatus.DONE), told
        lab.put_back()


# killed

STEPS: list[tuple[Any, str]] = [
    (free_note.Note, "write"),
    (files, "mark_freed"),
    (files, "mark_back"),
    (audit, "append_all"),
    (free_local.LocalFile, "delete"),
    (os, "unlink"),
]


class Countdown:
    """Kills this process at the ``at``-th step, counted before and after each call of `STEPS`."""

    def __init__(self, at: int) -> None:
        self.left = at

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **options: Any) -> Any:
            self._step()
            result = real(*args, **options)
            self._step()
            return result

        return stepped

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at(lab: Lab, step: int) -> bool:
    """Free in a process of its own that is killed at that step; false if it came to its end."""
    child = os.fork()
    if child == 0:
        countdown = Countdown(step)
        with mock.patch.object(free_work, "_BATCH_FILES", 3):
            for owner, name in STEPS:
                setattr(owner, name, countdown.wrap(getattr(owner, name)))
            ended = lab.free()
            os._exit(0 if ended.status is ExitStatus.DONE else 1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it ended otherwise than by the kill"
    return os.WIFSIGNALED(status)


def check_after_a_kill(small: SmallLab, told: str) -> None:
    """Whatever is gone is noted as freed, and the record of acts is whole."""
    here = {path.removeprefix("edf/") for path in local(small)}
    with small.reading() as tx:
        noted = {file.path for file in files.all_files(tx) if file.freed_at is not None}
        assert set(PATHS) - here <= noted, f"{told}: a file is gone and not noted"
        assert audit.check(tx) == [], told


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_at_any_step_it_loses_track_of_nothing(lab: Lab) -> None:
    print(f"ECOGSAFE_SEED={SEED} ECOGSAFE_SOAK_KILLS={KILLS}")
    draw = random.Random(SEED)
    for _ in range(KILLS):
        step = draw.randrange(1, 70)
        told = f"seed {SEED}, killed at step {step}"
        if killed_at(lab, step):
            check_after_a_kill(lab.small, told)
        ended = lab.free()
        assert ended.status is ExitStatus.DONE, told
        assert local(lab.small) == [], told
        with lab.small.reading() as tx:
            assert all(file.freed_at for file in files.all_files(tx)), told
        lab.put_back()


def test_the_steps_are_all_reached(lab: Lab) -> None:
    """The campaign would show nothing if the steps it kills at were never taken."""
    counts: dict[str, int] = {}
    with mock.patch.object(free_work, "_BATCH_FILES", 3), pytest.MonkeyPatch.context() as patch:
        for owner, name in STEPS:
            real = getattr(owner, name)

            def counted(*args: Any, real: Any = real, name: str = name, **options: Any) -> Any:
                counts[name] = counts.get(name, 0) + 1
                return real(*args, **options)

            patch.setattr(owner, name, counted)
        assert lab.free().status is ExitStatus.DONE
    assert set(counts) == {name for _, name in STEPS}
    assert counts["delete"] == len(PATHS)


def test_a_memory_store_of_the_campaign_tells_the_truth(lab: Lab) -> None:
    store = lab.stores.by_url[lab.bucket.url]
    assert isinstance(store, MemoryStore)
    key = f"{PATHS[0]}.age"
    before = store.head(key, checksum=True)
    lab.bucket.set(key, b"other")
    after = store.head(key, checksum=True)
    assert before is not None and after is not None
    assert before.crc64 != after.crc64


def test_everything_is_put_back(lab: Lab, tmp_path: Path) -> None:
    before = (lab.contents(), local(lab.small))
    mutate(lab, random.Random(1))
    lab.free()
    lab.put_back()
    assert (lab.contents(), local(lab.small)) == before
