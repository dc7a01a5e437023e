"""The relay's own reading and writing of tokens against PyJWT's."""

from __future__ import annotations

import base64

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zentalk_sim.protocol.tokens import CAPABILITIES, Claims, JwtAuthority, TokenError

SEED = bytes(range(32))
DEVICE = "0ad5bd67-171e-4c68-9866-76b209781ee0"


def claims(**changes: object) -> Claims:
    fields = {"sub": "0x" + "ab" * 20, "iat": 1, "exp": 2, "device_id": DEVICE, "capabilities": CAPABILITIES}
    return Claims(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.requirement("R-3.3")
@pytest.mark.parametrize("changes", [{}, {"session_id": "sess_0123"}, {"capabilities": ("schön", 'a/b\\"c')}])
def test_a_token_must_have_the_bytes_that_pyjwt_gives_it(changes: dict[str, object]) -> None:
    authority = JwtAuthority(SEED)
    token = authority.issue(claims(**changes))
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    body = {"sub": "0x" + "ab" * 20, "iat": 1, "exp": 2, "device_id": DEVICE, "capabilities": CAPABILITIES, **changes}
    headers = {"kid": authority.jwks()["keys"][0]["kid"]}
    assert token == jwt.encode(body, key, algorithm="EdDSA", headers=headers)
    assert authority.verify(token) == claims(**changes)


@pytest.mark.requirement("R-3.3")
def test_a_token_of_ours_with_another_header_must_be_read_too() -> None:
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    body = {"sub": "0x" + "ab" * 20, "iat": 1, "exp": 2, "device_id": DEVICE, "capabilities": CAPABILITIES}
    assert JwtAuthority(SEED).verify(jwt.encode(body, key, algorithm="EdDSA")) == claims()


@pytest.mark.requirement("R-3.3")
def test_no_altered_token_must_be_taken() -> None:
    authority = JwtAuthority(SEED)
    token = authority.issue(claims())
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    bad = [
        f"{signed}.{signature[:-2]}",
        f"{signed}.{signature}=",
        f"{signed}.{signature[:-1]}é",
        f"{signed}x.{signature}",
        f"{signed}.{base64.urlsafe_b64encode(bytes(64)).decode().rstrip('=')}",
        f"{signed}.{base64.urlsafe_b64encode(raw + b'x').decode().rstrip('=')}",
        signed,
        JwtAuthority(bytes(32)).issue(claims()),
    ]
    for one in bad:
        with pytest.raises(TokenError, match="not a token of this relay"):
            authority.verify(one)
