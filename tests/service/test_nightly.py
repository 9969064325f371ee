"""`backup` for every night: who is told how it ended, what stays out of the messages, and that nothing is asked."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from ecogsafe.core.config import Notify
from ecogsafe.core.errors import EcogsafeError, ExitStatus, NotNotifiedError
from ecogsafe.core.events import ErrorEvent, Event, Summary
from ecogsafe.service import nightly
from ecogsafe.service.backup import BackupRequest
from ecogsafe.service.nightly import backup_and_notify
from ecogsafe.service.notifying import Notice, notify
from tests.service.small_lab import CODES, NAME, SmallLab

SECRET = "json://watch:s3cret@messages.example.org"


class Courier:
    """Apprise with its network cut off; what would have been sent is kept."""

    def __init__(self, *, delivers: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self._delivers = delivers

    def notify(self, _courier: Any, **message: Any) -> bool:
        self.sent.append(message)
        return self._delivers


@pytest.fixture
def courier(monkeypatch: pytest.MonkeyPatch) -> Courier:
    return cut_off(monkeypatch, Courier())


def cut_off(monkeypatch: pytest.MonkeyPatch, courier: Courier) -> Courier:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        apprise = importlib.import_module("apprise").Apprise

    def notify_kept(self: Any, **message: Any) -> bool:
        return courier.notify(self, **message)

    monkeypatch.setattr(apprise, "notify", notify_kept)
    return courier


@pytest.fixture
def waiting(small_lab: SmallLab) -> SmallLab:
    """Two subjects and two folders."""
    small_lab.two_subjects()
    small_lab.clear()
    places = "".join(
        f'[[destination]]\nname = "{name}"\nurl = "{small_lab.folder_store(name)}"\n' for name in ("near", "far")
    )
    small_lab.home.config.write_text(f'outbox = "{small_lab.out}"\n{places}[notify]\nurls = ["{SECRET}"]\n')
    return small_lab


def night(lab: SmallLab) -> tuple[Summary | EcogsafeError, list[Event]]:
    events: list[Event] = []
    try:
        return backup_and_notify(lab.home, BackupRequest(), events.append), events
    except EcogsafeError as error:
        return error, events


def test_a_good_night_is_told_too(waiting: SmallLab, courier: Courier) -> None:
    """A heartbeat: where none comes, the machine is off or cron is broken."""
    ended, _ = night(waiting)
    assert isinstance(ended, Summary)
    assert ended.exit_status == 0
    (message,) = courier.sent
    assert message["notify_type"] == "success"
    assert message["title"].endswith("done")
    assert "2 of 2 subjects are complete at every one of 2 destinations" in message["body"]


def test_a_place_that_failed(waiting: SmallLab, courier: Courier) -> None:
    (waiting.folder / "far").rmdir()
    ended, events = night(waiting)
    assert isinstance(ended, Summary)
    assert ended.exit_status == int(ExitStatus.PARTIAL)
    (message,) = courier.sent
    assert message["notify_type"] == "failure"
    assert "exit status 3" in message["title"]
    assert "failed: far" in message["body"]
    assert [type(e) for e in events if isinstance(e, ErrorEvent)] == [ErrorEvent]


def test_a_night_on_which_nothing_could_be_done(waiting: SmallLab, courier: Courier) -> None:
    for code in CODES:
        waiting.edf(code, 1, text=f"seen by {NAME}")
    ended, _ = night(waiting)
    assert isinstance(ended, EcogsafeError)
    assert ended.exit_status is ExitStatus.IDENTIFIERS
    (message,) = courier.sent
    assert "exit status 20" in message["title"]
    assert NAME not in str(message)
    assert str(waiting.folder) not in str(message), "the message names a path of this machine"


def test_a_bug_of_ours_is_told_without_its_words(
    waiting: SmallLab, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError(f"could not read {NAME}.edf")

    monkeypatch.setattr(nightly, "backup", broken)
    with pytest.raises(RuntimeError):
        night(waiting)
    (message,) = courier.sent
    assert "exit status 1" in message["title"]
    assert NAME not in str(message)


def test_a_message_that_nobody_gets_spoils_a_good_night(waiting: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(monkeypatch, Courier(delivers=False))
    ended, events = night(waiting)
    assert isinstance(ended, Summary)
    assert ended.exit_status == int(ExitStatus.PARTIAL)
    assert [e.code for e in events if isinstance(e, ErrorEvent)] == ["not-notified"]
    assert "s3cret" not in str(events)


def test_without_urls_nobody_is_told(waiting: SmallLab, courier: Courier) -> None:
    text = waiting.home.config.read_text()
    waiting.home.config.write_text(text[: text.index("[notify]")])
    ended, _ = night(waiting)
    assert isinstance(ended, Summary)
    assert ended.exit_status == 0
    assert courier.sent == []


def test_without_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    notice = Notice(ExitStatus.DONE, "done")
    notify(Notify(), notice)
    with pytest.raises(NotNotifiedError) as told:
        notify(Notify(urls=(SECRET,)), notice)
    assert "ecogsafe[notify]" in told.value.next


def test_a_message_arrives() -> None:
    """By Apprise itself, at a service of this machine."""
    received: list[dict[str, Any]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"json://127.0.0.1:{server.server_port}"
        notify(Notify(urls=(url, url)), Notice(ExitStatus.STORE, "failed: far"))
        server.shutdown()
        thread.join()
        gone = server.server_port
    assert [(m["type"], m["message"]) for m in received] == [("failure", "failed: far")] * 2
    with pytest.raises(NotNotifiedError):
        notify(Notify(urls=(f"json://127.0.0.1:{gone}",)), Notice(ExitStatus.DONE, "done"))


def test_a_url_that_is_none_is_named_by_its_number(courier: Courier, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotNotifiedError) as told:
        notify(Notify(urls=(SECRET, "nonsense s3cret")), Notice(ExitStatus.DONE, "done"))
    assert "entry 2" in str(told.value)
    assert "s3cret" not in str(told.value)
    assert courier.sent == []
    assert "s3cret" not in "".join(capfd.readouterr())
