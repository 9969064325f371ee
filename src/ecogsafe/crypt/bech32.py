"""Bech32, the text form of age keys, without its length limit.

References
----------
BIP 173, https://github.com/bitcoin/bips/blob/master/bip-0173.mediawiki; C2SP age, "Conventions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ecogsafe.core.errors import LabKeyError

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUE = {character: value for value, character in enumerate(_CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= generator
    return check


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _malformed(problem: str) -> LabKeyError:
    # The text itself may be a secret key: it is never part of the message.
    return LabKeyError("key", problem, next="copy the whole key again, from its first to its last character")


def _to_five_bits(data: bytes) -> Iterator[int]:
    held, bits = 0, 0
    for byte in data:
        held = held << 8 | byte
        bits += 8
        while bits >= 5:
            bits -= 5
            yield held >> bits & 31
        held &= (1 << bits) - 1
    if bits:
        yield held << (5 - bits) & 31


def _to_bytes(values: Iterable[int]) -> bytes:
    held, bits = 0, 0
    out = bytearray()
    for value in values:
        held = held << 5 | value
        bits += 5
        if bits >= 8:
            bits -= 8
            out.append(held >> bits)
            held &= (1 << bits) - 1
    if bits >= 5 or held:
        raise _malformed("is not canonical (wrong padding)")
    return bytes(out)


def encode(prefix: str, data: bytes) -> str:
    """Return ``data`` as lower-case Bech32 under the lower-case ``prefix`` (without its final ``1``)."""
    values = list(_to_five_bits(data))
    check = _polymod([*_expand(prefix), *values, *[0] * _CHECKSUM_LENGTH]) ^ 1
    values += [check >> 5 * (_CHECKSUM_LENGTH - 1 - i) & 31 for i in range(_CHECKSUM_LENGTH)]
    return f"{prefix}1{''.join(_CHARSET[value] for value in values)}"


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix, lower-cased, and the bytes of the Bech32 string ``text``.

    Raises
    ------
    LabKeyError
        Mixed case, a character that Bech32 does not have, a wrong checksum or wrong padding. The
        message never holds the text.
    """
    if text not in (text.lower(), text.upper()):
        raise _malformed("mixes upper and lower case")
    prefix, separator, data = text.lower().rpartition("1")
    if not separator or not prefix or len(data) < _CHECKSUM_LENGTH:
        raise _malformed("is not a key, or is cut")
    if not all("!" <= c <= "~" for c in prefix) or not all(c in _VALUE for c in data):
        raise _malformed("has a character that no key has")
    values = [_VALUE[c] for c in data]
    if _polymod([*_expand(prefix), *values]) != 1:
        raise _malformed("has a wrong checksum: a character is mistyped or missing")
    return prefix, _to_bytes(values[:-_CHECKSUM_LENGTH])
