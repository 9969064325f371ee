"""`key import`: keys are added and compared, never replaced; what contradicts is left to a person."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ConfirmationNeededError,
    ExitStatus,
    LabKeyError,
    RecipientsChangedError,
    UsageError,
    WrongPasswordError,
)
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.lab_key import identity_text, open_lab_key, protect
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.linking_key import LinkingKey
from ecogsafe.service import key_changes
from ecogsafe.service.key_importing import import_key
from ecogsafe.service.key_rotating import rotate
from ecogsafe.service.lab_keys import export_keys
from ecogsafe.service.persons import open_keys
from tests.service.key_places import newest
from tests.service.small_lab import PASSWORD, Ended, SmallLab, StoresInMemory

OTHER = Secret(b"words of another lab")
NOW = "2026-01-02T03:04:05.678901Z"


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_changes, "protect", partial(protect, work_factor=10))


def bring(small: SmallLab, source: Path, *, yes: bool = True, other: Secret = OTHER) -> Ended:
    def confirm(question: str) -> None:
        if not yes:
            raise ConfirmationNeededError("this command", question)

    return small.run("key import", lambda run: import_key(run, source, lambda: PASSWORD, lambda: other, confirm))


def files_of(small: SmallLab) -> dict[str, bytes]:
    home = small.home
    paths = (home.lab_key, home.recipients_file, home.recovery_sheet, home.linking_key)
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def keys_of(small: SmallLab) -> tuple[Any, ...]:
    return open_lab_key(small.home.lab_key.read_bytes(), PASSWORD).identities


def stranger(small: SmallLab) -> Path:
    """The lab key of another lab, under another password."""
    path = small.folder / "lab-key-of-others.age"
    path.write_bytes(protect(generate_identity(), OTHER, work_factor=10))
    return path


def persons(*names: str, more: str = "") -> LinkingKey:
    key = LinkingKey()
    for n, name in enumerate(names):
        made = key.new_person(Identifiers(last_name=name), now=NOW)
        key = key.with_person(made)
        if more and n == 0:
            key = key.with_identifiers(made.code, Identifiers(also=(more,)), now=NOW)
    return key


def linking_key(small: SmallLab, key: LinkingKey, name: str = "linking-key-1.age") -> Path:
    path = small.folder / name
    with small.catalog() as catalog:
        path.write_bytes(seal(key.to_json(), small.home.recipients(catalog)))
    return path


def hold(small: SmallLab, key: LinkingKey) -> None:
    with small.catalog() as catalog:
        open_keys(small.home, catalog, lambda: PASSWORD).file.change(lambda _: key)


def held(small: SmallLab) -> LinkingKey:
    with small.catalog() as catalog:
        return open_keys(small.home, catalog, lambda: PASSWORD).file.read()


def test_its_own_sheet_is_compared_and_changes_nothing(small_lab: SmallLab) -> None:
    sheet = small_lab.folder / "sheet.txt"
    small_lab.run("key export", lambda run: export_keys(run, sheet, lambda: PASSWORD))
    before = files_of(small_lab)
    ended = bring(small_lab, sheet, yes=False)
    assert ended.status is ExitStatus.DONE
    assert ended.run is not None and ended.run.tally.present == 1 and "compared" in ended.run.message
    assert files_of(small_lab) == before


@pytest.mark.parametrize("yes", [False, True])
def test_the_key_of_another_lab_is_asked_about_and_added_behind(small_lab: SmallLab, yes: bool) -> None:
    path = stranger(small_lab)
    theirs = open_lab_key(path.read_bytes(), OTHER)
    before, own = files_of(small_lab), keys_of(small_lab)
    ended = bring(small_lab, path, yes=yes)
    if not yes:
        assert isinstance(ended.error, ConfirmationNeededError)
        assert files_of(small_lab) == before
        return
    assert ended.status is ExitStatus.DONE
    assert keys_of(small_lab) == (*own, theirs), "the home's own key was replaced"
    assert small_lab.home.recipients_file.read_bytes() == before["recipients.txt"], "data would be sealed to strangers"
    with small_lab.catalog() as catalog:
        identity = small_lab.home.identity(lambda: PASSWORD, small_lab.home.recipients(catalog))
    assert open_sealed(seal(b"theirs", [theirs.recipient]), [identity]) == b"theirs"


def test_what_does_not_open_is_not_taken(small_lab: SmallLab) -> None:
    before = files_of(small_lab)
    ended = bring(small_lab, stranger(small_lab), other=Secret(b"not their words"))
    assert isinstance(ended.error, WrongPasswordError)
    assert files_of(small_lab) == before


@pytest.mark.parametrize("what", ["nothing", "no file", "recovery key", "cut", "prose"])
def test_what_is_no_key_file(small_lab: SmallLab, what: str) -> None:
    path = small_lab.folder / "file"
    secret = identity_text(generate_identity())
    if what == "recovery key":
        path.write_text(secret)
    elif what == "cut":
        path.write_bytes(small_lab.home.lab_key.read_bytes()[:120])
    elif what != "no file":
        path.write_text("" if what == "nothing" else "a shopping list\nof two lines\n")
    before = files_of(small_lab)
    ended = bring(small_lab, path)
    assert isinstance(ended.error, UsageError if what == "no file" else LabKeyError)
    assert files_of(small_lab) == before
    assert "AGE-SECRET" not in str(ended.error) and str(small_lab.folder) not in str(ended.error)


def test_the_second_home_of_a_lab_whose_first_one_rotated(
    small_lab: SmallLab, in_memory: StoresInMemory, tmp_path: Path
) -> None:
    """Both work with one catalogue; the sheet of the first brings the new key and its recipients to the second."""
    second = SmallLab(tmp_path / "second")
    shutil.copytree(small_lab.home.root, second.home.root)
    second.out.mkdir()
    second.avi(index=1)
    second.avi(index=2)
    assert small_lab.run("key rotate", lambda run: rotate(run, lambda: PASSWORD)).status is ExitStatus.DONE
    sheet = small_lab.home.recovery_sheet
    for end in ("", "-wal", "-shm"):
        shared = small_lab.home.catalog_path.with_name(f"catalog.sqlite{end}")
        if shared.exists():
            shutil.copy(shared, second.home.root)
    assert isinstance(second.upload("v", "s3://clips").error, RecipientsChangedError)
    ended = bring(second, sheet, yes=False)
    assert ended.status is ExitStatus.DONE
    assert second.home.recipient_lines() == small_lab.home.recipient_lines()
    assert set(keys_of(second)) == set(keys_of(small_lab))
    assert second.upload("v", "s3://clips").status is ExitStatus.DONE
    assert second.download("s3://clips").status is ExitStatus.DONE


def test_a_linking_key_for_a_home_without_one(
    small_lab: SmallLab, places: tuple[Any, Any], in_memory: StoresInMemory
) -> None:
    small_lab.home.linking_key.unlink()
    key = persons("Quillfeather", "Ottersley")
    ended = bring(small_lab, linking_key(small_lab, key))
    assert ended.status is ExitStatus.DONE
    assert held(small_lab) == key
    with small_lab.catalog() as catalog:
        identity = small_lab.home.identity(lambda: PASSWORD, small_lab.home.recipients(catalog))
    for store in places:
        assert open_sealed(newest(store, "linking-key"), [identity]) == key.to_json()


def test_a_newer_linking_key_is_taken_and_the_former_kept(small_lab: SmallLab) -> None:
    old = persons("Quillfeather", "Ottersley")
    newer = old.with_identifiers(old.persons[0].code, Identifiers(mrn="00471199"), now=NOW)
    newer = newer.with_person(newer.new_person(Identifiers(last_name="Vandersloot"), now=NOW))
    hold(small_lab, old)
    former = small_lab.home.linking_key.read_bytes()
    assert bring(small_lab, linking_key(small_lab, newer)).status is ExitStatus.DONE
    assert held(small_lab) == newer
    assert former in [path.read_bytes() for path in (small_lab.home.root / "generations").iterdir()]


@pytest.mark.parametrize("which", ["the same", "an older one"])
def test_a_linking_key_that_adds_nothing(small_lab: SmallLab, which: str) -> None:
    old = persons("Quillfeather", "Ottersley")
    own = old if which == "the same" else old.with_identifiers(old.persons[1].code, Identifiers(mrn="5512"), now=NOW)
    hold(small_lab, own)
    before = files_of(small_lab)
    ended = bring(small_lab, linking_key(small_lab, old))
    assert ended.status is ExitStatus.DONE and ended.run is not None and ended.run.tally.present == 1
    assert files_of(small_lab) == before


def test_linking_keys_that_contradict_are_left_to_a_person(small_lab: SmallLab) -> None:
    old = persons("Quillfeather", "Ottersley")
    code, other = (p.code for p in old.persons)
    hold(small_lab, old.with_identifiers(code, Identifiers(mrn="5512"), now=NOW))
    theirs = old.with_identifiers(other, Identifiers(mrn="6613"), now=NOW)
    before = files_of(small_lab)
    ended = bring(small_lab, linking_key(small_lab, theirs))
    assert isinstance(ended.error, UsageError) and code in str(ended.error)
    assert files_of(small_lab) == before
    assert "Quillfeather" not in str(ended.error) and "5512" not in str(ended.error)


def test_a_linking_key_of_another_lab(small_lab: SmallLab) -> None:
    path = small_lab.folder / "linking-key.age"
    path.write_bytes(seal(persons("Quillfeather").to_json(), [generate_identity().recipient]))
    ended = bring(small_lab, path)
    assert isinstance(ended.error, LabKeyError) and "key import" in ended.error.next
    assert not small_lab.home.linking_key.exists()
