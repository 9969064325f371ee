"""What a command that needs the lab key can begin before its own modules are loaded: to open that key.

Only where the password comes from an ordinary file, so that nobody is asked for nothing and no pipe is emptied.
What cannot be read here is left to the command, which says what is wrong with it. As little as possible is loaded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecogsafe.service.unlock_ahead import UnlockAhead

PASSWORD_FILE = "ECOGSAFE_PASSWORD_FILE"  # noqa: S105  the name of a variable
HOME = "ECOGSAFE_HOME"
LAB_KEY = "lab-key.age"
#: with one of these a download opens nothing
_OPENS_NOTHING = frozenset({"-h", "--help", "--dry-run", "--no-decrypt"})


def home_folder(option: Path | None) -> Path:
    """Return the home: as the command line names it, else the environment, else where it is by default."""
    named = option or (Path(os.environ[HOME]) if os.environ.get(HOME) else None)
    if named is None:
        from platformdirs import user_data_path

        named = user_data_path("ecogsafe")
    return named


def password_in(data: bytes) -> bytes:
    """Return the password in a file that holds ``data``: its first line."""
    return data.split(b"\n", 1)[0].rstrip(b"\r")


def unlock_ahead(command: str, arguments: Sequence[str], home: Path | None) -> UnlockAhead | None:
    """Begin to open the lab key if ``command`` with these ``arguments`` is going to need it."""
    named = os.environ.get(PASSWORD_FILE)
    if command != "download" or not named or not _OPENS_NOTHING.isdisjoint(arguments):
        return None
    with suppress(OSError):
        sealed = (home_folder(home) / LAB_KEY).read_bytes()
        # a pipe is not even opened: what its other end has to say, it says once; so does a file by its descriptor,
        # where the system gives that out with its position
        is_file = stat.S_ISREG(Path(named).stat().st_mode) and not os.path.realpath(named).startswith("/dev/")
        password = password_in(Path(named).read_bytes()) if is_file else b""
        if password:
            from ecogsafe.core.private import Secret
            from ecogsafe.service.unlock_ahead import UnlockAhead

            return UnlockAhead(sealed, Secret(password))
    return None
