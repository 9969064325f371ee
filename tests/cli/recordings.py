"""Recordings as other programs read them: the digest of each signal, so that two files can be compared."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from pathlib import Path

import edfio
import numpy as np
import pyedflib
from natus_erd import NatusERDReader


def edfio_samples(path: Path) -> dict[str, str]:
    """Return the digest of the stored numbers of each signal by its position and rate, as edfio reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording = edfio.read_bdf(path) if path.suffix.lower() == ".bdf" else edfio.read_edf(path)
        return {
            f"{index} {signal.sampling_frequency:g}": hashlib.sha256(signal.digital.tobytes()).hexdigest()
            for index, signal in enumerate(recording.signals)
        }


def edfio_onsets(path: Path) -> list[tuple[float, float | None]]:
    """Return onset and duration of each annotation, as edfio reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording = edfio.read_bdf(path) if path.suffix.lower() == ".bdf" else edfio.read_edf(path)
        return [(a.onset, a.duration) for a in recording.annotations]


def pyedflib_samples(path: Path) -> dict[str, str]:
    """Return the same as `edfio_samples`, as pyedflib reads it.

    Raises
    ------
    OSError
        pyedflib does not take the file.
    """
    with pyedflib.EdfReader(str(path)) as reader:
        return {
            f"{index} {reader.getSampleFrequency(index):g}": hashlib.sha256(
                reader.readSignal(index, digital=True).tobytes()
            ).hexdigest()
            for index in range(reader.signals_in_file)
        }


def decimated_samples(study: Path) -> str:
    """Return `natus_samples` of a study's ``Decimated`` folder; the reader does not take a folder of that name."""
    with tempfile.TemporaryDirectory() as scratch:
        return natus_samples(shutil.copytree(study / "Decimated", Path(scratch) / "thinned"))


def natus_samples(folder: Path) -> str:
    """Return the digest of the stored samples of a Natus study, as natus-erd-reader reads them."""
    reader = NatusERDReader.open(folder)
    channels = list(range(len(reader.channels)))
    values = reader.read_samples(0, reader.info.n_samples, channels=channels, units="digital")
    values = values[~np.isnan(values).all(axis=1)]  # a headbox has more channels than were recorded
    stored = values[:, ~np.isnan(values[0])].astype("<i4")
    return hashlib.sha256(stored.tobytes()).hexdigest()
