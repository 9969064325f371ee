"""``doctor``: each thing that can be wrong is made wrong once, and told with what to fix."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ecogsafe.catalog import meta
from ecogsafe.core.errors import StoreRefusedError, WrongPasswordError
from ecogsafe.core.events import Event, Item, Summary
from ecogsafe.core.private import Secret
from ecogsafe.service import doctor_places
from ecogsafe.service.doctor import doctor
from ecogsafe.service.doctor_places import PROBES, probe_of
from ecogsafe.service.home import RECIPIENTS_DIGEST, Home
from ecogsafe.service.key_backup import back_up_keys, key_copies
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.stores.s3_settings import BucketSettings, LifecycleRule
from tests.service.key_places import new_linking_key
from tests.service.small_lab import PASSWORD, Forgetful, SmallLab, StoresInMemory

PLACES = ("nas", "cloud")
SOUND = BucketSettings(
    versioning="Enabled", blocks_public=True, rules=(LifecycleRule(name="a", prefix="", abort_days=7),)
)


@pytest.fixture
def places(small_lab: SmallLab) -> dict[str, Path]:
    """Two folders that are the destinations of the settings; the keys have copies in both."""
    folders = {name: small_lab.folder / name for name in PLACES}
    for folder in folders.values():
        folder.mkdir()
    configure(small_lab, {name: folder.as_uri() for name, folder in folders.items()})
    new_linking_key(small_lab, b"generation 1")
    small_lab.home.linking_key.chmod(0o600)
    with small_lab.catalog() as catalog:
        back_up_keys(small_lab.home, catalog)
    return folders


@pytest.fixture(autouse=True)
def roomy() -> Iterator[None]:
    with mock.patch.object(doctor_places, "LEAST_FREE_BYTES", 1):
        yield


def configure(small: SmallLab, urls: dict[str, str], more: str = "") -> None:
    rows = "".join(f'[[destination]]\nname = "{name}"\nurl = "{url}"\n' for name, url in urls.items())
    (small.folder / "outbox").mkdir(exist_ok=True)
    top = f'time_zone = "America/Los_Angeles"\noutbox = "{small.folder}/outbox"\n'
    small.home.config.write_text(f"{top}{rows}[policy]\ncopies = 2\n{more}")


def examined(home: Home, **options: Any) -> tuple[Summary, list[Item]]:
    events: list[Event] = []
    summary = doctor(home, events.append, **options)
    return summary, [e for e in events if isinstance(e, Item)]


def wrong(items: list[Item]) -> list[tuple[str | None, str]]:
    """Return store and check of what is to be fixed; each says how."""
    failed = [i for i in items if i.status == "failed"]
    assert all(i.details.get("fix") for i in failed)
    return [(i.store, i.details["check"]) for i in failed]


def one_wrong(home: Home, store: str | None, check: str, text: str, status: int = 3, **options: Any) -> None:
    summary, items = examined(home, **options)
    found = [i for i in items if i.status == "failed"]
    assert wrong(items) == [(store, check)], [i.message for i in found]
    assert text in found[0].message
    assert summary.exit_status == status


def test_a_sound_lab_has_nothing_to_fix(small_lab: SmallLab, places: dict[str, Path]) -> None:
    summary, items = examined(small_lab.home, password=lambda: PASSWORD)
    assert wrong(items) == []
    assert (summary.exit_status, summary.counts["places"]) == (0, 2)
    assert any("opens the lab key" in i.message for i in items)


def test_the_probe_is_one_a_day_and_the_same_for_everybody(small_lab: SmallLab, places: dict[str, Path]) -> None:
    for _ in range(3):
        assert examined(small_lab.home)[0].exit_status == 0
    (probe,) = (places["nas"] / PROBES).iterdir()
    assert probe.read_bytes() == probe_of(probe.name)
    assert probe_of("2026-01-01") != probe_of("2026-01-02")


def test_a_probe_that_comes_back_changed_is_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    examined(small_lab.home)
    (probe,) = (places["cloud"] / PROBES).iterdir()
    probe.chmod(0o600)
    probe.write_bytes(b"x" * len(probe.read_bytes()))
    one_wrong(small_lab.home, "cloud", "probe", "did not come back")


def test_a_mount_that_vanished_is_told_and_nothing_is_written_there(
    small_lab: SmallLab, places: dict[str, Path]
) -> None:
    examined(small_lab.home)
    shutil.rmtree(places["nas"])
    places["nas"].mkdir()
    one_wrong(small_lab.home, "nas", "reach", "carries no store id")
    assert list(places["nas"].iterdir()) == []


def test_every_place_away_ends_10(small_lab: SmallLab, places: dict[str, Path]) -> None:
    for folder in places.values():
        shutil.rmtree(folder)
    summary, items = examined(small_lab.home)
    assert wrong(items) == [("nas", "reach"), ("cloud", "reach")]
    assert summary.exit_status == 10


def test_a_full_disk_and_a_folder_without_rights_are_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    examined(small_lab.home)
    with mock.patch.object(doctor_places, "LEAST_FREE_BYTES", 1 << 80):
        assert wrong(examined(small_lab.home)[1]) == [("nas", "room"), ("cloud", "room")]
    with mock.patch.object(doctor_places.os, "access", return_value=False):
        assert wrong(examined(small_lab.home)[1]) == [("nas", "room"), ("cloud", "room")]


def test_key_copies_that_are_old_or_damaged_are_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    newest = key_copies(DirectoryStore(places["nas"], url=places["nas"].as_uri()), "linking-key")[-1]
    damaged = places["nas"] / newest.key
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    one_wrong(small_lab.home, "nas", "key copies", "linking-key.age")
    new_linking_key(small_lab, b"generation 2")
    assert wrong(examined(small_lab.home)[1]) == [("nas", "key copies"), ("cloud", "key copies")]


def test_no_place_for_key_copies_is_told(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    configure(small_lab, {"one": "s3://one", "two": "s3://two"})
    with mock.patch("ecogsafe.service.doctor_bucket.settings_of", told(SOUND)):
        one_wrong(small_lab.home, None, "key copies", "no second copy")


def told(settings: BucketSettings) -> Callable[[str], Any]:
    return lambda url: (mock.Mock(bucket=url.removeprefix("s3://"), prefix=""), settings)


@pytest.fixture
def buckets(small_lab: SmallLab, in_memory: StoresInMemory) -> Iterator[StoresInMemory]:
    """Two buckets in memory, well set up; the second holds the key copies."""
    configure(small_lab, {"one": "s3://one", "two": "s3://two"}, '[key_backup]\nurls = ["s3://two"]\n')
    with mock.patch("ecogsafe.service.doctor_bucket.settings_of", told(SOUND)):
        yield in_memory


def test_a_store_that_refuses_to_write_is_told(small_lab: SmallLab, buckets: StoresInMemory) -> None:
    examined(small_lab.home)
    refused = Fault(error=StoreRefusedError("s3://one", "refuses access (AccessDenied)", next="ask"))
    buckets.by_url["s3://one"] = Faulty(buckets.by_url["s3://one"], {"put": [refused] * 3})
    one_wrong(small_lab.home, "one", "probe", "refuses access")


def test_a_store_without_checksums_is_no_failure_and_is_told(small_lab: SmallLab, buckets: StoresInMemory) -> None:
    buckets.add("s3://one", Forgetful("s3://one"))
    summary, items = examined(small_lab.home)
    assert summary.exit_status == 0
    assert [i.store for i in items if "stored, not as proven" in i.message] == ["one"]


class Slow(MemoryStore):
    """A store whose clock is an hour behind ours."""

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        info = super().head(key, checksum=checksum)
        if info is None or info.checked_at is None:
            return info
        return replace(info, store_date=info.checked_at - timedelta(hours=1))


def test_clocks_that_differ_are_told(small_lab: SmallLab, buckets: StoresInMemory) -> None:
    buckets.add("s3://two", Slow("s3://two"))
    one_wrong(small_lab.home, "two", "clock", "+60 min off")


def test_unfinished_uploads_are_summed_up(small_lab: SmallLab, buckets: StoresInMemory) -> None:
    store: Store = buckets.add("s3://one")
    for n in (1, 2):
        store.begin_upload(f"a1b2c3d4/a1b2c3d4_{n}/a1b2c3d4_{n}.avi.age", token="0" * 32, size=1 << 30)
    _, items = examined(small_lab.home)
    (note,) = [i for i in items if i.details["check"] == "unfinished uploads"]
    assert (note.store, note.status) == ("one", "note")
    assert note.message.startswith("2 unfinished uploads")


# the home


def test_no_home_yet(tmp_path: Path) -> None:
    summary, items = examined(Home(tmp_path / "none"))
    assert ("ecogsafe init" in next(i.details["fix"] for i in items if i.details["check"] == "home")) is True
    assert summary.exit_status == 3


def test_a_lost_lab_key_asks_for_the_sheet(small_lab: SmallLab, places: dict[str, Path]) -> None:
    small_lab.home.lab_key.unlink()
    _, items = examined(small_lab.home)
    assert wrong(items) == [(None, "home")]
    assert any("2 places were not checked" in i.message for i in items)


def test_files_that_others_may_read_are_named(small_lab: SmallLab, places: dict[str, Path]) -> None:
    small_lab.home.config.chmod(0o644)
    small_lab.home.root.chmod(0o750)
    one_wrong(small_lab.home, None, "permissions", "the home folder, config.toml")


def test_a_damaged_catalogue_is_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    for name in ("", "-wal", "-shm"):
        Path(f"{small_lab.home.catalog_path}{name}").unlink(missing_ok=True)
    small_lab.home.catalog_path.touch(mode=0o600)
    small_lab.home.catalog_path.write_bytes(b"SQLite format 3\0" + os.urandom(4000))
    summary, items = examined(small_lab.home)
    assert wrong(items) == [(None, "catalogue")]
    assert summary.exit_status == 3


def test_changed_recipients_are_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    lines = small_lab.home.recipient_lines()
    small_lab.home.recipients_file.write_bytes(lines + b"# one more\n")
    assert (None, "recipients") in wrong(examined(small_lab.home)[1])


def test_a_lab_without_recovery_key_is_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    first = b"\n".join(small_lab.home.recipient_lines().splitlines()[:2]) + b"\n"
    small_lab.home.recipients_file.write_bytes(first)
    with small_lab.catalog() as catalog:
        with catalog.write() as tx:
            meta.set(tx, RECIPIENTS_DIGEST, hashlib.sha256(first).hexdigest())
        back_up_keys(small_lab.home, catalog)
    one_wrong(small_lab.home, None, "recipients", "only one key")


def test_a_wrong_password_is_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    one_wrong(small_lab.home, None, "lab key", "", password=lambda: Secret(b"not the password"))
    assert issubclass(WrongPasswordError, Exception)


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        (lambda text: text.replace("time_zone", "# time_zone"), "config"),
        (lambda text: text.replace("/outbox", "/nowhere"), "config"),
        (lambda text: text.replace("copies = 2", "copies = 3"), "config"),
        (lambda text: text.replace("outbox", "outbx"), "config"),
    ],
)
def test_settings_that_do_not_fit_are_told(
    small_lab: SmallLab, places: dict[str, Path], damage: Callable[[str], str], check: str
) -> None:
    config = small_lab.home.config
    config.write_text(damage(config.read_text()))
    assert wrong(examined(small_lab.home)[1]) == [(None, check)]


def test_libraries_that_the_settings_need_are_told(small_lab: SmallLab, places: dict[str, Path]) -> None:
    with small_lab.home.config.open("a") as config:
        config.write('[notify]\nurls = ["mailto://lab@example.org"]\n')
    with mock.patch("ecogsafe.service.doctor_tools._has", return_value=False):
        one_wrong(small_lab.home, None, "libraries", "apprise")


def test_programs_that_are_not_here_are_no_failure(small_lab: SmallLab, places: dict[str, Path]) -> None:
    with mock.patch("ecogsafe.service.doctor_tools.shutil.which", return_value=None):
        summary, items = examined(small_lab.home)
    assert summary.exit_status == 0
    assert [i.status for i in items if i.details["check"] == "programs"] == ["note", "note"]
