"""The Natus study folders: natus-erd-reader opens them, the samples and clocks agree."""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from natus_erd import NatusERDReader

from ecogsafe.synthetic.export import Ledger
from ecogsafe.synthetic.natus_files import GenericHeader, StcEntry, write_erd_pair, write_stc
from ecogsafe.synthetic.natus_text import Atom, key_tree
from ecogsafe.synthetic.waves import Wave

Export = tuple[Path, Ledger]


def _from_filetime(value: int) -> datetime:
    return datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=value // 10)


def test_natus_erd_reader_reads_the_same_samples(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        reader = NatusERDReader.open(folder / segment.study)
        info = reader.info
        assert info.sample_rate == pytest.approx(segment.rate_hz)
        assert info.n_samples / info.sample_rate == pytest.approx(segment.duration_s)
        assert info.segment_count == 2
        values = reader.read_samples(0, info.n_samples, channels=list(range(6)), units="digital")
        missing = np.isnan(values[0])
        assert missing.sum() / info.sample_rate == pytest.approx(segment.gap_s)
        stored = values[:, ~missing].astype("<i4")
        recorded = next(d.sha256 for d in segment.digests if d.what == "natus-samples")
        assert hashlib.sha256(stored.tobytes()).hexdigest() == recorded
        assert reader.validate(deep=True).stored_samples == stored.shape[1]
        assert [e.text for e in reader.read_events()][1] == "Spike"
        assert reader.channels[0].name in ("LZT1", "LPOST1")


def test_all_clocks_of_a_segment_agree(mixed: Export) -> None:
    folder, ledger = mixed
    for segment in ledger.segments:
        stem = folder / segment.study / segment.stem
        stamp, moment = struct.unpack_from("<iq", Path(f"{stem}.snc").read_bytes(), 352)
        assert abs(_from_filetime(moment) - segment.start_utc) < timedelta(milliseconds=1)
        assert stamp == struct.unpack_from("<i", Path(f"{stem}.etc").read_bytes(), 356)[0]
        vtc = Path(f"{stem}.vtc").read_bytes()
        assert (len(vtc) - 20) % 293 == 0
        for index, clip in enumerate(segment.clips):
            start, end = struct.unpack_from("<qq", vtc, 20 + 293 * index + 277)
            assert (_from_filetime(start), _from_filetime(end)) == (clip.start_utc, clip.end_utc)
            assert segment.start_utc < clip.start_utc < clip.end_utc
        assert Path(f"{stem}.vt2").stat().st_size == len(vtc)


def test_local_and_utc_starts_differ_by_the_offset_of_the_season(mixed: Export) -> None:
    _, ledger = mixed
    hours = [(s.start_utc.replace(tzinfo=None) - s.start_local) / timedelta(hours=1) for s in ledger.segments]
    assert hours == [8, 7, 7, 7, 7, 8]


def test_all_samples_of_many_packets_survive_the_reader(tmp_path: Path) -> None:
    wave, header = Wave("w"), GenericHeader(created=datetime(2024, 1, 2, tzinfo=UTC))
    write_erd_pair(
        tmp_path / "s.erd", tmp_path / "s.etc", header, wave,
        channels=250, rate_hz=512.5, start_stamp=10, first_sample=0, samples=2001,
    )  # fmt: skip
    write_stc(tmp_path / "s.stc", header, [StcEntry(name=b"s", start_stamp=10, sample_number=0, samples=2001)])
    reader = NatusERDReader.open(tmp_path)
    values = reader.read_samples(0, 2001, channels=[0, 1, 249], units="digital")
    for row, channel in enumerate((0, 1, 249)):
        assert values[row].astype("<i4").tobytes() == wave.int32(channel, 0, 2001)


def test_names_too_long_for_their_fields_are_refused(tmp_path: Path) -> None:
    created = datetime(2024, 1, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="79 bytes"):
        GenericHeader(created=created, last_name=b"x" * 80).to_bytes("eeg")
    entry = StcEntry(name=b"x" * 256, start_stamp=0, sample_number=0, samples=1)
    with pytest.raises(ValueError, match="256 bytes"):
        write_stc(tmp_path / "s.stc", GenericHeader(created=created), [entry])


def test_key_tree_spells_every_kind_of_value() -> None:
    tree = {"A": 'say "hi"\r\nC:\\x', "B": [1, 2], "C": {"D": 25601.0}, "E": Atom("0aff")}
    assert key_tree(tree) == (
        '(.(."A", "say \\"hi\\"\\xd \nC:\\\\x"), (."B", (1, 2)), (."C", (.(."D", 25601.000000))), (."E", 0aff))'
    )
    with pytest.raises(TypeError):
        key_tree(True)
