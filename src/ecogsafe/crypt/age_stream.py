"""The chunks of an age payload, each sealed or opened by its number, in any order and from any thread.

A chunk's nonce is its number and whether it is the last. Sealing two different plaintexts as the same
chunk of the same file key and payload nonce would give both away: whoever resumes an upload must prove
first that the plaintext is the one that was sealed before (DESIGN 5.8).

References
----------
C2SP age, "Payload": https://c2sp.org/age
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ecogsafe.crypt.errors import SEALED_DATA, PayloadError
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, PAYLOAD_NONCE_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES

_COUNTER_BYTES = 11


def _payload_cipher(file_key: FileKey, payload_nonce: bytes) -> ChaCha20Poly1305:
    if len(payload_nonce) != PAYLOAD_NONCE_BYTES:
        raise ValueError(f"a payload nonce has {PAYLOAD_NONCE_BYTES} bytes")
    return ChaCha20Poly1305(file_key.payload_key(payload_nonce))


def _chunk_nonce(index: int, last: bool) -> bytes:  # noqa: FBT001 - one caller, by position, in the hot path
    return index.to_bytes(_COUNTER_BYTES, "big") + (b"\x01" if last else b"\x00")


class ChunkSealer:
    """Seals the chunks of one file with one cipher object; safe to share between threads.

    Parameters
    ----------
    payload_nonce
        16 bytes from the system's random generator, used for this file only.
    """

    def __init__(self, file_key: FileKey, payload_nonce: bytes) -> None:
        self._cipher = _payload_cipher(file_key, payload_nonce)

    def _check(self, index: int, size: int, *, last: bool) -> None:
        if size != CHUNK_BYTES and (not last or size > CHUNK_BYTES):
            raise ValueError(f"a chunk has {CHUNK_BYTES} bytes, only the last may have fewer; this one has {size}")
        if size == 0 and index != 0:
            raise ValueError("the last chunk is empty only in an empty file")

    def seal(self, index: int, plain: bytes | bytearray | memoryview, *, last: bool) -> bytes:
        """Return chunk number ``index`` (from 0) sealed: 16 bytes longer than ``plain``.

        Raises
        ------
        ValueError
            ``plain`` has not the length such a chunk has.
        """
        self._check(index, len(plain), last=last)
        return self._cipher.encrypt(_chunk_nonce(index, last), plain, None)

    def seal_into(
        self, index: int, plain: bytes | bytearray | memoryview, out: bytearray | memoryview, *, last: bool
    ) -> int:
        """Seal as `seal`, into ``out``, which has exactly ``len(plain) + 16`` bytes; return that number."""
        self._check(index, len(plain), last=last)
        return self._cipher.encrypt_into(_chunk_nonce(index, last), plain, None, out)

    def seal_run_into(self, first: int, plain: memoryview, out: memoryview, *, last: int) -> None:
        """Seal the chunks that ``plain`` is made of, from number ``first`` on, one after the other into ``out``.

        Parameters
        ----------
        last
            The number of the file's last chunk; only that one may be short.

        Raises
        ------
        ValueError
            There are chunks behind ``last``, another one is short, or ``out`` has not the exact size.
        """
        count = max(1, -(-len(plain) // CHUNK_BYTES))
        self._check(first + count - 1, len(plain) - (count - 1) * CHUNK_BYTES, last=first + count - 1 == last)
        if first + count - 1 > last or len(out) != len(plain) + count * TAG_BYTES:
            raise ValueError("these chunks do not fit")
        encrypt = self._cipher.encrypt_into
        start = cipher_start = 0
        for index in range(first, first + count):
            stop, cipher_stop = start + CHUNK_BYTES, cipher_start + SEALED_CHUNK_BYTES
            encrypt(_chunk_nonce(index, index == last), plain[start:stop], None, out[cipher_start:cipher_stop])
            start, cipher_start = stop, cipher_stop


class ChunkOpener:
    """Opens the chunks of one file; safe to share between threads."""

    def __init__(self, file_key: FileKey, payload_nonce: bytes) -> None:
        self._cipher = _payload_cipher(file_key, payload_nonce)

    def _check(self, index: int, size: int, *, last: bool) -> None:
        if not TAG_BYTES <= size <= SEALED_CHUNK_BYTES or (size != SEALED_CHUNK_BYTES and not last):
            raise PayloadError(SEALED_DATA, f"chunk {index} is cut")
        if size == TAG_BYTES and index != 0:
            raise PayloadError(SEALED_DATA, "the last chunk is empty")

    def open(self, index: int, cipher: bytes | bytearray | memoryview, *, last: bool) -> bytes:
        """Return the plaintext of chunk number ``index`` (from 0).

        Raises
        ------
        PayloadError
            The bytes are not that chunk of that file: changed, cut, moved, or (not) its last.
        """
        self._check(index, len(cipher), last=last)
        try:
            return self._cipher.decrypt(_chunk_nonce(index, last), cipher, None)
        except InvalidTag as error:
            raise PayloadError(SEALED_DATA, f"chunk {index} is not what was sealed") from error

    def open_into(
        self, index: int, cipher: bytes | bytearray | memoryview, out: bytearray | memoryview, *, last: bool
    ) -> int:
        """Open as `open`, into ``out``, which has exactly ``len(cipher) - 16`` bytes; return that number.

        What is in ``out`` after an error is not to be used.
        """
        self._check(index, len(cipher), last=last)
        try:
            return self._cipher.decrypt_into(_chunk_nonce(index, last), cipher, None, out)
        except InvalidTag as error:
            raise PayloadError(SEALED_DATA, f"chunk {index} is not what was sealed") from error

    def open_run_into(self, first: int, cipher: memoryview, out: memoryview) -> None:
        """Open the full chunks that ``cipher`` is made of, from number ``first`` on, none of them the file's last.

        What is in ``out`` after an error is not to be used.

        Raises
        ------
        PayloadError
            One of them is not that chunk of that file.
        ValueError
            They are not full, or ``out`` has not the exact size.
        """
        count = len(cipher) // SEALED_CHUNK_BYTES
        if len(cipher) != count * SEALED_CHUNK_BYTES or len(out) != count * CHUNK_BYTES:
            raise ValueError("these chunks do not fit")
        decrypt = self._cipher.decrypt_into
        start = cipher_start = 0
        try:
            for index in range(first, first + count):
                stop, cipher_stop = start + CHUNK_BYTES, cipher_start + SEALED_CHUNK_BYTES
                decrypt(_chunk_nonce(index, False), cipher[cipher_start:cipher_stop], None, out[start:stop])
                start, cipher_start = stop, cipher_stop
        except InvalidTag as error:
            raise PayloadError(SEALED_DATA, f"chunk {index} is not what was sealed") from error
