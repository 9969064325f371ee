"""Opening what somebody locked, by what it is: age (keys or a password), or the lab's old ``openssl enc -des``.

An old file does not tell whether the password was right. The first 64 KiB of what comes out decide: they are
something (`ecogsafe.formats.plain_content`), or the password counts as wrong. Where the file ends is then
decided by its content (`ecogsafe.formats.content_end`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ecogsafe.core.errors import LabKeyError, VerificationError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_pieces
from ecogsafe.crypt.age_header import VERSION_LINE, parse_header
from ecogsafe.crypt.age_password import ScryptIdentity
from ecogsafe.crypt.age_recipients import PASSWORD_KIND, Identity
from ecogsafe.crypt.armor import dearmor_stream, is_armored
from ecogsafe.crypt.des_stream import unlock_stream
from ecogsafe.crypt.errors import NoMatchError
from ecogsafe.crypt.openssl_des import BLOCK, Derivation, Lock, Unlocker, is_salted, padding_length, possible_locks
from ecogsafe.formats.content_end import end_judge
from ecogsafe.formats.plain_content import HEAD_BYTES, Content, content_of

#: more than is ever taken off the end of content
_TAIL_BYTES = 64
_AGE_START = VERSION_LINE.rstrip(b"1\n")
_SAFE = "The locked file is not touched, and nothing was made of it"
_EMPTY = bytes([BLOCK]) * BLOCK


@dataclass(slots=True, kw_only=True)
class UnlockKeys:
    """What opens locked files; each is asked for when the first file needs it, and once."""

    #: keys of sealed data: the lab key, or those of an identity file
    identities: Callable[[], Sequence[Identity]]
    #: of age files that are locked with a password instead of keys
    file_password: Callable[[], Secret]
    #: the lab's old password, for files of ``openssl enc -des``
    old_password: Callable[[], Secret]
    #: what made the key of an old file that the old password opened
    proven: Derivation | None = None
    _identities: Sequence[Identity] | None = None
    _passwords: dict[str, Secret] = field(default_factory=dict)
    _asking: threading.RLock = field(default_factory=threading.RLock)

    def lab(self) -> Sequence[Identity]:
        """Return the keys of sealed data."""
        with self._asking:
            if self._identities is None:
                self._identities = self.identities()
            return self._identities

    def of_file(self) -> Secret:
        """Return the password of age files."""
        return self._once("file", self.file_password)

    def old(self) -> Secret:
        """Return the old password."""
        return self._once("old", self.old_password)

    def _once(self, name: str, ask: Callable[[], Secret]) -> Secret:
        with self._asking:
            if name not in self._passwords:
                self._passwords[name] = ask()
            return self._passwords[name]


@dataclass(slots=True)
class Unlocked:
    """The content of one file."""

    #: for people: "age", "OpenSSL DES (md5, salted)"; empty where it was not locked at all
    how: str
    #: what it is; None where that is not known
    content: Content | None
    #: exactly the content; to be read once and to its end, which is where what is wrong shows
    pieces: Iterator[bytes]
    #: when `pieces` has ended: what a person should know of the end
    note: str = ""

    @property
    def was_locked(self) -> bool:
        """False for a file that is content as it stands."""
        return bool(self.how)


def unlock(pieces: Iterable[bytes], keys: UnlockKeys, *, item: str) -> Unlocked:
    """Recognise what ``pieces`` are, and return what opens them as they come.

    Parameters
    ----------
    item
        What messages call it: a key of our form, a masked name.

    Returns
    -------
    Unlocked
        Reading its ``pieces`` raises VerificationError where the file is cut or damaged: at the latest at its
        end, so nothing may get its name before that.

    Raises
    ------
    WrongPasswordError
        The password (or the old password) is wrong.
    NoMatchError
        It is sealed to other keys.
    VerificationError
        It is cut or damaged at its beginning.
    """
    coming = iter(pieces)
    head = _head(coming, HEAD_BYTES + 2 * BLOCK)
    whole = chain([head], coming)
    try:
        if is_armored(head):
            return _age(dearmor_stream(whole), keys, item)
        if head.startswith(_AGE_START):
            return _age(whole, keys, item)
        if not is_salted(head):
            content = content_of(head[:HEAD_BYTES])
            if content is not None or len(head) < BLOCK:
                return Unlocked("", content, whole)
        return _old(head, coming, keys, item)
    except (VerificationError, NoMatchError) as error:
        raise _renamed(error, item) from error


def _renamed(error: VerificationError | NoMatchError, item: str) -> VerificationError | NoMatchError:
    if error.item == item:
        return error
    return type(error)(item, error.problem, safe=_SAFE, next=error.next or "try another copy of it")


def _head(coming: Iterator[bytes], size: int) -> bytes:
    """Return the next ``size`` bytes and what came with them; fewer where there are no more."""
    head = bytearray()
    while len(head) < size and (piece := next(coming, None)) is not None:
        head += piece
    return bytes(head)


def _age(pieces: Iterable[bytes], keys: UnlockKeys, item: str) -> Unlocked:
    coming = iter(pieces)
    head = bytearray()
    while (header := parse_header(head)) is None:
        piece = next(coming, None)
        if piece is None:
            break
        head += piece
    has_password = header is not None and [stanza.kind for stanza in header.stanzas] == [PASSWORD_KIND]
    identities = [ScryptIdentity(keys.of_file())] if has_password else keys.lab()
    plain = open_pieces(chain([bytes(head)], coming), identities)
    try:
        first = _head(plain, HEAD_BYTES)
    except NoMatchError as error:
        if has_password:
            raise WrongPasswordError(
                item, "the password does not open it", safe=_SAFE, next="type its password again"
            ) from error
        raise
    return Unlocked("age", content_of(first[:HEAD_BYTES]), _named(chain([first], plain), item))


def _named(pieces: Iterable[bytes], item: str) -> Iterator[bytes]:
    try:
        yield from pieces
    except VerificationError as error:
        raise _renamed(error, item) from error


def _old(head: bytes, coming: Iterator[bytes], keys: UnlockKeys, item: str) -> Unlocked:
    password = keys.old()
    if not password.reveal():
        raise LabKeyError("the old password", "is empty", safe=_SAFE)
    is_whole = len(head) < HEAD_BYTES + 2 * BLOCK
    for lock in possible_locks(head):
        content = _judge(head, password, lock, is_whole=is_whole)
        if content is not None:
            keys.proven = lock.derivation
            return _opening(chain([head], coming), password, lock, content, item)
    if keys.proven is not None:
        # the password opened another file of this run, so it is this one that is of no known kind
        lock = next(lock for lock in possible_locks(head) if lock.derivation is keys.proven)
        return _opening(chain([head], coming), password, lock, None, item)
    raise WrongPasswordError(
        item,
        "the old password does not open it, or it was locked by something else than openssl enc -des",
        safe=_SAFE,
        next="type the password that it was locked with; each may have had its own",
    )


def _judge(head: bytes, password: Secret, lock: Lock, *, is_whole: bool) -> Content | None:
    content = _content_inside(head, password, lock, is_whole=is_whole)
    # too little of a zstd frame is fixed for that to be no chance, and the old scripts made none
    return None if content is Content.ZSTD else content


def _content_inside(head: bytes, password: Secret, lock: Lock, *, is_whole: bool) -> Content | None:
    body = head[lock.body_start :][:HEAD_BYTES]
    plain = Unlocker(password, lock).feed(body)
    if is_whole:
        if plain == _EMPTY:
            return Content.OTHER
        # padding would spoil a text, and so would zeros that somebody filled the last block with
        ends = (padding_length(plain[-BLOCK:]), min(len(plain) - len(plain.rstrip(b"\0")), BLOCK - 1))
        found = (content_of(plain[: len(plain) - end]) for end in ends if end)
        if (content := next((content for content in found if content is not None), None)) is not None:
            return content
    return content_of(plain)


def _opening(pieces: Iterable[bytes], password: Secret, lock: Lock, content: Content | None, item: str) -> Unlocked:
    salted = "salted" if lock.salt else "not salted"
    unlocked = Unlocked(f"OpenSSL DES ({lock.derivation.value}, {salted})", content, iter(()))
    unlocked.pieces = _content(unlocked, pieces, password, lock, item)
    return unlocked


def _content(unlocked: Unlocked, pieces: Iterable[bytes], password: Secret, lock: Lock, item: str) -> Iterator[bytes]:
    body = _Body(pieces, lock.body_start)
    judge = None
    held = b""
    size = 0
    for data in unlock_stream(body, password, lock):
        if judge is None:
            judge = end_judge(unlocked.content or Content.OTHER, data)
        judge.feed(data)
        size += len(data)
        held += data
        yield held[:-_TAIL_BYTES]
        held = held[-_TAIL_BYTES:]
    if judge is None or body.size % BLOCK:
        raise _damaged(item, "is cut: a locked file is whole blocks of 8 bytes")
    padding = padding_length(held[-BLOCK:])
    if unlocked.content is None and not padding:
        raise _damaged(item, "is damaged, or was locked with another password: what comes out makes no sense")
    ending = judge.end(size, padding)
    if ending.problem is not None:
        raise _damaged(item, ending.problem)
    unlocked.note = ending.note
    yield held[: len(held) - ending.padding]


class _Body:
    """Pieces without their first ``start`` bytes, counted."""

    def __init__(self, pieces: Iterable[bytes], start: int) -> None:
        self._pieces = pieces
        self._start = start
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        left = self._start
        for piece in self._pieces:
            data = piece[left:]
            left -= len(piece) - len(data)
            self.size += len(data)
            yield data


def _damaged(item: str, problem: str) -> VerificationError:
    return VerificationError(item, problem, safe=_SAFE, next="try another copy of it")
