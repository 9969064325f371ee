"""A small lab with the destinations of a nightly `backup`: two buckets, a NAS, an archive."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.service.backup import BackupRequest, backup
from ecogsafe.stores.open import open_store
from tests.service.small_lab import CODES, Ended, SmallLab, StoresInMemory

ONE, TWO = CODES
VIDEO, RECORDINGS, DEEP = "s3://lab-video", "s3://lab-recordings", "s3://lab-deep"


def config(lab: SmallLab, *, nas: str = "plain = true\n", more: str = "") -> None:
    """A bucket for video, one for recordings, a NAS for both, plain, and an archive."""
    lab.home.config.write_text(
        f'outbox = "{lab.out}"\n'
        f'[[destination]]\nname = "video"\nurl = "{VIDEO}"\ntypes = ["v"]\n'
        f'[[destination]]\nname = "recordings"\nurl = "{RECORDINGS}"\ntypes = ["e"]\n'
        f'[[destination]]\nname = "nas"\nurl = "{lab.folder_store("nas")}"\n{nas}'
        f'[[destination]]\nname = "deep"\nurl = "{DEEP}"\narchive = true\n{more}'
    )


@pytest.fixture
def backing_up(small_lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> SmallLab:
    """Two subjects, cleared, and four destinations; the NAS is a folder, the buckets are in memory."""

    def open_some(url: str, **options: Any) -> Any:
        return open_store(url, **options) if url.startswith("file://") else in_memory.open(url, **options)

    monkeypatch.setattr("ecogsafe.service.connections.open_store", open_some)
    for url in (VIDEO, RECORDINGS, DEEP):
        in_memory.add(url)
    small_lab.two_subjects()
    small_lab.clear()
    config(small_lab)
    return small_lab


@pytest.fixture
def stores(backing_up: SmallLab, in_memory: StoresInMemory) -> StoresInMemory:
    """The buckets, opened as the runs open them."""
    return in_memory


def send(lab: SmallLab, folder: Path | None = None, *, stop: threading.Event | None = None) -> Ended:
    return lab.run("backup", lambda run: backup(run, BackupRequest(folder=folder)), stop=stop)


def keys(store: Any) -> list[str]:
    """Return what of the data stands there; our own objects and the indexes of archives left out."""
    found = (info.key for info in store.list() if not info.key.startswith("_ecogsafe/"))
    return sorted(key for key in found if not key.endswith(".index.age"))


def whereabouts(ended: Ended) -> dict[str, dict[str, int]]:
    """Return what is said to be missing, by subject."""
    return {str(i.subject): dict(i.details["missing"]) for i in ended.items(action="backup") if i.details}


def clips(code: str, ending: str = ".age") -> list[str]:
    return [f"{code}/{code}_{n}/{code}_{n}_0001.avi{ending}" for n in (1, 2)]


def recordings(code: str, ending: str = "") -> list[str]:
    return [f"{code}_edf/{code}_{n}.edf{ending}" for n in (1, 2)]
