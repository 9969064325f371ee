"""A home of ecogsafe, made once and copied for every run: `init` is not what is measured."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.private import Secret
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise

_PASSWORD = "benchmark password"


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A home, its password and its recovery key."""

    home: Path
    #: for ECOGSAFE_PASSWORD_FILE
    password_file: Path
    #: an age identity that opens everything
    recovery_file: Path
    #: the installed command
    program: Path

    def copy_home(self, target: Path) -> Path:
        """Return a copy of the home as `init` left it."""
        return Path(shutil.copytree(self.home, target))


def make_lab(folder: Path, *, work_factor: int | None = None) -> Lab:
    """Make a home below ``folder``; without ``work_factor`` its password is as strong as `ecogsafe init` makes it."""
    lab = Lab(
        home=folder / "home",
        password_file=folder / "password",
        recovery_file=folder / "recovery",
        program=Path(sys.executable).with_name("ecogsafe"),
    )
    folder.mkdir(parents=True)
    password = Secret(_PASSWORD.encode())
    initialise(Home(lab.home), password, recovery_file=lab.recovery_file, time_zone="UTC", work_factor=work_factor)
    lab.password_file.touch(mode=0o600)
    lab.password_file.write_text(_PASSWORD)
    return lab
