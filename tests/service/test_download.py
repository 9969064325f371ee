"""`download`: the tree as it was, proven; nothing replaced, nothing written elsewhere."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ecogsafe.core.errors import ExitStatus, NoSpaceError, StoreRefusedError, StoreUnreachableError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.presence import version_of
from ecogsafe.service.recover import recover
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from tests.service.small_lab import (
    CODES,
    PASSWORD,
    URL,
    Ended,
    Forgetful,
    Made,
    SmallLab,
    StoresInMemory,
    bytes_in,
    overwrite,
)

CODE = CODES[0]
CLIP = f"{CODE}/{CODE}_1/{CODE}_1_0001.avi"
EDF = f"{CODE}_edf/{CODE}_1.edf"


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        small.two_subjects()
        small.clear()
        small.upload("v", URL)
        small.upload("e", URL)

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two subjects, two sealed clips and two plain recordings each."""
    return made.copy_to(small_lab, store)


def fetch(small: SmallLab, **wishes: Any) -> Ended:
    return small.download(URL, **wishes)


def back(small: SmallLab) -> dict[str, bytes]:
    folder = small.folder / "back"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sources(small: SmallLab) -> dict[str, bytes]:
    return {
        p.relative_to(small.out / tree).as_posix(): p.read_bytes()
        for tree in ("video", "edf")
        for p in (small.out / tree).rglob("*")
        if p.is_file()
    }


def test_the_same_tree(sent: SmallLab) -> None:
    ended = fetch(sent)
    assert ended.status is ExitStatus.DONE
    assert back(sent) == sources(sent)
    assert ended.run is not None
    assert ended.run.message == "restored 8 of 8 files, digests equal"
    for path, tree in ((CLIP, "video"), (EDF, "edf")):
        assert (sent.folder / "back" / path).stat().st_mtime_ns == (sent.out / tree / path).stat().st_mtime_ns


def test_again_nothing_is_fetched(sent: SmallLab, in_memory: StoresInMemory, store: MemoryStore) -> None:
    fetch(sent)
    watched = Faulty(store)
    in_memory.add(URL, watched)
    ended = fetch(sent)
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("present")) == 8
    assert [key for method, key in watched.calls if method == "read" and not key.startswith("_ecogsafe")] == []


def test_what_differs_here_is_never_replaced(sent: SmallLab) -> None:
    fetch(sent)
    target = sent.folder / "back" / CLIP
    target.write_bytes(b"my own notes")
    (sent.folder / "back" / EDF).unlink()
    (sent.folder / "back" / EDF).mkdir()
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == sorted([f"{CLIP}.age", EDF])
    assert target.read_bytes() == b"my own notes"
    assert (sent.folder / "back" / EDF).is_dir()


def test_a_link_in_place_of_a_file_or_folder(sent: SmallLab, tmp_path: Path) -> None:
    folder = sent.folder / "back"
    folder.mkdir()
    outside = sent.folder / "outside"
    outside.mkdir()
    (folder / CODE).symlink_to(outside)
    (folder / f"{CODE}_edf").mkdir()
    (folder / EDF).symlink_to(sent.folder / "not there")
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert list(outside.iterdir()) == []
    assert not (sent.folder / "not there").exists()
    assert len(ended.keys("done")) == 5


# what is wanted


def test_by_subject_and_by_glob(sent: SmallLab) -> None:
    assert len(fetch(sent, subjects=(CODE, CODE)).keys("done")) == 4
    ended = fetch(sent, globs=("*.edf",), folder=_fresh(sent, "two"))
    assert len(ended.keys("done")) == 4
    ended = fetch(sent, globs=("*.age", "*_2.edf"), subjects=(CODE,), folder=_fresh(sent, "three"))
    assert ended.keys("done") == [
        f"{CODE}/{CODE}_1/{CODE}_1_0001.avi.age",
        f"{CODE}/{CODE}_2/{CODE}_2_0001.avi.age",
        f"{CODE}_edf/{CODE}_2.edf",
    ]


def _fresh(small: SmallLab, name: str) -> Path:
    (small.folder / name).mkdir()
    return small.folder / name


def test_what_is_missing_elsewhere(sent: SmallLab) -> None:
    have = sent.out / "video"
    ended = fetch(sent, missing_in=have)
    assert len(ended.keys("done")) == 4
    assert all(key.endswith(".edf") for key in ended.keys("done"))
    assert ended.counts["not_missing"] == 4


def test_nothing_is_missing_elsewhere(sent: SmallLab) -> None:
    """That is a success, and it asks no password."""
    fetch(sent)
    ended = fetch(sent, missing_in=sent.folder / "back", password=Secret(b"never asked for"))
    assert ended.status is ExitStatus.DONE
    assert ended.counts["not_missing"] == 8


@pytest.mark.parametrize(
    "wishes",
    [
        {"subjects": ("fedcba98",)},
        {"subjects": ("../../x",)},
        {"subjects": ("Quillfeather",)},
        {"globs": ("*.nothing",)},
        {"folder": Path("/nonexistent/folder")},
        {"missing_in": Path("/nonexistent/folder")},
    ],
)
def test_nothing_that_fits(sent: SmallLab, wishes: dict[str, Any]) -> None:
    ended = fetch(sent, **wishes)
    assert ended.status is ExitStatus.USAGE
    assert "Quillfeather" not in str(ended.error)


def test_without_opening(sent: SmallLab, store: MemoryStore) -> None:
    ended = fetch(sent, decrypt=False, password=Secret(b"never asked for"))
    assert ended.status is ExitStatus.DONE
    assert back(sent)[f"{CLIP}.age"] == bytes_in(store, f"{CLIP}.age")
    assert len(fetch(sent, decrypt=False).keys("present")) == 8
    # the catalogue knows the checksum of sealed bytes where the store tells none
    overwrite(store, f"{CLIP}.age", bytes_in(store, f"{CLIP}.age")[:-1] + b"x", truthful=False)
    info, data = store._objects[f"{CLIP}.age"]
    store._objects[f"{CLIP}.age"] = (replace(info, crc64=None), data)
    ended = fetch(sent, decrypt=False, folder=_fresh(sent, "again"))
    assert ended.status is ExitStatus.VERIFY_FAILED


def test_a_dry_run(sent: SmallLab) -> None:
    ended = fetch(sent, dry_run=True, password=Secret(b"never asked for"))
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("planned")) == 8
    assert back(sent) == {}
    fetch(sent, subjects=(CODE,))
    ended = fetch(sent, dry_run=True)
    assert ended.run is not None
    assert ended.run.message.startswith("4 files, ")
    assert "4 that stand here already" in ended.run.message


# versions, and both forms of one file


def test_versions_come_beside(sent: SmallLab, store: MemoryStore) -> None:
    first = sources(sent)[EDF]
    sent.edf(number=1, text="two")
    sent.clear(CODE)
    sent.upload("e", URL, new_version=True)
    assert fetch(sent).status is ExitStatus.DONE
    here = back(sent)
    assert here[EDF] == first
    assert here[version_of(EDF, 2)] == sources(sent)[EDF]


def test_sealed_and_plain_of_one_content(sent: SmallLab) -> None:
    sent.upload("e", URL, encrypt=True)
    ended = fetch(sent)
    assert ended.status is ExitStatus.DONE
    assert back(sent) == sources(sent)
    assert len(ended.items(status="note")) == 4
    both = fetch(sent, decrypt=False, folder=_fresh(sent, "both"))
    assert len(both.keys("done")) == 12


def test_sealed_and_plain_of_different_contents(sent: SmallLab) -> None:
    """The one that is current is taken, the other is told; -f takes that."""
    sent.edf(number=1, text="two")
    sent.upload("e", URL, encrypt=True, exclude=("*_2.edf",), folder=sent.out / "edf" / f"{CODE}_edf")
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [EDF]
    assert back(sent)[EDF] == sources(sent)[EDF]


# what is not ours


@pytest.mark.parametrize(
    "key",
    [
        "../outside.avi",
        "/etc/outside",
        f"{CODE}/../../outside.avi",
        f"{CODE}/{CODE}_1/../../../{CODE}_1.avi",
        f"{CODE}//{CODE}_1/{CODE}_1_0009.avi",
        f"{CODE}/{CODE}_1/{CODE}_1_0009.avi\n",
        f"{CODE}/{CODE}_1/{CODE}_1_0009~2.avi/x",
        "notes.txt",
        "Quillfeather/Quillfeather_1.avi.age",
        ".age",
        "~2.avi",
    ],
)
def test_hostile_and_foreign_keys_are_counted_and_left(sent: SmallLab, store: MemoryStore, key: str) -> None:
    # as a bucket that others write to may hold them
    some = store._objects[EDF]
    store._objects[key] = (replace(some[0], key=key), some[1])
    ended = fetch(sent)
    assert ended.status is ExitStatus.DONE
    assert ended.counts["foreign_objects"] == 1
    assert back(sent) == sources(sent)
    assert not (sent.folder / "outside.avi").exists()
    assert "Quillfeather" not in repr(ended.events)


def test_our_own_objects_never_come(sent: SmallLab) -> None:
    ended = fetch(sent, globs=("*",))
    assert "foreign_objects" not in ended.counts
    assert not [name for name in back(sent) if "ecogsafe" in name or name.endswith("store.json")]


def test_a_folder_store_with_foreign_files(small_lab: SmallLab) -> None:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    small_lab.upload("v")
    (small_lab.folder / "store" / "Thumbs.db").write_bytes(b"x")
    (small_lab.folder / "store" / CODE / "link.avi").symlink_to("/etc/passwd")
    ended = small_lab.download()
    assert ended.status is ExitStatus.DONE
    assert len(back(small_lab)) == 2


# what is wrong


def test_a_wrong_password_fetches_nothing(sent: SmallLab) -> None:
    ended = fetch(sent, password=Secret(b"not the password"))
    assert isinstance(ended.error, WrongPasswordError)
    assert back(sent) == {}
    # plain data needs none
    assert len(fetch(sent, globs=("*.edf",), password=Secret(b"never asked for")).keys("done")) == 4


@pytest.mark.parametrize("key", [f"{CLIP}.age", EDF])
@pytest.mark.parametrize("how", ["rotten", "replaced", "short"])
def test_a_bad_object_gets_no_name(sent: SmallLab, store: MemoryStore, key: str, how: str) -> None:
    data = bytearray(bytes_in(store, key))
    data[-20] ^= 1
    new = bytes(data[:-1]) if how == "short" else bytes(data)
    overwrite(store, key, new, truthful=how != "rotten")
    ended = fetch(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert [e.item for e in ended.errors()] == [key]
    assert len(back(sent)) == 7
    assert not [name for name in back(sent) if name.startswith(".") or "part" in name]


def test_objects_of_another_lab(sent: SmallLab, store: MemoryStore) -> None:
    """One that our key does not open fails; if it is all of them, the key is what is wrong."""
    other = seal(b"theirs", [generate_identity().recipient])
    name = f"{CODE}/{CODE}_1/{CODE}_1_0044.avi.age"
    store.put(name, other, crc64=crc64nvme(other), token="0" * 32)
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert len(ended.keys("done")) == 8
    ended = fetch(sent, globs=("*_0044*",))
    assert ended.status is ExitStatus.KEY


def test_a_store_that_fails_for_some_and_for_all(sent: SmallLab, in_memory: StoresInMemory, store: MemoryStore) -> None:
    def failing(number: int) -> None:
        refuse = Fault(error=StoreRefusedError(URL, "AccessDenied"))
        in_memory.add(URL, Faulty(store, {"read": [None, *[refuse] * number]}))

    failing(3)
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert len(ended.keys("done")) == 5
    failing(100)
    assert fetch(sent, folder=_fresh(sent, "two")).status is ExitStatus.STORE
    gone = Fault(error=StoreUnreachableError(URL, "no answer"))
    in_memory.add(URL, Faulty(store, {"list": [gone]}))
    assert fetch(sent).status is ExitStatus.STORE


def test_a_full_disk(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync
    full = threading.Event()

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if "0001.avi.ecogsafe-part" in name and not full.is_set():
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("ecogsafe.transfer.landing.os.fsync", fsync)
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert {e.code for e in ended.errors()} == {"no-space"}
    assert sorted(back(sent)) == sorted(name for name in sources(sent) if name.endswith(".edf"))
    # room was made: it goes on
    full.set()
    assert fetch(sent).status is ExitStatus.DONE
    assert back(sent) == sources(sent)


def test_a_plan_that_does_not_fit(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is begun, and the message says how much is short; what is here already needs no room."""
    clip, edf = (sources(sent)[name] for name in (CLIP, EDF))
    fetch(sent, globs=(CLIP,), subjects=(CODE,))
    before = back(sent)
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        told = real(path)
        return os.statvfs_result((1, 1, *told[2:4], len(edf) + 5, *told[5:]))

    monkeypatch.setattr("ecogsafe.service.download_room.os.statvfs", statvfs)
    wishes: dict[str, Any] = {"globs": ("*_1*",), "subjects": (CODE,)}
    ended = fetch(sent, globs=(CLIP, EDF), subjects=(CODE,))
    assert ended.status is ExitStatus.DONE, "one file of the two is here already"
    (sent.folder / "back" / EDF).unlink()
    (sent.folder / "back" / CLIP).unlink()
    ended = fetch(sent, **wishes)
    assert ended.status is ExitStatus.PARTIAL
    assert isinstance(ended.error, NoSpaceError)
    assert f"{len(clip) - 5:,} too few" in ended.error.problem
    assert back(sent) == {}
    assert before != {}
    dry = fetch(sent, **wishes, dry_run=True)
    assert dry.status is ExitStatus.DONE
    assert dry.run is not None
    assert "too few" in dry.run.message


def test_what_a_killed_run_left_beside_a_file_that_is_here(sent: SmallLab) -> None:
    fetch(sent)
    target = sent.folder / "back" / CLIP
    for suffix in ("ecogsafe-part", "ecogsafe-ranges"):
        target.with_name(f".{target.name}.{suffix}").write_bytes(b"x")
    assert fetch(sent).status is ExitStatus.DONE
    assert back(sent) == sources(sent)


def test_one_request_for_a_file_that_the_catalogue_knows(
    sent: SmallLab, in_memory: StoresInMemory, store: MemoryStore
) -> None:
    watched = Faulty(store)
    in_memory.add(URL, watched)
    fetch(sent)
    asked = [method for method, key in watched.calls if not key.startswith("_ecogsafe/") and method != "list"]
    assert asked == ["read"] * 8


def test_a_folder_that_cannot_be_written(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.mkdir

    def mkdir(self: Path, *a: Any, **k: Any) -> None:
        if self.name == f"{CODE}_edf":
            raise PermissionError(13, "Permission denied")
        real(self, *a, **k)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    ended = fetch(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert all("Permission denied" in e.message for e in ended.errors())
    assert len(ended.keys("done")) == 6


def test_ctrl_c_keeps_complete_files_only(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    real = MemoryStore.read

    def read(self: MemoryStore, key: str, *a: Any, **k: Any) -> Any:
        if key.endswith(".age"):
            stop.set()
        return real(self, key, *a, **k)

    monkeypatch.setattr(MemoryStore, "read", read)
    folder = _fresh(sent, "back")
    request = DownloadRequest(folder=folder, url=URL, jobs=1)
    ended = sent.run("download", lambda run: download(run, request, lambda: PASSWORD), stop=stop)
    assert ended.status is ExitStatus.INTERRUPTED
    assert all(data == sources(sent)[name] for name, data in back(sent).items())


def test_whose_data_leaves_is_on_record_before_it_leaves(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each object was is noted in batches, so a run that is killed must have said before whose data it takes."""
    real = MemoryStore.read
    seen: list[list[Any]] = []

    def read(self: MemoryStore, key: str, *a: Any, **k: Any) -> Any:
        if key.startswith(CODES):
            with sent.reading() as tx:
                query = text("select subject, result from audit where act = 'download begins' order by subject")
                seen.append([tuple(row) for row in tx.execute(query)])
        return real(self, key, *a, **k)

    monkeypatch.setattr(MemoryStore, "read", read)
    assert fetch(sent).status is ExitStatus.DONE
    assert seen[0] == [(code, "4 objects") for code in CODES]
    with sent.reading() as tx:
        assert len(tx.execute(text("select 1 from audit where act = 'download'")).all()) == 8


@pytest.mark.parametrize("password", [PASSWORD, Secret(b"not the password")])
def test_a_password_at_hand_opens_the_key_meanwhile(sent: SmallLab, password: Secret) -> None:
    request = DownloadRequest(folder=_fresh(sent, "back"), url=URL)
    ended = sent.run("download", lambda run: download(run, request, lambda: password, password_at_hand=True))
    if password is PASSWORD:
        assert back(sent) == sources(sent)
    else:
        assert isinstance(ended.error, WrongPasswordError)
        assert not back(sent)


def test_a_wrong_password_at_hand_harms_nobody_who_needs_none(sent: SmallLab) -> None:
    request = DownloadRequest(folder=_fresh(sent, "back"), url=URL, globs=("*.edf",))
    wrong = Secret(b"not the password")
    ended = sent.run("download", lambda run: download(run, request, lambda: wrong, password_at_hand=True))
    assert len(ended.keys("done")) == 4


# a home that knows nothing of the store


def test_a_fresh_home_opens_sealed_objects(sent: SmallLab, store: MemoryStore) -> None:
    sent.home.catalog_path.unlink()
    for name in ("catalog.sqlite-wal", "catalog.sqlite-shm"):
        (sent.home.root / name).unlink(missing_ok=True)
    sent.home.lab_key.unlink()
    recover(sent.home, str(sent.home.recovery_sheet), lambda: PASSWORD, lambda _e: None)
    ended = fetch(sent)
    assert ended.status is ExitStatus.DONE
    assert back(sent) == sources(sent)
    assert ended.run is not None
    assert "digests equal" not in ended.run.message
    messages = {str(item.path): item.message for item in ended.items(status="done")}
    assert "authentic" in messages[CLIP]
    assert "checksum of the store is equal" in messages[EDF]
    # a plain object that does not have the store's own checksum is not taken
    overwrite(store, EDF, bytes_in(store, EDF)[:-1] + b"x", truthful=False)
    ended = fetch(sent, folder=_fresh(sent, "again"))
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert ended.counts.get("bad") is None


def test_plain_objects_nobody_can_vouch_for(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add(URL, Forgetful(URL))
    for number in (1, 2):
        store.put(f"{CODE}_edf/{CODE}_{number}.edf", b"data", crc64=crc64nvme(b"data"), token="0" * 32)
    ended = fetch(small_lab)
    assert ended.status is ExitStatus.DONE
    assert ended.run is not None
    assert "2 of them could not be compared" in ended.run.message
    assert all("as it came" in item.message for item in ended.items(status="done"))
    # reading left nothing in their bucket
    assert list(store.list("_ecogsafe/")) == []
