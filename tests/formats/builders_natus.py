"""A tiny Natus study made byte by byte, identifiers in every place that FORMATS lists."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

GUID = "5f3c1a2e-77b0-4c1d-9e21-0a1b2c3d4e5f"
STEM = f"Quillfeather~ Odalys_{GUID}"
START = datetime(2021, 3, 5, 18, 11, 12, 345678, tzinfo=UTC)
CHANNELS = 276
SAMPLES = 5
LABELS = tuple(f"LA{i + 1}" for i in range(4))
#: 1970-02-02 as an OLE date
BIRTH_OLE = "25601.000000"
TERMS = (
    "Quillfeather",
    "Odalys",
    "Brynhild",
    "MRN-004711",
    "206-555-0147",
    "25601",
    GUID,
    "zuniga7",
    "EEGROOM4",
    "Cartwheel Lane",
)


@dataclass(frozen=True)
class Person:
    """What a generic header says."""

    last: bytes = b"Quillfeather\0stale Brynhild"
    first: bytes = b"Odalys"
    middle: bytes = b"Brynhild"
    mrn: bytes = b"MRN-004711"
    base: int = 1


def filetime(moment: datetime) -> int:
    """Return 100 ns since 1601."""
    return (moment - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10


def header(schema: int, person: Person | None = None, guid: str = "ca0b0790-d795-11d0-af32-00a0245b54a5") -> bytes:
    """Return a generic header."""
    person = person or Person()
    names = b"".join(name.ljust(80, b"\0") for name in (person.last, person.first, person.middle, person.mrn))
    return UUID(guid).bytes_le + struct.pack("<HHiii", schema, person.base, 1_614_967_872, 987_654, 123_456) + names


def erd(samples: int = SAMPLES, schema: int = 9, person: Person | None = None, level: int = 1000) -> bytes:
    """Return an .erd of one packet: each channel starts at ``level`` plus its number and rises by 1."""
    head = bytearray({5: 592, 6: 976, 7: 4560, 8: 8656, 9: 8656}[schema])
    head[:352] = header(schema, person, "ca0b0791-d795-11d0-af32-00a0245b54a5")
    struct.pack_into("<dii", head, 352, 256.0, CHANNELS, 8)
    serials = {5: 512, 6: 896, 7: 4480, 8: 4480, 9: 4480}[schema]
    struct.pack_into("<4i", head, serials, 445_566, 778_899, 0, 0)
    if schema >= 8:
        struct.pack_into(f"<{CHANNELS}i", head, 368, *range(CHANNELS))
        struct.pack_into("<4i", head, 4464, 20, 0, 0, 0)
        struct.pack_into("<i", head, 4556, 6)
        struct.pack_into(f"<{CHANNELS}h", head, 6608, *[32767] * CHANNELS)
    mask = (CHANNELS + 7) // 8
    body = b"\0" + b"\xff" * mask + b"\xff\xff" * CHANNELS
    body += struct.pack(f"<{CHANNELS}i", *(level + c for c in range(CHANNELS)))
    body += (b"\0" + bytes(mask) + b"\x01" * CHANNELS) * (samples - 1)
    return bytes(head) + body


def etc(start: int, samples: int = SAMPLES, person: Person | None = None) -> bytes:
    """Return the .etc of `erd`."""
    return header(3, person) + struct.pack("<Iiihh", 8656, start, 0, samples, 0)


def snc(points: int = 3, person: Person | None = None) -> bytes:
    """Return an .snc with a point each 10 minutes."""
    rows = (struct.pack("<iq", i * 153_600, filetime(START + timedelta(minutes=10 * i))) for i in range(points))
    return header(1, person) + b"".join(rows)


def stc(names: tuple[bytes, ...], person: Person | None = None) -> bytes:
    """Return an .stc of segments that follow one another."""
    entries = b"".join(
        name.ljust(256, b"\0") + struct.pack("<4i", i * SAMPLES, (i + 1) * SAMPLES - 1, i * SAMPLES, SAMPLES)
        for i, name in enumerate(names)
    )
    return header(1, person, "e9b71278-a84b-4d59-bf87-10728fb8bd9d") + struct.pack("<ii12i", 2, 1, *[0] * 12) + entries


def vtc(names: tuple[bytes, ...], *, schema: int = 0x00110001) -> bytes:
    """Return a .vtc of two-minute clips, in the AVI layout or (schema 1) the MPEG-1 layout."""
    rows = []
    for i, name in enumerate(names):
        start, end = (filetime(START + timedelta(minutes=2 * (i + k))) for k in (0, 1))
        if schema == 1:
            rows.append(name.ljust(264, b"\0") + struct.pack("<iqq", 0, start, end))
        else:
            location = UUID("5ef8feff-dcfc-44e5-8fae-19f5d622b6d4").bytes_le
            rows.append(name.ljust(261, b"\0") + location + struct.pack("<qq", start, end))
    return UUID("5be3aca1-a230-4ac0-aa94-49650f2cf6a0").bytes_le + struct.pack("<I", schema) + b"".join(rows)


def note(text: bytes, kind: int = 1) -> bytes:
    """Return one .ent record."""
    body = text + b"\0"
    return struct.pack("<4i", kind, 16 + len(body), 0, 7) + body


ANNOTATION = (
    b'(.(."Type", "Annotation"), (."GUID", "0CFEBE72-1111-2222-3333-444455556666"), (."Stamp", 123456), '
    b'(."Text", "pt\'s mother (Brynhild, 206-555-0147) said: \\"hi\\"\\xd \nC:\\\\x"), (."Comment", ""), '
    b'(."Origin", "Review"), (."Host", "EEGROOM4"), (."ReadOnly", 0), (."StartTime", 132594630723456780), '
    b'(."Data", (.(."User", "zuniga7"), (."CreationTime", 44260.757777), (."Type", "Odalys Type"), '
    b'(."Blob", 0x4F64616C7973), (."Deleted", 0))))'
)
MONTAGE = (
    b'(.(."Type", "Montage"), (."Data", (.(."FileName", "C:\\\\Users\\\\zuniga7\\\\Odalys.mtg"), '
    b'(."Name", "Odalys 1"), '
    b'(."ChanNames", ("LA1", "LA2", "LA3", "LA4", "Odalys")), (."Gain", "1.000000"), (."Color", (12, 300, 98101)))))'
)
TREE = (
    b'(.(."Info", (.(."Name", (.(."LastName", "Quillfeather"), (."FirstName", "Odalys"), '
    b'(."MiddleName", "Brynhild"))), '
    b'(."Personal", (.(."BirthDate", '
    + BIRTH_OLE.encode()
    + b'), (."Gender", "F"), (."Height", 170), (."Type", "kin"))), '
    b'(."Admin", (.(."ID", "MRN-004711"), (."Telephone", "206-555-0147"), (."BillingID", 55512399))), '
    b'(."Contact", (.(."Address", "12 Cartwheel Lane"))))), '
    b'(."Custom", (.(."Field1", "acct 20655501"), (."Field2", "Yes"))), '
    b'(."Study", ((.(."FileName", "\\\\\\\\EEGROOM4\\\\d\\\\' + STEM.encode() + b'.eeg"), (."Start", 44260.75)))), '
    b'(."SampleRate", 256.0), (."DOB", 25601), (."Opaque", 4F64616C7973), (."Id", {' + GUID.encode() + b"}))"
)


def eeg(tree: bytes = TREE, person: Person | None = None) -> bytes:
    """Return an .eeg; stale text stands after the end of its tree."""
    return header(3, person) + tree + b"\0" + b"Quillfeather\0"


def ent(*notes: bytes, person: Person | None = None, tail: bytes = b"") -> bytes:
    """Return an .ent with its end record."""
    return header(3, person) + b"".join(notes) + struct.pack("<4i", 0, 16, 0, 0) + tail


def study_files(stem: str = STEM, person: Person | None = None) -> dict[str, bytes]:
    """Return all files of a study of two segments and three clips, by name."""
    raw = stem.encode()
    clips = tuple(raw + b"_%04d.avi" % i for i in range(3))
    return {
        f"{stem}.eeg": eeg(person=person),
        f"{stem}.ent": ent(note(ANNOTATION), note(MONTAGE), person=person),
        f"{stem}.erd": erd(person=person),
        f"{stem}_001.erd": erd(person=person, level=-2000),
        f"{stem}.etc": etc(0, person=person),
        f"{stem}_001.etc": etc(SAMPLES, person=person),
        f"{stem}.snc": snc(person=person),
        f"{stem}.stc": stc((raw, raw + b"_001.erd"), person=person),
        f"{stem}.vtc": vtc(clips),
        f"{stem}.vt2": vtc(clips),
    }


def write_study(folder: Path, stem: str = STEM, person: Person | None = None, clips: int = 2) -> Path:
    """Write a study with clips of a few bytes into ``folder``; return the folder."""
    folder.mkdir(parents=True)
    for name, data in study_files(stem, person).items():
        (folder / name).write_bytes(data)
    for i in range(clips):
        (folder / f"{stem}_{i:04d}.avi").write_bytes(b"RIFF\x04\0\0\0AVI ")
    return folder


def other_person() -> Person:
    """Return the header of a second patient."""
    return replace(Person(), last=b"Underbough", first=b"Teodric", middle=b"", mrn=b"MRN-990022")
