"""The lab key at rest, and the recovery sheet that carries it through a printer and back."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from ecogsafe.core.errors import LabKeyError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_hybrid import HybridIdentity
from ecogsafe.crypt.age_password import ScryptRecipient
from ecogsafe.crypt.armor import dearmor
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.lab_key import identity_text, open_identities, open_lab_key, protect
from ecogsafe.crypt.recovery_sheet import read_sheet, write_sheet

#: scrypt at 2^10, so that a test takes a millisecond
FAST = 10
PASSWORD = Secret(b"eleven grey herons")
LAB, RECOVERY, LATTICE = generate_identity(), generate_identity(), HybridIdentity.new()
SEALED = protect(LAB, PASSWORD, work_factor=FAST, created="2026-01-02T03:04:05Z")
RECIPIENTS = (f"lab key: {LAB.recipient.to_text()}", RECOVERY.recipient.to_text())
SHEET = write_sheet(SEALED, RECIPIENTS, "2026-01-02")


def test_lab_key_opens_with_its_password_only() -> None:
    assert open_lab_key(SEALED, PASSWORD) == LAB
    assert open_lab_key(dearmor(SEALED), PASSWORD) == LAB
    with pytest.raises(WrongPasswordError):
        open_lab_key(SEALED, Secret(b"eleven grey heron"))


def test_lab_key_holds_what_age_keygen_writes() -> None:
    text = pyrage.passphrase.decrypt(dearmor(SEALED), PASSWORD.reveal().decode()).decode()
    assert text == identity_text(LAB, created="2026-01-02T03:04:05Z")
    assert text.splitlines() == [
        "# created: 2026-01-02T03:04:05Z",
        f"# public key: {LAB.recipient.to_text()}",
        LAB.to_text(),
    ]
    assert identity_text(LAB).startswith("# created: 2")


def test_stock_age_uses_lab_key_as_it_is(ask_age: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "lab-key.age").write_bytes(SEALED)
    plain = b"0123456789" * 9000
    (tmp_path / "clip.age").write_bytes(seal(plain, [LAB.recipient, RECOVERY.recipient]))
    ask_age("-d", "-i", tmp_path / "lab-key.age", "-o", tmp_path / "clip", tmp_path / "clip.age", password=PASSWORD)
    assert (tmp_path / "clip").read_bytes() == plain


def test_lab_key_that_stock_age_protected(stock_age: str, ask_age: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text(identity_text(RECOVERY))
    ask_age("-p", "-a", "-o", tmp_path / "k.age", tmp_path / "key.txt", password=PASSWORD, questions=2)
    assert open_lab_key((tmp_path / "k.age").read_bytes(), PASSWORD) == RECOVERY


@pytest.mark.parametrize(
    "content",
    [b"", b"# only a comment\n", (identity_text(LAB) + identity_text(LATTICE)).encode(), b"\xff\xfe"],
)
def test_a_lab_key_file_with_other_content_is_refused(content: bytes) -> None:
    sealed = seal(content, [ScryptRecipient(PASSWORD, work_factor=FAST)])
    with pytest.raises(LabKeyError) as caught:
        open_lab_key(sealed, PASSWORD)
    assert not isinstance(caught.value, WrongPasswordError)


def test_the_newest_lab_key_with_the_one_before_it(ask_age: Callable[..., None], tmp_path: Path) -> None:
    """What was sealed to either opens, with stock age too; the earlier key's own lines stay as they were."""
    grown = open_lab_key(SEALED, PASSWORD).with_newer(RECOVERY)
    sealed = protect(grown, PASSWORD, work_factor=FAST)
    again = open_lab_key(sealed, PASSWORD)
    assert again.text == grown.text and again.text.endswith(identity_text(LAB, created="2026-01-02T03:04:05Z"))
    assert again.identities == (RECOVERY, LAB) and again == RECOVERY
    (tmp_path / "lab-key.age").write_bytes(sealed)
    for n, key in enumerate((RECOVERY, LAB)):
        old = seal(b"0123456789" * 9, [key.recipient])
        assert open_sealed(old, [again]) == b"0123456789" * 9
        (tmp_path / f"{n}.age").write_bytes(old)
        ask_age("-d", "-i", tmp_path / "lab-key.age", "-o", tmp_path / f"{n}", tmp_path / f"{n}.age", password=PASSWORD)
        assert (tmp_path / f"{n}").read_bytes() == b"0123456789" * 9
    assert again.listed([LAB.recipient]) == LAB and again.listed([LATTICE.recipient]) is None
    assert "SECRET" not in repr(again) + str(again)


def test_keys_of_another_file_are_added_once() -> None:
    own, other = open_lab_key(SEALED, PASSWORD), open_lab_key(SEALED, PASSWORD).with_newer(RECOVERY)
    merged = own.with_others(other, at="then")
    assert merged.identities == (LAB, RECOVERY) and merged.text.startswith(own.text)
    assert merged.with_others(other, at="later") is merged


def test_a_post_quantum_identity_rests_the_same_way() -> None:
    sealed = protect(LATTICE, PASSWORD, work_factor=FAST)
    assert open_identities(sealed, PASSWORD) == [LATTICE]
    with pytest.raises(LabKeyError, match="X25519"):
        open_lab_key(sealed, PASSWORD)


@pytest.mark.parametrize("damage", [lambda s: s[:-60], lambda s: b"junk" + s, lambda s: dearmor(s)[:-1]])
def test_a_damaged_lab_key_names_the_way_back(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(LabKeyError, match="--recover") as caught:
        open_lab_key(damage(SEALED), PASSWORD)
    assert not isinstance(caught.value, WrongPasswordError)


def test_sheet_gives_back_what_it_was_made_of() -> None:
    contents = read_sheet(SHEET)
    assert contents.lab_key_age == SEALED
    assert contents.recipients == RECIPIENTS
    assert open_lab_key(contents.lab_key_age, PASSWORD) == LAB
    assert read_sheet(write_sheet(dearmor(SEALED), RECIPIENTS, "today")).lab_key_age == SEALED


def test_sheet_holds_no_secret_and_says_how() -> None:
    assert LAB.to_text() not in SHEET
    for step in ("ecogsafe init --recover", "age --decrypt -i lab-key.age", "zstd -d | tar -x", "sha256sum -c"):
        assert step in SHEET
    assert SHEET.isascii()
    assert max(map(len, SHEET.splitlines())) <= 76


def test_the_block_on_the_sheet_is_a_file_for_stock_age(
    stock_age: str, ask_age: Callable[..., None], tmp_path: Path
) -> None:
    begin = SHEET.index("-----BEGIN AGE")
    end = SHEET.index("-----END AGE ENCRYPTED FILE-----") + len("-----END AGE ENCRYPTED FILE-----")
    (tmp_path / "lab-key.age").write_text(SHEET[begin:end])
    ask_age("-d", "-o", tmp_path / "key", tmp_path / "lab-key.age", password=PASSWORD)
    sealed = seal(b"a clip", [LAB.recipient, RECOVERY.recipient])
    opened = subprocess.run([stock_age, "-d", "-i", tmp_path / "key"], input=sealed, check=True, capture_output=True)
    assert opened.stdout == b"a clip"


def wrapped_narrow(sheet: str) -> str:
    return "\n".join(line[i : i + 40] for line in sheet.splitlines() for i in range(0, max(len(line), 1), 40))


def with_page_breaks(sheet: str) -> str:
    lines = sheet.splitlines()
    marks = ["Page 1 of 2", "\f", "recovery-sheet.txt    2 January 2026", "- 2 -", "2/2", "3"]
    middle = next(i for i, line in enumerate(lines) if "BEGIN AGE" in line) + 3
    return "\n".join([*lines[:middle], *marks, *lines[middle:], "Page 2"])


@pytest.mark.parametrize(
    "artefact",
    [
        lambda s: s.replace("\n", "\r\n"),
        lambda s: s.replace("\n", "\r"),
        lambda s: "\ufeff" + s,
        lambda s: "\n".join(f"     {line}   " for line in s.splitlines()),
        lambda s: "\n".join(f"\t\u00a0{line}\u00a0" for line in s.splitlines()),
        lambda s: "\n".join(f"> > {line}" for line in s.splitlines()),
        lambda s: s.replace("\n", "\n\n"),
        lambda s: s.replace("-----", "\u2014\u2014\u2013"),
        lambda s: "\n".join(line for line in s.splitlines() if "check of the lab key" not in line),
        with_page_breaks,
    ],
    ids=["crlf", "cr", "bom", "indent", "nbsp", "quoted", "double", "dashes", "no-check", "pages"],
)
def test_sheet_survives_printing(artefact: Callable[[str], str]) -> None:
    contents = read_sheet(artefact(SHEET))
    assert (contents.lab_key_age, contents.recipients) == (SEALED, RECIPIENTS)


def test_sheet_with_a_re_wrapped_key_block() -> None:
    begin = SHEET.index("\n", SHEET.index("-----BEGIN AGE")) + 1
    end = SHEET.index("-----END AGE")
    assert read_sheet(SHEET[:begin] + wrapped_narrow(SHEET[begin:end]) + "\n" + SHEET[end:]).lab_key_age == SEALED


def test_sheet_with_a_key_longer_than_a_line() -> None:
    recipients = (f"post-quantum key: {LATTICE.recipient.to_text()}", HybridIdentity.new().recipient.to_text())
    assert read_sheet(write_sheet(SEALED, recipients, "today")).recipients == recipients


def test_a_mistyped_character_is_noticed_wherever_it_is() -> None:
    begin = SHEET.index("\n", SHEET.index("-----BEGIN AGE")) + 1
    end = SHEET.index("-----END AGE")
    keys = [SHEET.index(RECIPIENTS[0][9:]) + 20, SHEET.index(RECIPIENTS[1]) + 50]
    for at in [*range(begin, end - 2, 7), *keys]:
        if SHEET[at] == "\n":
            continue
        for other in ("A" if SHEET[at] != "A" else "B", "!", ""):
            with pytest.raises(LabKeyError):
                read_sheet(SHEET[:at] + other + SHEET[at + 1 :])


@pytest.mark.parametrize("lacking", ["-----BEGIN AGE", "-----END AGE", "----- public keys", "----- end of public keys"])
def test_a_missing_part_is_named(lacking: str) -> None:
    with pytest.raises(LabKeyError, match="missing"):
        read_sheet("\n".join(line for line in SHEET.splitlines() if not line.startswith(lacking)))


def test_sheet_takes_only_a_password_sealed_key_and_real_recipients() -> None:
    for not_protected in (seal(b"x", [LAB.recipient]), SEALED[:100], identity_text(LAB).encode()):
        with pytest.raises(LabKeyError):
            write_sheet(not_protected, RECIPIENTS, "today")
    with pytest.raises(LabKeyError):
        write_sheet(SEALED, ["lab key: age1notakey"], "today")


def test_sheet_digest_is_over_the_block_as_printed() -> None:
    digest = hashlib.sha256(SEALED).hexdigest()
    assert f"check of the lab key: {digest[:4]} {digest[4:8]} {digest[8:12]}" in SHEET
