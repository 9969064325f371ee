"""``[[destination]]`` of config.toml: what is taken, and what is refused before anything is sent."""

from __future__ import annotations

import pytest

from ecogsafe.core.config import parse_settings
from ecogsafe.core.errors import ConfigError

NAS = '[[destination]]\nname = "nas"\nurl = "file:///nas/ecog"\n'
BUCKET = '[[destination]]\nname = "bucket"\nurl = "s3://bucket"\n'


@pytest.mark.parametrize("mode", ["0640", "640", "0660", "0644"])
def test_group_and_mode_of_a_folder(mode: str) -> None:
    settings = parse_settings(f'{NAS}group = "ecog"\nmode = "{mode}"\n{BUCKET}')
    assert [(d.group, d.mode) for d in settings.destination] == [("ecog", mode), (None, None)]


@pytest.mark.parametrize("mode", ["0777", "0666", "0444", "rw-r-----", "0o640", "1640", ""])
def test_a_mode_that_lets_anybody_change_copies_is_refused(mode: str) -> None:
    with pytest.raises(ConfigError, match="mode"):
        parse_settings(f'{NAS}mode = "{mode}"\n')


@pytest.mark.parametrize("line", ['group = "ecog"', 'mode = "0640"'])
def test_a_bucket_has_neither(line: str) -> None:
    with pytest.raises(ConfigError, match="file://"):
        parse_settings(f"{BUCKET}{line}\n")
