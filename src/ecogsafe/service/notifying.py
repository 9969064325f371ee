"""Messages to people, by Apprise: mail, Slack, Teams and others, as ``[notify] urls`` says."""

from __future__ import annotations

import importlib
import platform
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
    courier = courier_of(settings)
    kind = "success" if notice.status is ExitStatus.DONE else "failure"
    if not courier.notify(body=notice.text, title=notice.title, notify_type=kind):
        raise NotNotifiedError(
            "notify.urls",
            "a message could not be delivered to everybody",
            next="check [notify] in config.toml, and that this machine may reach those services",
        )


def _apprise() -> Any:
    try:
        return importlib.import_module("apprise")
    except ImportError as error:
        raise NotNotifiedError(
            "notify.urls",
            "messages are wanted, and Apprise is not installed",
            next="pip install 'ecogsafe[notify]'",
        ) from error


def courier_of(settings: Notify) -> Any:
    """Return what delivers to every URL of ``settings``; nothing is sent yet.

    Raises
    ------
    NotNotifiedError
        Apprise is not installed, or a URL is none of its.
    """
    courier = _apprise().Apprise()
    for number, url in enumerate(settings.urls, start=1):
        if not courier.add(url):
            raise NotNotifiedError(
                "notify.urls",
                f"its entry {number} is not a URL that Apprise understands",
                safe="Nobody was told, and nothing else is worse for it",
                next="mend [notify] in config.toml",
            )
    return courier
