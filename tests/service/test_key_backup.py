"""Second copies of keys and journals, and the way back from them and from the sheet."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    LabKeyError,
    StoreRefusedError,
    StoreUnreachableError,
    UsageError,
    WrongPasswordError,
)
from ecogsafe.core.events import Event, Item
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.lab_key import protect
from ecogsafe.service import key_backup
from ecogsafe.service.home import Home
from ecogsafe.service.key_backup import KeyCopies, back_up_keys, key_copies
from ecogsafe.service.recover import recover
from ecogsafe.service.recovery_sources import from_store
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from tests.service.small_lab import (
    CODES,
    PASSWORD,
    SmallLab,
    StoresInMemory,
    bytes_in,
    make_home,
    overwrite,
    own_objects,
)

URLS = ("s3://first", "s3://second")
JOURNALS = (f"{CODES[0]}-0001-0a0b0c0d", f"{CODES[1]}-0001-1a1b1c1d")


@pytest.fixture
def places(small_lab: SmallLab, in_memory: StoresInMemory) -> tuple[Store, Store]:
    """Two key backup places, a linking key, two journals of which the first has ended."""
    configure(small_lab.home)
    new_linking_key(small_lab, b"generation 1")
    for name in JOURNALS:
        (small_lab.home.journals / f"{name}.age").write_bytes(sealed(small_lab, name.encode()))
        (small_lab.home.journals / f"{name}.marks").write_text("0\n1\nend\n" if name == JOURNALS[0] else "0\n")
    return in_memory.add(URLS[0]), in_memory.add(URLS[1])


def configure(home: Home, *urls: str) -> None:
    listed = ", ".join(f'"{url}"' for url in urls or URLS)
    home.config.write_text(f"[key_backup]\nurls = [{listed}]\n")


def sealed(small: SmallLab, plain: bytes) -> bytes:
    with small.catalog() as catalog:
        return seal(plain, small.home.recipients(catalog))


def new_linking_key(small: SmallLab, plain: bytes) -> bytes:
    data = sealed(small, plain)
    small.home.linking_key.write_bytes(data)
    return data


def back_up(small: SmallLab) -> KeyCopies:
    with small.catalog() as catalog:
        return back_up_keys(small.home, catalog)


def newest(store: Store, stem: str) -> bytes:
    return bytes_in(store, key_copies(store, stem)[-1].key)


def test_everything_precious_and_nothing_else(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    copies = back_up(small_lab)
    assert copies == KeyCopies(URLS, ())
    for store in places:
        assert newest(store, "lab-key") == small_lab.home.lab_key.read_bytes()
        assert newest(store, "recipients") == small_lab.home.recipient_lines()
        assert open_sealed(newest(store, "linking-key"), [small_lab.identity()]) == b"generation 1"
        names = [key.removeprefix("_ecogsafe/keys/journals/") for key in own_objects(store, "keys/journals/")]
        assert names == [f"{JOURNALS[0]}.age", f"{JOURNALS[0]}.marks", f"{JOURNALS[1]}.age"]
        everything = b"".join(bytes_in(store, key) for key in own_objects(store, ""))
        assert small_lab.home.resume_key() not in everything
        assert b"generation" not in everything
        assert len(own_objects(store, "keys/")) == 6


def test_the_same_again_adds_nothing(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    back_up(small_lab)
    before = own_objects(places[0], "")
    back_up(small_lab)
    assert own_objects(places[0], "") == before


@pytest.mark.parametrize("game", ["file times", "the clock went back", "a clock far ahead"])
def test_the_newest_linking_key_has_the_last_name(
    small_lab: SmallLab, places: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, game: str
) -> None:
    for generation in range(1, 5):
        data = new_linking_key(small_lab, b"generation %d" % generation)
        if game == "file times":
            os.utime(small_lab.home.linking_key, (10**9 - generation, 10**9 - generation))
        else:
            year = 2090 if game == "a clock far ahead" and generation == 1 else 2030 - generation
            monkeypatch.setattr(key_backup, "utc_now", lambda y=year: datetime(y, 1, 1, tzinfo=UTC))
        assert back_up(small_lab).failed == ()
        names = [key for key in own_objects(places[0], "keys/") if "/linking-key-" in key]
        assert len(names) == generation
        # by name alone, as the recovery sheet says
        assert bytes_in(places[0], names[-1]) == data
        assert newest(places[0], "linking-key") == data


def test_an_older_generation_put_back_by_hand_is_the_newest_again(
    small_lab: SmallLab, places: tuple[Store, Store]
) -> None:
    first = small_lab.home.linking_key.read_bytes()
    back_up(small_lab)
    new_linking_key(small_lab, b"generation 2")
    back_up(small_lab)
    small_lab.home.linking_key.write_bytes(first)
    back_up(small_lab)
    assert newest(places[0], "linking-key") == first
    assert len(key_copies(places[0], "linking-key")) == 3


def test_a_damaged_copy_is_never_overwritten_and_a_good_one_put_after_it(
    small_lab: SmallLab, places: tuple[Store, Store]
) -> None:
    back_up(small_lab)
    damaged = key_copies(places[0], "linking-key")[-1].key
    overwrite(places[0], damaged, b"damaged")
    assert back_up(small_lab).failed == ()
    assert bytes_in(places[0], damaged) == b"damaged"
    assert newest(places[0], "linking-key") == small_lab.home.linking_key.read_bytes()


def test_a_journal_that_stands_there_with_other_bytes_is_told(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    back_up(small_lab)
    key = f"_ecogsafe/keys/journals/{JOURNALS[0]}.age"
    overwrite(places[0], key, b"another")
    copies = back_up(small_lab)
    assert copies.complete == (URLS[1],)
    assert "could not be read back" in copies.failed[0][1]
    assert bytes_in(places[0], key) == b"another"


class _Swallows(MemoryStore):
    """Says that it stored, and stores something else."""

    def put(self, key: str, body: Any, **options: Any) -> Any:
        data = body if key.endswith("store.json") else b"something else"
        return MemoryStore.put(self, key, data, **{**options, "crc64": crc64nvme(data)})


def test_every_copy_is_read_back(small_lab: SmallLab, places: tuple[Store, Store], in_memory: StoresInMemory) -> None:
    in_memory.add(URLS[0], _Swallows(URLS[0]))
    copies = back_up(small_lab)
    assert copies.complete == (URLS[1],)
    assert [url for url, _ in copies.failed] == [URLS[0]]


def test_one_place_out_of_reach_does_not_hinder_the_other(
    small_lab: SmallLab, places: tuple[Store, Store], in_memory: StoresInMemory
) -> None:
    gone = Fault(error=StoreUnreachableError(URLS[0], "no answer"))
    in_memory.add(URLS[0], Faulty(places[0], {"head": [gone]}))
    assert back_up(small_lab).complete == (URLS[1],)


def test_an_upload_makes_up_for_a_place_that_was_out_of_reach(
    small_lab: SmallLab, places: tuple[Store, Store], in_memory: StoresInMemory
) -> None:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    gone = Fault(error=StoreUnreachableError(URLS[0], "no answer"))
    in_memory.add(URLS[0], Faulty(places[0], {"head": [gone, gone]}))
    assert back_up(small_lab).complete == (URLS[1],)
    ended = small_lab.upload("v")
    # still out of reach: said, and no fault of the upload
    assert ended.status is ExitStatus.DONE
    assert [item.store for item in ended.items(action="key-backup", status="note")] == [URLS[0]]
    ended = small_lab.upload("v")
    assert {item.store for item in ended.items(action="key-backup", status="done")} == set(URLS)
    assert small_lab.upload("v").items(action="key-backup") == []
    assert newest(places[0], "linking-key") == small_lab.home.linking_key.read_bytes()


def test_a_home_that_cannot_be_read_is_told(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    small_lab.home.linking_key.unlink()
    small_lab.home.linking_key.mkdir()
    copies = back_up(small_lab)
    assert copies.complete == ()
    assert "cannot be read" in copies.failed[0][1]


def test_file_destinations_are_key_backup_places_by_default(small_lab: SmallLab) -> None:
    url = small_lab.folder_store("nas")
    small_lab.home.config.write_text(
        f'[[destination]]\nname = "nas"\nurl = "{url}"\n[[destination]]\nname = "s3"\nurl = "s3://bucket"\n'
    )
    assert back_up(small_lab).complete == (url,)


# back from a store


def lost(small: SmallLab) -> Home:
    """The home is gone; a new one in its place."""
    small.home.root.rename(small.folder / "lost")
    return small.home


def recovered(home: Home, source: str, password: Secret = PASSWORD) -> tuple[int, list[Event]]:
    events: list[Event] = []
    summary = recover(home, source, lambda: password, events.append)
    return summary.exit_status, events


def test_from_a_store(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    back_up(small_lab)
    home = lost(small_lab)
    old = Home(small_lab.folder / "lost")
    status, _ = recovered(home, URLS[0])
    assert status == 0
    for name in ("lab-key.age", "recipients.txt", "linking-key.age"):
        assert (home.root / name).read_bytes() == (old.root / name).read_bytes()
    assert sorted(p.name for p in home.journals.iterdir()) == [
        f"{JOURNALS[0]}.age",
        f"{JOURNALS[0]}.marks",
        f"{JOURNALS[1]}.age",
    ]
    assert (home.journals / f"{JOURNALS[0]}.marks").read_text() == "0\n1\nend\n"
    with home.open_catalog() as catalog:
        assert home.identity(lambda: PASSWORD, home.recipients(catalog)).to_text()


def test_the_password_was_changed(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    """Both lab keys stand in the store: the new password opens the new one, the old one the old."""
    identity = small_lab.identity()
    back_up(small_lab)
    new_password = Secret(b"quite another one")
    small_lab.home.lab_key.write_bytes(protect(identity, new_password, work_factor=10))
    back_up(small_lab)
    home = lost(small_lab)
    recovered(home, URLS[0], new_password)
    assert home.lab_key.read_bytes() == (small_lab.folder / "lost/lab-key.age").read_bytes()
    home.root.rename(small_lab.folder / "lost again")
    recovered(home, URLS[0], PASSWORD)
    home.root.rename(small_lab.folder / "lost once more")
    with pytest.raises(WrongPasswordError):
        recovered(home, URLS[0], Secret(b"neither of them"))
    assert not home.root.exists()


def test_two_homes_in_one_place(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    """A second lab backed its keys up there later: each password brings its own back."""
    back_up(small_lab)
    other = SmallLab(small_lab.folder / "other lab")
    other.folder.mkdir()
    make_home(other.home, other.folder / "r.txt")
    other_password = Secret(b"the others' words")
    other.home.lab_key.write_bytes(protect(other.identity(), other_password, work_factor=10))
    configure(other.home)
    with other.catalog() as catalog:
        other.home.linking_key.write_bytes(seal(b"theirs", other.home.recipients(catalog)))
        back_up_keys(other.home, catalog)
    home = lost(small_lab)
    status, events = recovered(home, URLS[0])
    assert home.recipients_file.read_bytes() == (small_lab.folder / "lost/recipients.txt").read_bytes()
    assert open_sealed(home.linking_key.read_bytes(), [small_lab.identity()]) == b"generation 1"
    # it cannot be told from a damaged copy of ours, so it is said
    assert status == ExitStatus.PARTIAL
    assert any("an older one was taken" in e.message for e in events if isinstance(e, Item))


@pytest.mark.parametrize("damaged", ["newest", "all"])
def test_a_damaged_newest_linking_key_is_said(small_lab: SmallLab, places: tuple[Store, Store], damaged: str) -> None:
    back_up(small_lab)
    new_linking_key(small_lab, b"generation 2")
    back_up(small_lab)
    copies = key_copies(places[0], "linking-key")
    for copy in copies if damaged == "all" else copies[-1:]:
        overwrite(places[0], copy.key, bytes_in(places[0], copy.key)[:-3] + b"xyz")
    home = lost(small_lab)
    status, _ = recovered(home, URLS[0])
    assert status == ExitStatus.PARTIAL
    if damaged == "newest":
        assert open_sealed(home.linking_key.read_bytes(), [small_lab.identity()]) == b"generation 1"
    else:
        assert not home.linking_key.exists()
    assert recover_again_is_refused(home)


def recover_again_is_refused(home: Home) -> bool:
    with pytest.raises(UsageError, match="initialised already"):
        recovered(home, URLS[0])
    return True


def test_hostile_names_in_a_store(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    back_up(small_lab)
    store = places[0]
    for name in ("evil.sh", f"{JOURNALS[0]}.age.exe", f"sub/{JOURNALS[0]}.age", "config.toml", f"{CODES[0]}.age"):
        store.put(f"_ecogsafe/keys/journals/{name}", b"x", crc64=crc64nvme(b"x"), token="0" * 32)
    home = lost(small_lab)
    recovered(home, URLS[0])
    assert len(list(home.journals.iterdir())) == 3


def test_a_store_without_key_copies(in_memory: StoresInMemory, tmp_path: Path) -> None:
    in_memory.add(URLS[0])
    with pytest.raises(UsageError, match="holds no key copies"):
        from_store(URLS[0])


def test_recovering_writes_nothing_to_the_store(
    small_lab: SmallLab, places: tuple[Store, Store], in_memory: StoresInMemory
) -> None:
    back_up(small_lab)
    watched = Faulty(places[0], {"put": [Fault(error=StoreRefusedError(URLS[0], "AccessDenied"))]})
    in_memory.add(URLS[0], watched)
    assert recovered(lost(small_lab), URLS[0])[0] == 0
    assert watched.count("put") == 0


# back from the sheet


def test_from_the_sheet_and_old_data_opens(small_lab: SmallLab) -> None:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    small_lab.upload("v")
    home = lost(small_lab)
    status, events = recovered(home, str(small_lab.folder / "lost/recovery-sheet.txt"))
    assert status == 0
    assert any("no linking key yet" in e.message for e in events if isinstance(e, Item))
    assert home.recipients_file.read_bytes() == (small_lab.folder / "lost/recipients.txt").read_bytes()
    ended = small_lab.download()
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("done")) == 2
    for item in ended.items(status="done"):
        assert "catalogue knows no digest" in item.message
        assert (small_lab.folder / "back" / str(item.path)).read_bytes() == (
            small_lab.out / "video" / str(item.path)
        ).read_bytes()
    # and uploads go on
    small_lab.avi(index=3)
    assert small_lab.upload("v").keys("done")


def test_a_wrong_password_writes_nothing(small_lab: SmallLab) -> None:
    home = lost(small_lab)
    with pytest.raises(WrongPasswordError):
        recovered(home, str(small_lab.folder / "lost/recovery-sheet.txt"), Secret(b"not the password"))
    assert not home.root.exists()


def test_the_lab_key_alone_was_lost(small_lab: SmallLab, places: tuple[Store, Store]) -> None:
    """Everything else in the home is newer than the sheet and the store: it stays."""
    back_up(small_lab)
    resume, key = small_lab.home.resume_key(), small_lab.home.lab_key.read_bytes()
    newer = new_linking_key(small_lab, b"generation 2")
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODES[0])
    for source in (URLS[0], str(small_lab.home.recovery_sheet)):
        small_lab.home.lab_key.unlink()
        recovered(small_lab.home, source)
        assert small_lab.home.lab_key.read_bytes() == key
        assert small_lab.home.linking_key.read_bytes() == newer
        assert small_lab.home.resume_key() == resume
    # the catalogue was kept too: the clearances count
    assert small_lab.upload("e").status is ExitStatus.DONE


def test_a_linking_key_of_somebody_else_in_the_folder(small_lab: SmallLab) -> None:
    sheet = small_lab.folder / "sheet.txt"
    sheet.write_bytes(small_lab.home.recovery_sheet.read_bytes())
    other = Home(small_lab.folder / "other")
    make_home(other, small_lab.folder / "r2.txt")
    with other.open_catalog() as catalog:
        other.linking_key.write_bytes(seal(b"theirs", other.recipients(catalog)))
    other.lab_key.unlink()
    before = other.recipients_file.read_bytes()
    with pytest.raises(LabKeyError, match="does not open with this lab key"):
        recovered(other, str(sheet))
    assert other.recipients_file.read_bytes() == before


def test_a_cut_recovery_can_be_run_again(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    home = lost(small_lab)
    sheet = str(small_lab.folder / "lost/recovery-sheet.txt")

    def cut(*_a: object) -> None:
        raise OSError(5, "gone")

    with monkeypatch.context() as patched:
        patched.setattr("ecogsafe.service.recover._note_recipients", cut)
        with pytest.raises(OSError, match="gone"):
            recovered(home, sheet)
    assert not home.is_initialised
    assert recovered(home, sheet)[0] == 0
