"""The invented patients and their identifiers file."""

from __future__ import annotations

import tomllib

from ecogsafe.synthetic.patients import synthetic_patients


def test_identifiers_file_is_toml_with_the_keys_of_the_tool() -> None:
    for patient in synthetic_patients(3):
        record = tomllib.loads(patient.identifiers_toml())
        assert sorted(record) == ["also", "birth_date", "first_name", "last_name", "middle_name", "mrn"]
        assert record["last_name"] == patient.last_name
        assert record["birth_date"] == patient.birth_date.isoformat()
        assert set(record["also"]) >= {patient.telephone, patient.host, *patient.study_guids}


def test_the_two_share_no_identifier_but_are_alike_in_shape() -> None:
    first, second = synthetic_patients(3)
    assert not set(first.terms()) & set(second.terms())
    assert not first.last_name.isascii()
    assert first.folded_last_name == "Quebrane-Zolt"
    assert second.last_name.lower() in second.own_labels[0].lower()
    assert len(second.last_name) == 4


def test_the_seed_chooses_guids_and_numbers_only() -> None:
    one, other = synthetic_patients(3)[0], synthetic_patients(4)[0]
    assert one == synthetic_patients(3)[0]
    assert one.study_guids != other.study_guids
    assert one.internal_id != other.internal_id
    assert (one.last_name, one.mrn) == (other.last_name, other.mrn)
