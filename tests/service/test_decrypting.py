"""`decrypt` makes whole files and whole folders of locked ones, or nothing at all."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ecogsafe.core.errors import (
    InterruptedRunError,
    LockedError,
    UsageError,
    WrongPasswordError,
)
from ecogsafe.core.events import Event, Item, Tally
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.service.decrypting import Decrypting, DecryptRequest
from ecogsafe.service.unlocking import UnlockKeys
from ecogsafe.transfer.hidden_folder import HiddenFolder
from tests.formats.builders_avi import clip
from tests.service.old_locks import OLD_PASSWORD, locked, noise, tar_gz, tar_of

LAB = generate_identity()
#: of a made-up patient
NAME = "Quillfeather"
FILES = {
    "a1b2c3d4/a1b2c3d4_1/a1b2c3d4_1_0000.avi": clip() + noise(3000),
    "a1b2c3d4/a1b2c3d4_1/a1b2c3d4_1_0001.avi": clip() + noise(5000, 2),
    "a1b2c3d4/a1b2c3d4_1/empty.txt": b"",
}


class Desk:
    """A folder, what was told, and how it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.tally = Tally()
        self.stop = threading.Event()

    def put(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def decrypt(self, *files: Path, password: bytes = OLD_PASSWORD, **wishes: Any) -> str:
        self.tally = Tally()
        keys = UnlockKeys(
            identities=lambda: [LAB], file_password=lambda: Secret(b""), old_password=lambda: Secret(password)
        )
        request = DecryptRequest(files=files, **wishes)
        return Decrypting(request, keys, self.events.append, self.stop, self.tally).run()

    def statuses(self) -> list[str]:
        return [e.status for e in self.events if isinstance(e, Item)]

    def names(self) -> list[str]:
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_open_beside_themselves_without_their_extension(desk: Desk) -> None:
    plain = clip()
    old = desk.put("a1b2c3d4_1_0000.avi.enc", locked(plain))
    sealed = desk.put("b2c3d4e5_2.txt.AGE", seal(plain, [LAB.recipient]))
    desk.decrypt(old, sealed)
    assert (desk.folder / "a1b2c3d4_1_0000.avi").read_bytes() == plain
    assert (desk.folder / "b2c3d4e5_2.txt").read_bytes() == plain
    assert desk.tally.done == 2
    assert old.exists(), "the locked file stays"


def test_again_compares_and_never_replaces(desk: Desk) -> None:
    file = desk.put("a1b2c3d4_1.avi.enc", locked(clip()))
    for _ in range(2):
        desk.decrypt(file)
    (desk.folder / "a1b2c3d4_1.avi").write_bytes(b"somebody's own")
    desk.decrypt(file)
    assert desk.statuses() == ["done", "present", "skipped"]
    assert desk.tally.statuses == {3}
    assert (desk.folder / "a1b2c3d4_1.avi").read_bytes() == b"somebody's own"


def test_a_named_place_is_the_file_or_the_folder(desk: Desk) -> None:
    file = desk.put("whatever", locked(tar_gz(FILES), "sha256"))
    desk.decrypt(file, out=desk.folder / "inside.tar.gz")
    desk.decrypt(file, out=desk.folder / "unpacked", untar=True)
    assert (desk.folder / "inside.tar.gz").read_bytes() == tar_gz(FILES)
    assert tree(desk.folder / "unpacked") == FILES
    assert (desk.folder / "unpacked" / "a1b2c3d4/a1b2c3d4_1/empty.txt").stat().st_mtime == 1_600_000_000


@pytest.mark.parametrize("kind", ["gzip", "plain", "zstd", "pax"])
def test_tar_files_unpack_whatever_they_are_packed_in(desk: Desk, kind: str) -> None:
    long_names = {**FILES, f"a1b2c3d4/{'x' * 90}/{'y' * 120}.txt": b"a name longer than a header holds"}
    data = {
        "gzip": locked(tar_gz(long_names)),
        "plain": locked(tar_of(long_names)),
        "zstd": seal(zstandard.compress(tar_of(long_names)), [LAB.recipient]),
        "pax": locked(tar_of(long_names, form=tarfile.PAX_FORMAT)),
    }[kind]
    desk.decrypt(desk.put("a1b2c3d4_vid.tar.gz.enc", data), untar=True)
    assert tree(desk.folder / "a1b2c3d4_vid") == long_names


def test_an_empty_folder_is_taken_over_with_its_permissions_and_a_full_one_is_not(desk: Desk) -> None:
    file = desk.put("a1b2c3d4_vid.tar.gz.enc", locked(tar_gz(FILES)))
    out = desk.folder / "out"
    out.mkdir(mode=0o770)
    out.chmod(0o770)
    desk.decrypt(file, out=out, untar=True)
    assert tree(out) == FILES
    assert out.stat().st_mode & 0o777 == 0o770
    desk.decrypt(file, out=out, untar=True)
    assert desk.statuses() == ["done", "skipped"]


def _entry(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 4, target: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for good in ("a1b2c3d4/good.txt", "a1b2c3d4/other.txt"):
            info = tarfile.TarInfo(good)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"good"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, size
        tar.addfile(info, io.BytesIO(b"evil"))
    return out.getvalue()


HOSTILE = {
    "absolute": _entry("/tmp/evil.txt"),
    "outside": _entry("a1b2c3d4/../../evil.txt"),
    "link": _entry("a1b2c3d4/link", tarfile.SYMTYPE, size=0, target="/etc"),
    "hard link": _entry("a1b2c3d4/hard", tarfile.LNKTYPE, size=0, target="a1b2c3d4/good.txt"),
    "device": _entry("a1b2c3d4/null", tarfile.CHRTYPE, size=0),
    "fifo": _entry("a1b2c3d4/fifo", tarfile.FIFOTYPE, size=0),
    "twice": _entry("a1b2c3d4/good.txt"),
    "case": _entry("a1b2c3d4/GOOD.TXT"),
    "below a file": _entry("a1b2c3d4/good.txt/more.txt"),
    "no name": _entry("."),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_must_not_become_files_refuses_the_whole(desk: Desk, kind: str) -> None:
    file = desk.put("a1b2c3d4_vid.tar.enc", locked(HOSTILE[kind]))
    desk.decrypt(file, untar=True)
    assert (desk.tally.failed, desk.tally.statuses) == (1, {21})
    assert desk.names() == ["a1b2c3d4_vid.tar.enc"], "nothing is left of it"


def test_a_name_inside_is_masked_when_it_is_told(desk: Desk) -> None:
    file = desk.put("a1b2c3d4_vid.tar.enc", locked(_entry(f"../{NAME}.txt")))
    desk.decrypt(file, untar=True)
    assert NAME not in repr(desk.events)
    assert "leads outside (../Q•••.t•••)" in repr(desk.events)


def test_a_file_s_own_name_is_masked_when_it_is_told(desk: Desk) -> None:
    file = desk.put(f"{NAME}.avi.enc", locked(clip()))
    desk.decrypt(file)
    desk.decrypt(file)
    with pytest.raises(WrongPasswordError) as caught:
        desk.decrypt(file, password=b"wrong")
    assert NAME not in repr(desk.events) + str(caught.value)


def test_a_cut_tar_file_leaves_nothing(desk: Desk) -> None:
    files = {**FILES, "a1b2c3d4/large.avi": noise(400_000)}
    for data in (tar_of(files)[:5000], tar_gz(files)[:-700], zstandard.compress(tar_of(files))[:-50]):
        sealed = desk.put("a1b2c3d4_vid.tar.gz.age", seal(data, [LAB.recipient]))
        desk.decrypt(sealed, untar=True)
        assert desk.tally.statuses == {30}
        assert desk.names() == ["a1b2c3d4_vid.tar.gz.age"]


def test_a_damaged_file_leaves_nothing(desk: Desk) -> None:
    data = bytearray(locked(tar_gz(FILES)))
    data[-30] ^= 1
    file = desk.put("a1b2c3d4_vid.tar.gz.enc", bytes(data))
    for wishes in ({}, {"untar": True}):
        desk.decrypt(file, **wishes)
        assert desk.tally.statuses == {30}
        assert desk.names() == ["a1b2c3d4_vid.tar.gz.enc"]


def test_one_bad_file_does_not_stop_the_others(desk: Desk) -> None:
    good = desk.put("a1b2c3d4_1.avi.enc", locked(clip()))
    other = desk.put("a1b2c3d4_2.avi.enc", locked(clip(), password=b"another"))
    gone = desk.folder / "a1b2c3d4_3.avi.enc"
    plain = desk.put("a1b2c3d4_4.avi.enc", clip())
    verdict = desk.decrypt(other, gone, plain, good)
    assert desk.statuses() == ["done"]
    assert desk.tally.failed == 3
    assert desk.tally.statuses == {3, 21}
    assert verdict.startswith("1 files opened")


def test_a_wrong_password_for_all_ends_with_12(desk: Desk) -> None:
    files = [desk.put(f"a1b2c3d4_{n}.avi.enc", locked(clip())) for n in (1, 2)]
    with pytest.raises(WrongPasswordError) as caught:
        desk.decrypt(*files, password=b"wrong")
    assert caught.value.exit_status == 12
    assert desk.names() == ["a1b2c3d4_1.avi.enc", "a1b2c3d4_2.avi.enc"]


def test_wishes_that_do_not_fit_together(desk: Desk) -> None:
    files = [desk.put(f"a1b2c3d4_{n}.avi.enc", locked(clip())) for n in (1, 2)]
    bare = desk.put("a1b2c3d4_3", locked(clip()))
    for words in (
        {"files": files, "out": desk.folder / "one"},
        {"files": files[:1], "out": desk.folder / "no such folder" / "one"},
        {"files": [bare]},
    ):
        with pytest.raises(UsageError):
            desk.decrypt(*words.pop("files"), **words)


def test_what_holds_no_tar_file_is_not_unpacked(desk: Desk) -> None:
    desk.decrypt(desk.put("a1b2c3d4_1.avi.enc", locked(clip())), untar=True)
    assert desk.tally.statuses == {21}
    assert desk.names() == ["a1b2c3d4_1.avi.enc"]


def test_an_interruption_leaves_nothing_half_done(desk: Desk) -> None:
    file = desk.put("a1b2c3d4_vid.tar.gz.enc", locked(tar_gz(FILES)))
    desk.stop.set()
    for wishes in ({}, {"untar": True}):
        with pytest.raises(InterruptedRunError):
            desk.decrypt(file, **wishes)
    assert desk.names() == ["a1b2c3d4_vid.tar.gz.enc"]


def test_what_a_killed_run_left_is_cleared_away(desk: Desk) -> None:
    file = desk.put("a1b2c3d4_vid.tar.gz.enc", locked(tar_gz(FILES)))
    hidden = desk.folder / ".a1b2c3d4_vid.ecogsafe-part"
    (hidden / "a1b2c3d4" / "half").mkdir(parents=True)
    (hidden / "half.avi").write_bytes(b"half")
    (desk.folder / ".a1b2c3d4_vid.tar.gz.ecogsafe-part").write_bytes(b"half")
    desk.decrypt(file, untar=True)
    desk.decrypt(file)
    assert tree(desk.folder / "a1b2c3d4_vid") == FILES
    assert not [name for name in desk.names() if "part" in name]


def test_two_runs_do_not_fill_one_folder(desk: Desk) -> None:
    file = desk.put("a1b2c3d4_vid.tar.gz.enc", locked(tar_gz(FILES)))
    with HiddenFolder(desk.folder / "a1b2c3d4_vid", shown="x"), pytest.raises(LockedError):
        desk.decrypt(file, untar=True)
    assert desk.tally.failed == 1


def test_a_full_disk_is_told_and_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    file = desk.put("a1b2c3d4_vid.tar.gz.enc", locked(tar_gz(FILES)))
    real = os.statvfs(desk.folder)
    tight = os.statvfs_result((*real[:4], 1, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: tight)
    for wishes in ({}, {"untar": True}):
        desk.decrypt(file, **wishes)
        assert desk.tally.statuses == {3}
    assert "room" in repr(desk.events) or "fit" in repr(desk.events)
    assert desk.names() == ["a1b2c3d4_vid.tar.gz.enc"]
