"""The index of a stored volume, made from the journal: whenever it is wanted, the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

from ecogsafe.catalog import archives, copies
from ecogsafe.catalog.archives import VolumeRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import VerificationError
from ecogsafe.transfer.archive.index import Frame, Member, VolumeIndex
from ecogsafe.transfer.source import READ_SIZE, Source
from ecogsafe.transfer.work import Place, Shipment

NS_PER_S = 1_000_000_000


def index_of(tx: Transaction, row: VolumeRow) -> VolumeIndex:
    """Return the index of the volume ``row``.

    Raises
    ------
    VerificationError
        The catalogue does not know the volume to its end.
    """
    copy = copies.copy_by_key(tx, row.store_id, row.key)
    members = archives.members_of(tx, row.volume_id)
    digests = archives.digests_of(members)
    sizes = (row.zstd_size, row.header_bytes)
    if copy is None or copy.crc64 is None or None in sizes or len(digests) < len(members):
        raise VerificationError(
            row.key,
            "the catalogue does not hold all that its index needs",
            safe="The archive itself is not affected",
            next="ecogsafe restore reads the whole archive where there is no index",
        )
    return VolumeIndex(
        subject=row.subject,
        kind=row.kind,
        volume=row.number,
        key=row.key,
        created=row.created_at,
        object_size=copy.size,
        object_crc64nvme=copy.crc64,
        header_bytes=row.header_bytes or 0,
        zstd_size=row.zstd_size or 0,
        tar_size=row.tar_size,
        zstd_version=row.zstd_version,
        frames=tuple(
            Frame(frame.tar_start, frame.tar_stop, frame.zstd_start, frame.zstd_stop)
            for frame in archives.frames_of(tx, row.volume_id)
        ),
        members=tuple(
            Member(
                member.path,
                member.source.size,
                member.source.mtime_ns // NS_PER_S,
                digests[member.position],
                member.data_offset,
            )
            for member in members
        ),
    )


class TextSource:
    """Bytes in memory as a source (`ecogsafe.transfer.source.Source`)."""

    rereadable = True

    def __init__(self, name: str, text: bytes) -> None:
        self.name = name
        self.size = len(text)
        self.stat = SourceStat(size=len(text), mtime_ns=0, ctime_ns=0, inode=0, device=0)
        self._text = text

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes from the start."""
        for start in range(0, self.size, READ_SIZE):
            yield self._text[start : start + READ_SIZE]

    def check_unchanged(self) -> None:
        """Return: it cannot change."""

    def close(self) -> None:
        """Return: nothing is held."""


def index_shipment(row: VolumeRow, index: VolumeIndex, place: Place) -> Shipment:
    """Return the index as a file to be sent, sealed, to ``place``."""
    text = index.to_bytes()

    def open_source() -> Source:
        return TextSource(row.index_path, text)

    return Shipment(
        tree="archive",
        path=row.index_path,
        subject=row.subject,
        segment=None,
        size=len(text),
        keys={True: f"{row.index_path}.age"},
        places=(place,),
        open_source=open_source,
    )
