"""The bytes of a part, here or in another process of the run."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ecogsafe.stores.protocol import UploadedPart


class DistantPart(ABC):
    """A part that another process made, and puts."""

    @abstractmethod
    def __len__(self) -> int:
        """Return its bytes."""

    @abstractmethod
    def put(self, store_id: str, key: str, upload_id: str, number: int, *, offset: int, crc64: int) -> UploadedPart:
        """See `ecogsafe.stores.protocol.Store.put_part`.

        Raises
        ------
        WorkerGoneError
            The process ended; whether the part arrived only the store knows.
        """

    @abstractmethod
    def let_go(self, *, may_be_read: bool) -> None:
        """Say that nobody needs the bytes any more.

        Parameters
        ----------
        may_be_read
            A request that hangs may still send them.
        """
