"""Who may read what is put into a folder: group and mode as the config says, kept whatever the umask is."""

from __future__ import annotations

import errno
import grp
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ecogsafe.core.errors import StoreRefusedError

#: of files for a group, unless the config says otherwise: it reads, and nobody changes a copy by mistake
SHARED_FILE_MODE = 0o640
#: what SMB and FAT answer: they keep the modes and groups of the mount
_KEPT_BY_THE_MOUNT = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Access:
    """Group and mode of what is made in a folder.

    Parameters
    ----------
    group
        Name of the group; None: whichever the system gives.
    file_mode
        Of files. Folders have the same, may be entered where they may be read, and hand their group on (setgid).
    """

    group: str | None = None
    file_mode: int = SHARED_FILE_MODE

    @property
    def folder_mode(self) -> int:
        """Mode of folders."""
        return 0o2000 | self.file_mode | (self.file_mode & 0o444) >> 2

    def group_id(self, url: str) -> int:
        """Return the number of the group; -1 for none.

        Raises
        ------
        StoreRefusedError
            This machine knows no such group.
        """
        if self.group is None:
            return -1
        try:
            return grp.getgrnam(self.group).gr_gid
        except KeyError as error:
            raise StoreRefusedError(
                url,
                "the group that config.toml names for it is not known on this machine",
                next="check group in config.toml (getent group)",
            ) from error

    def give(self, made: int | Path, url: str) -> None:
        """Set group and mode of a file (its descriptor) or folder (its path) that was just made.

        Raises
        ------
        StoreRefusedError
            The group cannot be set: who runs this is no member of it.
        """
        wanted = self.group_id(url)
        there = os.stat(made)  # noqa: PTH116  or a descriptor
        if wanted not in (-1, there.st_gid):
            try:
                os.chown(made, -1, wanted)
            except OSError as error:
                if error.errno not in _KEPT_BY_THE_MOUNT:
                    raise
                raise StoreRefusedError(
                    url,
                    "what is written there cannot be given to the group that config.toml names",
                    next="become a member of that group (id), or mount the share with it",
                ) from error
        mode = self.folder_mode if stat.S_ISDIR(there.st_mode) else self.file_mode
        # it was made by us a moment ago: a refusal means that the file system keeps no modes
        with suppress(PermissionError):
            os.chmod(made, mode)  # noqa: PTH101  or a descriptor
