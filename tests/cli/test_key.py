"""`key`: another password, another key, another sheet; the data stay within reach whatever happens in between."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from ecogsafe.core.durable import write_atomically
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.lab_key import open_lab_key, protect
from ecogsafe.service import key_changes
from tests.cli.lab import PASSWORD, WORK_FACTOR, Lab, Result
from tests.cli.trees import digests

NEW = "other words for the same key"


class Power(BaseException):
    """The machine goes off."""


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keys that are sealed again be as quick to open as those of these labs; `init` keeps the real ones."""
    monkeypatch.setattr(key_changes, "protect", partial(protect, work_factor=WORK_FACTOR))


@pytest.fixture
def sent(applied: Lab) -> Lab:
    """A lab that has sent to a folder, which keeps key copies too."""
    (applied.folder / "store").mkdir()
    applied.configure(f'[key_backup]\nurls = ["{url(applied)}"]')
    send(applied, "a")
    return applied


def url(lab: Lab) -> str:
    return (lab.folder / "store").as_uri()


def send(lab: Lab, patient: str) -> None:
    lab.here("upload", "-d", lab.out / "video" / lab.codes[patient], "--to", url(lab), "-t", "v")


def change(lab: Lab, new: str = NEW, status: int = 0) -> Result:
    path = lab.folder / "new.txt"
    path.touch(mode=0o600)
    path.write_text(f"{new}\n")
    env = {"ECOGSAFE_NEW_PASSWORD_FILE": str(path)}
    return lab.here("--json", "key", "change-password", status=status, env=env)


def files_of(lab: Lab) -> dict[str, bytes]:
    return {n: (lab.home / n).read_bytes() for n in ("lab-key.age", "recipients.txt", "recovery-sheet.txt")}


def bring_back(lab: Lab) -> None:
    """Everything that was sent comes back with the password as it is now."""
    back = lab.folder / f"back-{len(list(lab.folder.iterdir()))}"
    back.mkdir()
    lab.here("download", "--from", url(lab), "-d", back)
    expected = digests(lab.out / "video" / lab.codes["a"])
    assert {n.partition("/")[2]: d for n, d in digests(back).items() if lab.codes["a"] in n} == expected


def opens(sealed: Path, identity: X25519Identity, folder: Path) -> bool:
    """Return whether stock age opens ``sealed`` with ``identity``."""
    key = folder / "third.txt"
    key.write_text(identity.to_text() + "\n")
    done = subprocess.run(["age", "-d", "-i", key, "-o", "/dev/null", sealed], capture_output=True, check=False)
    return done.returncode == 0


def test_another_password(sent: Lab) -> None:
    old_sheet = shutil.copy(sent.home / "recovery-sheet.txt", sent.folder / "old-sheet.txt")
    done = change(sent)
    assert "destroy" in " ".join(i.get("message", "") for i in done.of("item"))
    wrong = sent.here("--json", "key", "show", status=12).error
    assert wrong["code"] == "wrong-password"
    sent.write_password(NEW)
    sent.here("key", "show")
    bring_back(sent)
    # the sheet in the home and the newest key copy are of the new one
    sheet = sent.home.rename(sent.folder / "lost") / "recovery-sheet.txt"
    sent.here("init", "--recover", sheet)
    bring_back(sent)
    sent.home.rename(sent.folder / "lost again")
    sent.here("init", "--recover", url(sent))
    bring_back(sent)
    # and an old print-out still opens with the old one, as the command said
    sent.home.rename(sent.folder / "lost a third time")
    sent.write_password(PASSWORD)
    sent.here("init", "--recover", old_sheet)


@pytest.mark.parametrize(("now", "new", "status"), [("not these words", NEW, 12), (PASSWORD, "short", 2)])
def test_a_password_that_cannot_be_changed(sent: Lab, now: str, new: str, status: int) -> None:
    before = files_of(sent)
    sent.write_password(now)
    change(sent, new, status=status)
    assert files_of(sent) == before


def test_the_same_password_is_none(sent: Lab) -> None:
    assert "the present one" in change(sent, PASSWORD, status=2).error["message"]


def test_nobody_there_to_type_a_new_one(sent: Lab) -> None:
    error = sent.here("--json", "key", "change-password", status=12).error
    assert "ECOGSAFE_NEW_PASSWORD_FILE" in error["next"]


@pytest.mark.parametrize("step", range(3))
def test_a_kill_while_the_password_changes(sent: Lab, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two passwords opens the lab key, and it is the same key."""
    before = open_lab_key((sent.home / "lab-key.age").read_bytes(), Secret(PASSWORD.encode())).to_text()
    with monkeypatch.context() as patched:
        _die_at(patched, step)
        with contextlib.suppress(Power):
            change(sent)
    sealed = (sent.home / "lab-key.age").read_bytes()
    password = PASSWORD if step == 0 else NEW
    assert open_lab_key(sealed, Secret(password.encode())).to_text() == before
    sent.write_password(password)
    bring_back(sent)


def _die_at(patched: pytest.MonkeyPatch, step: int) -> None:
    real, left = write_atomically, step

    def dying(path: Path, data: bytes, *, replace: bool = True) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Power
        real(path, data, replace=replace)

    patched.setattr(key_changes, "write_atomically", dying)


def test_another_key_opens_what_is_sealed_from_now_on(sent: Lab) -> None:
    third = generate_identity()
    before = next((sent.folder / "store").rglob("*.avi.age"))
    copies = len(list((sent.folder / "store" / sent.codes["a"]).rglob("*.age")))
    done = sent.here("--json", "key", "add-recipient", third.recipient.to_text(), "--label", "second office")
    (told,) = [i for i in done.of("item") if "not_opened" in i.get("details", {})]
    assert told["details"]["not_opened"] >= copies > 0
    send(sent, "b")
    after = next(p for p in (sent.folder / "store" / sent.codes["b"]).rglob("*.age"))
    assert opens(after, third, sent.folder) and not opens(before, third, sent.folder)
    bring_back(sent)
    for text in ((sent.home / "recovery-sheet.txt").read_text(), (sent.home / "recipients.txt").read_text()):
        assert "second office" in text and third.recipient.to_text()[:40] in text
    shown = sent.here("key", "show").out
    assert third.recipient.to_text() in shown and "opens with any of 3 keys" in shown
    assert "AGE-SECRET" not in "".join(sent.told)
    # told again it changes nothing
    again = sent.here("--json", "key", "add-recipient", third.recipient.to_text())
    assert again.summary["files"]["present"] == 1
    # and the home that comes back from the new sheet has it too, with a catalogue that knows it
    sheet = sent.home.rename(sent.folder / "lost") / "recovery-sheet.txt"
    (sent.folder / "sheet.txt").write_bytes(sheet.read_bytes())
    sent.here("init", "--recover", sent.folder / "sheet.txt")
    sent.here("catalog", "rebuild", "--from", url(sent))
    assert third.recipient.to_text() in sent.here("key", "show").out


@pytest.mark.parametrize("how", ["no key", "typing error", "secret key", "odd label"])
def test_what_is_no_recipient(sent: Lab, how: str) -> None:
    third = generate_identity()
    key, label = third.recipient.to_text(), "words"
    if how == "no key":
        key = "somebody"
    elif how == "typing error":
        key = key[:-1] + ("q" if key[-1] != "q" else "p")
    elif how == "secret key":
        key = third.to_text()
    else:
        label = "schlüssel"
    before = files_of(sent)
    done = sent.here("--json", "key", "add-recipient", key, "--label", label, status=2 if how == "odd label" else 12)
    assert files_of(sent) == before
    assert third.to_text() not in done.said


def test_recipients_that_were_changed_by_hand_stay_refused(sent: Lab) -> None:
    with (sent.home / "recipients.txt").open("a") as lines:
        lines.write(f"{generate_identity().recipient.to_text()}\n")
    for words in (["show"], ["add-recipient", generate_identity().recipient.to_text()]):
        assert sent.here("--json", "key", *words, status=12).error["code"] == "recipients-changed"


@pytest.mark.parametrize("step", range(3))
def test_a_kill_while_a_key_is_added(sent: Lab, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sealed to keys in doubt; the same command again ends it, and another key has to wait."""
    third, other = (generate_identity().recipient.to_text() for _ in range(2))
    with monkeypatch.context() as patched:
        if step < 2:
            _die_at(patched, step)
        else:
            _die_at_the_digest(patched)
        with contextlib.suppress(Power):
            sent.here("key", "add-recipient", third)
    if step == 2:
        folder = sent.out / "video" / sent.codes["b"]
        refused = sent.here("--json", "upload", "-d", folder, "--to", url(sent), "-t", "v", status=12)
        assert refused.error["code"] == "recipients-changed"
        assert refused.error["next"] == "run the same ecogsafe key add-recipient again"
        sent.here("key", "add-recipient", other, status=12)
    sent.here("key", "add-recipient", third)
    send(sent, "b")
    bring_back(sent)
    assert (sent.home / "recipients.txt").read_text().count("age1") == 3


def _die_at_the_digest(patched: pytest.MonkeyPatch) -> None:
    def dying(*arguments: object, **options: object) -> None:
        raise Power

    patched.setattr(key_changes, "note", dying)


def test_a_sheet_for_another_place(sent: Lab) -> None:
    target = sent.folder / "usb" / "sheet.txt"
    target.parent.mkdir()
    sent.here("key", "export", target)
    assert target.stat().st_mode & 0o777 == 0o600
    assert "exists" in sent.here("--json", "key", "export", target, status=2).error["message"]
    assert "in the home" in sent.here("--json", "key", "export", sent.home / "s.txt", status=2).error["message"]
    sent.here("key", "export", sent.folder / "nowhere" / "s.txt", status=2)
    sent.home.rename(sent.folder / "lost")
    sent.here("init", "--recover", target)
    bring_back(sent)


def test_another_lab_key(sent: Lab) -> None:
    """Old copies and new ones come back, from the home, from its new sheet, and from the key copies."""
    old_sheet = Path(shutil.copy(sent.home / "recovery-sheet.txt", sent.folder / "old-sheet.txt"))
    before = {line for line in (sent.home / "recipients.txt").read_text().splitlines() if line.startswith("age1")}
    done = sent.here("--json", "key", "rotate")
    (told,) = [i for i in done.of("item") if "under_earlier_keys" in i.get("details", {})]
    assert told["details"]["under_earlier_keys"] > 0
    after = {line for line in (sent.home / "recipients.txt").read_text().splitlines() if line.startswith("age1")}
    assert len(before - after) == len(after - before) == 1, "the lab key alone is another one"
    send(sent, "b")
    bring_back(sent)
    assert "another lab key" in sent.here("key", "show").out
    # the sheet of before adds nothing, and nothing is lost to it
    assert "compared" in sent.here("--json", "key", "import", old_sheet).summary["message"]
    sheet = Path(shutil.copy(sent.home / "recovery-sheet.txt", sent.folder / "new-sheet.txt"))
    for source in (sheet, url(sent)):
        sent.home.rename(sent.folder / f"lost-{len(list(sent.folder.iterdir()))}")
        sent.here("init", "--recover", source)
        bring_back(sent)
    sent.here("catalog", "rebuild", "--from", url(sent))
    assert "AGE-SECRET" not in "".join(sent.told)
    # a home from the sheet of before lacks the new key, until the new sheet is imported
    sent.home.rename(sent.folder / "lost at last")
    sent.here("init", "--recover", old_sheet)
    back = sent.folder / "refused"
    back.mkdir()
    sent.here("download", "--from", url(sent), "-d", back, "-s", sent.codes["b"], status=12)
    sent.here("key", "import", sheet)
    sent.here("download", "--from", url(sent), "-d", back, "-s", sent.codes["b"])


def test_a_key_file_under_another_password(sent: Lab) -> None:
    theirs = sent.folder / "theirs.age"
    theirs.write_bytes(protect(generate_identity(), Secret(NEW.encode()), work_factor=WORK_FACTOR))
    asked = sent.here("--json", "key", "import", theirs, status=12).error
    assert "ECOGSAFE_IMPORT_PASSWORD_FILE" in asked["next"]
    path = sent.folder / "import.txt"
    path.touch(mode=0o600)
    path.write_text(f"{NEW}\n")
    env = {"ECOGSAFE_IMPORT_PASSWORD_FILE": str(path)}
    assert sent.here("--json", "key", "import", theirs, status=2, env=env).error["code"] == "confirmation-needed"
    sent.here("--yes", "key", "import", theirs, env=env)
    bring_back(sent)
    assert "another lab key" in sent.here("key", "show").out


def test_acts_are_recorded(sent: Lab) -> None:
    sent.here("key", "export", sent.folder / "s.txt")
    change(sent)
    sent.write_password(NEW)
    sent.here("key", "add-recipient", generate_identity().recipient.to_text())
    acts = [i["details"]["act"] for i in sent.here("--json", "audit").of("item", action="audit")]
    assert [a for a in acts if a.startswith("key ")] == ["key export", "key change-password", "key add-recipient"]
