"""`key rotate`: whatever is sealed opens at every moment; a new key is secured before anything is sealed to it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecogsafe.catalog import meta
from ecogsafe.core.durable import write_atomically
from ecogsafe.core.errors import ExitStatus, RecipientsChangedError, StoreRefusedError, StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import parse_recipients
from ecogsafe.crypt.lab_key import LabKey, open_lab_key, protect
from ecogsafe.crypt.recovery_sheet import read_sheet
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.linking_key import LinkingKey
from ecogsafe.service import key_changes, key_rotating
from ecogsafe.service.doctor_home import check_key
from ecogsafe.service.doctor_report import Report
from ecogsafe.service.key_backup import back_up_keys
from ecogsafe.service.key_rotating import rotate
from ecogsafe.service.persons import open_keys
from ecogsafe.service.snapshots import Snapshots
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from tests.service.key_places import URLS, configure, newest
from tests.service.small_lab import PASSWORD, Ended, SmallLab, StoresInMemory, bytes_in

#: to which clips are sent
DATA = "s3://clips"


class Power(BaseException):
    """The machine goes off."""


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_changes, "protect", partial(protect, work_factor=10))


@pytest.fixture
def sent(small_lab: SmallLab, in_memory: StoresInMemory) -> SmallLab:
    """A lab that has sent two clips, knows two persons, and keeps its keys in two places."""
    configure(small_lab.home)
    for url in (*URLS, DATA):
        in_memory.add(url)
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    assert small_lab.upload("v", DATA).status is ExitStatus.DONE
    with small_lab.catalog() as catalog:
        open_keys(small_lab.home, catalog, lambda: PASSWORD).file.change(_two_persons)
        back_up_keys(small_lab.home, catalog)
    return small_lab


def _two_persons(key: LinkingKey) -> LinkingKey:
    for name in ("Quillfeather", "Ottersley"):
        key = key.with_person(key.new_person(Identifiers(last_name=name), now="2026-01-02T03:04:05.678901Z"))
    return key


def turn(small: SmallLab) -> Ended:
    return small.run("key rotate", lambda run: rotate(run, lambda: PASSWORD))


def lab_key(small: SmallLab) -> LabKey:
    return open_lab_key(small.home.lab_key.read_bytes(), PASSWORD)


def sealed_to(small: SmallLab) -> X25519Identity:
    """Return the lab key that is sealed to now."""
    found = lab_key(small).listed(parse_recipients(small.home.recipient_lines().decode()))
    assert found is not None, "nothing in the home opens what is sealed from now on"
    return found


def check_whole(small: SmallLab, stores: StoresInMemory) -> None:
    """What must hold after any kill: everything opens, and a key in use is known outside the home."""
    identity, used = lab_key(small), sealed_to(small)
    for info in stores.by_url[DATA].list("abcd"):
        assert open_sealed(bytes_in(stores.by_url[DATA], info.key), [identity])
    open_sealed(small.home.linking_key.read_bytes(), [identity])
    for url in URLS:
        copy = open_lab_key(newest(stores.by_url[url], "lab-key"), PASSWORD)
        assert used in copy.identities, f"{url} does not hold the key that data are sealed to"
        open_sealed(newest(stores.by_url[url], "linking-key"), [copy])
    sheet = open_lab_key(read_sheet(small.home.recovery_sheet.read_text()).lab_key_age, PASSWORD)
    assert used in sheet.identities, "the sheet does not hold the key that data are sealed to"


def test_a_new_key_for_what_comes_and_the_old_one_for_what_was(sent: SmallLab, in_memory: StoresInMemory) -> None:
    old = lab_key(sent).identities[0]
    ended = turn(sent)
    assert ended.status is ExitStatus.DONE
    new = sealed_to(sent)
    assert lab_key(sent).identities == (new, old) and new != old
    (told,) = [i for i in ended.items() if "under_earlier_keys" in i.details]
    assert told.details == {"under_earlier_keys": 2, "earlier_keys": 1}
    (where,) = [i for i in ended.items(store=DATA) if "copies" in i.details]
    assert where.details["copies"] == 2
    check_whole(sent, in_memory)
    # what is sent now opens with the new key and not with the old one
    before = {info.key for info in in_memory.by_url[DATA].list("abcd")}
    sent.avi(index=3)
    assert sent.upload("v", DATA).status is ExitStatus.DONE
    (after,) = {info.key for info in in_memory.by_url[DATA].list("abcd")} - before
    store = in_memory.by_url[DATA]
    assert open_sealed(bytes_in(store, after), [new])
    with pytest.raises(Exception, match="sealed to other keys"):
        open_sealed(bytes_in(store, after), [old])
    # so does the linking key, at once, here and in the key backup places
    for data in (sent.home.linking_key.read_bytes(), newest(in_memory.by_url[URLS[0]], "linking-key")):
        assert open_sealed(data, [new])
    assert sent.download(DATA).status is ExitStatus.DONE
    assert sent.verify(deep=True).status is ExitStatus.DONE
    assert "SECRET" not in "".join(str(e) for e in ended.events)


def test_twice(sent: SmallLab, in_memory: StoresInMemory) -> None:
    turn(sent)
    ended = turn(sent)
    assert ended.status is ExitStatus.DONE and len(lab_key(sent).identities) == 3
    lines = sent.home.recipient_lines().decode()
    assert lines.count("age1") == 2 and lines.startswith("# lab key\n")
    assert sealed_to(sent) == lab_key(sent).identities[0]
    check_whole(sent, in_memory)


def _die_at(patched: pytest.MonkeyPatch, step: int) -> None:
    """Let the machine go off at the durable step ``step``."""
    done = 0

    def count(real: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            done += 1
            if done > step:
                raise Power
            return real(*arguments, **options)

        return counted

    patched.setattr(key_changes, "write_atomically", count(write_atomically))
    patched.setattr(key_changes, "back_up_keys", count(back_up_keys))
    patched.setattr(key_rotating, "open_keys", count(open_keys))
    patched.setattr(key_rotating, "Snapshots", count(Snapshots))
    for module in (key_changes, key_rotating):
        patched.setattr(module, "meta", SimpleNamespace(get=meta.get, set=count(meta.set)))


#: durable steps of a rotation; the test below counts them
STEPS = 13


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_kill_at_any_step(
    sent: SmallLab, in_memory: StoresInMemory, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = lab_key(sent).identities[0]
    was_cut = False
    with monkeypatch.context() as patched:
        _die_at(patched, step)
        try:
            turn(sent)
        except Power:
            was_cut = True
    assert was_cut == (step < STEPS), f"a rotation has other steps than the {STEPS} that are tried here"
    check_whole(sent, in_memory)
    half = sent.upload("v", DATA)
    assert half.status in (ExitStatus.DONE, ExitStatus.KEY)
    if half.status is ExitStatus.KEY:
        assert isinstance(half.error, RecipientsChangedError) and "key rotate" in half.error.next
    ended = turn(sent)
    assert ended.status is ExitStatus.DONE
    new = sealed_to(sent)
    assert new != old
    # killed before the new key was kept: another is made; killed after the last step: a second rotation
    assert len(lab_key(sent).identities) == (3 if step == STEPS else 2)
    check_whole(sent, in_memory)
    sent.avi(index=4)
    assert sent.upload("v", DATA).status is ExitStatus.DONE
    with sent.reading() as tx:
        assert meta.get(tx, "lab_key_coming") == ""


def fixes(small: SmallLab) -> str:
    """Return what `doctor` says is to be done about the keys."""
    told: list[Any] = []
    with small.catalog() as catalog:
        check_key(Report(told.append), small.home, catalog, None)
    return " ".join(item.details.get("fix", "") for item in told)


def test_nothing_is_sealed_to_a_key_that_a_place_does_not_hold(sent: SmallLab, in_memory: StoresInMemory) -> None:
    old = sealed_to(sent)
    inner = in_memory.by_url[URLS[1]]
    assert isinstance(inner, MemoryStore)
    in_memory.add(URLS[1], Faulty(inner, {"put": [Fault(error=StoreRefusedError(URLS[1], "AccessDenied"))] * 9}))
    ended = turn(sent)
    assert isinstance(ended.error, StoreUnreachableError) and "key rotate again" in ended.error.next
    assert sealed_to(sent) == old
    assert sent.upload("v", DATA).status is ExitStatus.DONE
    assert "key rotate" in fixes(sent)
    in_memory.add(URLS[1], inner)
    assert turn(sent).status is ExitStatus.DONE
    assert "key rotate" not in fixes(sent)
    assert len(lab_key(sent).identities) == 2, "it goes on with the key it had made"
    check_whole(sent, in_memory)


def test_another_password_in_between_keeps_both_keys(sent: SmallLab, in_memory: StoresInMemory) -> None:
    from ecogsafe.service.lab_keys import change_password

    turn(sent)
    before = lab_key(sent).text
    new = Secret(b"other words of a lab")
    sent.run("key change-password", lambda run: change_password(run, lambda: PASSWORD, lambda: new))
    assert open_lab_key(sent.home.lab_key.read_bytes(), new).text == before


def test_no_place_for_key_copies_is_said(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    ended = turn(small_lab)
    assert ended.status is ExitStatus.DONE
    assert any("no [key_backup] place" in i.message for i in ended.items())


def test_a_wrong_password_changes_nothing(sent: SmallLab) -> None:
    def files() -> list[bytes]:
        names: list[Path] = [sent.home.lab_key, sent.home.recipients_file, sent.home.recovery_sheet]
        return [path.read_bytes() for path in names]

    before = files()
    ended = sent.run("key rotate", lambda run: rotate(run, lambda: Secret(b"not these words")))
    assert ended.status is ExitStatus.KEY
    assert files() == before


def test_recipients_changed_by_hand_are_refused(sent: SmallLab) -> None:
    with sent.home.recipients_file.open("ab") as file:
        file.write(b"# somebody was here\n")
    assert isinstance(turn(sent).error, RecipientsChangedError)
    assert len(lab_key(sent).identities) == 1
