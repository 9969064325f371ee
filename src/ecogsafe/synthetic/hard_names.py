"""Four more invented patients, whose names are hard: apostrophe, two letters, ordinary words, parts of labels."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date

from ecogsafe.synthetic.patients import Patient, synthetic_patients


def hard_named_patients(seed: int) -> tuple[tuple[Patient, Patient], ...]:
    """Return three pairs, each for an export of its own; the first pair is that of `synthetic_patients`.

    Parameters
    ----------
    seed
        As there: study GUIDs and internal numbers.
    """
    first, second = synthetic_patients(seed), synthetic_patients(seed + 1)
    third = synthetic_patients(seed + 2)
    return (
        first,
        (_apostrophe(second[0], seed), _part_of_labels(second[1], seed)),
        (_two_letters(third[0], seed), _ordinary_word(third[1], seed)),
    )


def _number(seed: int, key: str) -> int:
    return random.Random(f"{seed}/patient {key}").randrange(1 << 24, 1 << 30)


def _apostrophe(like: Patient, seed: int) -> Patient:
    """Return a patient of more than 89 years: the age itself is an identifier."""
    return replace(
        like,
        key="c",
        last_name="D'Ôrrelin",
        first_name="Jo",
        middle_name="Asmund",
        mrn="70081234",
        birth_date=date(1930, 12, 2),
        telephone="(206) 555-0161",
        email="jo.dorrelin@example.org",
        address="9 Imaginary Mews",
        social_security="000-33-7710",
        account="ACC-6120044",
        technician="V. Sorrelby",
        login="vsorr3",
        host="EMU-REVIEW-09",
        headbox_serial=447731,
        internal_id=_number(seed, "c"),
        own_labels=("LJO1", "JO2"),
        own_annotations=("Jogging on the spot", "Major event, left"),
    )


def _part_of_labels(like: Patient, seed: int) -> Patient:
    return replace(
        like,
        key="d",
        last_name="Lah",
        first_name="Wrennick",
        middle_name="Toby",
        mrn="80066721",
        birth_date=date(1999, 7, 5),
        telephone="(425) 555-0133",
        email="w.lah@example.net",
        address="301 Nonesuch Road",
        social_security="000-61-9035",
        account="ACC-7730915",
        technician="B. Ostrander",
        login="bostr1",
        host="EMU-ACQ-14",
        headbox_serial=452266,
        internal_id=_number(seed, "d"),
        own_labels=("LAH1", "RLAH2"),
        own_annotations=("LAH1 to LAH3 spikes", "Blahing into the microphone"),
    )


def _two_letters(like: Patient, seed: int) -> Patient:
    return replace(
        like,
        key="e",
        last_name="Fp",
        first_name="Mary-Ånnika",
        middle_name="Quen",
        mrn="70093345",
        birth_date=date(1978, 1, 30),
        telephone="(206) 555-0119",
        email="mary.annika@example.org",
        address="58 Makebelieve Street",
        social_security="000-70-4402",
        account="ACC-6340981",
        technician="G. Pellworth",
        login="gpell8",
        host="EMU-REVIEW-11",
        headbox_serial=449015,
        internal_id=_number(seed, "e"),
        own_labels=("FP1", "FP2"),
        own_annotations=("Fp1 noisy", "Electrodes Fp1-F3 checked"),
    )


def _ordinary_word(like: Patient, seed: int) -> Patient:
    return replace(
        like,
        key="f",
        last_name="Ball",
        first_name="Handel",
        middle_name="Ivo",
        mrn="80071156",
        birth_date=date(1985, 10, 17),
        telephone="(425) 555-0126",
        email="h.ball@example.net",
        address="12 Pretend Close",
        social_security="000-82-5517",
        account="ACC-7745502",
        technician="N. Quarrington",
        login="nquar5",
        host="EMU-ACQ-17",
        headbox_serial=453348,
        internal_id=_number(seed, "f"),
        own_labels=("BALL1", "LBALL2"),
        own_annotations=("Football on television", "Ballistic movement of the hand"),
    )
