"""Default-deny patches of .eeg and .ent key trees, at equal length (FORMATS 2.11, point 3).

A list of keys that hold identifiers can never be complete: sites define fields of their own and key
names vary by version. So a value stays only where its key is known to hold something harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import natus
from ecogsafe.formats.date_shift import shifted_digits, text_dates
from ecogsafe.formats.keytree import Token, TokenKind, eeg_tree, ent_notes, tokens
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.natus_cleaning import header_patches
from ecogsafe.formats.regions import Find, Patch, Region, blot, difference, file_size
from ecogsafe.formats.request import CleaningRequest

#: Keys whose strings stay: kinds of note, electrode labels, amplifier settings.
KEPT_STRINGS = frozenset(b"type channames from_name to_name chantype gain origin unit units".split())
#: Keys whose integers stay however long: sample stamps, and FILETIMEs of events (dates of service).
KEPT_NUMBERS = frozenset(b"stamp startstamp endstamp samplestamp starttime endtime".split())
#: Below these keys nothing is known to be harmless.
PERSON_BRANCHES = frozenset(b"info admin personal patient custom contact address demographics study".split())

_KEY = re.compile(rb"[A-Za-z0-9_ .\-\[\]#()%]{1,64}")
#: A label never holds these: a path, an address, a telephone or record number, an escape.
_NOT_A_LABEL = re.compile(rb"[\\@]|//|(?:[0-9][ .\-()]{0,2}){5}")
_LONGEST_LABEL = 80
_DATE_KEY = re.compile(rb"date|time|birth|dob|born|^age$", re.IGNORECASE)
_NUMBER = re.compile(rb"[+-]?(?:([0-9]+)(\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
#: Five digits can be a postal code or the day of a birth (OLE date); four say no more than a year does.
_DANGEROUS_DIGITS = 5
#: A FILETIME in digits, 1917 to 4769; sample stamps are shorter.
_EVENT_TIME = re.compile(rb"[0-9]{18}")
_WORDS = frozenset({b"True", b"False", b"None"})
_ALNUM = re.compile(rb"[0-9A-Za-z\x80-\xff]")
_HEX = re.compile(rb"0[xX][0-9A-Fa-f]+")


def text_regions(kind: Kind, file: BinaryIO) -> Iterator[Region]:
    """Yield the one region of an .eeg or .ent: all of it.

    Raises
    ------
    MalformedFileError
        The tree or the notes cannot be walked.
    """
    data = natus.read_whole(file)
    if kind is Kind.EEG:
        start, stop = eeg_tree(data)
        for _ in tokens(data[start:stop]):
            continue
    else:
        for _ in ent_notes(data):
            continue
    yield Region(0, file_size(file))


def patches(kind: Kind, file: BinaryIO, request: CleaningRequest) -> Iterator[Patch]:
    """Yield what de-identifies an .eeg or .ent; at most one patch a note, none where it already is clean.

    Raises
    ------
    MalformedFileError
        The tree of an .eeg, or the notes of an .ent, cannot be walked. A single note that is no key
        tree is blanked instead: nothing in it is known to be harmless.
    """
    data = natus.read_whole(file)
    if kind is Kind.EEG:
        start, stop = eeg_tree(data)
        new = cleaned_tree(data[start:stop], request.find, request.shift_days) + bytes(len(data) - stop)
        yield from header_patches(data, request)
        yield from difference(start, data[start:], new)
        return
    yield from header_patches(data, request)
    for note in ent_notes(data):
        old = data[note.start : note.stop]
        if old:
            yield from difference(note.start, old, _cleaned_note(old, request.find, request.shift_days))


def _cleaned_note(old: bytes, find: Find, days: int) -> bytes:
    text, nul, rest = old.partition(b"\0")
    try:
        new = cleaned_tree(text, find, days)
    except MalformedFileError:
        new = _blank(text)
    return new + nul + _blank(rest)


def _blank(text: bytes) -> bytes:
    """Return spaces for all but the NULs: readers take a run of any other byte for an endless word."""
    return re.sub(rb"[^\0]", b" ", text)


def cleaned_tree(text: bytes, find: Find, days: int = 0) -> bytes:
    """Return the key tree ``text`` with everything blanked that is not known to be harmless.

    Strings become ``X``, numbers and hex blobs ``0``, an identifier inside what stays ``x`` (or ``0``).
    FILETIMEs of events that stay are moved by ``days``.

    Raises
    ------
    MalformedFileError
        ``text`` is not a key tree.
    """
    new = bytearray(text)
    blotted = blot(text, find)
    for token in tokens(text):
        old, marked = text[token.start : token.stop], blotted[token.start : token.stop]
        if token.kind is TokenKind.ATOM:
            keep = old == marked and _keeps_atom(old, token)
            value = old if keep else _zeroed(old)
            if keep and days:
                value = _shifted(old, token, days)
        elif _keeps_key(old) if token.kind is TokenKind.KEY else _keeps_string(old, token):
            value = blot(marked, text_dates) if days else marked
        else:
            value = b"X" * len(old)
        new[token.start : token.stop] = value
    return bytes(new)


def _shifted(value: bytes, token: Token, days: int) -> bytes:
    """Return a number that stays with its date moved; a time whose form nobody knows becomes zeros."""
    if _EVENT_TIME.fullmatch(value):
        return shifted_digits(value, days)
    is_time = bool(token.path) and _DATE_KEY.search(token.path[-1]) is not None
    return value if _is_short_number(value) or not is_time else _zeroed(value)


def _keeps_key(key: bytes) -> bool:
    return bool(_KEY.fullmatch(key)) and not _NOT_A_LABEL.search(key)


def _in_person_branch(token: Token) -> bool:
    return any(key.lower() in PERSON_BRANCHES for key in token.path)


def _keeps_string(value: bytes, token: Token) -> bool:
    return (
        bool(token.path)
        and token.path[-1].lower() in KEPT_STRINGS
        and not _in_person_branch(token)
        and len(value) <= _LONGEST_LABEL
        and (_is_short_number(value) or not _NOT_A_LABEL.search(value))
    )


def _is_short_number(value: bytes) -> bool:
    number = _NUMBER.fullmatch(value)
    return number is not None and len(number.group(1) or b"") < _DANGEROUS_DIGITS


def _keeps_atom(value: bytes, token: Token) -> bool:
    if value in _WORDS:
        return True
    number = _NUMBER.fullmatch(value)
    if number is None or not token.path or _in_person_branch(token):
        return False
    key = token.path[-1]
    is_integer = number.group(1) is not None and number.end(1) == len(value)
    if is_integer and key.lower() in KEPT_NUMBERS:
        return True
    return not _DATE_KEY.search(key) and _is_short_number(value)


def _zeroed(value: bytes) -> bytes:
    if value in _WORDS:
        return value
    if _HEX.fullmatch(value):
        return value[:2] + b"0" * (len(value) - 2)
    if _NUMBER.fullmatch(value):
        return re.sub(rb"[0-9]", b"0", value)
    return _ALNUM.sub(b"0", value)
