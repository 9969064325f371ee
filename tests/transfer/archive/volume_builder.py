"""Small volumes made in memory, honest and hostile ones; nothing of the sending engine is used."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_header import parse_header
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.sealed_layout import PAYLOAD_NONCE_BYTES
from ecogsafe.transfer.archive.compress_choice import is_stored, measured_ratio
from ecogsafe.transfer.archive.frames import (
    FrameSpan,
    compressed_frame,
    frame_spans,
    padding_for,
    skippable_frame,
    stored_frame,
)
from ecogsafe.transfer.archive.index import Frame, Member, VolumeIndex
from ecogsafe.transfer.archive.tar_stream import Entry, header_of, manifest_content, plan_tar

MTIME = 1_600_000_000


@dataclass(frozen=True)
class Volume:
    """One volume and its index, as objects."""

    key: str
    data: bytes
    index: VolumeIndex
    tar: bytes

    @property
    def index_key(self) -> str:
        return self.key.replace(".tar.zst.age", ".index.age")


def build(
    files: Mapping[str, bytes],
    recipients: Sequence[Recipient],
    *,
    subject: str = "abcd1234",
    kind: str = "vid",
    number: int = 1,
    part_bytes: int = 1 << 20,
) -> Volume:
    """Return the volume of ``files`` by path."""
    plan = plan_tar(Entry(path, len(data), MTIME) for path, data in sorted(files.items()))
    contents = [files[placed.entry.path] for placed in plan.members]
    digests = [hashlib.sha256(data).hexdigest() for data in contents]
    tar = bytearray(plan.size)
    for placed, data in zip((*plan.members, plan.manifest), (*contents, manifest_content(plan, digests)), strict=True):
        tar[placed.start : placed.data_offset] = header_of(placed.entry)
        tar[placed.data_offset : placed.data_stop] = data
    stored = [
        is_stored(measured_ratio(len(data), lambda offset, size, data=data: data[offset : offset + size]))  # type: ignore[misc]
        for data in contents
    ]
    stream, frames = _zipped(bytes(tar), list(frame_spans(plan, stored)), part_bytes)
    key = f"{subject}/{subject}_{kind}_{number:04d}.tar.zst.age"
    data = seal(stream, recipients)
    header = parse_header(data)
    assert header is not None
    index = VolumeIndex(
        subject=subject,
        kind=kind,
        volume=number,
        key=key,
        created="2026-01-01T00:00:00Z",
        object_size=len(data),
        object_crc64nvme=crc64nvme(data),
        header_bytes=header.size + PAYLOAD_NONCE_BYTES,
        zstd_size=len(stream),
        tar_size=len(tar),
        zstd_version="1.5.7",
        frames=tuple(frames),
        members=tuple(
            Member(placed.entry.path, placed.entry.size, MTIME, digest, placed.data_offset)
            for placed, digest in zip(plan.members, digests, strict=True)
        ),
    )
    return Volume(key, data, index, bytes(tar))


def _zipped(tar: bytes, spans: Sequence[FrameSpan], part_bytes: int) -> tuple[bytes, list[Frame]]:
    stream = bytearray()
    frames: list[Frame] = []
    part_start = 0
    for number, span in enumerate(spans):
        content = tar[span.tar_start : span.tar_stop]
        frame = stored_frame(content) if span.stored else compressed_frame(content)
        frames.append(Frame(span.tar_start, span.tar_stop, len(stream), len(stream) + len(frame)))
        stream += frame
        if len(stream) - part_start >= part_bytes and number < len(spans) - 1:
            stream += skippable_frame(padding_for(len(stream)))
            part_start = len(stream)
    return bytes(stream), frames


def sealed_tar(tar: bytes, recipients: Sequence[Recipient]) -> bytes:
    """Return the object of any tar stream."""
    frames = [compressed_frame(tar[start : start + (16 << 20)]) for start in range(0, len(tar), 16 << 20)]
    return seal(b"".join(frames), recipients)


def hostile_tar(*infos: tuple[tarfile.TarInfo, bytes], manifest: bytes | None = None) -> bytes:
    """Return a tar stream with these entries as they are; the manifest is right unless given."""
    out = io.BytesIO()
    lines: dict[str, str] = {}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in infos:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            lines[info.name] = hashlib.sha256(data).hexdigest()
        text = "".join(f"{digest}  {name}\n" for name, digest in lines.items()).encode()
        last = tarfile.TarInfo("MANIFEST.sha256")
        last.size = len(text if manifest is None else manifest)
        tar.addfile(last, io.BytesIO(text if manifest is None else manifest))
    return out.getvalue()
