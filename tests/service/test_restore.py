"""`restore`: out of archives and cold storage, in as many runs as it takes; asked once, remembered, proven."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import copies, stores, thaws
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import SeenFile, upsert_file
from ecogsafe.core.clock import utc_now, utc_stamp
from ecogsafe.core.errors import ConfirmationNeededError, ExitStatus
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.service import restore_thawing
from ecogsafe.service.restore import restore
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.store_id import create_store_id
from tests.service.cold_store import ColdMemory
from tests.service.small_lab import CODES, PASSWORD, Ended, SmallLab, StoresInMemory, lose
from tests.transfer.archive.volume_builder import Volume, build, hostile_tar, sealed_tar

CODE = CODES[0]
URL = "s3://deep"
WARM = "s3://warm"
CLIP = f"{CODE}/{CODE}_1/{CODE}_1_0001.avi"
FILES = {
    CLIP: b"a clip " * 5000,
    f"{CODE}/{CODE}_1/{CODE}_1_0002.avi": b"another clip",
    f"{CODE}/{CODE}_2/{CODE}_2_0001.avi": bytes(range(256)) * 9000,
    f"{CODE}_vtc/{CODE}_1.txt": b"00:00 begins\n",
}
RECORDINGS = {f"{CODE}_edf/{CODE}_{n}.edf": bytes([n]) * 70_000 for n in (1, 2, 3)}
ALL = FILES | RECORDINGS


class Asked:
    """Somebody at the terminal."""

    def __init__(self, *, answer: bool = True) -> None:
        self.answer = answer
        self.questions: list[str] = []

    def __call__(self, question: str) -> None:
        self.questions.append(question)
        if not self.answer:
            raise ConfirmationNeededError("this command", "was not confirmed")


@pytest.fixture
def cold(in_memory: StoresInMemory) -> ColdMemory:
    made = ColdMemory(URL)
    in_memory.add(URL, made)
    create_store_id(made)
    return made


def put(store: MemoryStore, key: str, data: bytes, storage_class: str | None = None) -> None:
    store.put(key, data, crc64=crc64nvme(data), token="0" * 32, storage_class=storage_class)


def volume(small: SmallLab, files: Mapping[str, bytes], kind: str = "vid", number: int = 1) -> Volume:
    with small.catalog() as catalog:
        recipients = small.home.recipients(catalog)
    return build(files, recipients, subject=CODE, kind=kind, number=number)


def index_of(small: SmallLab, made: Volume) -> bytes:
    with small.catalog() as catalog:
        return seal(made.index.to_bytes(), small.home.recipients(catalog))


@pytest.fixture
def archived(small_lab: SmallLab, cold: ColdMemory) -> SmallLab:
    """Two frozen volumes with their indexes beside them, and a catalogue that knows nothing of them."""
    for kind, files in (("vid", FILES), ("edf", RECORDINGS)):
        made = volume(small_lab, files, kind)
        put(cold, made.key, made.data, "DEEP_ARCHIVE")
        put(cold, made.index_key, index_of(small_lab, made))
    return small_lab


VID = f"{CODE}/{CODE}_vid_0001.tar.zst.age"
EDF = f"{CODE}/{CODE}_edf_0001.tar.zst.age"


def bring(small: SmallLab, asked: Callable[[str], None] | None = None, **wishes: Any) -> Ended:
    folder = wishes.pop("folder", small.folder / "back")
    folder.mkdir(exist_ok=True)
    stop = wishes.pop("stop", None)
    password = wishes.pop("password", PASSWORD)
    request = RestoreRequest(subject=CODE, folder=folder, **({"url": URL} | wishes))
    return small.run("restore", lambda run: restore(run, request, lambda: password, asked or Asked()), stop=stop)


def back(small: SmallLab, name: str = "back") -> dict[str, bytes]:
    folder = small.folder / name
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# cold, in several runs


def test_asked_once_then_come_back(archived: SmallLab, cold: ColdMemory) -> None:
    asked = Asked()
    first = bring(archived, asked)
    assert first.status is ExitStatus.COLD
    assert sorted(cold.requests) == [(EDF, "Bulk", 7), (VID, "Bulk", 7)]
    assert len(asked.questions) == 1
    assert "2 objects" in asked.questions[0]
    assert "48 hours" in asked.questions[0]
    assert "USD" in asked.questions[0]
    assert back(archived) == {}
    assert first.run is not None
    assert "run the same command again after" in first.run.message
    told = first.items(action="thaw")
    assert {item.key for item in told} == {VID, EDF}
    assert all(item.details["come_back_at"] > utc_stamp() for item in told)
    # again, too early: nothing is asked of anybody
    early = bring(archived, asked)
    assert early.status is ExitStatus.COLD
    assert len(cold.requests) == 2
    assert len(asked.questions) == 1
    # one is ready
    cold.ready(EDF)
    half = bring(archived, asked)
    assert half.status is ExitStatus.COLD
    assert back(archived) == RECORDINGS
    cold.ready(VID)
    last = bring(archived, asked)
    assert last.status is ExitStatus.DONE
    assert back(archived) == ALL
    assert len(cold.requests) == 2
    assert len(asked.questions) == 1
    assert (last.run and last.run.tally.done, last.run and last.run.tally.present) == (4, 3)
    # and once more, when everything is here: nothing is read, also after it froze again
    cold.expire()
    cold.read_keys.clear()
    done = bring(archived, asked)
    assert done.status is ExitStatus.DONE
    assert not [key for key in cold.read_keys if key.endswith(".tar.zst.age")]
    assert len(cold.requests) == 2


def test_prices_and_times_of_every_tier_are_shown_first(archived: SmallLab, cold: ColdMemory) -> None:
    ended = bring(archived, Asked(answer=False))
    assert ended.status is ExitStatus.USAGE
    assert cold.requests == []
    told = [item.message for item in ended.items(action="price")]
    assert any("by Bulk: ready up to 48 hours" in text for text in told)
    assert any("by Standard: ready up to 12 hours" in text for text in told)
    assert any("list prices of" in text for text in told)
    tiers = {item.details.get("tier") for item in ended.items(action="price")}
    assert tiers >= {"Bulk", "Standard"}


def test_the_request_is_remembered(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived, tier="Standard", days=3)
    with archived.reading() as tx:
        (store,) = stores.all_stores(tx)
        rows = thaws.thaws_in_store(tx, store.store_id)
    assert {(key, row.tier, row.days) for key, row in rows.items()} == {(VID, "Standard", 3), (EDF, "Standard", 3)}
    within = (utc_now() + timedelta(hours=12, minutes=1)).strftime("%Y")
    assert all(row.expected_at > row.requested_at and row.expected_at[:4] == within for row in rows.values())
    cold.ready()
    bring(archived)
    with archived.reading() as tx:
        assert all(row.expires_at for row in thaws.thaws_in_store(tx, store.store_id).values())


def test_a_thawed_copy_that_went_is_asked_for_again_and_that_is_said(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived)
    with archived.writing() as tx:
        (store,) = stores.all_stores(tx)
        long_ago = "2020-01-01T00:00:00.000000Z"
        rows = [
            thaws.ThawRow(
                store_id=store.store_id, key=key, tier="Bulk", requested_at=long_ago, expected_at=long_ago, days=7
            )
            for key in (VID, EDF)
        ]
        thaws.record_thaws(tx, rows)
    cold.expire()
    ended = bring(archived)
    assert ended.status is ExitStatus.COLD
    assert len(cold.requests) == 4
    assert len([i for i in ended.items(action="thaw") if "froze again" in i.message]) == 2


def test_waiting_until_it_is_there(archived: SmallLab, cold: ColdMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_thawing, "LOOK_AGAIN_LEAST_S", 0.05)
    monkeypatch.setattr(restore_thawing, "LOOK_AGAIN_MOST_S", 0.05)
    timers = [threading.Timer(0.3, cold.ready, [EDF]), threading.Timer(0.6, cold.ready, [VID])]
    for timer in timers:
        timer.start()
    ended = bring(archived, wait=True)
    for timer in timers:
        timer.join()
    assert ended.status is ExitStatus.DONE
    assert back(archived) == ALL


def test_ctrl_c_while_waiting(archived: SmallLab, cold: ColdMemory) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    ended = bring(archived, wait=True, stop=stop)
    timer.join()
    assert ended.status is ExitStatus.INTERRUPTED
    assert "requests to thaw stand" in str(ended.error)
    cold.ready()
    assert bring(archived).status is ExitStatus.DONE
    assert len(cold.requests) == 2


# tiers


def test_a_tier_that_the_class_does_not_have(archived: SmallLab, cold: ColdMemory) -> None:
    asked = Asked()
    ended = bring(archived, asked, tier="Expedited")
    assert ended.status is ExitStatus.USAGE
    assert "DEEP_ARCHIVE is not thawed by Expedited" in str(ended.error)
    assert (cold.requests, asked.questions) == ([], [])


def test_a_request_that_the_store_refuses(archived: SmallLab, cold: ColdMemory) -> None:
    cold.refused = {VID}
    ended = bring(archived)
    assert ended.status is ExitStatus.COLD
    assert [error.code for error in ended.errors()] == ["store-refused"]
    assert [key for key, _, _ in cold.requests] == [EDF]
    cold.refused = {VID, EDF}
    cold.expire()
    assert bring(archived).status is ExitStatus.STORE


def test_a_server_that_keeps_only_the_name_of_the_class(
    archived: SmallLab, in_memory: StoresInMemory, cold: ColdMemory
) -> None:
    class Named(ColdMemory):
        read = MemoryStore.read

    named = Named(URL)
    named._objects = cold._objects
    in_memory.add(URL, named)
    asked = Asked()
    ended = bring(archived, asked)
    assert ended.status is ExitStatus.DONE
    assert (named.requests, asked.questions) == ([], [])
    assert back(archived) == ALL


# what is wanted


def test_one_file_thaws_one_volume(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived, globs=(CLIP,))
    assert [key for key, _, _ in cold.requests] == [VID]
    cold.ready()
    ended = bring(archived, globs=(CLIP,))
    assert ended.status is ExitStatus.DONE
    assert back(archived) == {CLIP: FILES[CLIP]}
    assert bring(archived, globs=("*.nothing",)).status is ExitStatus.USAGE


def test_what_stands_here_is_compared_and_never_replaced(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived)
    cold.ready()
    target = archived.folder / "back" / CLIP
    target.parent.mkdir(parents=True)
    target.write_bytes(b"my own notes")
    ended = bring(archived)
    assert ended.status is ExitStatus.PARTIAL
    assert back(archived) == ALL | {CLIP: b"my own notes"}
    assert ended.keys("skipped") == [VID]


def test_a_warm_object_is_preferred_and_a_cold_single_comes_too(archived: SmallLab, cold: ColdMemory) -> None:
    with archived.catalog() as catalog:
        recipients = archived.home.recipients(catalog)
    put(cold, f"{CLIP}.age", seal(FILES[CLIP], recipients))
    other = f"{CODE}/{CODE}_3/{CODE}_3_0001.avi"
    put(cold, f"{other}.age", seal(b"only here", recipients), "GLACIER")
    ended = bring(archived)
    assert ended.status is ExitStatus.COLD
    assert back(archived) == {CLIP: FILES[CLIP]}
    assert {key for key, _, _ in cold.requests} == {VID, EDF, f"{other}.age"}
    cold.ready()
    assert bring(archived).status is ExitStatus.DONE
    assert back(archived) == ALL | {other: b"only here"}


def test_two_volumes_of_a_kind_and_a_file_in_both(archived: SmallLab, cold: ColdMemory) -> None:
    later = volume(archived, {CLIP: b"recorded again", f"{CODE}/{CODE}_4/{CODE}_4_0001.avi": b"new"}, number=2)
    put(cold, later.key, later.data)
    put(cold, later.index_key, index_of(archived, later))
    bring(archived)
    cold.ready()
    ended = bring(archived)
    assert ended.status is ExitStatus.DONE
    assert back(archived)[CLIP] == b"recorded again"
    assert len(back(archived)) == len(ALL) + 1
    assert [i.path for i in ended.items(status="note") if "another content" in i.message] == [CLIP]


def test_an_archive_of_the_old_script(archived: SmallLab, cold: ColdMemory) -> None:
    data = b"Salted__" + bytes(range(200))
    put(cold, f"old/{CODE}_vid.tar.gz.enc", data)
    put(cold, f"{CODE}_edf.tar.gz.enc", data, "GLACIER")
    bring(archived, globs=("*.enc",))
    cold.ready()
    ended = bring(archived, globs=("*.enc",))
    assert back(archived) == {f"{CODE}_edf.tar.gz.enc": data}
    (told,) = [i for i in ended.items(status="note") if "ecogsafe decrypt" in i.message]
    assert told.path == f"{CODE}_edf.tar.gz.enc"
    assert f"ecogsafe decrypt DIR/{CODE}_edf.tar.gz.enc --untar -o {CODE}_edf" in told.message
    assert "old password" in told.message


# indexes


def test_without_an_index_everything_is_read(archived: SmallLab, cold: ColdMemory) -> None:
    for key in (VID, EDF):
        lose(cold, key.replace(".tar.zst.", ".index."))
    bring(archived)
    cold.ready()
    ended = bring(archived)
    assert ended.status is ExitStatus.DONE
    assert back(archived) == ALL
    assert len([i for i in ended.items(status="note") if "no index" in i.message]) == 2
    again = bring(archived)
    assert again.status is ExitStatus.DONE
    assert again.run is not None
    assert again.run.tally.present == len(ALL)


def test_the_index_in_another_store(archived: SmallLab, cold: ColdMemory, in_memory: StoresInMemory) -> None:
    warm = in_memory.add(WARM)
    assert isinstance(warm, MemoryStore)
    for key in (VID, EDF):
        name = key.replace(".tar.zst.", ".index.")
        put(warm, name, b"".join(cold.read(name)))
        lose(cold, name)
    with (archived.home.root / "config.toml").open("a") as config:
        config.write(f'\n[[destination]]\nname = "warm"\nurl = "{WARM}"\n')
    bring(archived, globs=(CLIP,))
    assert [key for key, _, _ in cold.requests] == [VID]
    cold.ready()
    assert bring(archived).status is ExitStatus.COLD
    assert back(archived) == FILES


def test_an_index_that_is_damaged_or_of_another_object(archived: SmallLab, cold: ColdMemory) -> None:
    vid, edf = (key.replace(".tar.zst.", ".index.") for key in (VID, EDF))
    mixed = b"".join(cold.read(edf))
    for key in (vid, edf):
        lose(cold, key)
    put(cold, vid, mixed)
    put(cold, edf, mixed[:-1])
    bring(archived)
    cold.ready()
    ended = bring(archived)
    assert ended.status is ExitStatus.DONE
    assert back(archived) == ALL


def test_an_index_with_names_that_lead_outside(archived: SmallLab, cold: ColdMemory) -> None:
    from dataclasses import replace

    made = volume(archived, FILES)
    members = tuple(replace(m, path=f"../{m.path}") for m in made.index.members)
    lose(cold, made.index_key)
    with archived.catalog() as catalog:
        recipients = archived.home.recipients(catalog)
    lose(cold, VID)
    put(cold, VID, made.data)
    hostile = replace(made.index, members=members).to_bytes()
    put(cold, made.index_key, seal(hostile, recipients))
    ended = bring(archived)
    assert VID in str(ended.errors()[0].message)
    assert "not of our form" in ended.errors()[0].message
    assert back(archived) == {}
    assert not (archived.folder / CODE).exists()


def test_ctrl_c_is_heard_while_the_store_is_asked_what_is_cold(
    archived: SmallLab, cold: ColdMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_thawing, "_AT_ONCE", 1)
    stop, real, asked = threading.Event(), cold.head, []

    def head(key: str, **more: Any) -> Any:
        if key in (VID, EDF):
            asked.append(key)
            stop.set()
        return real(key, **more)

    monkeypatch.setattr(cold, "head", head)
    assert bring(archived, stop=stop).status is ExitStatus.INTERRUPTED
    assert len(asked) == 1 and cold.requests == []


# what is wrong


def test_a_damaged_volume_is_named_and_leaves_nothing(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived)
    cold.ready()
    info, data = cold._objects[EDF]
    cold._objects[EDF] = (info, data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    ended = bring(archived)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert any(EDF in error.message for error in ended.errors())
    assert set(back(archived)) >= set(FILES)
    assert all(back(archived)[path] == data for path, data in RECORDINGS.items() if path in back(archived))
    assert not [path for path in back(archived) if "ecogsafe-part" in path]


def test_a_hostile_volume_without_an_index(archived: SmallLab, cold: ColdMemory) -> None:
    import tarfile

    link = tarfile.TarInfo(CLIP)
    link.type = tarfile.SYMTYPE
    link.linkname = "/etc/passwd"
    with archived.catalog() as catalog:
        data = sealed_tar(hostile_tar((link, b"")), archived.home.recipients(catalog))
    for key in (VID, VID.replace(".tar.zst.", ".index.")):
        lose(cold, key)
    put(cold, VID, data)
    ended = bring(archived)
    assert any("a symbolic link" in error.message and VID in error.message for error in ended.errors())
    assert back(archived) == {}


def test_sealed_to_others(archived: SmallLab, cold: ColdMemory) -> None:
    made = build(FILES, [generate_identity().recipient], subject=CODE)
    for key in (VID, EDF, made.index_key):
        lose(cold, key)
    put(cold, VID, made.data)
    assert bring(archived).status is ExitStatus.KEY
    assert back(archived) == {}


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked(
    archived: SmallLab, cold: ColdMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecogsafe.service import download_room
    from ecogsafe.service import restore as module

    monkeypatch.setattr(module, "room_for_sizes", lambda folder, sizes: download_room.Room(sum(sizes.values()), 1000))
    asked = Asked()
    ended = bring(archived, asked)
    assert ended.error is not None
    assert ended.error.code == "no-space"
    assert (cold.requests, asked.questions) == ([], [])


@pytest.mark.parametrize(
    "wishes",
    [{"days": 0}, {"days": 1000}, {"url": "s3://empty"}],
)
def test_what_cannot_be(archived: SmallLab, wishes: dict[str, Any]) -> None:
    assert bring(archived, **wishes).status is ExitStatus.USAGE


def test_a_wrong_password_asks_nothing_of_the_store(archived: SmallLab, cold: ColdMemory) -> None:
    assert bring(archived, password=Secret(b"another")).status is ExitStatus.KEY
    assert cold.requests == []


# proof


def test_the_copy_of_a_volume_counts_as_restored(archived: SmallLab, cold: ColdMemory) -> None:
    with archived.writing() as tx:
        store = stores.remember_store(tx, _store_id(cold), URL, "s3")
        ids = {}
        for key in (VID, EDF):
            data = cold._objects[key][1]
            seen = SeenFile(
                tree="archive",  # type: ignore[arg-type]
                path=key.removesuffix(".age"),
                subject=CODE,
                segment=None,
                size=len(data),
                mtime_ns=0,
                inode=0,
                device=0,
                sha256=hashlib.sha256(data).hexdigest(),
            )
            row = CopyRow(
                0, upsert_file(tx, seen), store.store_id, key, True, len(data), crc64nvme(data), None, None,
                "DEEP_ARCHIVE", "0" * 32, "stored", utc_stamp(),
            )  # fmt: skip
            ids[key] = copies.record_copy(tx, row)
    bring(archived, globs=("*.edf", CLIP))
    cold.ready()
    bring(archived, globs=("*.edf", CLIP))
    assert archived.copy(EDF).level == "restored"
    assert archived.copy(VID).level == "stored"


def _store_id(store: MemoryStore) -> str:
    from ecogsafe.stores.store_id import read_store_id

    found = read_store_id(store)
    assert found is not None
    return found.store_id


def test_every_file_is_in_the_audit_record(archived: SmallLab, cold: ColdMemory) -> None:
    bring(archived)
    cold.ready()
    bring(archived)
    with archived.reading() as tx:
        rows = tx.exec_driver_sql("SELECT object, digest FROM audit WHERE act = 'restore'").all()
    digests = {hashlib.sha256(data).hexdigest() for data in ALL.values()}
    assert {digest for _, digest in rows} == digests
    assert {key for key, _ in rows} == {VID, EDF}


def test_nothing_is_written_to_the_store(archived: SmallLab, cold: ColdMemory, tmp_path: Path) -> None:
    before = dict(cold._objects)
    bring(archived)
    cold.ready()
    bring(archived)
    assert cold._objects == before
