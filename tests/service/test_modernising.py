"""`modernise`: old copies in, sealed, proven and recorded copies out; the old ones stay as they were."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import UsageError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.service.modernising import ModerniseRequest, modernise
from ecogsafe.service.unlock_keys import unlock_keys
from ecogsafe.stores.protocol import Store
from tests.formats.builders_edf import Edf
from tests.service.old_locks import OLD_PASSWORD, locked, tar_gz
from tests.service.small_lab import PASSWORD, URL, Ended, SmallLab
from tests.service.test_download_old import (
    CLIP,
    NAME,
    NAMED,
    OTHER,
    RECORDING,
    A,
    B,
    Failing,
    content,
    everything_kept,
    put,
)


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p): (hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture
def old(small_lab: SmallLab) -> Path:
    """A folder of old copies of two subjects."""
    folder = small_lab.folder / "old"
    folder.mkdir()
    archive = {CLIP: content(1), OTHER.replace(".avi", ".AVI"): content(2)}
    (folder / f"{A}_vid.tar.gz.enc").write_bytes(locked(tar_gz(archive, top="mnt/disk/")))
    (folder / f"{B}_edf.tar.gz.enc").write_bytes(locked(tar_gz({RECORDING: Edf().build()}), "sha256"))
    (folder / "notes.txt").write_text("something else")
    return folder


def run(
    lab: SmallLab,
    *sources: Path | str,
    old_password: bytes = OLD_PASSWORD,
    stop: threading.Event | None = None,
    **wishes: Any,
) -> Ended:
    out = lab.folder / "staging"
    out.mkdir(exist_ok=True)
    wishes.setdefault("urls", (URL,))
    request = ModerniseRequest(sources=tuple(map(str, sources)), folder=out, **wishes)
    keys = unlock_keys(lab.home, password=lambda: PASSWORD, old_password=lambda: Secret(old_password))
    return lab.run("modernise", lambda r: modernise(r, request, keys), stop=stop)


def test_old_copies_become_sealed_proven_copies_and_stay_as_they_were(
    small_lab: SmallLab, store: Store, old: Path
) -> None:
    before = state(old)
    ended = run(small_lab, old)
    assert ended.status == 0, ended.errors()
    assert state(old) == before
    for path, data in ((CLIP, content(1)), (OTHER, content(2)), (RECORDING, Edf().build())):
        copy = small_lab.copy(f"{path}.age")
        assert copy.level == "checksum"
        small_lab.download(URL)
        assert (small_lab.folder / "back" / path).read_bytes() == data
    assert small_lab.verify(deep=True).status == 0


def test_again_opens_and_sends_nothing(small_lab: SmallLab, store: Store, old: Path) -> None:
    run(small_lab, old)
    # whoever asks for the old password now fails
    again = run(small_lab, old, old_password=b"")
    assert again.status == 0
    assert not again.items(status="done", action="upload")
    assert "0 old copies opened, 2 were opened before" in (again.run.message if again.run else "")


def test_what_is_no_longer_laid_out_is_opened_again(small_lab: SmallLab, store: Store, old: Path) -> None:
    run(small_lab, old)
    (small_lab.folder / "staging" / "video" / CLIP).unlink()
    again = run(small_lab, old)
    assert "1 old copies opened, 1 were opened before" in (again.run.message if again.run else "")


def test_every_old_copy_has_its_row_in_the_audit_record(small_lab: SmallLab, store: Store, old: Path) -> None:
    run(small_lab, old)
    from sqlalchemy import text

    with small_lab.reading() as tx:
        rows = tx.execute(text("select object, digest, subject from audit where act = 'modernise'")).all()
    expected = {
        (p.name, hashlib.sha256(p.read_bytes()).hexdigest(), p.name[:8]) for p in old.iterdir() if p.suffix == ".enc"
    }
    assert {tuple(row) for row in rows} == expected


def test_from_a_store_to_the_destinations_of_the_config(small_lab: SmallLab, store: Store, in_memory: Any) -> None:
    source = in_memory.add("s3://from-before")
    put(source, f"{CLIP}.enc", locked(content(1)))
    put(source, f"{A}_vid.tar.gz.enc", locked(tar_gz({OTHER: content(2), f"{A}/{NAME}.doc": b"a report"})))
    keys_before = sorted(info.key for info in source.list())
    small_lab.home.config.write_text(
        f"""
[[destination]]
name = "video"
url = "{URL}"
types = ["v"]
[[destination]]
name = "second"
url = "s3://second"
[[destination]]
name = "open"
url = "file:///open"
plain = true
[[destination]]
name = "deep"
url = "s3://deep"
archive = true
"""
    )
    ended = run(small_lab, "s3://from-before", urls=())
    assert ended.status == 21, ended.errors()
    assert NAME not in repr(ended.events)
    assert sorted(info.key for info in source.list()) == keys_before
    assert sorted(info.key for info in in_memory.by_url["s3://second"].list()) == [f"{CLIP}.age", f"{OTHER}.age"]
    assert "file:///open" not in in_memory.by_url
    notes = [item.message for item in ended.items(action="modernise", status="note")]
    assert any("upload --plain" in note for note in notes)
    assert any("ecogsafe archive" in note for note in notes)
    assert run(small_lab, "s3://from-before", urls=()).status == 21, "what was left behind is told again"


def test_one_place_out_of_reach_leaves_the_others_and_the_next_run_makes_up_for_it(
    small_lab: SmallLab, old: Path
) -> None:
    gone, here = small_lab.folder / "gone", small_lab.folder_store("here")
    ended = run(small_lab, old, urls=(gone.as_uri(), here))
    assert ended.status == 3
    assert small_lab.stored("here") == [f"{CLIP}.age", f"{OTHER}.age", f"{RECORDING}.age"]
    gone.mkdir()
    assert run(small_lab, old, urls=(gone.as_uri(), here)).status == 0
    assert small_lab.stored("gone") == [f"{CLIP}.age", f"{OTHER}.age", f"{RECORDING}.age"]


def test_no_place_at_all_is_said_before_anything_is_opened(small_lab: SmallLab, old: Path) -> None:
    ended = run(small_lab, old, urls=())
    assert isinstance(ended.error, UsageError)
    assert not list((small_lab.folder / "staging").iterdir())


def test_a_wrong_password_ends_it(small_lab: SmallLab, store: Store, old: Path) -> None:
    ended = run(small_lab, old, old_password=b"wrong")
    assert isinstance(ended.error, WrongPasswordError)
    assert not [p for p in (small_lab.folder / "staging").rglob("*") if p.is_file()]


def test_a_damaged_old_copy_is_named_and_the_others_go_on(small_lab: SmallLab, store: Store, old: Path) -> None:
    file = old / f"{B}_edf.tar.gz.enc"
    file.write_bytes(file.read_bytes()[:-16])
    ended = run(small_lab, old)
    assert ended.status == 30
    assert [e.item for e in ended.errors()] == [file.name]
    assert small_lab.copy(f"{CLIP}.age").level == "checksum"
    assert not (small_lab.folder / "staging" / "edf").exists()


def test_a_dry_run_opens_nothing(small_lab: SmallLab, old: Path) -> None:
    ended = run(small_lab, old, dry_run=True, old_password=b"")
    assert len(ended.items(status="planned")) == 2
    assert not list((small_lab.folder / "staging").iterdir())


def test_an_interruption_ends_with_130_and_the_next_run_goes_on(small_lab: SmallLab, store: Store, old: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert run(small_lab, old, stop=stop).status == 130
    assert run(small_lab, old).status == 0


def test_sources_without_old_copies_are_said_so(small_lab: SmallLab, store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert isinstance(run(small_lab, empty).error, UsageError)
    assert isinstance(run(small_lab, tmp_path / "not there").error, UsageError)


@pytest.mark.parametrize("how", ["", "head", "gone", "shorter"])
def test_a_name_in_a_key_is_told_nowhere(small_lab: SmallLab, store: Store, in_memory: Any, how: str) -> None:
    source = in_memory.add("s3://old", Failing("s3://old"))
    put(source, NAMED[0], locked(content(1)))
    source.how = how
    ended = run(small_lab, "s3://old")
    assert (ended.status == 0) is (how == "")
    assert NAME not in repr(ended.events) + repr(ended.error) + everything_kept(small_lab)
