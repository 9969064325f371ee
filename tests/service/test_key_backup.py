"""Second copies of keys and journals: read back, never overwritten, the newest by name."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    StoreUnreachableError,
)
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service import key_backup
from ecogsafe.service.key_backup import KeyCopies, key_copies
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from tests.service.key_places import JOURNALS, URLS, back_up, new_linking_key, newest
from tests.service.small_lab import (
    SmallLab,
    StoresInMemory,
    bytes_in,
    overwrite,
    own_objects,
)


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
