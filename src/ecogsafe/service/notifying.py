"""Messages to people, by Apprise: mail, Slack, Teams and others, as ``[notify] urls`` says."""

from __future__ import annotations

import importlib
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ecogsafe.core.config import Notify
from ecogsafe.core.errors import ExitStatus, NotNotifiedError


@dataclass(frozen=True, slots=True)
class Notice:
    """How a run ended; nothing in it is private."""

    status: ExitStatus
    text: str

    @property
    def title(self) -> str:
        """The line that is seen without opening the message."""
        if self.status is ExitStatus.DONE:
            return f"ecogsafe backup on {platform.node()}: done"
        return f"ecogsafe backup on {platform.node()}: NEEDS YOU (exit status {int(self.status)})"


def notify(settings: Notify, notice: Notice) -> None:
    """Send ``notice`` to every URL of ``settings``; without any, nothing is done.

    Raises
    ------
    NotNotifiedError
        Apprise is not installed, a URL is none of its, or a message could not be delivered. The URLs are not
        repeated: they hold passwords and tokens.
    """
    if not settings.urls:
        return
    with _quietly():
        courier = courier_of(settings)
        kind = "success" if notice.status is ExitStatus.DONE else "failure"
        delivered = courier.notify(body=notice.text, title=notice.title, notify_type=kind)
    if not delivered:
        raise NotNotifiedError(
            "notify.urls",
            "a message could not be delivered to everybody",
            safe="The run itself is not worse for it",
            next="check [notify] in config.toml, and that this machine may reach those services",
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Apprise from talking: it tells its log whole URLs, with the passwords in them."""
    logging.getLogger("apprise").disabled = True
    with warnings.catch_warnings():
        # some of what it delivers to needs modules of Python that are on their way out
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def courier_of(settings: Notify) -> Any:
    """Return what delivers to every URL of ``settings``; nothing is sent yet.

    Raises
    ------
    NotNotifiedError
        Apprise is not installed, or a URL is none of its.
    """
    with _quietly():
        courier, number = _courier(settings)
    if number:
        raise NotNotifiedError(
            "notify.urls",
            f"its entry {number} is not a URL that Apprise understands",
            safe="The run itself is not worse for it",
            next="mend [notify] in config.toml",
        )
    return courier


def _courier(settings: Notify) -> tuple[Any, int]:
    """Return what delivers, and the number from 1 of the first URL that is none; 0 for all well."""
    try:
        courier = importlib.import_module("apprise").Apprise()
    except ImportError as error:
        raise NotNotifiedError(
            "notify.urls",
            "messages are wanted, and Apprise is not installed",
            safe="The run itself is not worse for it",
            next="pip install 'ecogsafe[notify]'",
        ) from error
    wrong = (number for number, url in enumerate(settings.urls, start=1) if not courier.add(url))
    return courier, next(wrong, 0)
