"""`verify`: every way a copy can be wrong is found, recorded, and stays until it is proven good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import audit, copies, leases, summaries
from ecogsafe.core.errors import (
    ExitStatus,
    StillColdError,
    StoreUnreachableError,
    WrongPasswordError,
)
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.service.owner import owner_here
from ecogsafe.service.verify import VerifyRequest, verify
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from tests.service.small_lab import (
    CODES,
    URL,
    Ended,
    Forgetful,
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


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        for code in CODES:
            for number in (1, 2):
                small.edf(code, number)
        assert small.upload("e", URL, encrypt=True).status is ExitStatus.DONE

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two sealed recordings of each of two subjects."""
    return made.copy_to(small_lab, store)


def flipped(data: bytes) -> bytes:
    return data[:-20] + bytes((data[-20] ^ 1,)) + data[-19:]


def swap(store: MemoryStore) -> None:
    first, second = bytes_in(store, FIRST), bytes_in(store, SECOND)
    overwrite(store, FIRST, second)
    overwrite(store, SECOND, first)


DAMAGES: dict[str, tuple[Callable[[MemoryStore], None], str, bool]] = {
    # name: (damage, reason, whether the store's own checksum shows it)
    "missing": (lambda s: lose(s, FIRST), "missing", True),
    "short": (lambda s: overwrite(s, FIRST, bytes_in(s, FIRST)[:-1]), "bytes instead of", True),
    "empty": (lambda s: overwrite(s, FIRST, b""), "bytes instead of", True),
    "swapped": (swap, "checksum is not the one recorded", True),
    "replaced": (lambda s: overwrite(s, FIRST, flipped(bytes_in(s, FIRST))), "checksum is not the one", True),
    "rotten": (
        lambda s: overwrite(s, FIRST, flipped(bytes_in(s, FIRST)), truthful=False),
        "its content",
        False,
    ),
    "rotten header": (
        lambda s: overwrite(s, FIRST, b"x" + bytes_in(s, FIRST)[1:], truthful=False),
        "its content",
        False,
    ),
}


def test_everything_is_right(sent: SmallLab) -> None:
    shallow = sent.verify()
    assert shallow.status is ExitStatus.DONE
    assert len(shallow.keys("done")) == 4
    assert sent.copy(FIRST).level == "checksum"
    deep = sent.verify(deep=True)
    assert deep.status is ExitStatus.DONE
    assert sent.copy(FIRST).level == "restored"
    assert sent.copy(FIRST).restored_at is not None
    with sent.reading() as tx:
        assert [row.result for row in audit.recent(tx, object=FIRST)][:2] == ["restored", "checksum"]
        assert audit.check(tx) == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("deep", [False, True])
def test_a_bad_copy_ends_30_and_is_named(sent: SmallLab, store: MemoryStore, damage: str, deep: bool) -> None:
    do, reason, shows = DAMAGES[damage]
    do(store)
    ended = sent.verify(deep=deep)
    if not shows and not deep:
        assert ended.status is ExitStatus.DONE
        return
    assert ended.status is ExitStatus.VERIFY_FAILED
    bad = 2 if damage == "swapped" else 1
    assert ended.counts["bad"] == bad
    assert len(ended.keys("done")) == 4 - bad
    assert f"{URL}/{FIRST}" in [error.item for error in ended.errors()]
    row = sent.copy(FIRST)
    assert row.bad_at is not None
    assert reason in (row.bad_reason or "")
    with sent.reading() as tx:
        assert len(summaries.bad_copies(tx)) == bad
        assert audit.recent(tx, object=FIRST)[0].result == "bad"


def test_what_is_bad_stays_bad_until_proven_good(sent: SmallLab, store: MemoryStore) -> None:
    good = store._objects[FIRST]
    lose(store, FIRST)
    sent.verify()
    store._objects[FIRST] = good
    ended = sent.verify()
    assert ended.status is ExitStatus.DONE
    assert sent.copy(FIRST).bad_at is None


def test_bad_content_only_a_full_read_takes_back(sent: SmallLab, store: MemoryStore) -> None:
    good = store._objects[FIRST]
    overwrite(store, FIRST, flipped(good[1]), truthful=False)
    assert sent.verify(deep=True).status is ExitStatus.VERIFY_FAILED
    # the store's checksum never noticed
    for _ in range(2):
        ended = sent.verify()
        assert ended.status is ExitStatus.VERIFY_FAILED
        assert ended.counts["bad"] == 1
    store._objects[FIRST] = good
    assert sent.verify().status is ExitStatus.VERIFY_FAILED
    assert sent.verify(deep=True).status is ExitStatus.DONE
    assert sent.verify().status is ExitStatus.DONE


def test_bad_content_is_graver_than_what_was_wrong_before(sent: SmallLab, store: MemoryStore) -> None:
    """First short, then put back with rotten content: the checksum must not acquit it."""
    good = store._objects[FIRST]
    lose(store, FIRST)
    sent.verify()
    since = sent.copy(FIRST).bad_at
    store._objects[FIRST] = good
    overwrite(store, FIRST, flipped(good[1]), truthful=False)
    sent.verify(deep=True)
    assert sent.copy(FIRST).bad_at == since
    assert sent.verify().status is ExitStatus.VERIFY_FAILED


def test_a_store_that_tells_no_checksum(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add(URL, Forgetful(URL))
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    sent = small_lab.upload("e", URL, encrypt=True)
    assert sent.counts["stored_without_checksum"] == 2
    assert small_lab.copy(FIRST).level == "stored"
    ended = small_lab.verify()
    assert ended.status is ExitStatus.DONE
    assert ended.counts["without_checksum"] == 2
    assert ended.run is not None
    assert ended.run.message.startswith("0 of 2 copies compared")
    # another object of the same size: its token is not ours
    overwrite(store, FIRST, flipped(bytes_in(store, FIRST)))
    assert small_lab.verify().status is ExitStatus.VERIFY_FAILED
    # that it is there again proves nothing
    info, data = store._objects[FIRST]  # type: ignore[attr-defined]
    store._objects[FIRST] = (replace(info, token=small_lab.copy(FIRST).token), data)  # type: ignore[attr-defined]
    assert small_lab.verify().status is ExitStatus.VERIFY_FAILED
    assert small_lab.verify(deep=True).status is ExitStatus.VERIFY_FAILED


def test_deep_proves_what_no_checksum_could(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.add(URL, Forgetful(URL))
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.upload("e", URL, encrypt=True)
    assert small_lab.verify(deep=True).status is ExitStatus.DONE
    assert small_lab.copy(FIRST).level == "restored"


def test_sealed_to_somebody_else(sent: SmallLab, store: MemoryStore) -> None:
    """Swapped under a store that tells nothing: a deep read shows it, and it is bad, not a missing key."""
    overwrite(store, FIRST, seal(b"x" * 200, [generate_identity().recipient]), truthful=False)
    size = len(bytes_in(store, FIRST))
    info, data = store._objects[FIRST]
    store._objects[FIRST] = (info, data.ljust(info.size, b"x")[: info.size])
    assert size
    ended = sent.verify(deep=True)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert "its content" in (sent.copy(FIRST).bad_reason or "")


def test_our_objects_and_the_wrong_key(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what was sent, byte for byte: nothing is bad, and nothing could be opened."""
    monkeypatch.setattr("ecogsafe.service.home.Home.identity", lambda *_a: generate_identity())
    ended = sent.verify(deep=True)
    assert ended.status is ExitStatus.KEY
    with sent.reading() as tx:
        assert summaries.bad_copies(tx) == []


def test_plain_objects_deep(small_lab: SmallLab, store: MemoryStore) -> None:
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    small_lab.upload("e", URL)

    def no_password() -> Secret:
        raise AssertionError("nothing is sealed: no password is needed")

    ended = small_lab.run("verify", lambda run: verify(run, VerifyRequest(deep=True), no_password))
    assert ended.status is ExitStatus.DONE
    key = FIRST.removesuffix(".age")
    overwrite(store, key, flipped(bytes_in(store, key)), truthful=False)
    assert small_lab.verify(deep=True).status is ExitStatus.VERIFY_FAILED


def test_a_wrong_password(sent: SmallLab) -> None:
    ended = sent.run("verify", lambda run: verify(run, VerifyRequest(deep=True), lambda: Secret(b"not it at all")))
    assert isinstance(ended.error, WrongPasswordError)
    assert ended.status is ExitStatus.KEY


# several stores


@pytest.fixture
def twice(sent: SmallLab, in_memory: StoresInMemory) -> SmallLab:
    """The same files at a second store."""
    in_memory.add(OTHER)
    assert sent.upload("e", OTHER, encrypt=True).status is ExitStatus.DONE
    return sent


def gone(in_memory: StoresInMemory, url: str, method: str = "head") -> Faulty:
    store = in_memory.by_url[url]
    faulty = Faulty(store, {method: [Fault(error=StoreUnreachableError(url, "no answer"))] * 100})
    in_memory.add(url, faulty)
    return faulty


def test_one_store_out_of_reach_among_several(twice: SmallLab, in_memory: StoresInMemory) -> None:
    gone(in_memory, OTHER)
    ended = twice.verify()
    assert ended.status is ExitStatus.PARTIAL
    assert len(ended.keys("done")) == 4
    assert ended.run is not None
    assert ended.run.tally.failed == 4
    with twice.reading() as tx:
        assert summaries.bad_copies(tx) == []


def test_all_out_of_reach(twice: SmallLab, in_memory: StoresInMemory) -> None:
    gone(in_memory, URL)
    gone(in_memory, OTHER)
    assert twice.verify().status is ExitStatus.STORE


def test_30_wins(twice: SmallLab, store: MemoryStore, in_memory: StoresInMemory) -> None:
    lose(store, FIRST)
    gone(in_memory, OTHER)
    assert twice.verify().status is ExitStatus.VERIFY_FAILED


def test_a_store_that_goes_away_under_way_is_not_asked_for_ever(sent: SmallLab, in_memory: StoresInMemory) -> None:
    for number in range(3, 30):
        sent.edf(number=number)
    sent.upload("e", URL, encrypt=True)
    faulty = Faulty(in_memory.by_url[URL], {"head": [None, *[Fault(error=StoreUnreachableError(URL, "gone"))] * 99]})
    in_memory.add(URL, faulty)
    ended = sent.verify()
    assert ended.status is ExitStatus.STORE
    assert ended.run is not None
    assert ended.run.tally.failed == 31
    # one each that was under way when it became clear, not one for each copy
    assert faulty.count("head") <= 1 + 3 + 2 * 8


def test_by_store_and_by_subject(twice: SmallLab) -> None:
    assert len(twice.verify(url=URL).keys("done")) == 4
    assert len(twice.verify(subject=CODE).keys("done")) == 4
    assert len(twice.verify(url=f"{URL}/", subject=CODE).keys("done")) == 2


@pytest.mark.parametrize(
    "wishes", [{"subject": "fedcba98"}, {"subject": "Quillfeather"}, {"url": "s3://nowhere"}, {"url": "nonsense"}]
)
def test_nothing_to_verify(sent: SmallLab, wishes: dict[str, Any]) -> None:
    ended = sent.verify(**wishes)
    assert ended.status is ExitStatus.USAGE
    # what was typed may have been a name
    assert "Quillfeather" not in str(ended.error)


def test_cold_objects_end_31(sent: SmallLab, in_memory: StoresInMemory) -> None:
    cold = Fault(error=StillColdError(FIRST, "must be thawed first"))
    in_memory.add(URL, Faulty(in_memory.by_url[URL], {"read": [None, cold]}))
    ended = sent.verify(deep=True)
    assert ended.status is ExitStatus.COLD
    assert len(ended.keys("done")) == 3


def test_ctrl_c(sent: SmallLab) -> None:
    stop = threading.Event()

    def work(run: Any) -> None:
        stop.set()
        verify(run, VerifyRequest(), lambda: Secret(b""))

    assert sent.run("verify", work, stop=stop).status is ExitStatus.INTERRUPTED


def locked_verify(sent: SmallLab, **wishes: Any) -> Ended:
    with sent.writing() as tx:
        leases.acquire(tx, f"subject:{CODE}", owner_here("someone-else"), 60, shared=False)
    return sent.verify(**wishes)


def test_a_subject_that_is_being_changed(sent: SmallLab) -> None:
    assert locked_verify(sent, subject=CODE).status is ExitStatus.LOCKED
    ended = locked_verify(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert [key.split("_")[0] for key in ended.keys("done")] == [CODES[1]] * 2


def test_evidence_is_renewed(sent: SmallLab, store: MemoryStore) -> None:
    """What the store says of the same bytes now is kept, so that the next LIST finds them unchanged."""
    before = sent.copy(FIRST)
    overwrite(store, FIRST, bytes_in(store, FIRST))
    assert sent.verify().status is ExitStatus.DONE
    after = sent.copy(FIRST)
    assert after.etag != before.etag
    assert (after.checksum_at or "") > (before.checksum_at or "")
    assert after.stored_at == before.stored_at


def test_older_contents_are_verified_too(sent: SmallLab, store: MemoryStore) -> None:
    sent.edf(number=1, text="changed")
    sent.upload("e", URL, encrypt=True, new_version=True)
    assert len(sent.verify().keys("done")) == 5
    lose(store, FIRST)
    assert sent.verify().status is ExitStatus.VERIFY_FAILED
    with sent.reading() as tx:
        assert copies.copy_by_key(tx, sent.copy(SECOND).store_id, FIRST) is not None
