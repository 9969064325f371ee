"""`free`: nothing is deleted here that is not proven, at that moment, to be elsewhere."""

from __future__ import annotations

import errno
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import audit, files, leases, stores, subjects
from ecogsafe.core.errors import ConfirmationNeededError, ExitStatus
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_file import seal
from ecogsafe.service import free_local, free_note, free_work
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.free import FreeRequest, free
from ecogsafe.service.key_backup import back_up_keys
from ecogsafe.service.outgoing import NOTE_NAME
from ecogsafe.service.owner import owner_here
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.source import FileSource
from ecogsafe.ui.cli.words import is_detail, line_of
from tests.servers.seaweed import SeaweedServer
from tests.service.cold_store import ColdMemory
from tests.service.small_lab import CODES, Ended, Forgetful, SmallLab, StoresInMemory, lose, overwrite, patched

CODE = CODES[0]
FIRST = f"{CODE}_edf/{CODE}_1.edf"
CLOUD, OTHER = "s3://cloud", "s3://other"
POLICY = "[policy]\ncopies = 2\noffsite = 1\nrestored_within_days = 0\n"


def freed(small: SmallLab, folder: Path | None = None, *, dry_run: bool = False, yes: bool = True) -> Ended:
    """Free ``folder``, or the whole of OUT."""

    def confirm(question: str) -> None:
        assert "Delete up to" in question
        if not yes:
            raise ConfirmationNeededError("this command", "was not confirmed")

    request = FreeRequest(folder=folder or small.out, dry_run=dry_run)
    return small.run("free", lambda run: free(run, request, confirm))


def local(small: SmallLab) -> list[str]:
    """What stands below OUT, the note left out."""
    found = (p.relative_to(small.out).as_posix() for p in small.out.rglob("*") if p.is_file())
    return sorted(p for p in found if not p.endswith(NOTE_NAME))


@pytest.fixture(scope="module")
def made_sent(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, MemoryStore]]:
    """Made once, copied for each test."""
    folder = tmp_path_factory.mktemp("sent")
    shutil.copytree(made_home, folder, dirs_exist_ok=True)
    small = SmallLab(folder)
    small.home.config.write_text(POLICY)
    small.two_subjects()
    small.clear()
    made = StoresInMemory()
    with patched(made):
        for url in (CLOUD, OTHER):
            assert small.upload("v", url).status is ExitStatus.DONE
            assert small.upload("e", url).status is ExitStatus.DONE
    return folder, {url: memory(made, url) for url in (CLOUD, OTHER)}


@pytest.fixture
def sent(made_sent: tuple[Path, dict[str, MemoryStore]], tmp_path: Path, in_memory: StoresInMemory) -> SmallLab:
    """Two subjects, two recordings and two clips each, at two places in the cloud; two copies are wanted."""
    folder, made = made_sent
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for url, store in made.items():
        memory(in_memory, in_memory.add(url).url)._objects.update(store._objects)
    return SmallLab(tmp_path)


def memory(in_memory: StoresInMemory, url: str = CLOUD) -> MemoryStore:
    store = in_memory.by_url[url]
    assert isinstance(store, MemoryStore)
    return store


def test_everything_is_freed_and_the_note_says_where_it_went(sent: SmallLab) -> None:
    before = {path: (sent.out / path).read_bytes() for path in local(sent)}
    assert len(before) == 8
    ended = freed(sent)
    assert (ended.status, ended.error) == (ExitStatus.DONE, None)
    assert local(sent) == []
    assert len(ended.items(action="free", status="done")) == 8
    assert ended.run is not None
    assert ended.run.tally.bytes == sum(map(len, before.values()))
    note = (sent.out / NOTE_NAME).read_text()
    assert f"{CODE} edf: 2 files" in note
    assert f"{CODES[1]} video: 2 files" in note
    assert "at work" not in note
    assert f"ecogsafe download --from {CLOUD} -d edf -s {CODE} -f '{CODE}_edf/*'" in note
    with sent.reading() as tx:
        assert all(file.freed_at for file in files.all_files(tx))
        acts = [row for row in audit.recent(tx, object=FIRST) if row.act == "free"]
        assert sorted(row.result for row in acts) == ["begun", "deleted"]
        assert audit.check(tx) == []


def test_the_commands_of_the_note_bring_the_files_back_to_where_they_were(sent: SmallLab) -> None:
    before = {path: (sent.out / path).read_bytes() for path in local(sent)}
    freed(sent)
    for tree in ("edf", "video"):
        globs = {"edf": tuple(f"{code}_edf/*" for code in CODES), "video": tuple(f"{code}/*" for code in CODES)}[tree]
        assert sent.download(CLOUD, folder=sent.out / tree, globs=globs).status is ExitStatus.DONE
    assert {path: (sent.out / path).read_bytes() for path in local(sent)} == before
    # and they are not sent again
    again = sent.upload("e", CLOUD)
    assert (again.status, again.keys("present")) == (
        ExitStatus.DONE,
        sorted(f"{c}_edf/{c}_{n}.edf" for c in CODES for n in (1, 2)),
    )
    with sent.reading() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
        assert row is not None
        assert row.freed_at is None


@pytest.mark.parametrize(
    ("folder", "base", "left"),
    [("edf", ".", 4), (f"edf/{CODE}_edf", "..", 6), (f"video/{CODE}", "..", 6)],
)
def test_a_tree_or_one_subject(sent: SmallLab, folder: str, base: str, left: int) -> None:
    ended = freed(sent, sent.out / folder)
    assert ended.status is ExitStatus.DONE
    assert len(local(sent)) == left
    assert f" -d {base} -s {CODE}" in (sent.out / folder / NOTE_NAME).read_text()


def test_a_dry_run_asks_the_stores_and_deletes_nothing(sent: SmallLab, in_memory: StoresInMemory) -> None:
    lose(memory(in_memory), FIRST)
    before = local(sent)
    ended = freed(sent, dry_run=True, yes=False)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert len(ended.items(action="free", status="planned")) == 7
    assert local(sent) == before
    assert not (sent.out / NOTE_NAME).exists()


def test_nobody_said_yes(sent: SmallLab) -> None:
    before = local(sent)
    ended = freed(sent, yes=False)
    assert ended.status is ExitStatus.USAGE
    assert local(sent) == before


# what is not proven stays


@pytest.mark.parametrize("url", [CLOUD, OTHER])
@pytest.mark.parametrize("how", ["lost", "cut", "swapped"])
def test_a_copy_that_is_not_what_it_claims_keeps_its_file(
    sent: SmallLab, in_memory: StoresInMemory, url: str, how: str
) -> None:
    store = memory(in_memory, url)
    if how == "lost":
        lose(store, FIRST)
    else:
        data = store._objects[FIRST][1]
        overwrite(store, FIRST, data[:-1] if how == "cut" else bytes(len(data)))
    ended = freed(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert local(sent) == [f"edf/{FIRST}"]
    (kept,) = ended.items(action="free", status="failed")
    assert kept.path == f"edf/{FIRST}"
    assert "--repair" in kept.details["next"]
    assert ended.counts["bad"] == 1


def test_a_copy_that_was_bad_before_keeps_its_file_until_a_good_one_stands_beside_it(
    sent: SmallLab, in_memory: StoresInMemory
) -> None:
    store = memory(in_memory)
    overwrite(store, FIRST, bytes(len(store._objects[FIRST][1])))
    sent.verify(url=CLOUD)
    assert freed(sent, sent.out / "edf").status is ExitStatus.VERIFY_FAILED
    assert local(sent)[0] == f"edf/{FIRST}"
    assert sent.upload("e", CLOUD, new_version=True).status is ExitStatus.DONE
    assert freed(sent, sent.out / "edf").status is ExitStatus.DONE


def test_stores_that_tell_no_checksum_prove_nothing(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    small_lab.home.config.write_text(POLICY)
    small_lab.two_subjects()
    small_lab.clear()
    in_memory.add(CLOUD)
    in_memory.add(OTHER, Forgetful(OTHER))
    for url in (CLOUD, OTHER):
        small_lab.upload("e", url)
    ended = freed(small_lab, small_lab.out / "edf")
    assert ended.status is ExitStatus.PARTIAL
    assert "its store tells no checksum" in ended.items(status="skipped")[0].message
    assert len(local(small_lab)) == 8


def test_a_store_that_cannot_be_asked_does_not_count(sent: SmallLab, in_memory: StoresInMemory) -> None:
    """Another one at its place: the disk that is mounted there now is not the one the copies are on."""
    in_memory.by_url[OTHER] = MemoryStore(OTHER)
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert len(local(sent)) == 8
    kept = ended.items(status="skipped")
    assert len(kept) == 8
    assert all("cannot be asked" in item.message for item in kept)
    # whoever reads the lines is told once, not for each file
    (told,) = [line_of(event) for event in ended.events if isinstance(event, Item) and not is_detail(event)]
    assert told.startswith("8 files stay (-v lists them): proven now in 1 of 2 places; s3://other cannot be asked")
    assert told.endswith("(next: ecogsafe status)")


def test_one_file_that_stays_is_named(sent: SmallLab) -> None:
    """And of several reasons each is told with its files."""
    never_sent = [sent.out / "edf" / f"{CODE}_edf" / f"{CODE}_{number}.edf" for number in (7, 8)]
    for path, what in zip(
        never_sent, (f"edf/{CODE}_edf/{CODE}_7.edf  stays", "2 files stay (-v lists them)"), strict=True
    ):
        path.write_bytes(b"a recording")
        ended = freed(sent, sent.out / "edf")
        lines = [line_of(item) for item in ended.items(action="free", status="note")]
        assert lines == [f"{what}: no copy of it is recorded (next: ecogsafe upload or ecogsafe backup)"]


def test_what_stays_until_it_is_interrupted_is_told(
    sent: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory.by_url[OTHER] = MemoryStore(OTHER)
    monkeypatch.setattr(free_work, "_BATCH_FILES", 2)
    real = free_work.Freeing.keep

    def keep(self: free_work.Freeing, *given: Any, **more: Any) -> None:
        real(self, *given, **more)
        self._run.stop.set()

    monkeypatch.setattr(free_work.Freeing, "keep", keep)
    ended = freed(sent)
    assert ended.status is ExitStatus.INTERRUPTED
    (note,) = ended.items(action="free", status="note")
    assert note.details["files"] == 2


def test_two_stores_in_one_bucket_count_once(sent: SmallLab, in_memory: StoresInMemory) -> None:
    memory(in_memory, OTHER).place = CLOUD
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert len(local(sent)) == 8
    assert "proven now in 1 of 2 places" in ended.items(status="skipped")[0].message


def test_a_store_on_the_same_disk_never_counts(sent: SmallLab, in_memory: StoresInMemory) -> None:
    url = sent.folder_store()
    in_memory.by_url[url] = DirectoryStore(sent.folder / "store")
    sent.upload("e", url)
    sent.home.config.write_text(POLICY.replace("copies = 2", "copies = 3"))
    ended = freed(sent, sent.out / "edf")
    assert ended.status is ExitStatus.PARTIAL
    assert len(local(sent)) == 8
    assert "lies on the same disk as the files to be freed" in ended.items(status="skipped")[0].message


def test_what_was_never_brought_back_does_not_count(sent: SmallLab) -> None:
    sent.home.config.write_text(POLICY.replace("= 0", "= 30"))
    ended = freed(sent, sent.out / "edf")
    assert ended.status is ExitStatus.PARTIAL
    assert "too little was brought back lately" in ended.items(status="skipped")[0].message
    sent.verify(deep=True)
    assert freed(sent).status is ExitStatus.DONE


def test_a_policy_that_asks_for_nothing_frees_nothing_without_a_copy(small_lab: SmallLab) -> None:
    small_lab.home.config.write_text("[policy]\ncopies = 0\noffsite = 0\nrestored_within_days = 0\n")
    small_lab.two_subjects()
    assert freed(small_lab).status is ExitStatus.PARTIAL
    assert len(local(small_lab)) == 8


def test_what_changed_since_it_was_sent_stays(sent: SmallLab) -> None:
    longer, other = sent.out / "edf" / FIRST, sent.out / f"edf/{CODE}_edf/{CODE}_2.edf"
    longer.write_bytes(longer.read_bytes() + b"more")
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    times = other.stat()
    other.write_bytes(bytes(data))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    ended = freed(sent, sent.out / f"edf/{CODE}_edf")
    assert ended.status is ExitStatus.PARTIAL
    assert [item.message for item in ended.items(status="skipped")] == [
        "it is not what was sent: its size is another one",
        "it is not what was sent",
    ]
    assert longer.exists()
    assert other.exists()


def test_what_changes_just_before_it_is_deleted_stays(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = free_local.LocalFile.delete
    path = sent.out / "edf" / FIRST

    def delete(self: free_local.LocalFile) -> None:
        if self.row.path == FIRST:
            os.utime(path)
        real(self)

    monkeypatch.setattr(free_local.LocalFile, "delete", delete)
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert local(sent) == [f"edf/{FIRST}"]
    with sent.reading() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
        assert row is not None
        assert row.freed_at is None
        assert "left: it changed" in {act.result for act in audit.recent(tx, object=FIRST)}
    assert f"{CODE} edf: 1 files" in (sent.out / NOTE_NAME).read_text()


def test_another_file_put_in_its_place_stays(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = free_local.LocalFile.delete
    path = sent.out / "edf" / FIRST

    def delete(self: free_local.LocalFile) -> None:
        if self.row.path == FIRST:
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
        real(self)

    monkeypatch.setattr(free_local.LocalFile, "delete", delete)
    assert freed(sent).status is ExitStatus.PARTIAL
    assert local(sent) == [f"edf/{FIRST}"]


def test_links_are_never_followed(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the walk and the opening a folder becomes a link to another place."""
    folder = sent.out / f"edf/{CODE}_edf"
    moved = sent.folder / "elsewhere"
    real = FileSource.__init__

    def init(self: FileSource, *args: object, **options: object) -> None:
        if not moved.exists():
            folder.rename(moved)
            folder.symlink_to(moved)
        real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FileSource, "__init__", init)
    ended = freed(sent, sent.out / "edf")
    assert ended.status is ExitStatus.PARTIAL
    assert len(list(moved.iterdir())) == 2


def test_what_is_not_ours_is_told_and_stays(sent: SmallLab) -> None:
    (sent.out / "edf" / f"{CODE}_edf" / "Quillfeather notes.doc").write_text("x")
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert len(local(sent)) == 1
    (left,) = ended.items(status="left_behind")
    assert "Quill" not in str(left)


def test_a_note_of_somebody_else_is_not_written_over(sent: SmallLab) -> None:
    (sent.out / NOTE_NAME).write_text("my own words")
    ended = freed(sent)
    assert ended.status is ExitStatus.USAGE
    assert len(local(sent)) == 8
    assert (sent.out / NOTE_NAME).read_text() == "my own words"


def test_where_no_note_can_be_written_nothing_is_freed(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_rest: object, **_options: object) -> None:
        raise OSError(errno.EROFS, "no")

    monkeypatch.setattr(free_note, "write_atomically", refuse)
    ended = freed(sent)
    assert ended.status is ExitStatus.USAGE
    assert len(local(sent)) == 8
    with sent.reading() as tx:
        assert not any(file.freed_at for file in files.all_files(tx))


def test_the_note_keeps_what_earlier_runs_wrote(sent: SmallLab) -> None:
    freed(sent, sent.out / "edf")
    first = (sent.out / "edf" / NOTE_NAME).read_text()
    assert freed(sent, sent.out / "edf").status is ExitStatus.DONE
    assert (sent.out / "edf" / NOTE_NAME).read_text() == first, "nothing was there to free"
    sent.edf(CODE, 3)
    sent.clear()
    for url in (CLOUD, OTHER):
        assert sent.upload("e", url).status is ExitStatus.DONE, "the note is none of the files to send"
    assert freed(sent, sent.out / "edf").status is ExitStatus.DONE
    note = (sent.out / "edf" / NOTE_NAME).read_text()
    assert note.startswith(first)
    assert f"{CODE} edf: 1 files" in note.removeprefix(first)


def test_with_a_real_server(small_lab: SmallLab, s3_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    small_lab.home.config.write_text(POLICY.replace("copies = 2", "copies = 1"))
    for number in (1, 2, 3):
        small_lab.edf(CODE, number, text="seizure " * number)
    small_lab.clear()
    bucket = s3_server.new_bucket()
    assert small_lab.upload("e", f"s3://{bucket}", encrypt=True).status is ExitStatus.DONE
    client, key = s3_server.client(), f"{FIRST}.age"
    found = client.get_object(Bucket=bucket, Key=key)
    data, metadata = bytearray(found["Body"].read()), found["Metadata"]
    data[-20] ^= 4
    client.put_object(Bucket=bucket, Key=key, Body=bytes(data), Metadata=metadata)
    assert freed(small_lab).status is ExitStatus.VERIFY_FAILED
    assert local(small_lab) == [f"edf/{FIRST}"]


# archives


@pytest.fixture
def archived(sent: SmallLab, in_memory: StoresInMemory) -> tuple[SmallLab, MemoryStore]:
    """One of the two places is not a bucket of single files but of volumes."""
    deep = ColdMemory("s3://deep")
    in_memory.add("s3://deep", deep)
    for kind in ("vid", "edf"):
        request = ArchiveRequest(folders=(sent.out,), url="s3://deep", kind=kind)
        assert sent.run("archive", partial(archive, request=request)).status is ExitStatus.DONE
    with sent.writing() as tx:
        (other,) = [row.store_id for row in stores.all_stores(tx) if row.url == OTHER]
        tx.exec_driver_sql(f"DELETE FROM copies WHERE store_id = '{other}'")
    return sent, deep


def test_the_volume_of_an_archive_is_a_copy_of_each_file_in_it(archived: tuple[SmallLab, MemoryStore]) -> None:
    small, _ = archived
    assert freed(small).status is ExitStatus.DONE
    assert local(small) == []
    note = (small.out / NOTE_NAME).read_text()
    assert f"ecogsafe restore {CODE} --from s3://deep -d edf -f '{CODE}_edf/*'" in note
    assert f"ecogsafe download --from {CLOUD} -d edf -s {CODE} -f '{CODE}_edf/*'" in note


@pytest.mark.parametrize("how", ["lost", "cut", "swapped"])
def test_a_bad_volume_keeps_every_file_that_is_in_it(archived: tuple[SmallLab, MemoryStore], how: str) -> None:
    small, deep = archived
    key = f"{CODE}/{CODE}_edf_0001.tar.zst.age"
    data = deep._objects[key][1]
    if how == "lost":
        lose(deep, key)
    else:
        overwrite(deep, key, data[:-1] if how == "cut" else bytes(len(data)))
    ended = freed(small)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert local(small) == [f"edf/{CODE}_edf/{CODE}_{number}.edf" for number in (1, 2)]
    assert ended.counts["bad"] == 1


# who else is at work, and the linking key


def test_a_subject_that_others_work_on_stays(sent: SmallLab) -> None:
    with sent.writing() as tx:
        leases.acquire(tx, f"subject:{CODE}", owner_here("1234"), 60, shared=True)
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert all(CODE in path for path in local(sent))
    assert len(local(sent)) == 4
    assert freed(sent, sent.out / f"edf/{CODE}_edf").status is ExitStatus.LOCKED


def test_an_unfinished_deidentification(sent: SmallLab) -> None:
    with sent.writing() as tx:
        subjects.open_journal(tx, f"{CODE}-0001-00000000", subject=CODE, kind="apply", sha256="0" * 64)
    marker = sent.out / f".ecogsafe-open-{CODES[1]}"
    marker.touch()
    assert freed(sent).status is ExitStatus.LOCKED
    marker.unlink()
    assert len(local(sent)) == 8


def test_without_a_second_copy_of_the_linking_key_nothing_is_freed(sent: SmallLab, in_memory: StoresInMemory) -> None:
    with sent.catalog() as catalog:
        sent.home.linking_key.write_bytes(seal(b"names", sent.home.recipients(catalog)))
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert len(local(sent)) == 8
    assert "linking key has no second copy" in ended.items(status="skipped")[0].message
    url = sent.folder_store("nas")
    sent.home.config.write_text(f'{POLICY}[key_backup]\nurls = ["{url}"]\n')
    with sent.catalog() as catalog:
        back_up_keys(sent.home, catalog)
    nas = memory(in_memory, url)
    (key,) = (key for key in nas._objects if "linking-key-" in key)
    overwrite(nas, key, nas._objects[key][1][:-1])
    assert freed(sent).status is ExitStatus.PARTIAL, "what the catalogue says of the key copy is not looked at"
    with sent.catalog() as catalog:
        back_up_keys(sent.home, catalog)
    assert freed(sent).status is ExitStatus.DONE


# interrupted and killed


def test_interrupted_it_goes_on_the_next_time(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_work, "_BATCH_FILES", 3)
    real = free_local.LocalFile.delete

    def delete(self: free_local.LocalFile) -> None:
        real(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(free_local.LocalFile, "delete", delete)
        with pytest.raises(KeyboardInterrupt):
            freed(sent)
    assert len(local(sent)) == 7
    assert "at work, or stopped" in (sent.out / NOTE_NAME).read_text()
    ended = freed(sent)
    assert (ended.status, local(sent)) == (ExitStatus.DONE, [])


def test_what_is_stopped_before_a_batch_stays(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_work, "_BATCH_FILES", 2)
    request = FreeRequest(folder=sent.out)
    ended = sent.run("free", lambda run: free(run, request, lambda _question: run.stop.set()))
    assert ended.status is ExitStatus.INTERRUPTED
    assert len(local(sent)) == 8


def test_the_disk_refuses(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.unlink

    def unlink(path: str, *args: object, **options: object) -> None:
        if str(path) == f"{CODE}_1.edf":
            raise PermissionError(13, "no")
        real(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", unlink)
    ended = freed(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert local(sent) == [f"edf/{FIRST}"]
    with sent.reading() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
        assert row is not None
        assert row.freed_at is None


def test_afterwards_nothing_misses_the_freed_files(sent: SmallLab) -> None:
    from ecogsafe.service.status import status

    freed(sent)
    assert sent.verify().status is ExitStatus.DONE
    report = status(sent.home, None)
    assert report.problems == ()
    assert sum(state.freed_files for state in report.states) == 8
