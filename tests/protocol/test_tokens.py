"""Tokens: issued, verified, never believed against another clock (R-3.3, R-4.5, R-9.1)."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from zlib import crc32

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from relay_world import RelayWorld, b64
from strategies import addresses, uuids

from zentalk_sim.protocol.config import RelayConfig, TokenConfig, UpgradeConfig
from zentalk_sim.protocol.crypto import Ed25519, Modelled
from zentalk_sim.protocol.identity import address_of, token_signed_data
from zentalk_sim.protocol.tokens import (
    CAPABILITIES,
    Claims,
    JwtAuthority,
    ModelledAuthority,
    TokenAuthority,
    TokenError,
    base64url,
    plain_claims,
    token_life,
)

SEED = bytes(range(32))
AUTHORITIES: dict[str, TokenAuthority] = {
    "jwt": JwtAuthority(SEED),
    "modelled": ModelledAuthority(SEED, Modelled()),
    "modelled form, real signature": ModelledAuthority(SEED, Ed25519()),
}
EACH = pytest.mark.parametrize("authority", AUTHORITIES.values(), ids=AUTHORITIES)
CLAIMS = Claims("0x" + "ab" * 20, 1, 2**40, "6f9619ff-8b86-4011-b42d-00c04fc964ff", CAPABILITIES, "sess_0123456789ab")

claims = st.builds(
    Claims,
    addresses,
    st.integers(0, 2**42),
    st.integers(0, 2**42),
    uuids,
    st.just(CAPABILITIES) | st.lists(st.sampled_from(CAPABILITIES), max_size=3).map(tuple),
)
odd_claims = st.builds(
    Claims,
    st.text(max_size=9) | addresses,
    st.integers(0, 2**42),
    st.integers(0, 2**42),
    uuids,
    st.just(CAPABILITIES),
    st.text("s~_?", max_size=3),
)
"""Such as no relay issues, which a plain token could not hold."""
with_session = st.builds(
    lambda base, session: Claims(base.sub, base.iat, base.exp, base.device_id, base.capabilities, session),
    claims,
    st.text("0123456789abcdef", min_size=12, max_size=12).map(lambda digits: "sess_" + digits),
)


@EACH
@given(given_claims=claims | with_session | odd_claims)
def test_what_was_issued_must_verify_whatever_its_life(authority: TokenAuthority, given_claims: Claims) -> None:
    assert authority.verify(authority.issue(given_claims)) == given_claims


@given(given_claims=claims | with_session)
def test_modelled_tokens_must_be_as_long_as_real_ones_and_of_characters_that_a_query_may_hold(
    given_claims: Claims,
) -> None:
    tokens = [authority.issue(given_claims) for authority in AUTHORITIES.values()]
    assert len({len(token) for token in tokens}) == 1
    # RFC 3986 §2.3: unreserved, so that nothing grows where the token is quoted.
    assert all(re.fullmatch("[A-Za-z0-9._~-]+", token) for token in tokens)


@given(given_claims=claims | with_session)
def test_what_a_plain_token_says_must_be_readable_without_a_key(given_claims: Claims) -> None:
    token = AUTHORITIES["modelled"].issue(given_claims)
    if given_claims.capabilities == CAPABILITIES:
        assert plain_claims(token) == given_claims
    else:
        with pytest.raises(ValueError, match="substring not found"):
            plain_claims(token)


def test_the_two_forms_must_be_one_where_the_signature_is_real() -> None:
    """What is not plain is built by hand as PyJWT builds it: with one key, the same claims are in both."""
    real, by_hand = AUTHORITIES["jwt"], AUTHORITIES["modelled form, real signature"]
    bare = Claims(CLAIMS.sub, 1, 2**40, CLAIMS.device_id, ("presence",), "sess_0123456789ab")
    assert real.verify(by_hand.issue(bare)) == by_hand.verify(real.issue(bare)) == bare


def sealed(plain: str) -> str:
    """A token of the modelled authority's with these claims, whatever they are."""
    token = AUTHORITIES["modelled"].issue(CLAIMS)
    start = token.partition(".")[0] + "."
    text = f"{start}{plain}~{crc32(plain.encode(), crc32(start.encode()))}"
    return text.ljust(len(token), "-")


PLAIN = f"{CLAIMS.sub}{CLAIMS.device_id}1~2~{CLAIMS.session_id}"


@pytest.mark.parametrize(
    "token",
    [
        AUTHORITIES["modelled"].issue(CLAIMS) + "-",
        AUTHORITIES["modelled"].issue(CLAIMS)[:-1],
        "x" + AUTHORITIES["modelled"].issue(CLAIMS),
        ModelledAuthority(bytes(32), Modelled()).issue(CLAIMS),
        sealed(PLAIN.replace("~2~", "~soon~")),
        sealed(PLAIN.replace("~2~", "~" + "9" * 5_000 + "~")),
        sealed(PLAIN.replace("~2~", "~")),
        sealed(PLAIN.partition("~")[2]),
        sealed(""),
        *("~", "~~~~~", ".~", "a.~~~~~\ud800"),
    ],
)
def test_what_is_no_plain_token_must_be_refused(token: str) -> None:
    with pytest.raises(TokenError):
        AUTHORITIES["modelled"].verify(token)


def test_the_tests_own_seal_must_be_the_authoritys() -> None:
    """Otherwise the test above would show nothing."""
    fields = PLAIN.replace("1~2~", f"{CLAIMS.iat}~{CLAIMS.exp}~")
    assert sealed(fields) == AUTHORITIES["modelled"].issue(CLAIMS)


@pytest.mark.requirement("R-3.3", "table:JWT Token Format/sub")
def test_a_token_must_have_the_specified_header_and_claims() -> None:
    token = JwtAuthority(SEED).issue(CLAIMS)
    assert jwt.get_unverified_header(token) == {
        "alg": "EdDSA",
        "typ": "JWT",
        "kid": JwtAuthority(SEED).jwks()["keys"][0]["kid"],
    }
    payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert payload == {
        "sub": CLAIMS.sub,
        "iat": 1,
        "exp": 2**40,
        "device_id": CLAIMS.device_id,
        "session_id": CLAIMS.session_id,
        "capabilities": list(CAPABILITIES),
    }


@pytest.mark.requirement("R-3.3")
def test_a_connection_token_must_have_no_session_id() -> None:
    bare = Claims(CLAIMS.sub, 1, 2, CLAIMS.device_id, ())
    payload = json.loads(base64.urlsafe_b64decode(JwtAuthority(SEED).issue(bare).split(".")[1] + "=="))
    assert "session_id" not in payload
    assert payload["capabilities"] == []


@pytest.mark.requirement("R-3.3")
@EACH
def test_the_jwk_set_must_hold_the_verifying_key(authority: TokenAuthority) -> None:
    (key,) = authority.jwks()["keys"]
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert len(base64.urlsafe_b64decode(key["x"] + "=")) == 32


@pytest.mark.requirement("R-3.3")
def test_a_token_must_verify_with_the_published_key_by_another_library() -> None:
    authority = JwtAuthority(SEED)
    body, _, signature = authority.issue(CLAIMS).rpartition(".")
    public = base64.urlsafe_b64decode(authority.jwks()["keys"][0]["x"] + "=")
    Ed25519PublicKey.from_public_bytes(public).verify(base64.urlsafe_b64decode(signature + "=="), body.encode())


def forged(header: Any, payload: Any, signature: str = "") -> str:
    parts = [base64url(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)]
    return ".".join([*parts, signature])


def signed(payload: Any) -> str:
    """A token of the right key, with any claims."""
    body = forged({"alg": "EdDSA", "typ": "JWT"}, payload).rpartition(".")[0]
    return f"{body}.{base64url(Ed25519().sign(SEED, body.encode()))}"


GOOD = {"sub": CLAIMS.sub, "iat": 1, "exp": 2, "device_id": CLAIMS.device_id, "capabilities": []}
BAD_TOKENS = {
    "empty": "",
    "no parts": "abc",
    "two parts": "e30.e30",
    "not ASCII": "é.é.é",
    "surrogate": "\ud800.e30.e30",
    "alg none": forged({"alg": "none"}, GOOD),
    "alg HS256": forged({"alg": "HS256"}, GOOD, "AAAA"),
    "header a list": forged([], GOOD, "AAAA"),
    "header deep": forged(b"[" * 50_000, GOOD, "AAAA"),
    "no signature": forged({"alg": "EdDSA"}, GOOD),
    "another's signature": forged({"alg": "EdDSA"}, GOOD, base64url(bytes(64))),
    "claims a list": signed([]),
    "claims not JSON": signed(b"{"),
    "claims not UTF-8": signed(b'{"sub":"\xff"}'),
    "claims deep": signed(b"[" * 50_000),
    "no sub": signed({name: value for name, value in GOOD.items() if name != "sub"}),
    "sub a number": signed({**GOOD, "sub": 3}),
    "exp a text": signed({**GOOD, "exp": "soon"}),
    "exp a fraction": signed({**GOOD, "exp": 1.5}),
    "exp huge": signed({**GOOD, "exp": 2**70}),
    "exp out of range": signed({**GOOD, "exp": 2**43}),
    "exp negative": signed({**GOOD, "exp": -1}),
    "iat negative": signed({**GOOD, "iat": -1}),
    "iat null": signed({**GOOD, "iat": None}),
    "device no UUID": signed({**GOOD, "device_id": "phone"}),
    "capabilities a text": signed({**GOOD, "capabilities": "presence"}),
    "session null": signed({**GOOD, "session_id": None}),
}


@EACH
@pytest.mark.requirement("R-3.2")
@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_what_is_no_token_of_this_relay_must_be_refused(authority: TokenAuthority, token: str) -> None:
    with pytest.raises(TokenError):
        authority.verify(token)


@EACH
@given(at=st.integers(0, 10_000), bit=st.integers(0, 5))
def test_a_token_altered_in_one_bit_must_be_refused(authority: TokenAuthority, at: int, bit: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = authority.issue(CLAIMS)
    at %= len(token)
    if token[at] == "." or (token + ".")[at + 1] == ".":
        # The last character of a part has bits that stand for nothing.
        return
    # What separates the claims of a plain token is none of the alphabet.
    other = "A" if token[at] == "~" else alphabet[alphabet.index(token[at]) ^ (1 << bit)]
    with pytest.raises(TokenError):
        authority.verify(token[:at] + other + token[at + 1 :])


@EACH
@given(token=st.text(max_size=60) | st.text("eyJ0.-_", max_size=60))
def test_arbitrary_text_must_be_refused_and_nothing_else(authority: TokenAuthority, token: str) -> None:
    with pytest.raises(TokenError):
        authority.verify(token)


@pytest.mark.requirement("R-9.1", "table:Token Refresh/Grace period")
@pytest.mark.parametrize(
    ("at_us", "life"),
    [
        (0, "valid"),
        (1_000_000_000 - 1, "valid"),
        (1_000_000_000, "grace"),
        (1_300_000_000, "grace"),
        (1_300_000_001, "expired"),
    ],
)
def test_a_tokens_life_must_end_to_the_microsecond(at_us: int, life: str) -> None:
    assert token_life(1_000, at_us, TokenConfig()) == life


# --- POST /api/token ---------------------------------------------------------------------------------


def ask(world: RelayWorld, secret: bytes, device_id: str, changes: Any = None, *, offset_ms: int = 0) -> Any:
    stamp = world.now_ms + offset_ms
    body = {
        "identity_key": b64(world.crypto.public_key(secret)),
        "device_id": device_id,
        "timestamp": stamp,
        "signature": b64(world.crypto.sign(secret, token_signed_data(device_id, stamp))),
        **(changes or {}),
    }
    return world.person("asker").rest("POST", "/api/token", body, bearer=None)


@pytest.mark.requirement("R-3.3", "table:Token Refresh/Token lifetime")
def test_a_connection_token_must_be_issued_for_a_proven_identity() -> None:
    world = RelayWorld()
    alice = world.person("alice")
    answer = ask(world, alice.secret, alice.devices[0].upper())
    assert answer.status == 200
    assert answer.body["expires_at"] == world.now_ms + 86_400_000
    found = JwtAuthority(world.store.signing_seed).verify(answer.body["token"])
    now_s = world.now // 1_000_000
    assert found == Claims(alice.address, now_s, now_s + 86_400, alice.devices[0], CAPABILITIES)
    assert alice.connect(token=answer.body["token"]).session["resumed"] is False


@pytest.mark.requirement("R-3.3")
@pytest.mark.parametrize(
    ("offset_ms", "status"), [(-300_000, 200), (300_000, 200), (-300_001, 400), (300_001, 400), (-(2**40), 400)]
)
def test_a_stale_request_for_a_token_must_be_refused(offset_ms: int, status: int) -> None:
    world = RelayWorld()
    alice = world.person("alice")
    answer = ask(world, alice.secret, alice.devices[0], offset_ms=offset_ms)
    assert answer.status == status
    if status == 400:
        assert answer.body["details"]["reason"] == "timestamp_out_of_window"


@pytest.mark.requirement("R-3.3")
@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"signature": b64(bytes(64))}, 401, "UNAUTHORIZED"),
        ({"identity_key": b64(bytes(32))}, 401, "UNAUTHORIZED"),
        ({"signature": "AAAA"}, 400, "INVALID_MESSAGE"),
        ({"device_id": "phone"}, 400, "INVALID_MESSAGE"),
        ({"timestamp": -1}, 400, "INVALID_MESSAGE"),
        ({"timestamp": "now"}, 400, "INVALID_MESSAGE"),
    ],
)
def test_a_bad_request_for_a_token_must_be_refused(changes: dict[str, Any], status: int, code: str) -> None:
    world = RelayWorld()
    alice = world.person("alice")
    answer = ask(world, alice.secret, alice.devices[0], changes)
    assert (answer.status, answer.body["error_code"]) == (status, code)


@pytest.mark.requirement("R-3.3", "R-3.5")
def test_an_unknown_identity_must_be_registered_by_profile_dev_alone() -> None:
    secret, device_id = b"carol" + bytes(27), "6f9619ff-8b86-4011-b42d-00c04fc964ff"
    world = RelayWorld()
    assert ask(world, secret, device_id).status == 401
    world = RelayWorld(RelayConfig(upgrade=UpgradeConfig(profile="dev")))
    assert ask(world, secret, device_id).status == 200
    assert world.store.user(address_of(world.crypto.public_key(secret))) is not None


@pytest.mark.requirement("R-3.3")
def test_a_token_seen_before_must_vouch_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zentalk_sim.protocol.tokens._MOST_VERIFIED", 2)
    authority = JwtAuthority(SEED)
    devices = [f"6f9619ff-8b86-4011-b42d-00c04fc9640{number}" for number in range(5)]
    given_claims = [Claims(CLAIMS.sub, 1, 2, device, CAPABILITIES) for device in devices]
    tokens = [authority.issue(one) for one in given_claims]
    for _ in range(2):
        assert [authority.verify(token) for token in tokens for _ in range(2)] == [
            one for one in given_claims for _ in range(2)
        ]
        for token in tokens:
            body, _, signature = token.rpartition(".")
            other = body + "." + signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
            with pytest.raises(TokenError):
                authority.verify(other)
            with pytest.raises(TokenError):
                JwtAuthority(bytes(32)).verify(token)
