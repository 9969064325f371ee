"""A store in memory that keeps objects cold, with hands on its clock: what no server of the tests does all of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import ObjectMissingError, StillColdError, StoreRefusedError
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.stores.thawing import COLD_CLASSES, Thaw, ThawState, Tier


class ColdMemory(MemoryStore):
    """Objects of cold classes are frozen until they are asked for and `ready` is called."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.requests: list[tuple[str, Tier, int]] = []
        self.read_keys: list[str] = []
        #: requests for these are refused
        self.refused: set[str] = set()
        self._thaws: dict[str, Thaw] = {}

    def ready(self, *keys: str) -> None:
        """Let what was asked for be readable."""
        for key in keys or list(self._thaws):
            self._thaws[key] = Thaw(ThawState.THAWED, utc_now() + timedelta(days=7))

    def expire(self, *keys: str) -> None:
        """Let thawed copies go."""
        for key in keys or list(self._thaws):
            self._thaws.pop(key, None)

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        info = super().head(key, checksum=checksum)
        if info is None or info.storage_class not in COLD_CLASSES:
            return info
        return replace(info, thaw=self._thaws.get(key, Thaw(ThawState.FROZEN)))

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        info = self.head(key)
        if info is not None and info.thaw is not None and info.thaw.state is not ThawState.THAWED:
            raise StillColdError(f"{self.url}/{key}", "is in cold storage and must be thawed first")
        self.read_keys.append(key)
        return super().read(key, start, stop)

    def request_thaw(self, key: str, *, tier: Tier, days: int) -> None:
        if super().head(key) is None:
            raise ObjectMissingError(key, "is not there")
        if key in self.refused:
            raise StoreRefusedError(self.url, "has no room for Expedited requests now")
        self.requests.append((key, tier, days))
        if key not in self._thaws:
            self._thaws[key] = Thaw(ThawState.THAWING)
