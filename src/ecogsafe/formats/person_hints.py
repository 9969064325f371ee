"""Whom the files of an export speak of: hints from headers, key trees and names. Everything is private."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.edf import EdfIdentity
from ecogsafe.formats.found import PersonHints
from ecogsafe.formats.keytree import Token, TokenKind, eeg_tree, ent_notes, tokens, unescaped
from ecogsafe.formats.natus import GenericHeader
from ecogsafe.formats.study_names import GUID, guid_in

#: What `deid apply` leaves as MRN and stem; it says nothing of a person.
_SUBJECT_CODE = re.compile(r"[a-f][0-9a-f]{7}(_\d+)?")
_HOSPITAL_STEM = re.compile(rf"(?P<last>[^~]+)~ ?(?P<first>.+)_{GUID.pattern}", re.IGNORECASE)
_NUMBERED_STEM = re.compile(r"(?P<last>[^~_]+(?:_[^~_\d]+)*)_\d{1,3}")
_LAST_FIRST = re.compile(r"([^\W\d_][\w '.\-]*)[,~]\s*([^\W\d_][\w'.\-]*)")

_LAST_KEYS = frozenset({"lastname", "last", "surname", "familyname"})
_FIRST_KEYS = frozenset({"firstname", "first", "givenname"})
_MIDDLE_KEYS = frozenset({"middlename", "middle"})
_MRN_KEYS = frozenset({"mrn", "patientid", "medicalrecordnumber", "chartnumber", "chartno"})
_BIRTH_KEY = re.compile(r"birth|^dob$")
_CONTACT_KEY = re.compile(r"phone|fax|mobile|e?mail|address|street|ssn|social|billing|account|insurance|policy")
_MACHINE_KEY = re.compile(r"^host(name)?$|^user(name)?$|login|computer")
_SERIAL_KEY = re.compile(r"serial|^hbsn")
_CUSTOM_KEY = re.compile(r"^(custom)?field\d*$")
_LOGIN_IN_PATH = re.compile(r"[\\/](?:users|documents and settings)[\\/]+([^\\/]{3,})[\\/]", re.IGNORECASE)
_HOST_IN_PATH = re.compile(r"^\\\\([^\\]{3,})\\")
#: Programs that sign notes as if they were users (FORMATS 2.4).
_PROGRAMS = ("persyst", "xlspike", "xlevent")
_OLE_EPOCH = date(1899, 12, 30)
_MOST_ALSO = 100
#: What cleaning leaves of a value.
_BLANKS = frozenset("Xx0-. ")


def merged(hints: Iterable[PersonHints]) -> PersonHints:
    """Return one person: of each field the first that is known; other spellings go to ``also``."""
    fields = {"last_name": "", "first_name": "", "middle_name": "", "mrn": "", "birth_date": ""}
    also: dict[str, str] = {}
    for hint in hints:
        for name, known in fields.items():
            value = getattr(hint, name)
            if value and not known:
                fields[name] = value
            elif value and value.casefold() != known.casefold():
                also.setdefault(value.casefold(), value)
        for value in hint.also:
            also.setdefault(value.casefold(), value)
    for value in fields.values():
        also.pop(value.casefold(), None)
    kept = [value for value in also.values() if len(value) > 1 and not set(value) <= _BLANKS]
    return PersonHints(**fields, also=tuple(kept[:_MOST_ALSO]))


def from_header(header: GenericHeader) -> PersonHints:
    """Return what a Natus generic header says; nothing for one that is cleaned already."""
    mrn = "" if _SUBJECT_CODE.fullmatch(header.patient_id) else header.patient_id
    return PersonHints(
        last_name=header.last_name, first_name=header.first_name, middle_name=header.middle_name, mrn=mrn
    )


def from_stem(stem: str) -> PersonHints:
    """Return what a file or folder name says: ``Last~ First_GUID``, ``Last_3``, or only a GUID."""
    guid = guid_in(stem)
    also = (guid,) if guid else ()
    hospital = _HOSPITAL_STEM.fullmatch(stem)
    if hospital:
        first, _, middle = hospital["first"].strip().partition(" ")
        return PersonHints(last_name=hospital["last"].strip(), first_name=first, middle_name=middle.strip(), also=also)
    numbered = _NUMBERED_STEM.fullmatch(stem)
    if numbered and not _SUBJECT_CODE.fullmatch(stem) and not guid:
        return PersonHints(last_name=numbered["last"].strip())
    return PersonHints(also=also)


def from_edf(identity: EdfIdentity) -> PersonHints:
    """Return what the two fields of an EDF/BDF header say."""
    last, first, middle = _split_name(identity.name or "")
    code = identity.code or ""
    also = [
        text for text in (*identity.patient_extra, identity.admin_code, identity.technician) if text and len(text) > 2
    ]
    raw = identity.raw_patient
    if not identity.name and not code and not set(raw.split()) <= {"X"} and not _SUBJECT_CODE.match(raw):
        # a legacy field: free text in any order
        also.append(raw)
        named = _LAST_FIRST.match(raw)
        if named:
            last, first = named[1].strip(), named[2]
    return PersonHints(
        last_name=last,
        first_name=first,
        middle_name=middle,
        mrn="" if _SUBJECT_CODE.fullmatch(code) else code,
        birth_date=identity.birthdate.isoformat() if identity.birthdate else "",
        also=tuple(also),
    )


def from_eeg(data: bytes) -> PersonHints:
    """Return what the key tree of the .eeg ``data`` says.

    Raises
    ------
    MalformedFileError
        Its tree cannot be walked.
    """
    start, stop = eeg_tree(data)
    return merged(_hints_of_tree(data[start:stop]))


def from_ent(data: bytes) -> PersonHints:
    """Return the hosts, logins that the notes of the .ent ``data`` name.

    A note that is no key tree says nothing; names in free text are not guessed.

    Raises
    ------
    MalformedFileError
        Its notes cannot be walked.
    """
    also: dict[str, None] = {}
    for note in ent_notes(data):
        text = data[note.start : note.stop].partition(b"\0")[0]
        try:
            for token in tokens(text):
                if token.kind is TokenKind.STRING and token.path:
                    value = unescaped(text[token.start : token.stop])
                    also.update(dict.fromkeys(_of_machine(_leaf(token), value)))
        except MalformedFileError:
            continue
    return PersonHints(also=tuple(also)[:_MOST_ALSO])


def _hints_of_tree(text: bytes) -> Iterator[PersonHints]:
    for token in tokens(text):
        if token.kind is TokenKind.KEY or not token.path:
            continue
        value = unescaped(text[token.start : token.stop])
        if len(value) < 2 or set(value) <= _BLANKS:
            continue
        key = _leaf(token)
        parents = {part.lower() for part in token.path[:-1]}
        if key in _LAST_KEYS:
            yield PersonHints(last_name=value)
        elif key in _FIRST_KEYS:
            yield PersonHints(first_name=value)
        elif key in _MIDDLE_KEYS:
            yield PersonHints(middle_name=value)
        elif key in _MRN_KEYS or (key == "id" and parents & {b"admin", b"patient"}):
            yield PersonHints(mrn=value)
        elif key == "name" and parents & {b"info", b"patient", b"personal"}:
            last, first, middle = _split_name(value)
            yield PersonHints(last_name=last, first_name=first, middle_name=middle)
        elif _BIRTH_KEY.search(key):
            yield PersonHints(birth_date=_birth_date(value))
        else:
            yield PersonHints(also=tuple(_further(key, value)))


def _further(key: str, value: str) -> Iterator[str]:
    yield from GUID.findall(value)
    yield from _of_machine(key, value)
    is_contact = _CONTACT_KEY.search(key) and len(value) >= 5
    is_serial = _SERIAL_KEY.search(key) and len(value) >= 6
    # a field that the site defined: most say "Yes" or a ward; account numbers and addresses tell themselves
    is_account = _CUSTOM_KEY.fullmatch(key) and (sum(c.isdigit() for c in value) >= 5 or "@" in value)
    if is_contact or is_serial or is_account:
        yield value


def _of_machine(key: str, value: str) -> Iterator[str]:
    """Yield host and login names; those of programs are no identifiers."""
    if _MACHINE_KEY.search(key) and len(value) >= 4 and not value.lower().startswith(_PROGRAMS):
        yield value
    for pattern in (_LOGIN_IN_PATH, _HOST_IN_PATH):
        found = pattern.search(value)
        if found:
            yield found[1]


def _leaf(token: Token) -> str:
    return token.path[-1].decode("latin-1").lower().replace("_", "").replace(" ", "")


def _split_name(name: str) -> tuple[str, str, str]:
    """Return last, first, middle of ``Last, First M`` or ``Last First`` (the example of EDF+ 2.1.3.3)."""
    last, comma, rest = name.partition(",")
    if not comma:
        last, comma, rest = name.partition("~")
    if not comma:
        last, _, rest = name.partition(" ")
    first, _, middle = rest.strip().partition(" ")
    return last.strip(), first, middle.strip()


def _birth_date(value: str) -> str:
    """Return an OLE date (days since 1899-12-30) as ISO text; any other text as written."""
    try:
        days = float(value)
    except ValueError:
        return value
    if not 1 <= days < 100_000:
        return ""
    return (_OLE_EPOCH + timedelta(days=int(days))).isoformat()
