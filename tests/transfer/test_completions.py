"""Every way in which a completion can go (DESIGN 5.8), with real commands against a real server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ecogsafe.crypt.age_file import open_sealed
from tests.servers.proxy import Trouble
from tests.servers.seaweed import SeaweedServer

from .wire_lab import PART, STALL_S, Ended, Machine, WireLab

pytestmark = pytest.mark.server

LARGE = 2 * PART + 1000
#: as many as no run asks again
_ALWAYS = 10**6
_REFUSED = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>hidden</Message></Error>"


def _is_complete(method: str, target: str) -> bool:
    return method == "POST" and "uploadId=" in target


def _is_begin(method: str, target: str) -> bool:
    return method == "POST" and "?uploads" in target


def _is_put(method: str, target: str) -> bool:
    return method == "PUT" and ".avi.age" in target and "partNumber" not in target


def _is_head(method: str, target: str) -> bool:
    return method == "HEAD" and ".avi.age" in target


@pytest.fixture
def lab(tmp_path: Path, s3_server: SeaweedServer) -> Iterator[WireLab]:
    with WireLab(tmp_path, s3_server, machines=2) as lab:
        yield lab
        lab.ledger.prove(lab.identities, [g for m in lab.machines for g in m.geometries()])


@pytest.fixture(params=[(LARGE, _is_complete), (1000, _is_put)], ids=["complete", "put"])
def last_request(request: pytest.FixtureRequest) -> tuple[int, Callable[[str, str], bool]]:
    """A size of a file, and the request that makes its object."""
    found: tuple[int, Callable[[str, str], bool]] = request.param
    return found


def _write(lab: WireLab, size: int) -> str:
    lab.write("0002", b"beside it")
    return lab.write("0001", random.Random(size).randbytes(size))


def _upload(
    lab: WireLab, machine: Machine, *more: str, clock_offset_s: float = 0.0, is_impatient: bool = False
) -> Ended:
    ended = machine.run(*lab.upload_words, *more, clock_offset_s=clock_offset_s, is_impatient=is_impatient)
    lab.check_truth(machine)
    return ended


def _content(lab: WireLab, key: str) -> bytes:
    return open_sealed(lab.sealed(key), lab.identities)


def _level(machine: Machine, key: str) -> list[str]:
    return [level for k, level in machine.rows("SELECT key, level FROM copies WHERE bad_at IS NULL") if k == key]


def _check_rest(lab: WireLab, machine: Machine) -> None:
    """Nothing stays open, no file key stays, and the check agrees."""
    assert lab.open_uploads() == {}, "an upload stays open at the server"
    assert machine.rows("SELECT id FROM sealings WHERE wrapped_key IS NOT NULL") == [], "a file key is still there"
    assert machine.run("verify").status == 0


@pytest.mark.parametrize("kind", ["lose", "stall", "twice"])
def test_the_answer_is_lost_and_the_object_is_found(
    lab: WireLab, last_request: tuple[int, Callable[[str, str], bool]], kind: str
) -> None:
    size, is_last = last_request
    key = _write(lab, size)
    trouble = Trouble(kind, is_last, seconds=STALL_S if kind == "stall" else 0)  # type: ignore[arg-type]
    lab.proxy.make(trouble)
    ended = _upload(lab, lab.machines[0], is_impatient=kind == "stall")
    assert trouble.happened == 1
    assert ended.status == 0
    assert _level(lab.machines[0], key) == ["checksum"]
    assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, lab.machines[0])


def test_the_answer_is_lost_and_the_store_tells_nothing_until_the_next_run(
    lab: WireLab, last_request: tuple[int, Callable[[str, str], bool]]
) -> None:
    size, is_last = last_request
    key = _write(lab, size)
    lab.proxy.make(Trouble("lose", is_last, times=_ALWAYS), Trouble("reset", _is_head, times=_ALWAYS))
    ended = _upload(lab, lab.machines[0])
    assert ended.status in (3, 10)
    assert _level(lab.machines[0], key) == []
    lab.proxy.calm()
    sent, sealed = len(lab.proxy.parts()), lab.sealed(key)
    assert _upload(lab, lab.machines[0]).status == 0
    assert len(lab.proxy.parts()) == sent, "parts left again"
    assert lab.sealed(key) == sealed
    assert _level(lab.machines[0], key) == ["checksum"]
    _check_rest(lab, lab.machines[0])


def test_the_answer_is_lost_and_the_source_changes(
    lab: WireLab, last_request: tuple[int, Callable[[str, str], bool]]
) -> None:
    """The object that came to stand is of the older content: listed, never replaced; --new-version goes beside it."""
    size, is_last = last_request
    key = _write(lab, size)
    lab.proxy.make(Trouble("lose", is_last, times=_ALWAYS), Trouble("reset", _is_head, times=_ALWAYS))
    _upload(lab, lab.machines[0])
    lab.proxy.calm()
    sealed = lab.sealed(key)
    lab.change(key, random.Random(1))
    ended = _upload(lab, lab.machines[0])
    assert (ended.status, ended.items("upload")[key]) == (3, "skipped")
    ended = _upload(lab, lab.machines[0], "--new-version")
    assert ended.status == 0
    beside = key.replace(".avi", "~2.avi")
    assert _content(lab, beside) == lab.versions[key][-1]
    assert lab.sealed(key) == sealed, "the older content was replaced"
    assert _content(lab, key) == lab.versions[key][0]
    _check_rest(lab, lab.machines[0])


@pytest.mark.parametrize("size", [LARGE, 1000])
def test_a_second_machine_is_first(lab: WireLab, size: int) -> None:
    """Its object has another file key: it is other bytes, and nothing replaces it."""
    key = _write(lab, size)
    one, two = lab.machines
    lab.proxy.make(Trouble("reset", lambda m, t: _is_complete(m, t) or _is_put(m, t), times=_ALWAYS))
    assert _upload(lab, one).status in (3, 10)
    lab.proxy.calm()
    assert _upload(lab, two).status == 0
    sealed = lab.sealed(key)
    ended = _upload(lab, one)
    assert (ended.status, ended.items("upload")[key]) == (3, "skipped")
    assert lab.sealed(key) == sealed
    assert _level(one, key) == []
    assert lab.open_uploads() == {}
    assert one.rows("SELECT id FROM sealings WHERE wrapped_key IS NOT NULL") == []
    assert two.run("verify").status == 0


def test_a_source_that_changes_before_the_completion_starts_over(lab: WireLab) -> None:
    key = _write(lab, LARGE)
    lab.proxy.make(Trouble("reset", _is_complete, times=_ALWAYS))
    assert _upload(lab, lab.machines[0]).status in (3, 10)
    lab.proxy.calm()
    before = set(lab.open_uploads())
    assert len(before) == 1
    lab.change(key, random.Random(2))
    assert _upload(lab, lab.machines[0]).status == 0
    assert _content(lab, key) == lab.versions[key][-1]
    assert before.isdisjoint(lab.open_uploads())
    _check_rest(lab, lab.machines[0])


@pytest.mark.parametrize("is_changed", [True, False])
@pytest.mark.parametrize("is_complete", [True, False])
def test_an_older_catalogue_is_put_back(lab: WireLab, *, is_complete: bool, is_changed: bool) -> None:
    """It knows of the upload and of none of its parts: nothing is ever sealed under that key again."""
    key = _write(lab, LARGE)
    machine = lab.machines[0]
    lab.proxy.make(Trouble("reset", lambda m, t: "partNumber=" in t, times=_ALWAYS))
    assert _upload(lab, machine).status in (3, 10)
    lab.proxy.calm()
    machine.keep_catalogue(lab.folder / "old.sqlite")
    if not is_complete:
        lab.proxy.make(Trouble("reset", _is_complete, times=_ALWAYS))
    _upload(lab, machine)
    lab.proxy.calm()
    machine.put_back_catalogue(lab.folder / "old.sqlite")
    if is_changed:
        lab.change(key, random.Random(3))
    sealed = lab.sealed(key) if is_complete else None
    ended = _upload(lab, machine)
    if sealed is not None:
        assert (ended.status, ended.items("upload")[key]) == (3, "skipped")
        assert lab.sealed(key) == sealed
    else:
        assert ended.status == 0
        assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, machine)


@pytest.mark.parametrize("offset_s", [600.0, -600.0])
def test_a_begin_is_lost_while_the_clock_is_wrong(lab: WireLab, offset_s: float) -> None:
    """What the lost begins left open is found and aborted, whatever time it was here."""
    key = _write(lab, LARGE)
    lab.proxy.make(Trouble("lose", _is_begin, times=_ALWAYS))
    assert _upload(lab, lab.machines[0], clock_offset_s=offset_s).status in (3, 10)
    lab.proxy.calm()
    assert lab.open_uploads()
    assert _upload(lab, lab.machines[0], clock_offset_s=-offset_s).status == 0
    assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, lab.machines[0])


@pytest.mark.parametrize("offset_s", [86_400.0 * 3, -86_400.0 * 3])
def test_a_clock_that_is_wrong_by_days_is_told(lab: WireLab, offset_s: float) -> None:
    """The store refuses what is signed at such a time; nothing is sent, and nothing is lost."""
    key = _write(lab, LARGE)
    ended = lab.machines[0].run(*lab.upload_words, clock_offset_s=offset_s)
    assert ended.status == 10
    assert "clock" in ended.events[-2]["message"] + ended.events[-1]["message"]
    assert _upload(lab, lab.machines[0]).status == 0
    assert _content(lab, key) == lab.versions[key][-1]


@pytest.mark.parametrize("size", [LARGE, 1000])
def test_somebody_elses_object_stands_there(lab: WireLab, size: int) -> None:
    """412: it was put there while we sent; listed, and never touched."""
    key = _write(lab, size)
    lab.proxy.make(Trouble("reset", lambda m, t: _is_complete(m, t) or _is_put(m, t), times=_ALWAYS))
    assert _upload(lab, lab.machines[0]).status in (3, 10)
    lab.proxy.calm()
    lab.put_behind(key, b"theirs")
    ended = _upload(lab, lab.machines[0])
    assert (ended.status, ended.items("upload")[key]) == (3, "skipped")
    assert lab.sealed(key) == b"theirs"
    assert lab.open_uploads() == {}


@pytest.mark.parametrize(("status", "code"), [(409, b"ConditionalRequestConflict"), (200, b"InternalError")])
def test_the_store_cannot_say_now(
    lab: WireLab, last_request: tuple[int, Callable[[str, str], bool]], status: int, code: bytes
) -> None:
    size, is_last = last_request
    key = _write(lab, size)
    trouble = Trouble("answer", is_last, status=status, body=_REFUSED % code, times=2)
    lab.proxy.make(trouble)
    assert _upload(lab, lab.machines[0]).status == 0
    assert trouble.happened == 2
    assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, lab.machines[0])


def test_the_upload_vanished_between_two_runs(lab: WireLab) -> None:
    """404 NoSuchUpload, and no object: the bucket's own clean-up took it; the file begins again."""
    key = _write(lab, LARGE)
    lab.proxy.make(Trouble("reset", _is_complete, times=_ALWAYS))
    assert _upload(lab, lab.machines[0]).status in (3, 10)
    lab.proxy.calm()
    for upload_id, where in lab.open_uploads().items():
        lab.abort_behind(where, upload_id)
    assert _upload(lab, lab.machines[0]).status == 0
    assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, lab.machines[0])


@pytest.mark.parametrize("code", [b"InvalidPart", b"InvalidPartOrder", b"EntityTooSmall", b"BadDigest"])
def test_parts_that_never_make_the_whole_begin_again(lab: WireLab, code: bytes) -> None:
    """Going on with them would be refused for ever; `next` promises that the upload starts anew."""
    key = _write(lab, LARGE)
    lab.proxy.make(Trouble("answer", _is_complete, status=400, body=_REFUSED % code))
    ended = _upload(lab, lab.machines[0])
    assert ended.status in (3, 10)
    first = set(lab.proxy.begun)
    assert _upload(lab, lab.machines[0]).status == 0
    assert len(set(lab.proxy.begun) - first) == 1, "the same parts were offered again"
    assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, lab.machines[0])


@pytest.mark.parametrize("size", [LARGE, 1000])
def test_a_body_that_is_damaged_on_its_way_never_counts(lab: WireLab, size: int) -> None:
    key = _write(lab, size)
    trouble = Trouble("spoil", lambda m, t: m == "PUT" and ".avi.age" in t, times=2, after=500)
    lab.proxy.make(trouble)
    ended = _upload(lab, lab.machines[0])
    assert trouble.happened == 2
    assert ended.status == 0
    assert _content(lab, key) == lab.versions[key][-1]
    _check_rest(lab, lab.machines[0])


@pytest.mark.parametrize("size", [LARGE, 1000])
def test_a_store_that_tells_another_checksum_has_a_bad_copy_until_it_tells_ours(lab: WireLab, size: int) -> None:
    key = _write(lab, size)
    last = _is_complete if size == LARGE else _is_put
    lab.proxy.make(Trouble("lie", lambda m, t: last(m, t) and "0001" in t))
    ended = _upload(lab, lab.machines[0])
    assert ended.status == 30
    assert lab.machines[0].rows("SELECT key FROM copies WHERE bad_at IS NOT NULL") == [(key,)]
    assert lab.machines[0].run("verify").status == 0
    assert _level(lab.machines[0], key) == ["checksum"]
    assert _upload(lab, lab.machines[0]).status == 0


def test_an_upload_that_nobody_can_know_of_is_shown_by_the_inventory(lab: WireLab) -> None:
    """The line delivers one begin twice: who asked got one answer, and the server has two uploads."""
    key = _write(lab, LARGE)
    lab.proxy.make(Trouble("twice", _is_begin))
    assert _upload(lab, lab.machines[0]).status == 0
    assert list(lab.open_uploads().values()) == [key]
    lab.check_uploads_listed(lab.machines[0])
