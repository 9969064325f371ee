"""`verify --repair`: what is bad is sent again from a good copy, beside the bad one, which nobody touches."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import audit, copies, files, leases, stores, subjects, summaries
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.core.errors import ExitStatus, LabKeyError, StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.owner import owner_here
from ecogsafe.service.verify import VerifyRequest, verify
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.retrying import Backoff, Retrying
from ecogsafe.transfer import file_job
from tests.service.small_lab import (
    CODES,
    PASSWORD,
    URL,
    Ended,
    Made,
    SmallLab,
    StoresInMemory,
    bytes_in,
    lose,
    overwrite,
)

OTHER = "s3://elsewhere"
CODE = CODES[0]
FIRST = f"{CODE}_edf/{CODE}_1.edf.age"
SECOND = f"{CODE}_edf/{CODE}_2.edf.age"
BETTER = f"{CODE}_edf/{CODE}_1~2.edf.age"
SOURCE = f"edf/{CODE}_edf/{CODE}_1.edf"


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        for code in CODES:
            for number in (1, 2):
                small.edf(code, number)
        assert small.upload("e", URL, encrypt=True).status is ExitStatus.DONE

    return Made.by(made_home, tmp_path_factory.mktemp("repair"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> SmallLab:
    """Two sealed recordings of each of two subjects at two stores; the config names their folder."""
    made.copy_to(small_lab, store)
    in_memory.add(OTHER)
    assert small_lab.upload("e", OTHER, encrypt=True).status is ExitStatus.DONE
    outbox(small_lab)
    return small_lab


@pytest.fixture(params=["one request", "parts"])
def one_request_or_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send each file in one request, and then in parts as large ones go."""
    if request.param == "parts":
        monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", 100)


def outbox(lab: SmallLab) -> None:
    config = lab.folder / "home" / "config.toml"
    config.write_text(f'outbox = "{lab.out}"\n' + config.read_text())


def rot(store: MemoryStore, key: str, *, truthful: bool = True) -> bytes:
    data = bytes_in(store, key)
    overwrite(store, key, data[:-20] + bytes((data[-20] ^ 1,)) + data[-19:], truthful=truthful)
    return bytes_in(store, key)


def opened(lab: SmallLab, store: Any, key: str) -> bytes:
    return open_sealed(bytes_in(store, key), [lab.identity()])


def at(lab: SmallLab, key: str, url: str = URL) -> CopyRow:
    """Return the copy under ``key`` at one of the two stores."""
    with lab.reading() as tx:
        (store_id,) = [s.store_id for s in stores.all_stores(tx) if s.url == url]
        found = copies.copy_by_key(tx, store_id, key)
    assert found is not None
    return found


def no_password() -> Secret:
    raise LabKeyError("the lab key", "nobody is there to give the password")


def unattended(lab: SmallLab, **wishes: Any) -> Ended:
    return lab.run("verify", lambda run: verify(run, VerifyRequest(repair=True, **wishes), no_password))


def test_sent_again_from_the_outbox(sent: SmallLab, store: MemoryStore) -> None:
    """Nobody need be there: the file is here, and sealing needs no password."""
    before = rot(store, FIRST)
    ended = unattended(sent)
    assert ended.status is ExitStatus.DONE
    assert (ended.counts["bad"], ended.counts["repaired"]) == (1, 1)
    # nobody is told to do what this run does
    assert [error.next.startswith("nothing: this run") for error in ended.errors()] == [True]
    assert bytes_in(store, FIRST) == before
    assert opened(sent, store, BETTER) == (sent.folder / "out" / SOURCE).read_bytes()
    assert at(sent, FIRST).bad_at is not None
    assert at(sent, BETTER).level == "checksum"
    with sent.reading() as tx:
        assert audit.recent(tx, object=FIRST)[0].act == "repair"
        assert audit.recent(tx, object=FIRST)[0].result == f"replaced by {BETTER}"
        assert audit.check(tx) == []
        assert len(summaries.repaired_copies(tx)) == 1
    # from then on the bad one is known and no alarm
    again = sent.verify()
    assert again.status is ExitStatus.DONE
    assert again.counts["replaced"] == 1
    assert unattended(sent).counts.get("repaired") is None


def test_sealed_anew(sent: SmallLab, store: MemoryStore) -> None:
    """Another file key: nothing of the old ciphertext comes again."""
    good = bytes_in(store, FIRST)
    rot(store, FIRST)
    unattended(sent)
    assert bytes_in(store, BETTER)[-200:] != good[-200:]


def test_what_is_gone_gets_its_own_name_again(sent: SmallLab, store: MemoryStore) -> None:
    lose(store, FIRST)
    ended = unattended(sent)
    assert ended.status is ExitStatus.DONE
    assert opened(sent, store, FIRST) == (sent.folder / "out" / SOURCE).read_bytes()
    assert at(sent, FIRST).bad_at is None
    assert BETTER not in store._objects


@pytest.mark.usefixtures("one_request_or_parts")
@pytest.mark.parametrize("how", ["gone", "changed", "freed"])
def test_sent_again_from_another_store(sent: SmallLab, store: MemoryStore, how: str) -> None:
    source = sent.folder / "out" / SOURCE
    content = source.read_bytes()
    if how == "changed":
        source.write_bytes(content[:-5] + b"other")
    else:
        source.unlink()
    with sent.writing() as tx:
        row = files.file_by_path(tx, "edf", SOURCE.removeprefix("edf/"))
        assert row is not None
        if how == "freed":
            files.mark_freed(tx, [row.id])
            row = files.file(tx, row.id)
    rot(store, FIRST)
    ended = sent.verify(repair=True)
    assert ended.status is ExitStatus.DONE
    assert opened(sent, store, BETTER) == content
    # the row of the content is what it was: nothing was found here, nothing is no longer freed
    with sent.reading() as tx:
        assert row is not None
        assert files.file(tx, row.id) == row
        assert files.file_by_path(tx, "edf", row.path) == row


def test_without_a_password_what_is_sealed_elsewhere_stays_there(sent: SmallLab, store: MemoryStore) -> None:
    (sent.folder / "out" / SOURCE).unlink()
    rot(store, FIRST)
    rot(store, SECOND)
    ended = unattended(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    # the other one is here
    assert (ended.counts["repaired"], ended.counts["not_repaired"]) == (1, 1)
    assert "could not be sent again: the lab key nobody is there to give" in ended.errors()[-1].message


def test_a_bad_source_is_found_out_and_the_next_one_taken(
    sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory
) -> None:
    third = in_memory.add("s3://third")
    assert sent.upload("e", "s3://third", encrypt=True).status is ExitStatus.DONE
    content = (sent.folder / "out" / SOURCE).read_bytes()
    (sent.folder / "out" / SOURCE).unlink()
    # rotten below a store that goes on telling what it told: the first in line
    rot(in_memory.by_url[OTHER], FIRST, truthful=False)  # type: ignore[arg-type]
    rot(store, FIRST)
    ended = sent.verify(repair=True)
    assert ended.status is ExitStatus.DONE
    assert opened(sent, store, BETTER) == content
    assert bytes_in(third, FIRST)
    with sent.reading() as tx:
        bad = [(key, reason) for _, key, reason in summaries.bad_copies(tx)]
    assert len(bad) == 2
    assert any(reason.startswith("its content") for _, reason in bad)
    # and it is repaired by the next run
    assert sent.verify(repair=True).counts["repaired"] == 1


def test_nowhere_a_good_copy(sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    (sent.folder / "out" / SOURCE).unlink()
    rot(store, FIRST)
    rot(in_memory.by_url[OTHER], FIRST)  # type: ignore[arg-type]
    ended = sent.verify(repair=True)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert ended.counts["not_repaired"] == 2
    assert "there is no good copy" in str(ended.errors()[-1].message)
    assert BETTER not in store._objects


def test_both_stores_repaired_in_one_run(sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    other = in_memory.by_url[OTHER]
    rot(store, FIRST)
    rot(other, FIRST)  # type: ignore[arg-type]
    assert unattended(sent).counts["repaired"] == 2
    assert opened(sent, store, BETTER) == opened(sent, other, BETTER)


def test_only_what_was_asked_for(sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    other = in_memory.by_url[OTHER]
    rot(store, FIRST)
    rot(other, FIRST)  # type: ignore[arg-type]
    assert unattended(sent, url=OTHER).counts["repaired"] == 1
    assert unattended(sent, subject=CODES[1]).counts.get("repaired") is None
    assert BETTER not in store._objects


def test_rotten_content_that_only_a_full_read_shows(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST, truthful=False)
    assert unattended(sent).counts.get("bad") is None
    ended = sent.verify(deep=True, repair=True)
    assert ended.status is ExitStatus.DONE
    assert opened(sent, store, BETTER)


def test_the_good_one_is_what_comes_back_and_what_upload_finds(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST)
    unattended(sent)
    again = sent.upload("e", URL, encrypt=True)
    assert again.status is ExitStatus.DONE
    assert not again.items(action="upload", status="done")
    ended = sent.download(URL)
    assert ended.status is ExitStatus.DONE
    back = sent.folder / "back" / SOURCE.removeprefix("edf/")
    assert back.read_bytes() == (sent.folder / "out" / SOURCE).read_bytes()
    assert [path.name for path in back.parent.iterdir() if "~" in path.name] == []


def test_a_good_one_that_goes_bad_is_replaced_again(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST)
    unattended(sent)
    rot(store, BETTER)
    assert sent.verify().status is ExitStatus.VERIFY_FAILED
    ended = unattended(sent)
    assert ended.status is ExitStatus.DONE
    third = BETTER.replace("~2", "~3")
    assert opened(sent, store, third) == (sent.folder / "out" / SOURCE).read_bytes()


@pytest.mark.usefixtures("one_request_or_parts")
def test_an_older_content_stays_an_older_content(sent: SmallLab, store: MemoryStore) -> None:
    """Repaired from the other store, it must not become what the file is now."""
    old = (sent.folder / "out" / SOURCE).read_bytes()
    sent.edf(number=1, text="changed")
    sent.upload("e", URL, encrypt=True, new_version=True)
    with sent.reading() as tx:
        now = files.file_by_path(tx, "edf", SOURCE.removeprefix("edf/"))
    rot(store, FIRST)
    ended = sent.verify(repair=True)
    assert ended.status is ExitStatus.DONE
    assert opened(sent, store, BETTER.replace("~2", "~3")) == old
    with sent.reading() as tx:
        assert files.file_by_path(tx, "edf", SOURCE.removeprefix("edf/")) == now


def test_large_files_go_in_parts(sent: SmallLab, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", 100)
    content = (sent.folder / "out" / SOURCE).read_bytes()
    (sent.folder / "out" / SOURCE).unlink()
    rot(store, FIRST)
    rot(store, SECOND)
    assert sent.verify(repair=True).counts["repaired"] == 2
    assert opened(sent, store, BETTER) == content


def test_a_changed_source_never_gets_a_name(
    sent: SmallLab, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts, too: the digest decides before the object is completed."""
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", 100)
    source = sent.folder / "out" / SOURCE
    source.write_bytes(source.read_bytes()[:-5] + b"other")
    rot(store, FIRST)
    ended = unattended(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert BETTER not in store._objects
    assert list(store.list_uploads()) == []


# plain


@pytest.fixture
def plain(small_lab: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> SmallLab:
    """Two plain recordings at one store, sealed at another one."""
    for number in (1, 2):
        small_lab.edf(number=number)
    small_lab.clear(CODE)
    in_memory.add(OTHER)
    assert small_lab.upload("e", URL).status is ExitStatus.DONE
    assert small_lab.upload("e", OTHER, encrypt=True).status is ExitStatus.DONE
    outbox(small_lab)
    return small_lab


PLAIN = FIRST.removesuffix(".age")
PLAIN_BETTER = BETTER.removesuffix(".age")


@pytest.mark.parametrize("here", [True, False])
def test_plain_again_what_is_still_cleared(plain: SmallLab, store: MemoryStore, here: bool) -> None:
    content = (plain.folder / "out" / SOURCE).read_bytes()
    if not here:
        (plain.folder / "out" / SOURCE).unlink()
    rot(store, PLAIN)
    ended = plain.verify(repair=True)
    assert ended.status is ExitStatus.DONE
    assert bytes_in(store, PLAIN_BETTER) == content


@pytest.mark.parametrize("here", [True, False])
def test_the_gate_keeps_back_what_was_searched_for_less(plain: SmallLab, store: MemoryStore, here: bool) -> None:
    """More identifiers of the subject became known since: nothing goes out plain that was not searched for them."""
    if not here:
        (plain.folder / "out" / SOURCE).unlink()
    with plain.writing() as tx:
        subjects.set_revision(tx, CODE, 2)
    rot(store, PLAIN)
    ended = plain.verify(repair=True)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert PLAIN_BETTER not in store._objects
    assert "it would go out plain" in str(ended.errors()[-1].message)


# locks, trouble, death


def test_a_subject_that_somebody_else_works_with(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST)
    rot(store, FIRST.replace(CODES[0], CODES[1]))
    with sent.writing() as tx:
        leases.acquire(tx, f"subject:{CODE}", owner_here("someone-else"), 60, shared=True)
    ended = unattended(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert (ended.counts["repaired"], ended.counts["not_repaired"]) == (1, 1)


def test_while_a_journal_is_open_nothing_is_sent(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST)
    (sent.out / f".ecogsafe-open-{CODE}").touch()
    assert unattended(sent).status is ExitStatus.VERIFY_FAILED
    assert BETTER not in store._objects


def test_nothing_more_is_sent_of_a_withdrawn_subject(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST)
    with sent.writing() as tx:
        subjects.add_subject(tx, CODE)
        subjects.withdraw_subject(tx, CODE)
    assert unattended(sent).status is ExitStatus.VERIFY_FAILED
    assert BETTER not in store._objects


def test_a_store_that_takes_nothing(sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    rot(store, FIRST)
    refused = [Fault(error=StoreUnreachableError(URL, "no answer"))] * 50
    in_memory.add(URL, Faulty(store, {"put": refused}))
    ended = unattended(sent)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert ended.counts["not_repaired"] == 1
    in_memory.add(URL, store)
    assert unattended(sent).counts["repaired"] == 1


@pytest.mark.usefixtures("one_request_or_parts")
@pytest.mark.parametrize("at", ["the id of the source", "the source", "the goal"])
def test_ctrl_c_while_a_store_is_asked_again_spoils_no_source(
    sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory, at: str
) -> None:
    """It is an interruption: the good copy is not called bad, and the next run repairs from it."""
    (sent.folder / "out" / SOURCE).unlink()
    rot(store, FIRST)
    check_ctrl_c(sent, in_memory, at)


def test_ctrl_c_while_the_gate_reads_a_stored_copy(
    plain: SmallLab, store: MemoryStore, in_memory: StoresInMemory
) -> None:
    (plain.folder / "out" / SOURCE).unlink()
    rot(store, PLAIN)
    check_ctrl_c(plain, in_memory, "the source")


def check_ctrl_c(sent: SmallLab, in_memory: StoresInMemory, at: str) -> None:
    stop = threading.Event()
    lost = [Fault(error=StoreUnreachableError(URL, "no answer"))]
    # the id is read by the check, and by the repair
    script = {
        "the id of the source": {"read": [None, *lost]},
        "the source": {"read": [None, None, *lost]},
        "the goal": {"put": lost, "put_part": lost},
    }[at]
    url = URL if at == "the goal" else OTHER
    inner = in_memory.by_url[url]
    away = Faulty(inner, script)
    in_memory.add(url, Retrying(away, stop=stop, backoff=Backoff(first_s=20), on_wait=lambda _wait: stop.set()))
    request = VerifyRequest(repair=True)
    ended = sent.run("verify", lambda run: verify(run, request, lambda: PASSWORD), stop=stop)
    assert stop.is_set()
    assert ended.status is ExitStatus.INTERRUPTED
    assert ended.counts.get("not_repaired") is None
    in_memory.add(url, inner)
    with sent.reading() as tx:
        assert len(summaries.bad_copies(tx)) == 1
    assert sent.verify(repair=True).counts["repaired"] == 1


class KilledError(BaseException):
    """A process that ends here."""


@pytest.mark.parametrize("damage", ["rotten", "gone"])
def test_killed_between_storing_and_recording(
    sent: SmallLab, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The object that stands is recognised: none is sent a second time."""
    if damage == "gone":
        lose(store, FIRST)
    else:
        rot(store, FIRST)

    def killed(*_arguments: Any, **_more: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("ecogsafe.transfer.batch.record_written", killed)
        with pytest.raises(KilledError):
            unattended(sent)
    ended = unattended(sent)
    assert ended.status is ExitStatus.DONE
    assert ended.counts["repaired"] == 1
    names = [k for k in store._objects if k.startswith(FIRST.removesuffix(".edf.age"))]
    assert len(names) == (1 if damage == "gone" else 2)
    assert sent.verify().status is ExitStatus.DONE


def test_killed_before_an_object_in_parts_is_complete(
    sent: SmallLab, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another store, in parts: the next run completes it, and nothing unfinished is left."""
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", 100)
    content = (sent.folder / "out" / SOURCE).read_bytes()
    (sent.folder / "out" / SOURCE).unlink()
    rot(store, FIRST)

    def killed(*_arguments: Any, **_more: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(file_job, "_complete", killed)
        with pytest.raises(KilledError):
            sent.verify(repair=True)
    assert BETTER not in store._objects
    assert sent.verify(repair=True).status is ExitStatus.DONE
    assert opened(sent, store, BETTER) == content
    assert list(store.list_uploads()) == []


def test_a_source_whose_header_is_rotten(sent: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    (sent.folder / "out" / SOURCE).unlink()
    other = in_memory.by_url[OTHER]
    overwrite(other, FIRST, b"x" + bytes_in(other, FIRST)[1:], truthful=False)
    rot(store, FIRST)
    ended = sent.verify(repair=True)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert (at(sent, FIRST, OTHER).bad_reason or "").startswith("its content")


def test_the_message_of_a_bad_copy_names_the_repair(sent: SmallLab, store: MemoryStore) -> None:
    rot(store, FIRST)
    ended = sent.verify()
    assert f"ecogsafe verify {CODE} --store {URL} --repair" in ended.errors()[0].next


# archives


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_bad_volume_is_not_sent_again_and_what_is_lost_with_it_is_counted(
    small_lab: SmallLab, in_memory: StoresInMemory, elsewhere: bool
) -> None:
    for number in (1, 2, 3):
        small_lab.edf(number=number)
    request = ArchiveRequest(folders=(small_lab.out,), url="s3://deep", kind="edf")
    assert small_lab.run("archive", lambda run: archive(run, request)).status is ExitStatus.DONE
    if elsewhere:
        small_lab.upload("e", URL, encrypt=True)
    key = f"{CODE}/{CODE}_edf_0001.tar.zst.age"
    deep = in_memory.by_url["s3://deep"]
    assert isinstance(deep, MemoryStore)
    rot(deep, key)
    before = set(deep._objects)
    ended = unattended(small_lab)
    assert ended.status is ExitStatus.VERIFY_FAILED
    told = str(ended.errors()[-1].message)
    assert f"a volume of 3 files, {3 if elsewhere else 0} of which have a good copy elsewhere" in told
    assert ("3 have none in any store" in told) is not elsewhere
    assert "ecogsafe archive" in ended.errors()[-1].next
    assert {k for k in deep._objects if k.startswith(CODE)} == {k for k in before if k.startswith(CODE)}
    # as it says: a new volume
    assert small_lab.run("archive", lambda run: archive(run, request)).status is ExitStatus.DONE
    assert key.replace("0001", "0002") in deep._objects
    again = small_lab.verify(url="s3://deep")
    assert again.status is ExitStatus.DONE
    assert again.counts["replaced"] == 1


def test_a_bad_index_is_made_again_by_archive(small_lab: SmallLab) -> None:
    for number in (1, 2):
        small_lab.edf(number=number)
    request = ArchiveRequest(folders=(small_lab.out,), url=small_lab.folder_store("deep"), kind="edf")
    small_lab.run("archive", lambda run: archive(run, request))
    (small_lab.folder / "deep" / f"{CODE}/{CODE}_edf_0001.index.age").unlink()
    ended = unattended(small_lab)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert "ecogsafe archive" in ended.errors()[-1].next
    small_lab.run("archive", lambda run: archive(run, request))
    assert small_lab.verify().status is ExitStatus.DONE
