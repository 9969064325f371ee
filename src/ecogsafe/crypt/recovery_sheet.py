"""The recovery sheet: one page to print, with which the lab's data can be opened without ecogsafe.

It holds the lab key under the lab password, and the public keys; without the password nobody can use it.
It is read back from a file, a scan or a retyped copy, so reading forgives what printing and scanning do.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ecogsafe.core.errors import LabKeyError, VerificationError
from ecogsafe.crypt.age_header import parse_header
from ecogsafe.crypt.age_recipients import PASSWORD_KIND
from ecogsafe.crypt.armor import armor, dearmor, is_armored
from ecogsafe.crypt.keys import parse_recipient

SHEET_NAME = "recovery-sheet.txt"
_TITLE = "ECOGSAFE RECOVERY SHEET"
_RECIPIENTS_BEGIN = "----- public keys -----"
_RECIPIENTS_END = "----- end of public keys -----"
_CHECK_LABEL = "check of the lab key:"
_COLUMNS = 76

# A dash may have become a longer one, a space any other white space.
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00ad"
_QUOTE = re.compile(r"^(?:\s*>)+")
_PAGE_MARK = re.compile(
    r"[-–—]?\s*\d{1,3}\s*(?:(?:of|/)\s*\d{1,3})?\s*[-–—]?|.*\bpage\s*\d.*|.*recovery-sheet\.txt.*",
    re.IGNORECASE,
)
_BLOCK_BEGIN = re.compile(r"BEGIN\s+AGE\s+ENCRYPTED\s+FILE")
_BLOCK_END = re.compile(r"END\s+AGE\s+ENCRYPTED\s+FILE")
_CHECK = re.compile(_CHECK_LABEL + r"\s*([0-9a-f]{4})\s*([0-9a-f]{4})\s*([0-9a-f]{4})", re.IGNORECASE)

_STEPS = """\
WHAT THIS SHEET IS FOR
If the computer that ran ecogsafe is lost, this sheet and the lab password
open everything that was sealed. Keep it on paper, away from that computer.
Without the password the sheet opens nothing; keep the two apart. If the
password is forgotten, only the recovery key opens the data; it is kept
elsewhere.

A. WITH ECOGSAFE
  1. Type or scan this whole sheet into a text file, here called SHEET.
  2. Run:  ecogsafe init --recover SHEET
     It asks for the lab password and checks the sheet before it writes.
     With the URL of a store that holds key copies in place of SHEET it
     brings back who is who as well.
  3. Run:  ecogsafe download --from URL -d DIR    (URL: a store with copies)

B. WITHOUT ECOGSAFE, with the free programs age, zstd and tar
  1. Type or scan the lab key below, from its line BEGIN to its line END,
     into a file named lab-key.age. Begin every line at the left margin.
  2. A file NAME.age (it asks for the lab password):
       age --decrypt -i lab-key.age -o NAME NAME.age
  3. A volume of an archive (0001, then 0002, ...), each checked at once:
       age --decrypt -i lab-key.age N_0001.tar.zst.age | zstd -d | tar -x
       sha256sum -c MANIFEST.sha256
  4. With the recovery key instead of the password: put its one line, which
     begins with AGE-SECRET-KEY-1, into a file named recovery.txt, and give
     -i recovery.txt in the commands above. Delete that file afterwards.
  5. Who is who (the linking key) is the last linking-key-*.age, by name, in
     the stores' folder _ecogsafe/keys/. It opens in the same way as step 2.

  age:  https://age-encryption.org   (format: https://c2sp.org/age)
  zstd: https://facebook.github.io/zstd
"""


@dataclass(frozen=True, slots=True)
class SheetContents:
    """What a recovery sheet gives back."""

    #: the password-sealed lab key, text form, as `lab_key.open_lab_key` takes it
    lab_key_age: bytes
    #: ``label: age1…`` or ``age1…``, in the sheet's order
    recipients: tuple[str, ...]


def _check_of(lab_key_age: bytes) -> str:
    digest = hashlib.sha256(lab_key_age).hexdigest()
    return f"{digest[:4]} {digest[4:8]} {digest[8:12]}"


def _damaged(problem: str) -> LabKeyError:
    return LabKeyError(
        "recovery sheet", problem, next="compare the file with the paper line by line, mend it, and run again"
    )


def _canonical(lab_key_age: bytes) -> bytes:
    try:
        binary = dearmor(lab_key_age) if is_armored(lab_key_age) else lab_key_age
        header = parse_header(binary)
    except VerificationError as error:
        raise LabKeyError("lab key", error.problem) from error
    if header is None or [stanza.kind for stanza in header.stanzas] != [PASSWORD_KIND]:
        raise LabKeyError("lab key", "is not a password-sealed age file, or is cut")
    return armor(binary)


def _recipient_lines(recipient: str) -> Iterator[str]:
    label, _, key = (part.strip() for part in recipient.rpartition(":"))
    parse_recipient(key)
    label = " ".join(label.split())
    yield f"{label}:" if label else "key:"
    for start in range(0, len(key), _COLUMNS - 4):
        yield f"    {key[start : start + _COLUMNS - 4]}"


def write_sheet(lab_key_age: bytes, recipients: Sequence[str], created: str) -> str:
    """Return the sheet as plain ASCII text of at most 76 columns.

    Parameters
    ----------
    lab_key_age
        The password-sealed lab key (`lab_key.protect`), binary or text form.
    recipients
        The public keys that data are sealed to, each ``label: age1…`` or ``age1…``; a label is a word
        for the key such as ``lab key``, never a person's name.
    created
        The date printed on the sheet.

    Raises
    ------
    LabKeyError
        ``lab_key_age`` is not sealed by a password, or a recipient is no key.
    """
    block = _canonical(lab_key_age)
    lines = [_TITLE, f"made: {created}", "", _STEPS]
    lines += ["THE LAB KEY (sealed by the lab password)", "", block.decode("ascii")]
    lines += [f"{_CHECK_LABEL} {_check_of(block)}", ""]
    lines += ["THE PUBLIC KEYS (no secrets): data are sealed to each of them", "", _RECIPIENTS_BEGIN]
    for recipient in recipients:
        lines += _recipient_lines(recipient)
    return "\n".join([*lines, _RECIPIENTS_END, ""])


def _clean_lines(text: str) -> list[str]:
    """Return the lines of ``text`` without margins, quote marks, blank lines and signs of other systems."""
    text = text.lstrip("\ufeff").replace("\f", "\n")
    lines = (" ".join(_QUOTE.sub("", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


def _find(lines: list[str], mark: re.Pattern[str], start: int, name: str) -> int:
    for i in range(start, len(lines)):
        if mark.fullmatch(lines[i].strip(_DASHES + " ")):
            return i
    raise _damaged(f"the line {name} of the lab key is missing")


def _read_block(lines: list[str]) -> bytes:
    begin = _find(lines, _BLOCK_BEGIN, 0, "BEGIN AGE ENCRYPTED FILE")
    end = _find(lines, _BLOCK_END, begin + 1, "END AGE ENCRYPTED FILE")
    # Line breaks carry no meaning here, so that a re-wrapped copy is read too.
    body = "".join("".join(line.split()) for line in lines[begin + 1 : end])
    try:
        return _canonical(base64.b64decode(body, validate=True))
    except ValueError as error:
        raise _damaged("the lab key has a character too many, too few, or one that cannot be") from error
    except LabKeyError as error:
        raise _damaged(f"the lab key has a wrong character: it {error.problem}") from error


def _read_recipients(lines: list[str]) -> Iterator[str]:
    marks = [line.strip(_DASHES + " ").lower() for line in lines]
    try:
        begin = marks.index(_RECIPIENTS_BEGIN.strip("- "))
        end = marks.index(_RECIPIENTS_END.strip("- "), begin)
    except ValueError as error:
        raise _damaged("the list of public keys is missing") from error
    label, key = "", ""
    for line in [*lines[begin + 1 : end], ":"]:
        if not line.endswith(":"):
            key += "".join(line.split())
            continue
        if key:
            yield _read_recipient(label, key)
        label, key = line[:-1].strip(), ""


def _read_recipient(label: str, key: str) -> str:
    try:
        text = parse_recipient(key).to_text()
    except LabKeyError as error:
        raise _damaged(f"a public key {error.problem}") from error
    return text if label in ("", "key") else f"{label}: {text}"


def read_sheet(text: str) -> SheetContents:
    """Return what the sheet ``text`` holds.

    Margins, line ends of any system, page breaks and numbers, quote marks, lengthened dashes, blank and
    re-wrapped lines do not matter.

    Raises
    ------
    LabKeyError
        A part is missing, or a character is wrong; the message says which part.
    """
    lines = _clean_lines(text)
    try:
        return _read_lines(lines)
    except LabKeyError:
        # Only now: a short line of a key can look like a page number.
        without_marks = [line for line in lines if not _PAGE_MARK.fullmatch(line)]
        if len(without_marks) == len(lines):
            raise
        return _read_lines(without_marks)


def _read_lines(lines: list[str]) -> SheetContents:
    block = _read_block(lines)
    check = next((match for line in lines if (match := _CHECK.search(line))), None)
    if check is not None and " ".join(check.groups()).lower() != _check_of(block):
        raise _damaged("the lab key does not fit its check: a character of one of them is wrong")
    return SheetContents(block, tuple(_read_recipients(lines)))
