"""Keys: text forms, both key types, passwords, who can share a file, and that nothing secret is ever shown."""

from __future__ import annotations

import pytest

from ecogsafe.core.errors import LabKeyError
from ecogsafe.core.private import Secret
from ecogsafe.crypt import bech32
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_header import Stanza
from ecogsafe.crypt.age_hybrid import HybridIdentity, HybridRecipient
from ecogsafe.crypt.age_password import MAX_WORK_FACTOR, ScryptIdentity, ScryptRecipient
from ecogsafe.crypt.age_recipients import X25519Identity, X25519Recipient, seal_header
from ecogsafe.crypt.errors import HeaderError, NoMatchError
from ecogsafe.crypt.file_key import FileKey, unwrap_file_key, wrap_file_key
from ecogsafe.crypt.keys import (
    generate_identity,
    parse_identities,
    parse_identity,
    parse_recipient,
    parse_recipients,
)

FAST = 10
# The example of C2SP age, "The X25519 recipient type".
SPEC_SECRET = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
SPEC_PUBLIC = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
LOW_ORDER = bytes(32)


def test_c2sp_x25519_example_key() -> None:
    identity = parse_identity(SPEC_SECRET)
    assert identity.recipient.to_text() == SPEC_PUBLIC
    assert identity.to_text() == SPEC_SECRET
    assert parse_recipient(f"  {SPEC_PUBLIC}\n") == identity.recipient
    assert parse_identity(SPEC_SECRET.lower()) == identity


@pytest.mark.parametrize("kind", [X25519Identity, HybridIdentity])
def test_keys_round_trip_as_text(kind: type[X25519Identity] | type[HybridIdentity]) -> None:
    one, two = kind.new(), kind.new()
    assert one != two
    assert one.recipient != two.recipient
    assert parse_identity(one.to_text()) == one
    assert parse_recipient(one.recipient.to_text()) == one.recipient
    assert len({one, parse_identity(one.to_text()), two}) == 2
    assert len({one.recipient, parse_recipient(one.recipient.to_text()), two.recipient}) == 2


@pytest.mark.parametrize("kind", [X25519Identity, HybridIdentity])
def test_each_of_several_identities_opens(kind: type[X25519Identity] | type[HybridIdentity]) -> None:
    lab, recovery, stranger = kind.new(), kind.new(), kind.new()
    sealed = seal(b"two readers", [lab.recipient, recovery.recipient])
    for identities in ([lab], [recovery], [stranger, recovery]):
        assert open_sealed(sealed, identities) == b"two readers"
    with pytest.raises(NoMatchError):
        open_sealed(sealed, [stranger, ScryptIdentity(Secret(b"word"))])


def test_secrets_never_print() -> None:
    for identity in (generate_identity(), HybridIdentity.new()):
        shown = f"{identity} {identity!r}"
        assert identity.to_text() not in shown.upper()
        assert "SECRET" not in shown.upper()
    key = FileKey.new()
    assert key.reveal().hex() not in f"{key} {key!r}"
    assert f"{key!r}" == "•••"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        "no key at all",
        SPEC_PUBLIC[:-1],
        SPEC_PUBLIC.replace("z", "y", 1),
        SPEC_PUBLIC[:30] + SPEC_PUBLIC[30:].upper(),
        SPEC_PUBLIC.replace("q", "b", 1),
        "äge" + SPEC_PUBLIC[3:],
        bech32.encode("age", bytes(31)),
        bech32.encode("age1pq", bytes(32)),
        bech32.encode("age1pq", b"\xff" * 1216),
        bech32.encode("age", LOW_ORDER),
        bech32.encode("other", bytes(32)),
        SPEC_SECRET,
    ],
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(LabKeyError) as caught:
        parse_recipient(text)
    assert SPEC_SECRET[20:] not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        SPEC_PUBLIC,
        SPEC_SECRET[:-1] + "Y",
        SPEC_SECRET[:40] + SPEC_SECRET[41:],
        bech32.encode("age-secret-key-", bytes(33)),
        bech32.encode("age-secret-key-pq-", bytes(31)),
        bech32.encode("other", bytes(32)),
    ],
)
def test_what_is_no_identity_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(LabKeyError) as caught:
        parse_identity(text)
    assert text[15:] not in str(caught.value)
    assert text[15:] not in repr(caught.value)


def test_bip173_wrong_padding_is_refused() -> None:
    # 31 bytes are 248 bits: the last of 50 groups of five has two spare bits, which must be zero.
    good = bech32.encode("age", b"\xff" * 31)
    values = [bech32._CHARSET.index(c) for c in good[4:-6]]
    values[-1] |= 1
    check = bech32._polymod([*bech32._expand("age"), *values, *[0] * 6]) ^ 1
    values += [check >> 5 * (5 - i) & 31 for i in range(6)]
    with pytest.raises(LabKeyError, match="padding"):
        bech32.decode("age1" + "".join(bech32._CHARSET[v] for v in values))


def test_recipients_file_names_the_line_that_is_wrong() -> None:
    other = generate_identity().recipient.to_text()
    text = f"# lab key\n{SPEC_PUBLIC}\n\n  # recovery key\r\n{other}\r\n{SPEC_PUBLIC}\n"
    assert [r.to_text() for r in parse_recipients(text)] == [SPEC_PUBLIC, other]
    with pytest.raises(LabKeyError, match="line 3"):
        parse_recipients(f"# lab key\n{SPEC_PUBLIC}\nage1x\n")
    with pytest.raises(LabKeyError, match="nobody"):
        parse_recipients("# nothing\n\n")


def test_identity_file_names_the_line_but_never_shows_it() -> None:
    other = HybridIdentity.new()
    assert parse_identities(f"# created\n{SPEC_SECRET}\n{other.to_text()}\n") == [parse_identity(SPEC_SECRET), other]
    with pytest.raises(LabKeyError, match="line 2") as caught:
        parse_identities(f"{SPEC_SECRET}\n{SPEC_SECRET[:-3]}\n")
    assert SPEC_SECRET[16:30] not in str(caught.value)
    with pytest.raises(LabKeyError, match="no secret key"):
        parse_identities("# empty\n")


def test_who_cannot_share_a_file() -> None:
    key, x25519, hybrid = FileKey.new(), generate_identity().recipient, HybridIdentity.new().recipient
    password = ScryptRecipient(Secret(b"word"), work_factor=FAST)
    for together in ([], [password, x25519], [password, password], [x25519, hybrid]):
        with pytest.raises(LabKeyError):
            seal_header(key, together)
    with pytest.raises(LabKeyError, match="mixed"):
        parse_recipients(f"{x25519.to_text()}\n{hybrid.to_text()}\n")


def test_a_low_order_recipient_is_refused() -> None:
    with pytest.raises(LabKeyError, match="low order"):
        X25519Recipient(LOW_ORDER).wrap(FileKey.new())
    good = HybridIdentity.new().recipient
    public = bech32.decode(good.to_text())[1]
    with pytest.raises(LabKeyError):
        HybridRecipient(public[:-32] + LOW_ORDER).wrap(FileKey.new())


def test_no_two_headers_are_alike() -> None:
    key, identity = FileKey.new(), generate_identity()
    headers = {seal_header(key, [identity.recipient]) for _ in range(5)}
    assert len(headers) == 5


def test_password_opens_and_another_does_not() -> None:
    right, wrong = Secret("pässword".encode()), Secret(b"password")
    sealed = seal(b"text", [ScryptRecipient(right, work_factor=FAST)])
    assert open_sealed(sealed, [ScryptIdentity(wrong), ScryptIdentity(right)]) == b"text"
    with pytest.raises(NoMatchError):
        open_sealed(sealed, [ScryptIdentity(wrong)])


def test_password_work_is_bounded_both_ways() -> None:
    for factor in (0, MAX_WORK_FACTOR + 1):
        with pytest.raises(LabKeyError, match="work factor"):
            ScryptRecipient(Secret(b"word"), work_factor=factor)
    stanza = ScryptRecipient(Secret(b"word"), work_factor=FAST).wrap(FileKey.new())
    for factor in ("23", "9" * 5000):
        with pytest.raises(HeaderError, match="more work"):
            ScryptIdentity(Secret(b"word")).unwrap(Stanza((*stanza.arguments[:2], factor), stanza.body))


def test_an_empty_password_is_refused() -> None:
    for make in (ScryptRecipient, ScryptIdentity):
        with pytest.raises(LabKeyError, match="empty"):
            make(Secret(b""))


def test_password_memory_that_is_not_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted:
        def __init__(self, **_: object) -> None: ...

        def derive(self, _: bytes) -> bytes:
            raise MemoryError

    monkeypatch.setattr("ecogsafe.crypt.age_password.Scrypt", Exhausted)
    with pytest.raises(LabKeyError, match="memory"):
        ScryptRecipient(Secret(b"word")).wrap(FileKey.new())


def test_hybrid_keys_without_ml_kem_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    class Missing:
        @staticmethod
        def from_seed_bytes(_: bytes) -> None:
            raise UnsupportedAlgorithm("none")

        from_public_bytes = from_seed_bytes

    recipient = HybridIdentity.new().recipient.to_text()
    monkeypatch.setattr("ecogsafe.crypt.age_hybrid.MLKEM768PrivateKey", Missing)
    monkeypatch.setattr("ecogsafe.crypt.age_hybrid.MLKEM768PublicKey", Missing)
    with pytest.raises(LabKeyError, match="cryptography"):
        HybridIdentity.new()
    with pytest.raises(LabKeyError, match="cryptography"):
        parse_recipient(recipient)


def test_file_key_rests_wrapped_and_only_its_resume_key_opens_it() -> None:
    key, resume, other = FileKey.new(), bytes(range(32)), bytes(32)
    blobs = [wrap_file_key(key, resume) for _ in range(3)]
    assert len(set(blobs)) == 3
    assert all(key.reveal() not in blob for blob in blobs)
    assert [unwrap_file_key(blob, resume) for blob in blobs] == [key] * 3
    assert unwrap_file_key(blobs[0], resume) != FileKey.new()
    changed = blobs[0][:30] + bytes([blobs[0][30] ^ 1]) + blobs[0][31:]
    for blob, with_key in [
        (blobs[0], other),
        (changed, resume),
        (blobs[0][:-1], resume),
        (b"\x02" + blobs[0][1:], resume),
        (blobs[0], resume[:31]),
    ]:
        with pytest.raises(LabKeyError):
            unwrap_file_key(blob, with_key)
    with pytest.raises(LabKeyError, match="15 bytes"):
        FileKey(bytes(15))
