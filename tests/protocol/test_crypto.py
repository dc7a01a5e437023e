"""Signatures and MACs: the published vectors, and the model that keeps every decision."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.crypto import Crypto, Ed25519, Modelled, mac_input
from zentalk_sim.protocol.frames import MessageSend, X3dhHeader
from zentalk_sim.protocol.identity import (
    address_of,
    auth_signed_data,
    content_hash,
    conversation_id,
    fingerprint,
    token_signed_data,
    uuid_bytes,
)

BOTH = pytest.mark.parametrize("crypto", [Ed25519(), Modelled()], ids=["ed25519", "modelled"])
UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.requirement("R-4.1")
@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_ed25519_must_be_that_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    crypto = Ed25519()
    assert crypto.public_key(bytes.fromhex(secret)).hex() == public
    assert crypto.sign(bytes.fromhex(secret), bytes.fromhex(message)).hex() == signature
    assert crypto.verify(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@BOTH
@given(data=st.binary(max_size=100), flip=st.integers(0, 511))
def test_a_signature_must_hold_for_its_key_and_data_alone(crypto: Crypto, data: bytes, flip: int) -> None:
    secret = b"s" * 32
    public, signature = crypto.public_key(secret), crypto.sign(secret, data)
    assert (len(public), len(signature)) == (32, 64)
    assert crypto.verify(public, data, signature)
    assert not crypto.verify(public, data + b"x", signature)
    assert not crypto.verify(crypto.public_key(b"t" * 32), data, signature)
    broken = bytearray(signature)
    broken[flip // 8] ^= 1 << flip % 8
    assert not crypto.verify(public, data, bytes(broken))


def test_a_key_or_signature_that_is_none_must_not_verify() -> None:
    crypto = Ed25519()
    signature = crypto.sign(b"s" * 32, b"data")
    for public in (b"", bytes(32), b"\xff" * 32, b"short"):
        assert not crypto.verify(public, b"data", signature)
    assert not crypto.verify(crypto.public_key(b"s" * 32), b"data", b"short")


@pytest.mark.requirement("R-5.1")
def test_the_session_key_must_be_hkdf_sha256_of_the_token_salted_with_the_challenge() -> None:
    """RFC 5869 written out: extract, then one block of expand."""
    token, challenge = "a.b.c", bytes(range(32))
    extracted = hmac.digest(challenge, token.encode(), hashlib.sha256)
    expected = hmac.digest(extracted, b"zentalk.v1 message_mac\x01", hashlib.sha256)
    assert Ed25519().session_key(token, challenge) == expected


@pytest.mark.requirement("R-5.2")
def test_the_mac_must_be_hmac_sha256_over_type_id_timestamp_and_the_payloads_bytes() -> None:
    material = b"PONG" + UUID.upper().encode() + b"1704067200000" + b'{ "a":1}'
    assert mac_input("PONG", UUID.upper(), 1_704_067_200_000, b'{ "a":1}') == material
    expected = hmac.new(b"k" * 32, material, hashlib.sha256).digest()
    assert Ed25519().message_mac(b"k" * 32, "PONG", UUID.upper(), 1_704_067_200_000, b'{ "a":1}') == expected


@BOTH
@pytest.mark.requirement("R-5.2")
def test_a_mac_must_change_with_each_thing_it_covers(crypto: Crypto) -> None:
    key = crypto.session_key("token", b"c" * 32)
    base: tuple[str, str, int, bytes] = ("PONG", UUID, 1, b"{}")
    macs = [crypto.message_mac(key, *base)]
    others = ((0, "PING"), (1, UUID.upper()), (2, 2), (2, 1 + (1 << 32)), (2, 1 << 40), (3, b"{ }"), (3, b""))
    for index, other in others:
        changed: list[str | int | bytes] = list(base)
        changed[index] = other
        macs.append(crypto.message_mac(key, *changed))  # type: ignore[arg-type]
    other_keys = (crypto.session_key("other", b"c" * 32), crypto.session_key("token", b"d" * 32))
    macs += [crypto.message_mac(other_key, *base) for other_key in other_keys]
    assert {len(mac) for mac in macs} == {32}
    assert len(set(macs)) == len(macs)


@pytest.mark.requirement("R-4.1")
def test_what_auth_signs_must_be_64_bytes_in_the_given_order() -> None:
    signed = auth_signed_data(b"C" * 32, 0x0102, UUID.upper(), 2**63 - 1)
    assert signed == b"C" * 32 + b"\0\0\0\0\0\0\x01\x02" + uuid_bytes(UUID) + b"\x7f" + b"\xff" * 7
    assert len(signed) == 64


@pytest.mark.requirement("R-3.3")
def test_what_a_token_request_signs_must_begin_with_its_domain() -> None:
    assert token_signed_data(UUID, 1) == b"zentalk.v1 token" + uuid_bytes(UUID) + b"\0" * 7 + b"\x01"


@pytest.mark.requirement("R-6.4")
def test_a_conversations_id_must_not_depend_on_who_asks_nor_on_case() -> None:
    one, other = "0x" + "Ab" * 20, "0x" + "0C" * 20
    expected = "conv_" + hashlib.sha256((other + one).lower().encode()).hexdigest()[:16]
    assert conversation_id(one, other) == conversation_id(other.lower(), one.lower()) == expected


@pytest.mark.requirement("R-7.5")
def test_a_fingerprint_must_be_six_groups_of_five_digits() -> None:
    digest = hashlib.sha512(b"k" * 32).digest()
    groups = fingerprint(b"k" * 32).split(" ")
    assert [int(group) for group in groups] == [
        int.from_bytes(digest[i : i + 5], "big") % 100_000 for i in range(0, 30, 5)
    ]
    assert [len(group) for group in groups] == [5] * 6


def test_an_address_made_from_a_key_must_have_its_form() -> None:
    assert address_of(b"k" * 32) == "0x" + hashlib.sha256(b"k" * 32).hexdigest()[:40]


def _content_hash(message: MessageSend, conversation: str) -> bytes:
    header = message.x3dh_header or None
    return content_hash(message.to, message.ciphertext, message.nonce, message.message_type, conversation, header)


@pytest.mark.requirement("R-5.6")
def test_the_content_hash_must_change_with_each_field_and_not_with_the_addresss_case() -> None:
    header = X3dhHeader(b"i" * 32, b"e" * 32, 1)
    base = MessageSend("0x" + "ab" * 20, b"c", b"n" * 12, "text", x3dh_header=header)
    variants = [
        base,
        MessageSend("0x" + "ac" * 20, b"c", b"n" * 12, "text", x3dh_header=header),
        MessageSend(base.to, b"d", b"n" * 12, "text", x3dh_header=header),
        MessageSend(base.to, b"c", b"m" * 12, "text", x3dh_header=header),
        MessageSend(base.to, b"c", b"n" * 12, "file", x3dh_header=header),
        MessageSend(base.to, b"c", b"n" * 12, "text"),
        MessageSend(base.to, b"c", b"n" * 12, "text", x3dh_header=X3dhHeader(b"i" * 32, b"e" * 32, 2)),
        MessageSend(base.to, b"c", b"n" * 12, "text", x3dh_header=X3dhHeader(b"i" * 32, b"e" * 32)),
        MessageSend(base.to, b"c", b"n" * 12, "text", x3dh_header=X3dhHeader(b"j" * 32, b"e" * 32, 1)),
        MessageSend(base.to, b"c", b"n" * 12, "text", x3dh_header=X3dhHeader(b"i" * 32, b"f" * 32, 1)),
    ]
    hashes = [_content_hash(message, "conv_a") for message in variants] + [_content_hash(base, "conv_b")]
    assert len(set(hashes)) == len(hashes)
    upper = MessageSend("0x" + "AB" * 20, b"c", b"n" * 12, "text", x3dh_header=header)
    assert _content_hash(upper, "conv_a") == hashes[0]


@pytest.mark.requirement("R-5.1")
@given(st.binary(min_size=32, max_size=32), st.text(st.characters(codec="ascii"), max_size=600))
def test_the_session_key_must_be_what_hkdf_sha256_derives(challenge: bytes, token: str) -> None:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=challenge, info=b"zentalk.v1 message_mac")
    assert Ed25519().session_key(token, challenge) == hkdf.derive(token.encode())
