"""What every command shares: where home is, how to ask for the password, how to show events, how to end."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from ecogsafe.core.errors import EcogsafeError, ExitStatus, InterruptedRunError, LabKeyError
from ecogsafe.core.events import ErrorEvent, Event, Summary
from ecogsafe.core.private import Secret
from ecogsafe.service.home import Home
from ecogsafe.service.running import Run, running
from ecogsafe.ui.cli.ahead import PASSWORD_FILE, home_folder, password_in
from ecogsafe.ui.cli.failures import bug_event
from ecogsafe.ui.cli.render import JsonRenderer, LineRenderer, Renderer, TerminalRenderer
from ecogsafe.ui.cli.streams import silence_terminal

if TYPE_CHECKING:
    from ecogsafe.service.unlock_ahead import UnlockAhead

OLD_PASSWORD_FILE = "ECOGSAFE_OLD_PASSWORD_FILE"  # noqa: S105  the name of a variable
NEW_PASSWORD_FILE = "ECOGSAFE_NEW_PASSWORD_FILE"  # noqa: S105  the name of a variable
IMPORT_PASSWORD_FILE = "ECOGSAFE_IMPORT_PASSWORD_FILE"  # noqa: S105  the name of a variable
CATALOG_URL = "ECOGSAFE_CATALOG"


class Shell:
    """The global options of one command line."""

    def __init__(
        self,
        *,
        home: Path | None,
        as_json: bool,
        quiet: bool,
        verbose: bool,
        yes: bool,
        ahead: UnlockAhead | None = None,
    ) -> None:
        self.as_json = as_json
        self.yes = yes
        self.stop = threading.Event()
        self.quiet = quiet
        self.renderer = self._renderer(as_json=as_json, quiet=quiet, verbose=verbose)
        self._home_option = home
        #: opens the lab key, and may have begun with it
        self._ahead = ahead

    @staticmethod
    def _renderer(*, as_json: bool, quiet: bool, verbose: bool) -> Renderer:
        if as_json:
            return JsonRenderer()
        if sys.stderr.isatty() and not quiet:
            return TerminalRenderer(verbose=verbose)
        return LineRenderer(quiet=quiet, verbose=verbose)

    @property
    def home(self) -> Home:
        """The home this command works with."""
        home = Home(home_folder(self._home_option), catalog_url=os.environ.get(CATALOG_URL) or None)
        if self._ahead is not None:
            home.open_lab_key = self._ahead.open
        return home

    @property
    def has_terminal(self) -> bool:
        """True if somebody is there to be asked."""
        return sys.stdin.isatty()

    def confirm(self, question: str) -> None:
        """Ask, unless ``--yes``.

        Raises
        ------
        ConfirmationNeededError
            Nobody is there to be asked, or the answer was no.
        """
        from ecogsafe.core.errors import ConfirmationNeededError

        if self.yes:
            return
        if not self.has_terminal:
            raise ConfirmationNeededError(
                "this command",
                f'asks, and nobody is there to answer: "{question}"',
                next="run it at a terminal, or give --yes if the answer is yes",
            )
        with self.asking():
            if not click.confirm(question, default=False, err=True):
                raise ConfirmationNeededError("this command", "was not confirmed", next="answer yes, or give --yes")

    def password(self) -> Secret:
        """Return the lab password: from the file named by ECOGSAFE_PASSWORD_FILE, or typed.

        Raises
        ------
        LabKeyError
            Neither is possible.
        """
        named = os.environ.get(PASSWORD_FILE)
        if named:
            return read_password_file(Path(named))
        if not self.has_terminal:
            raise no_password()
        with self.asking():
            return Secret(click.prompt("Lab password", hide_input=True, err=True).encode())

    @property
    def has_password_at_hand(self) -> bool:
        """Whether `password` asks nobody."""
        return bool(os.environ.get(PASSWORD_FILE))

    def old_password(self) -> Secret:
        """Return the lab's old password (OpenSSL): from the file named by ECOGSAFE_OLD_PASSWORD_FILE, or typed.

        Raises
        ------
        LabKeyError
            Neither is possible.
        """
        named = os.environ.get(OLD_PASSWORD_FILE)
        if named:
            return read_password_file(Path(named), OLD_PASSWORD_FILE)
        if not self.has_terminal:
            raise no_password("the old lab password", OLD_PASSWORD_FILE)
        with self.asking():
            return Secret(click.prompt("Old lab password (OpenSSL)", hide_input=True, err=True).encode())

    def new_password(self) -> Secret:
        """Return a new lab password, typed twice unless it comes from a file."""
        named = os.environ.get(PASSWORD_FILE)
        if named:
            return read_password_file(Path(named))
        if not self.has_terminal:
            raise no_password()
        with self.asking():
            typed = click.prompt("New lab password", hide_input=True, confirmation_prompt="Once more", err=True)
        return Secret(typed.encode())

    def changed_password(self) -> Secret:
        """Return what the lab password becomes: from the file named by ECOGSAFE_NEW_PASSWORD_FILE, or typed twice.

        Raises
        ------
        LabKeyError
            Neither is possible.
        """
        named = os.environ.get(NEW_PASSWORD_FILE)
        if named:
            return read_password_file(Path(named), NEW_PASSWORD_FILE)
        if not self.has_terminal:
            raise no_password("the new lab password", NEW_PASSWORD_FILE)
        with self.asking():
            typed = click.prompt("New lab password", hide_input=True, confirmation_prompt="Once more", err=True)
        return Secret(typed.encode())

    def import_password(self) -> Secret:
        """Return the password of a key file that the lab password does not open.

        Raises
        ------
        LabKeyError
            Neither the file named by ECOGSAFE_IMPORT_PASSWORD_FILE nor anybody gives one.
        """
        named = os.environ.get(IMPORT_PASSWORD_FILE)
        if named:
            return read_password_file(Path(named), IMPORT_PASSWORD_FILE)
        if not self.has_terminal:
            raise no_password("the password of the key file, which is not the lab password,", IMPORT_PASSWORD_FILE)
        with self.asking():
            return Secret(click.prompt("Password of the key file", hide_input=True, err=True).encode())

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Hold the live line still while something is typed, and let Ctrl-C end the command at once."""
        handler = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with self.renderer.paused():
                yield
        finally:
            signal.signal(signal.SIGINT, handler)

    def carry_out(self, command: str, work: Callable[[Run], None]) -> int:
        """Run ``work`` as a run of this home; show its events, its errors and its summary; return the status."""

        def within(emit: Callable[[Event], None]) -> Summary:
            with running(self.home, command, emit, stop=self.stop) as run:
                work(run)
                return run.summary()

        return self.show(command, within)

    def show(self, command: str, work: Callable[[Callable[[Event], None]], Summary]) -> int:
        """Run ``work`` with a sink for its events and end with its summary, whatever happens."""
        self._watch_signals()
        with self.renderer:
            try:
                summary = work(self.renderer.emit)
            except EcogsafeError as error:
                summary = self._failed(command, ErrorEvent.of(error))
            except (KeyboardInterrupt, click.Abort):
                summary = self._failed(command, ErrorEvent.of(_interrupted(command)))
            except Exception as error:  # noqa: BLE001  the border: nothing may reach the user as a traceback
                summary = self._failed(command, bug_event(error))
            self.renderer.emit(summary)
        return summary.exit_status

    def _failed(self, command: str, event: ErrorEvent) -> Summary:
        self.renderer.emit(event)
        seen = self.renderer.seen
        return Summary(
            command=command, exit_status=event.exit_status, files=seen.files(), bytes=seen.bytes, seconds=seen.seconds()
        )

    def _watch_signals(self) -> None:
        def on_signal(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                silence_terminal()
            if self.stop.is_set():
                os._exit(int(ExitStatus.INTERRUPTED))
            self.stop.set()
            self.renderer.note("stopping: the parts in flight are finished (once more to end at once)")

        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, on_signal)


def _interrupted(command: str) -> InterruptedRunError:
    return InterruptedRunError(command, "was interrupted", next="run the same command again to continue")


def no_password(item: str = "the lab password", variable: str = PASSWORD_FILE) -> LabKeyError:
    """Return the refusal of a command that needs a password and cannot ask."""
    return LabKeyError(
        item,
        "is needed, and there is no terminal to ask for it",
        next=f"put it into a file only you can read and name that file in {variable}",
    )


def read_password_file(path: Path, variable: str = PASSWORD_FILE) -> Secret:
    """Return the password in ``path`` (its first line); if others may read the file, say so.

    Raises
    ------
    LabKeyError
        It cannot be read or is empty.
    """
    try:
        mode = path.stat().st_mode
        data = password_in(path.read_bytes())
    except OSError as error:
        raise LabKeyError(
            f"the file named by {variable}",
            f"cannot be read ({os.strerror(error.errno or 0)})",
            next="check the path and its permissions",
        ) from error
    if stat.S_ISREG(mode) and mode & 0o077:
        click.echo(f"warning: other people may read the file named by {variable}: chmod 600 it", err=True)
    if not data:
        raise LabKeyError(f"the file named by {variable}", "is empty", next="write the password into it")
    return Secret(data)
