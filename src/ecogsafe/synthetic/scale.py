"""How large an export is, and what follows from it for one segment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ecogsafe.synthetic.natus_files import HEADBOX_CHANNELS
from ecogsafe.synthetic.patients import Patient
from ecogsafe.synthetic.timeline import StudyTimes, site_to_utc

SEGMENTS = 3
#: The numbers in the names of the half-processed form and of the text outputs: wrong on purpose.
HALF_PROCESSED_NUMBERS = (2, 3, 1)
TEXT_NUMBERS = (3, 1, 2)
#: The segment (by true order) that has a ``Decimated`` folder.
DECIMATED_SEGMENT = 2
_GAP_RECORDS = 3
#: s; a record that is not a whole second, as in recordings at 999.94 Hz
_ODD_RECORD_S = Decimal("1.00006")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportScale:
    """The size of an export.

    Raises
    ------
    ValueError
        A size that the formats or the planted texts do not allow.
    """

    #: recorded channels, 6 to 250
    channels: int = 6
    #: nominal; a multiple of 4, at least 64
    rate_hz: int = 200
    #: of each segment, gaps not counted; at least 6
    seconds: int = 12
    clips_per_study: int = 2
    #: of each clip, about
    clip_bytes: int = 40_000
    #: of the very first clip of the export; 0: as the other ones
    large_clip_bytes: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be written."""
        if not 6 <= self.channels <= min(250, HEADBOX_CHANNELS):
            raise ValueError("channels must be 6 to 250")
        if self.rate_hz < 64 or self.rate_hz % 4:
            raise ValueError("rate_hz must be a multiple of 4, at least 64")
        if self.seconds < 6 or self.clips_per_study < 1 or self.clip_bytes < 0:
            raise ValueError("seconds must be at least 6, clips_per_study at least 1")

    @classmethod
    def tiny(cls) -> ExportScale:
        """Return the size for tests: below 3 MB a patient."""
        return cls()

    @classmethod
    def demo(cls) -> ExportScale:
        """Return the size of the demo: about 150 MB, one clip above 64 MiB so that it is sent in parts."""
        return cls(
            channels=32,
            rate_hz=256,
            seconds=120,
            clips_per_study=4,
            clip_bytes=2_200_000,
            large_clip_bytes=68 << 20,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPlan:
    """One segment before it is written."""

    patient: Patient
    order: int
    variant: str
    #: wall clock of the site, with the sub-second part
    start_local: datetime
    record_s: Decimal
    samples_per_record: int
    records: int
    #: records after which the gap comes; 0 without a gap
    gap_after: int
    times: StudyTimes

    @property
    def gap_s(self) -> Decimal:
        """Return the length of the gap, s."""
        return _GAP_RECORDS * self.record_s if self.gap_after else Decimal(0)


def plan_segment(patient: Patient, order: int, scale: ExportScale) -> SegmentPlan:
    """Return the segment ``order`` (from 1, by true start) of ``patient``."""
    variant, start_local = patient.variants[order - 1], patient.starts[order - 1]
    halves = variant.startswith("BDF")
    record_s = Decimal("0.5") if halves else Decimal(1)
    if patient.key == "b" and variant == "EDF+D":
        record_s = _ODD_RECORD_S
    samples = scale.rate_hz // 2 if halves else scale.rate_hz
    records = scale.seconds * (2 if halves else 1)
    first_run = records // 2
    gapped = variant.endswith("D")
    return SegmentPlan(
        patient=patient,
        order=order,
        variant=variant,
        start_local=start_local,
        record_s=record_s,
        samples_per_record=samples,
        records=records,
        gap_after=first_run if gapped else 0,
        times=StudyTimes(
            start_utc=site_to_utc(start_local),
            rate_hz=float(samples / record_s),
            runs=(first_run * samples, (records - first_run) * samples),
            gap_samples=_GAP_RECORDS * samples if gapped else 0,
            origin_stamp=37 * (order - 1),
        ),
    )


#: Electrodes of the EEG32 headbox, in its order.
_EEG32 = (
    *("C3", "C4", "CZ", "F3", "F4", "F7", "F8", "FZ", "FP1", "FP2", "FPZ", "O1", "O2", "P3", "P4", "PZ"),
    *("T3", "T4", "T5", "T6", "A1", "A2"),
)


def channel_labels(patient: Patient, channels: int) -> tuple[str, ...]:
    """Return ``channels`` different electrode labels, the patient's own ones first."""
    strips = (f"{strip}{contact}" for strip in ("LG", "RG", "LAH", "RAH") for contact in range(1, 65))
    return (*patient.own_labels, *_EEG32, *strips)[:channels]
