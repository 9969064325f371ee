"""A small lab with an old vault behind it: two subjects, archives as the lab's script made them, and others."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import vaults
from ecogsafe.catalog.vaults import VaultArchiveRow
from ecogsafe.crypt.tree_hash import LEAF_BYTES as MIB
from ecogsafe.service.vault_choosing import VaultRestoreRequest
from ecogsafe.service.vault_inventory import vault_inventory
from ecogsafe.service.vault_receiving import RANGE_BYTES
from ecogsafe.service.vault_retrieval import restore_from_vault
from tests.servers.vault import VaultServer
from tests.service.small_lab import CODES, Ended, SmallLab

VAULT = "ecog-video"
URL = f"glacier://{VAULT}"
VIDEO, RECORDINGS = (f"{CODES[0]}_{kind}.tar.gz.enc" for kind in ("vid", "edf"))
#: of another program, with a name in it
STRANGE = "/data/Quillfeather~ Ann_0001/backup of March.zip"


@dataclass
class OldLab:
    """The lab, the server, and what was put into the vault by name."""

    small: SmallLab
    server: VaultServer
    bodies: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def back(self) -> Path:
        return self.small.folder / "back"

    def add(self, description: str, size: int, seed: int = 1) -> str:
        """Store an archive and return its id."""
        name = description.rsplit("/", 1)[-1]
        self.bodies[name] = random.Random(f"{name} {seed}").randbytes(size)
        return self.server.add_archive(VAULT, self.bodies[name], description)

    def inventory(self) -> Ended:
        return self.small.run("inventory", lambda run: vault_inventory(run, URL))

    def listed(self) -> None:
        """Have the vault listed, as two runs do it."""
        self.server.advance(hours=25)
        assert self.inventory().status == 31
        self.server.advance(hours=5)
        assert self.inventory().status == 0

    def restore(self, code: str = CODES[0], **wishes: Any) -> Ended:
        request = VaultRestoreRequest(subject=code, url=URL, folder=self.back, **wishes)
        return self.small.run("restore", lambda run: restore_from_vault(run, request, self.asked.append))

    def asked_for(self) -> int:
        """Return how many retrievals the store was ever asked for."""
        return sum(job.action == "ArchiveRetrieval" for job in self.server.vaults[VAULT].jobs.values())

    def ready(self) -> None:
        """Ask for the archives of the first subject and let the store prepare them."""
        assert self.restore().status == 31
        self.server.advance(hours=9)

    def here(self) -> dict[str, bytes]:
        """Return the visible files of the target folder."""
        return {p.name: p.read_bytes() for p in self.back.iterdir() if not p.name.startswith(".")}

    def rows(self) -> list[VaultArchiveRow]:
        with self.small.reading() as tx:
            return vaults.archives_of(tx, URL)

    def archive_id(self, name: str) -> str:
        found = [i for i, a in self.server.vaults[VAULT].archives.items() if a.description.endswith(name)]
        return found[-1]


@pytest.fixture
def old(small_lab: SmallLab) -> Iterator[OldLab]:
    """Two subjects' archives, one of them longer than a range, and a stranger's."""
    with VaultServer() as server, mock.patch.dict(os.environ, server.environment):
        old = OldLab(small_lab, server)
        old.back.mkdir()
        old.add(VIDEO, RANGE_BYTES + 3 * MIB + 7)
        old.add(f"/media/Quillfeather/{RECORDINGS}", 2 * MIB)
        old.add(f"{CODES[1]}_vid.tar.gz.enc", 5)
        old.add(STRANGE, 100)
        yield old
