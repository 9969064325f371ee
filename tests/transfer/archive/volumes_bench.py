"""A bench to send volumes on: frames of 200 kB and parts of 300 kB, so that members may be small."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path, PurePosixPath

from ecogsafe.catalog import archives
from ecogsafe.catalog.archives import VolumeRow
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer.archive.making import VolumeWork
from ecogsafe.transfer.archive.members import MemberSource
from ecogsafe.transfer.archive.planning import plan_volume
from ecogsafe.transfer.archive.sending import send_volume
from ecogsafe.transfer.archive.tar_stream import Entry
from ecogsafe.transfer.archive.volumes import VolumeName
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.source import FileSource
from ecogsafe.transfer.work import Outcome, Place

from ..bench import CODE, IDENTITY, Bench, read

FRAME = 200_000
ALONE = 60_000
PART = 300_000
KEY = f"{CODE}/{CODE}_vid_0001.tar.zst.age"


class VolumeBench:
    """Files of a subject, and a store to archive them to."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.paths: list[PurePosixPath] = []

    def write(self, name: str, data: bytes) -> Path:
        """Write ``data`` as a clip and return where it stands."""
        relative = self.bench.write(name, data)
        if relative not in self.paths:
            self.paths.append(relative)
        return self.bench.out / relative

    def usual(self) -> None:
        """Write what compresses and what does not, large and small, and an empty file."""
        self.write("0001", self.bench.data(700_000))
        self.write("0002", b"eeg " * 150_000)
        for number in range(3, 8):
            self.write(f"{number:04}", self.bench.data(10_000 * number))
        self.write("0008", b"")
        self.write("0009", self.bench.data(500_001))
        self.write("0010", b"x" * 40_000)

    def member(self, relative: PurePosixPath) -> MemberSource:
        def open_file() -> FileSource:
            return FileSource(self.bench.root, relative, name=str(relative))

        with open_file() as source:
            stat = source.stat
            stored = b"eeg" not in os.pread(source.descriptor, 100, 0) and stat.size > 40_000
        entry = Entry(str(relative), stat.size, stat.mtime_ns // 1_000_000_000)
        return MemberSource(entry=entry, tree="video", segment=1, stat=stat, stored=stored, open=open_file)

    def plan(self, place: Place, *, number: int = 1) -> VolumeWork:
        members = [self.member(path) for path in self.paths]
        with self.bench.context() as context:
            name = VolumeName(CODE, "vid", number, is_index=False)
            return plan_volume(context.ledger, name, place, members, least_part=PART)

    def send(self, work: VolumeWork, *, pool: PartPool | None = None) -> Outcome:
        """Send in a run of its own; the pool must be empty again afterwards."""
        pool = pool or PartPool()
        with self.bench.context(pool=pool) as context, Senders(2) as senders:
            outcome = send_volume(context, work, senders)
        assert pool.used == 0
        return outcome

    def volume(self) -> VolumeRow:
        with self.bench.catalog.read() as tx:
            (row,) = archives.volumes_of(tx, subject=CODE)
        return row

    def zstd(self, store: Store) -> bytes:
        """Return the zstd stream of the stored volume."""
        return open_sealed(read(store, KEY), [IDENTITY])

    def restore_by_stock_tools(self, store: Store) -> None:
        """Restore with age, zstd, tar and sha256sum, and compare with the sources to the last byte."""
        target = self.folder / "restored"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        key = self.folder / "identity.txt"
        key.write_text(IDENTITY.to_text() + "\n")
        (self.folder / "volume.age").write_bytes(read(store, KEY))
        command = f"set -o pipefail; age -d -i {key} {self.folder / 'volume.age'} | zstd -dq | tar x -C {target}"
        subprocess.run(["bash", "-c", command], check=True)
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "MANIFEST.sha256"], cwd=target, check=True)
        found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        del found["MANIFEST.sha256"]
        assert found == {str(path): (self.bench.out / path).read_bytes() for path in self.paths}
