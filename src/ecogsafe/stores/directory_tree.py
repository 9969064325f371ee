"""The folder tree of a folder store: which path a key has, and that no path leaves the folder."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ecogsafe.core.errors import StoreRefusedError, StoreUnreachableError
from ecogsafe.stores.directory_access import Access
from ecogsafe.stores.directory_files import (
    disk_error,
    disk_errors,
    make_folder,
    refuse_link,
    remove_abandoned,
)
from ecogsafe.stores.keys import check_key

_OPEN_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """The folder ``root`` and what lies below it.

    Raises
    ------
    StoreUnreachableError
        ``root`` is not there, or (later) another folder is there than at first.
    """

    def __init__(self, root: Path, url: str, folder_mode: int, access: Access | None = None) -> None:
        self._root = root
        self._url = url
        self._folder_mode = folder_mode
        self._access = access
        self._prepared: set[Path] = set()
        self._preparing = threading.Lock()
        self._identity = self._look()

    @property
    def device(self) -> int:
        """The number of the device that holds the folder."""
        return self._identity[0]

    def _look(self) -> tuple[int, int]:
        with disk_errors(self._url):
            there = self._root.stat()
        if not stat.S_ISDIR(there.st_mode):
            raise StoreRefusedError(self._url, "is not a folder", next="check the URL")
        return there.st_dev, there.st_ino

    def check(self) -> None:
        """Refuse to go on when the folder went away: an empty mount point looks like lost copies."""
        if self._look() != self._identity:
            raise StoreUnreachableError(
                self._url,
                "another folder lies there now, a mount came or went",
                next="mount it and run again",
            )

    def locate(self, key: str) -> Path:
        """Return the path of ``key``; no folder on the way is a link."""
        check_key(key, store=self._url)
        self.check()
        return self._below(key.split("/")[:-1]) / key.rpartition("/")[2]

    def _below(self, folders: Sequence[str]) -> Path:
        path = self._root
        for folder in folders:
            path = path / folder
            try:
                is_link = stat.S_ISLNK(path.lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise disk_error(self._url, error) from error
            if is_link:
                raise refuse_link(self._url)
        return path

    def prepare(self, folder: Path) -> None:
        """Make the folders down to ``folder``, durably, and clear it of what killed writers left.

        A folder that another process made a moment ago may not be on the disk yet, so those found there
        are fsynced too, once a process, before anything in them is called stored.
        """
        with self._preparing:
            if folder in self._prepared and folder.is_dir():
                return
            path = self._root
            for name in folder.relative_to(self._root).parts:
                path = path / name
                if make_folder(path, self._folder_mode, self._url) and self._access is not None:
                    self._access.give(path, self._url)
            remove_abandoned(folder)
            self._prepared.add(folder)

    def open(self, key: str) -> int | None:
        """Return the open file of ``key``, None where there is none.

        Raises
        ------
        StoreRefusedError
            A link, device or pipe lies there.
        """
        try:
            fd = os.open(self.locate(key), _OPEN_READ)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise disk_error(self._url, error) from error
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
        if stat.S_ISDIR(mode):
            return None
        raise refuse_link(self._url)

    def walk(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield the files whose path below the root begins with ``prefix``, each with that path; no links."""
        above = prefix.rpartition("/")[0]
        if above:
            check_key(above, store=self._url)
        self.check()
        waiting = [(self._below(above.split("/") if above else ()), f"{above}/" if above else "")]
        while waiting:
            folder, start = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except (FileNotFoundError, NotADirectoryError):
                self.check()
                continue
            except OSError as error:
                raise disk_error(self._url, error) from error
            for entry in found:
                path = start + entry.name
                if not path.startswith(prefix):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((folder / entry.name, f"{path}/"))
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry
