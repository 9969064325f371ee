"""What the lab locked long ago opens by itself; a wrong password is called wrong, every time."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ecogsafe.core.errors import LabKeyError, VerificationError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_password import ScryptRecipient
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.errors import NoMatchError
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.formats.plain_content import Content
from ecogsafe.service.unlocking import Unlocked, UnlockKeys, unlock
from tests.formats.builders_avi import clip
from tests.formats.builders_edf import Edf, tal
from tests.service.old_locks import LINES, OLD_PASSWORD, locked, name_of, noise, openssl, tar_gz, tar_of

#: random passwords tried; ECOGSAFE_SOAK_KILLS makes it a campaign of at least 10,000
_SOAK = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "0"))
PASSWORDS = max(10_000, 30 * _SOAK) if _SOAK else 500
_TEXT = b"2020-01-01 12:00:00 the recording begins, all channels connected\r\n"


def _edf() -> bytes:
    return Edf(annotations=[[tal("+0")], [tal("+1", "seen")], [tal("+2")]]).build()


def _even(data: bytes) -> bytes:
    """Return ``data`` as it can be locked without padding."""
    return data + bytes(-len(data) % 8)


PLAIN = {
    Content.GZIP: tar_gz({"a1b2c3d4/a1b2c3d4_1/a1b2c3d4_1_0000.avi": noise(200_000), "a1b2c3d4/b.txt": b"x" * 99}),
    Content.TAR: tar_of({"a1b2c3d4/one.avi": noise(3001), "a1b2c3d4/two.avi": noise(70_000, 2)}),
    Content.AVI: clip(),
    Content.EDF: _edf(),
    Content.TEXT: _TEXT * 7,
}


def keys(old: bytes = OLD_PASSWORD, lab: Sequence[Identity] = (), file: bytes = b"") -> UnlockKeys:
    return UnlockKeys(
        identities=lambda: list(lab), file_password=lambda: Secret(file), old_password=lambda: Secret(old)
    )


def opened(data: bytes, with_keys: UnlockKeys | None = None, *, step: int = 1 << 20) -> tuple[Unlocked, bytes]:
    pieces: Iterator[bytes] = (data[at : at + step] for at in range(0, len(data), step))
    unlocked = unlock(pieces, with_keys or keys(), item="a1b2c3d4_vid.tar.gz.enc")
    return unlocked, b"".join(unlocked.pieces)


@pytest.mark.parametrize("line", LINES, ids=name_of)
@pytest.mark.parametrize("content", PLAIN)
def test_what_openssl_locked_opens_whatever_its_options(
    content: Content, line: tuple[str, bool, bool], tmp_path: Path
) -> None:
    md, salted, padded = line
    plain = PLAIN[content] if padded else _even(PLAIN[content])
    data = openssl(plain, md, salted=salted, padded=padded, folder=tmp_path)
    unlocked, out = opened(data)
    assert unlocked.content is content
    assert f"{md}, {'salted' if salted else 'not salted'}" in unlocked.how
    # zeros that fill the last block are no part of a gzip stream; elsewhere nothing tells them from content
    assert out in (PLAIN[content], plain), f"{len(out)} bytes came out of {len(plain)}"
    if padded or content is Content.GZIP:
        assert out == PLAIN[content]


@pytest.mark.parametrize("step", [1, 7, 8, 4096])
def test_the_pieces_in_which_it_comes_do_not_matter(step: int) -> None:
    plain = PLAIN[Content.EDF]
    assert opened(locked(plain), step=step)[1] == plain


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 3 * (1 << 20) - 8, 5_000_000])
def test_large_files_come_out_in_order(size: int) -> None:
    plain = gzip.compress(noise(size), compresslevel=1, mtime=0)
    unlocked, out = opened(locked(plain, "sha256"), step=300_007)
    assert unlocked.content is Content.GZIP
    assert out == plain


@pytest.mark.parametrize("tail", [b"\x01", b"\x02\x02", b"\x08" * 8])
def test_samples_that_look_like_padding_are_kept(tail: bytes) -> None:
    plain = bytearray(_edf())
    assert len(plain) % 8 == 0
    plain[-len(tail) :] = tail
    assert opened(locked(bytes(plain), padded=False))[1] == plain
    assert opened(locked(bytes(plain)))[1] == plain


def test_an_empty_file_opens() -> None:
    assert opened(locked(b""))[1] == b""


def test_a_file_of_no_known_kind_opens_where_it_is_far_from_random() -> None:
    chance = random.Random(5)
    natus = b"".join(b"a1b2c3d4_1_%04d.avi" % n + bytes(242) + chance.randbytes(32) for n in range(9))
    unlocked, out = opened(locked(natus))
    assert (unlocked.content, out) == (Content.OTHER, natus)


def test_random_content_opens_only_with_a_password_that_opened_another_file() -> None:
    plain = noise(5000)
    with pytest.raises(WrongPasswordError):
        opened(locked(plain))
    shared = keys()
    opened(locked(PLAIN[Content.AVI]), shared)
    unlocked, out = opened(locked(plain), shared)
    assert (unlocked.content, out) == (None, plain)
    with pytest.raises(VerificationError, match="another password"):
        opened(locked(noise(4096, 9), padded=False)[:-8] + bytes(8), shared)


def test_random_passwords_are_called_wrong_every_time() -> None:
    chance = random.Random(20261123)
    files = [
        locked(PLAIN[Content.GZIP][:70_000], "md5"),
        locked(PLAIN[Content.AVI], "sha256"),
        locked(_even(PLAIN[Content.TEXT]), "md5", salted=False, padded=False),
        locked(PLAIN[Content.EDF], "sha256", salted=False),
        locked(b"short text", "md5"),
    ]
    false_successes = []
    for number in range(PASSWORDS):
        password = chance.randbytes(chance.randint(1, 24))
        try:
            unlock(iter([files[number % len(files)]]), keys(password), item="x")
        except WrongPasswordError as error:
            assert error.exit_status == 12
        else:
            false_successes.append(password)
    assert not false_successes, f"{len(false_successes)} of {PASSWORDS} wrong passwords were taken for right"


def test_the_password_is_asked_for_once_and_not_at_all_where_none_is_needed() -> None:
    asked: list[int] = []

    def ask() -> Secret:
        asked.append(1)
        return Secret(OLD_PASSWORD)

    shared = UnlockKeys(identities=list, file_password=ask, old_password=ask)
    assert not opened(PLAIN[Content.GZIP], shared)[0].was_locked
    assert not asked
    for md in ("md5", "sha256"):
        opened(locked(PLAIN[Content.GZIP], md), shared)
    assert len(asked) == 1


def test_an_empty_old_password_is_refused() -> None:
    with pytest.raises(LabKeyError, match="empty"):
        opened(locked(_TEXT), keys(b""))


@pytest.mark.parametrize("content", [Content.GZIP, Content.TAR, Content.EDF])
@pytest.mark.parametrize("cut", [24, 200, 3])
def test_a_cut_file_is_called_cut_and_not_a_wrong_password(content: Content, cut: int) -> None:
    data = locked(PLAIN[content])
    with pytest.raises(VerificationError, match=r"cut|damaged"):
        opened(data[:-cut])


def test_a_flipped_byte_in_compressed_content_is_noticed() -> None:
    data = bytearray(locked(PLAIN[Content.GZIP]))
    for at in (100_000, 150_000, len(data) - 20):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(VerificationError):
            opened(bytes(bad))


def test_two_gzip_members_one_after_the_other_are_one_content() -> None:
    plain = gzip.compress(noise(1000), mtime=0) + gzip.compress(noise(3000, 2), mtime=0)
    for step in (1, 5, 1 << 20):
        assert opened(locked(plain), step=step)[1] == plain


def test_what_stands_behind_a_gzip_stream_is_told() -> None:
    with pytest.raises(VerificationError, match="goes on behind"):
        opened(locked(PLAIN[Content.GZIP] + b"something else, and more of it, not zeros"))


def test_bytes_behind_the_end_that_a_recording_tells_are_kept_and_told() -> None:
    plain = _edf() + b"a few more bytes"
    unlocked, out = opened(locked(plain))
    assert out == plain
    assert "16 bytes behind the end" in unlocked.note


def test_a_recording_that_was_short_when_it_was_locked_is_told_and_kept() -> None:
    plain = _edf()[:-13]
    unlocked, out = opened(locked(plain))
    assert out == plain
    assert "13 bytes fewer" in unlocked.note


@pytest.mark.parametrize("armored", [False, True])
def test_age_files_open_with_the_key_or_are_called_another_s(armored: bool) -> None:
    lab, other = generate_identity(), generate_identity()
    for plain in (PLAIN[Content.GZIP], b"", noise(70_000)):
        sealed = seal(plain, [lab.recipient], armored=armored)
        unlocked, out = opened(sealed, keys(lab=[lab]), step=1000)
        assert (unlocked.how, out) == ("age", plain)
        with pytest.raises(NoMatchError) as caught:
            opened(sealed, keys(lab=[other]))
        assert caught.value.item == "a1b2c3d4_vid.tar.gz.enc"


def test_age_files_locked_with_a_password_open_with_it_only() -> None:
    sealed = seal(_TEXT, [ScryptRecipient(Secret(b"word of a file"), work_factor=4)])
    assert opened(sealed, keys(file=b"word of a file"))[1] == _TEXT
    with pytest.raises(WrongPasswordError):
        opened(sealed, keys(file=b"another word"))


def test_a_cut_age_file_is_named() -> None:
    lab = generate_identity()
    sealed = seal(noise(200_000), [lab.recipient])
    for size in (30, 100, 150_000, len(sealed) - 1):
        with pytest.raises(VerificationError) as caught:
            opened(sealed[:size], keys(lab=[lab]))
        assert caught.value.item == "a1b2c3d4_vid.tar.gz.enc"
