"""Answers to ``init`` become a config.toml that ecogsafe reads back as they were meant."""

from __future__ import annotations

import pytest

from ecogsafe.core.config import parse_settings
from ecogsafe.core.errors import UsageError
from ecogsafe.service.config_template import config_template
from ecogsafe.service.first_places import destination_of


def test_awkward_names_come_back_as_they_were_typed() -> None:
    outbox = '/data/with "quotes", back\\slash, ümlaut, {braces} and \x7f'
    places = [destination_of("/nas/a # b", types="ve", taken=(), plain=True)]
    places.append(destination_of("s3://lab-deep/x", types="e", taken=(), archive=True))
    settings = parse_settings(config_template("Europe/Madrid", outbox=outbox, destinations=places))
    assert settings.outbox == outbox
    assert settings.destination == tuple(places)
    assert settings.time_zone == "Europe/Madrid"


def test_each_place_has_a_name_of_its_own() -> None:
    names: list[str] = []
    for url in ("s3://lab", "s3://lab/x", "file:///mnt/lab", "/"):
        names.append(destination_of(url, types="v", taken=names).name)
    assert names == ["lab", "lab-2", "lab-3", "folder"]


@pytest.mark.parametrize(("types", "kinds"), [("v", ("v",)), ("e, v", ("v", "e")), ("ev", ("v", "e"))])
def test_kinds_as_people_type_them(types: str, kinds: tuple[str, ...]) -> None:
    assert destination_of("s3://lab", types=types, taken=()).types == kinds


@pytest.mark.parametrize(
    ("url", "types"), [("s3://lab", ""), ("s3://lab", "video"), ("lab", "v"), ("ftp://lab", "v"), ("s3://_", "v")]
)
def test_what_does_not_fit_is_refused(url: str, types: str) -> None:
    with pytest.raises(UsageError):
        destination_of(url, types=types, taken=())
