"""The way back: from key copies in a store, and from the sheet."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    LabKeyError,
    StoreRefusedError,
    UsageError,
    WrongPasswordError,
)
from ecogsafe.core.events import Event, Item
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.lab_key import protect
from ecogsafe.service.home import Home
from ecogsafe.service.key_backup import back_up_keys, key_copies
from ecogsafe.service.recover import recover
from ecogsafe.service.recovery_sources import from_store
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.protocol import Store
from tests.service.key_places import JOURNALS, URLS, back_up, configure, new_linking_key
from tests.service.small_lab import (
    CODES,
    PASSWORD,
    SmallLab,
    StoresInMemory,
    bytes_in,
    make_home,
    overwrite,
)

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
