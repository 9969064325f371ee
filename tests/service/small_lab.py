"""A home with quick keys, an OUT folder of small files, stores in folders or in memory; each run's words kept."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import copies, stores, subjects
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.core.events import ErrorEvent, Event, Item
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.deid.matching import Matcher
from ecogsafe.formats.edf_cleaning import patient_field, recording_field
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.service.running import Run, running
from ecogsafe.service.scanning import ScanTarget, record_clearances, scan_targets, targets_in
from ecogsafe.service.upload import upload
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.service.verify import VerifyRequest, verify
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.stores.store_id import STORE_ID_KEY
from tests.formats.builders_avi import clip
from tests.formats.builders_edf import Edf, tal

CODES = ("abcd1234", "bcde2345")
PASSWORD = Secret(b"four words of a lab")
#: what the scans of these tests search for
NAME = "Quillfeather"
#: of the fixture `store`
URL = "s3://recordings"
_START = date(2021, 3, 5)


@dataclass(slots=True)
class Ended:
    """What one run ended with and said."""

    status: ExitStatus
    error: EcogsafeError | None
    events: list[Event]
    run: Run | None = None

    def items(self, **values: Any) -> list[Item]:
        """Return the items in which these fields have these values."""
        found = [e for e in self.events if isinstance(e, Item)]
        return [e for e in found if all(getattr(e, name) == value for name, value in values.items())]

    def errors(self) -> list[ErrorEvent]:
        return [e for e in self.events if isinstance(e, ErrorEvent)]

    def keys(self, status: str) -> list[str]:
        """Return the keys of the items with ``status``, snapshots left out."""
        return sorted(e.key for e in self.items(status=status) if e.key and e.action != "snapshot")

    @property
    def counts(self) -> Mapping[str, int]:
        assert self.run is not None
        return self.run.counts


@dataclass(slots=True)
class SmallLab:
    """A folder with ``home`` and ``out``."""

    folder: Path
    home: Home = field(init=False)

    def __post_init__(self) -> None:
        self.home = Home(self.folder / "home")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    # files below OUT

    def edf(self, code: str = CODES[0], number: int = 1, text: str = "", **changes: Any) -> Path:
        """Write a cleaned recording; ``text`` is an annotation of its second record."""
        made = Edf(
            patient=patient_field(code),
            recording=recording_field(_START),
            annotations=[[tal("+0")], [tal("+1", text)], [tal("+2")]],
        )
        return self.write(f"edf/{code}_edf/{code}_{number}.edf", replace(made, **changes).build())

    def avi(self, code: str = CODES[0], number: int = 1, index: int = 1) -> Path:
        path = f"video/{code}/{code}_{number}/{code}_{number}_{index:04d}.avi"
        return self.write(path, clip() + os.urandom(64).hex().encode())

    def write(self, path: str, data: bytes) -> Path:
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return target

    def two_subjects(self) -> None:
        """Two subjects, two recordings and two clips each."""
        for code in CODES:
            for number in (1, 2):
                self.edf(code, number)
                self.avi(code, number)

    # stores

    def folder_store(self, name: str = "store") -> str:
        """Return the URL of a folder store, made when first asked for."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder.as_uri()

    def stored(self, name: str = "store") -> list[str]:
        """Return the files in a folder store, our own left out."""
        folder = self.folder / name
        found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        return sorted(p for p in found if not p.startswith("_ecogsafe/"))

    # runs

    def run(self, command: str, work: Callable[[Run], None], *, stop: threading.Event | None = None) -> Ended:
        """Carry out ``work`` as the command line does, and return how it ended."""
        events: list[Event] = []
        made: list[Run] = []
        try:
            with running(self.home, command, events.append, stop=stop) as run:
                made.append(run)
                work(run)
                status = ExitStatus(run.summary().exit_status)
        except EcogsafeError as error:
            return Ended(error.exit_status, error, events, made[0] if made else None)
        return Ended(status, None, events, made[0])

    def clear(self, *codes: str, revision: int = 1, path: Path | None = None, accepted: tuple[str, ...] = ()) -> Ended:
        """Search OUT and clear what is clean, as `deid scan --subject` does."""

        def work(run: Run) -> None:
            for code in codes or CODES:
                with run.catalog.write() as tx:
                    subjects.add_subject(tx, code, revision=revision)
                    subjects.set_revision(tx, code, revision)
                targets = [t for t in targets_in([path or self.out]) if isinstance(t, ScanTarget)]
                own = [t for t in targets if t.parts and t.parts.code == code]
                matcher = Matcher(None, also_terms=[NAME])
                outcome = scan_targets(run, own, [matcher], clear=(code, revision), accepted=accepted)
                record_clearances(run, outcome)

        return self.run("deid scan", work)

    def upload(
        self, data_type: str, url: str | None = None, *, stop: threading.Event | None = None, **wishes: Any
    ) -> Ended:
        wishes.setdefault("folder", self.out)
        request = UploadRequest(url=url or self.folder_store(), data_type=data_type, **wishes)
        return self.run("upload", lambda run: upload(run, request), stop=stop)

    def download(self, url: str | None = None, *, password: Secret = PASSWORD, **wishes: Any) -> Ended:
        """Bring back to ``back``."""
        folder = wishes.pop("folder", self.folder / "back")
        if folder == self.folder / "back":
            folder.mkdir(exist_ok=True)
        request = DownloadRequest(url=url or self.folder_store(), folder=folder, **wishes)
        return self.run("download", lambda run: download(run, request, lambda: password))

    def verify(self, **wishes: Any) -> Ended:
        request = VerifyRequest(**wishes)
        return self.run("verify", lambda run: verify(run, request, lambda: PASSWORD))

    # what the catalogue says

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        catalog = self.home.open_catalog()
        try:
            yield catalog
        finally:
            catalog.close()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        with self.catalog() as catalog, catalog.read() as tx:
            yield tx

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        with self.catalog() as catalog, catalog.write() as tx:
            yield tx

    def copy(self, key: str) -> CopyRow:
        """Return the one copy under ``key``."""
        with self.reading() as tx:
            found = [copies.copy_by_key(tx, s.store_id, key) for s in stores.all_stores(tx)]
        (row,) = [row for row in found if row is not None]
        return row

    def identity(self) -> X25519Identity:
        return open_lab_key(self.home.lab_key.read_bytes(), PASSWORD)


class StoresInMemory:
    """What `open_store` gives instead of a network: stores in memory by URL, or wrappers around them."""

    def __init__(self) -> None:
        self.by_url: dict[str, Store] = {}

    def add(self, url: str, store: Store | None = None) -> Store:
        self.by_url[url] = store or MemoryStore(url)
        return self.by_url[url]

    def open(self, url: str, **_options: Any) -> Store:
        return self.by_url.get(url) or self.add(url)


class Forgetful(MemoryStore):
    """A store that tells no checksum, like some S3 clones."""

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        info = MemoryStore.head(self, key)
        return replace(info, crc64=None) if info else None

    def put(self, key: str, body: Any, **options: Any) -> ObjectInfo:
        return replace(MemoryStore.put(self, key, body, **options), crc64=None)


def overwrite(store: Store, key: str, data: bytes, *, truthful: bool = True) -> None:
    """Put other bytes under ``key``; without ``truthful`` the store goes on telling what it told before."""
    assert isinstance(store, MemoryStore)
    info, _ = store._objects[key]
    if truthful:
        del store._objects[key]
        from ecogsafe.crypt.checksums import crc64nvme

        MemoryStore.put(store, key, data, crc64=crc64nvme(data), token="f" * 32)
    else:
        store._objects[key] = (info, data)


def lose(store: Store, key: str) -> None:
    """Take an object out of a store in memory."""
    assert isinstance(store, MemoryStore)
    del store._objects[key]


def bytes_in(store: Store, key: str) -> bytes:
    return b"".join(store.read(key))


def own_objects(store: Store, prefix: str) -> list[str]:
    """Return the keys of ours below ``_ecogsafe/<prefix>``, the store's id left out."""
    return sorted(info.key for info in store.list(f"_ecogsafe/{prefix}") if info.key != STORE_ID_KEY)


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home; copied, never used itself."""
    folder = tmp_path_factory.mktemp("small")
    make_home(Home(folder / "home"), folder / "recovery.txt")
    return folder


def make_home(home: Home, recovery_file: Path) -> None:
    initialise(home, PASSWORD, recovery_file=recovery_file, time_zone=None, work_factor=10)


@pytest.fixture
def small_lab(made_home: Path, tmp_path: Path) -> SmallLab:
    """A fresh lab with a home and an empty OUT."""
    shutil.copytree(made_home, tmp_path, dirs_exist_ok=True)
    small = SmallLab(tmp_path)
    small.out.mkdir()
    return small


@contextmanager
def patched(stores_in_memory: StoresInMemory) -> Iterator[StoresInMemory]:
    with (
        mock.patch("ecogsafe.service.connections.open_store", stores_in_memory.open),
        mock.patch("ecogsafe.service.recovery_sources.open_store", stores_in_memory.open),
    ):
        yield stores_in_memory


@pytest.fixture
def in_memory() -> Iterator[StoresInMemory]:
    """Stores in memory for every URL of the test."""
    with patched(StoresInMemory()) as stores_in_memory:
        yield stores_in_memory


@pytest.fixture
def store(in_memory: StoresInMemory) -> MemoryStore:
    made = in_memory.add(URL)
    assert isinstance(made, MemoryStore)
    return made


@dataclass(frozen=True)
class Made:
    """A lab and one store, made once and copied for each test."""

    folder: Path
    store: MemoryStore

    @classmethod
    def by(cls, made_home: Path, folder: Path, url: str, work: Callable[[SmallLab], None]) -> Made:
        shutil.copytree(made_home, folder, dirs_exist_ok=True)
        small = SmallLab(folder)
        small.out.mkdir()
        with patched(StoresInMemory()) as stores_in_memory:
            store = stores_in_memory.add(url)
            assert isinstance(store, MemoryStore)
            work(small)
        return cls(folder, store)

    def copy_to(self, small: SmallLab, store: MemoryStore) -> SmallLab:
        """Make ``small`` and ``store`` what these are; file times are kept."""
        shutil.copytree(self.folder, small.folder, dirs_exist_ok=True)
        store._objects.update(self.store._objects)
        return small
