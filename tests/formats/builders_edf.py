"""EDF and BDF files made byte by byte, right or wrong as a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

PATIENT = b"MRN-004711 F 02-FEB-1970 Quillfeather,Odalys"
RECORDING = b"Startdate 05-MAR-2021 EEG-77 Tech_Zuniga EEG32-9981"


@dataclass(frozen=True)
class Signal:
    """One signal of a file to be made."""

    label: bytes = b"C3"
    samples: int = 8
    transducer: bytes = b""
    prefilter: bytes = b""
    reserved: bytes = b""
    dimension: bytes = b"uV"


ANNOTATIONS = Signal(b"EDF Annotations", 40, dimension=b"")


def tal(onset: str, *texts: str, duration: str = "") -> bytes:
    """Return one time-stamped annotation list."""
    stamp = onset + (f"\x15{duration}" if duration else "")
    return b"\x14".join((stamp.encode(), *(t.encode() for t in texts or ("",)), b"")) + b"\0"


@dataclass(frozen=True)
class Edf:
    """A file to be made; ``annotations[record][k]`` fills the k-th annotation signal of that record."""

    signals: Sequence[Signal] = (Signal(), Signal(b"C4", 12), ANNOTATIONS)
    annotations: Sequence[Sequence[bytes]] = field(default_factory=lambda: [[tal(f"+{i}")] for i in range(3)])
    patient: bytes = PATIENT
    recording: bytes = RECORDING
    start: bytes = b"05.03.2110.11.12"
    reserved: bytes = b"EDF+C"
    records: bytes | None = None
    duration: bytes = b"1"
    is_bdf: bool = False
    version: bytes | None = None
    header_bytes: bytes | None = None
    num_signals: bytes | None = None
    samples: bytes | None = None

    def header(self) -> bytes:
        """Return the header."""
        n = len(self.signals)

        def column(width: int, *values: bytes) -> bytes:
            return b"".join(v.ljust(width)[:width] for v in values)

        low, high = (b"-8388608", b"8388607") if self.is_bdf else (b"-32768", b"32767")
        fixed = (
            self.version or (b"\xffBIOSEMI" if self.is_bdf else b"0       "),
            self.patient.ljust(80),
            self.recording.ljust(80),
            self.start,
            (self.header_bytes or b"%d" % (256 * (n + 1))).ljust(8),
            self.reserved.ljust(44),
            (b"%d" % len(self.annotations) if self.records is None else self.records).ljust(8),
            self.duration.ljust(8),
            (self.num_signals or b"%d" % n).ljust(4),
        )
        s = self.signals
        columns = (
            column(16, *(x.label for x in s)),
            column(80, *(x.transducer for x in s)),
            column(8, *(x.dimension for x in s)),
            column(8, *(b"-100" for _ in s)),
            column(8, *(b"100" for _ in s)),
            column(8, *(low for _ in s)),
            column(8, *(high for _ in s)),
            column(80, *(x.prefilter for x in s)),
            column(8, *(self.samples or b"%d" % x.samples for x in s)),
            column(32, *(x.reserved for x in s)),
        )
        return b"".join(fixed) + b"".join(columns)

    def body(self) -> bytes:
        """Return the records; sample bytes count up and never spell a word."""
        out = bytearray()
        width = 3 if self.is_bdf else 2
        for record in self.annotations:
            blocks = iter(record)
            for i, signal in enumerate(self.signals):
                size = signal.samples * width
                if b"annotations" in signal.label.lower():
                    block = next(blocks)
                    assert len(block) <= size
                    out += block.ljust(size, b"\0")
                else:
                    out += bytes(0x80 + (len(out) + i + j) % 0x70 for j in range(size))
        return bytes(out)

    def build(self) -> bytes:
        """Return the file."""
        return self.header() + self.body()
