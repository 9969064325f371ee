"""The binary files of a Natus study: generic header, .erd/.etc, .stc, .snc, .vtc and .vt2 (FORMATS 2).

natus-erd-reader opens what is written here: schema 9, 276 channels of a Quantum headbox.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ecogsafe.synthetic.timeline import StudyTimes, filetime, unix_seconds
from ecogsafe.synthetic.waves import Wave

GENERIC_HEADER_BYTES = 352
ERD_HEADER_BYTES = 8656
#: Channels of the one layout natus-erd-reader knows; those not recorded are flagged as shorted.
HEADBOX_CHANNELS = 276
_QUANTUM_HEADBOX = 20
_PACKET_SAMPLES = 1000
#: Samples between two rows that carry a 16-bit step, an absolute value and an event
_WIDE_EVERY = 97
_MASK_BYTES = (HEADBOX_CHANNELS + 7) // 8
_TAIL = "d795-11d0-af32-00a0245b54a5"
_KIND_GUIDS = {
    "eeg": f"ca0b0790-{_TAIL}",
    "erd": f"ca0b0791-{_TAIL}",
    "etc": f"ca0b0792-{_TAIL}",
    "ent": f"ca0b0793-{_TAIL}",
    "snc": f"ca0b0794-{_TAIL}",
    "stc": "e9b71278-a84b-4d59-bf87-10728fb8bd9d",
}
_SCHEMAS = {"eeg": 3, "erd": 9, "etc": 3, "ent": 3, "snc": 1, "stc": 1}
_VIDEO_GUID = "5be3aca1-a230-4ac0-aa94-49650f2cf6a0"
_LOCATION_GUID = "5ef8feff-dcfc-44e5-8fae-19f5d622b6d4"
VTC_RECORD_BYTES = 293


@dataclass(frozen=True, slots=True, kw_only=True)
class GenericHeader:
    """The 352 bytes before .eeg .ent .erd .etc .snc .stc; texts are bytes of at most 79."""

    created: datetime
    last_name: bytes = b""
    first_name: bytes = b""
    middle_name: bytes = b""
    mrn: bytes = b""
    #: what an earlier, longer name left behind the NUL of each of the four fields
    stale: bytes = b""
    patient_id: int = 0
    study_id: int = 0

    def to_bytes(self, kind: str) -> bytes:
        """Return the header of a file of ``kind`` (its extension).

        Raises
        ------
        ValueError
            A text is too long.
        """
        head = uuid.UUID(_KIND_GUIDS[kind]).bytes_le
        head += struct.pack("<HHiii", _SCHEMAS[kind], 1, unix_seconds(self.created), self.patient_id, self.study_id)
        for text in (self.last_name, self.first_name, self.middle_name, self.mrn):
            if len(text) > 79:
                raise ValueError("a name field holds 79 bytes")
            head += (text + b"\0" + self.stale)[:80].ljust(80, b"\0")
        return head


@dataclass(frozen=True, slots=True, kw_only=True)
class StcEntry:
    """One segment of the .stc: its name field and samples."""

    name: bytes
    start_stamp: int
    sample_number: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRecord:
    """One record of the .vtc: the clip's file name and its first and last frame (aware)."""

    name: bytes
    start: datetime
    end: datetime


def write_erd_pair(
    erd: Path,
    etc: Path,
    header: GenericHeader,
    wave: Wave,
    *,
    channels: int,
    rate_hz: float,
    start_stamp: int,
    first_sample: int,
    samples: int,
    headbox_serials: Sequence[int] = (0, 0, 0, 0),
) -> None:
    """Write one .erd and its index .etc.

    Parameters
    ----------
    channels
        Recorded channels, from 0; the other ones of the headbox are shorted.
    start_stamp
        Stamp of the first sample.
    first_sample
        Its number among the stored samples of the study, and its place in ``wave``.

    Raises
    ------
    FileExistsError
        One of the files exists.
    """
    with erd.open("xb") as data, etc.open("xb") as index:
        data.write(_erd_header(header, channels, rate_hz, headbox_serials))
        index.write(header.to_bytes("etc"))
        for done in range(0, samples, _PACKET_SAMPLES):
            count = min(_PACKET_SAMPLES, samples - done)
            index.write(struct.pack("<Iiihh", data.tell(), start_stamp + done, first_sample + done, count, 0))
            data.write(b"".join(_packet(wave, channels, first_sample + done, count)))


def _erd_header(header: GenericHeader, channels: int, rate_hz: float, serials: Sequence[int]) -> bytes:
    head = bytearray(ERD_HEADER_BYTES)
    head[:GENERIC_HEADER_BYTES] = header.to_bytes("erd")
    struct.pack_into("<dii", head, 352, rate_hz, HEADBOX_CHANNELS, 8)
    struct.pack_into(f"<{HEADBOX_CHANNELS}i", head, 368, *range(HEADBOX_CHANNELS))
    struct.pack_into("<4i", head, 4464, _QUANTUM_HEADBOX, 0, 0, 0)
    struct.pack_into("<4i", head, 4480, *serials)
    head[4496:4501] = b"3.2.0"
    head[4536:4540] = b"1.04"
    head[4546:4550] = b"2.11"
    struct.pack_into("<i", head, 4556, 6)
    shorted = (int(c >= channels) for c in range(HEADBOX_CHANNELS))
    struct.pack_into(f"<{HEADBOX_CHANNELS}h", head, 4560, *shorted)
    struct.pack_into("<1024h", head, 6608, *(32767,) * 1024)
    return bytes(head)


def _packet(wave: Wave, channels: int, first: int, count: int) -> Iterator[bytes]:
    """Yield the rows of one independent packet: all values absolute, then steps, some of them wide."""
    yield _row(wave, channels, first, range(channels), event=1)
    at = first + 1
    while at < first + count:
        if (at - first) % _WIDE_EVERY == 0:
            yield _row(wave, channels, at, (1,), event=0, wide=0)
            at += 1
            continue
        run = min(_WIDE_EVERY - (at - first) % _WIDE_EVERY, first + count - at)
        yield _narrow_rows(wave, channels, at, run)
        at += run


def _row(wave: Wave, channels: int, sample: int, absolute: Sequence[int], *, event: int, wide: int = -1) -> bytes:
    """Return one row: ``absolute`` channels behind the escape 0xFFFF, channel ``wide`` as a 16-bit step."""
    mask = bytearray(_MASK_BYTES)
    steps, values = bytearray(), bytearray()
    for channel in range(channels):
        step = wave.value(channel, sample) - wave.value(channel, sample - 1)
        if channel in absolute:
            mask[channel >> 3] |= 1 << (channel & 7)
            steps += b"\xff\xff"
            values += struct.pack("<i", wave.value(channel, sample))
        elif channel == wide:
            mask[channel >> 3] |= 1 << (channel & 7)
            steps += struct.pack("<h", step)  # never -1, the escape: steps are even
        else:
            steps += struct.pack("<b", step)
    return bytes((event,)) + mask + steps + values


def _narrow_rows(wave: Wave, channels: int, first: int, count: int) -> bytes:
    """Return rows in which each channel has a one-byte step; built by columns, as that is much faster."""
    stride = 1 + _MASK_BYTES + channels
    rows = bytearray(stride * count)
    for channel in range(channels):
        rows[1 + _MASK_BYTES + channel :: stride] = wave.steps(channel, first - 1, count)
    return bytes(rows)


def write_stc(path: Path, header: GenericHeader, entries: Sequence[StcEntry]) -> None:
    """Write a new .stc: the table of segments, entries from byte 408."""
    with path.open("xb") as out:
        out.write(header.to_bytes("stc") + struct.pack("<14i", len(entries), 1, *(0,) * 12))
        for entry in entries:
            end_stamp = entry.start_stamp + entry.samples - 1
            out.write(_name_field(entry.name, 256))
            out.write(struct.pack("<4i", entry.start_stamp, end_stamp, entry.sample_number, entry.samples))


def clock_rows(times: StudyTimes, every_s: float) -> list[tuple[int, datetime]]:
    """Return (sample stamp, moment) pairs: each run's start, and one every ``every_s`` seconds."""
    stamps = {times.stamp(k * every_s) for k in range(int(times.duration_s / every_s) + 1)}
    return [(stamp, times.moment(stamp)) for stamp in sorted(stamps | set(times.run_stamps()))]


def write_snc(path: Path, header: GenericHeader, rows: Sequence[tuple[int, datetime]]) -> None:
    """Write a new .snc: 12-byte rows of sample stamp and FILETIME."""
    with path.open("xb") as out:
        out.write(header.to_bytes("snc"))
        for stamp, moment in rows:
            out.write(struct.pack("<iq", stamp, filetime(moment)))


def write_vtc(path: Path, clips: Sequence[ClipRecord], *, flags: int = 0) -> None:
    """Write a new .vtc (or .vt2, whose layout is unknown and taken to be the same).

    Parameters
    ----------
    flags
        The top 12 bits of the schema word.
    """
    with path.open("xb") as out:
        out.write(uuid.UUID(_VIDEO_GUID).bytes_le + struct.pack("<I", flags << 20 | 0x10001))
        for clip in clips:
            out.write(_name_field(clip.name, 261) + uuid.UUID(_LOCATION_GUID).bytes_le)
            out.write(struct.pack("<qq", filetime(clip.start), filetime(clip.end)))


def _name_field(name: bytes, size: int) -> bytes:
    if len(name) >= size:
        raise ValueError(f"a name field of {size} bytes was given {len(name)}")
    return name.ljust(size, b"\0")
