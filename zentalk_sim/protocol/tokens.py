"""Tokens: JWTs signed by the relay's own key, verified once per connection, their life checked against ``now``.

Claims and life-times are the specification's table "JWT Token Format" and R-3.3, R-4.5, R-9. Libraries that
compare ``exp`` with the system's clock are told not to: time is passed in.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, Literal, Protocol
from zlib import crc32

import msgspec
from msgspec import UNSET
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from zentalk_sim.protocol.claims import Claims as Claims
from zentalk_sim.protocol.config import TokenConfig
from zentalk_sim.protocol.crypto import Crypto
from zentalk_sim.protocol.frames import UUID_PATTERN

CAPABILITIES: Final = ("send_message", "receive_message", "presence")
"""R-4.5: all there are, in the specification's order."""

_SIGNATURE_BYTES: Final = 64
_MOST_VERIFIED: Final = 4_096
"""Tokens that need not be verified anew, at half a kilobyte each; then all are forgotten."""
_END_S: Final = 1 << 43
"""No time of a token reaches this."""

TokenLife = Literal["valid", "grace", "expired"]

# Compiled, what belongs to this module is at hand, and what is imported is looked up at each use.
_encode: Final[Callable[[Claims], bytes]] = msgspec.json.Encoder().encode
_decode: Final[Callable[[bytes], Claims]] = msgspec.json.Decoder(Claims).decode
_is_uuid: Final = re.compile(UUID_PATTERN).match
"""A pattern costs the decoder four times what it costs here."""
_to_base64: Final[Callable[..., bytes]] = b2a_base64
_checksum: Final[Callable[..., int]] = crc32
_CLAIMS: Final[type[Claims]] = Claims
_UNSET: Final[Any] = UNSET
_of_base64: Final[Callable[[str], bytes]] = a2b_base64


class TokenError(Exception):
    """A token that is none of ours: not a JWT, another key's, altered, or without the claims it needs."""


def token_life(exp_s: int, now_us: int, config: TokenConfig) -> TokenLife:
    """R-9.1: valid before ``exp``, in grace for ``grace_s`` after it, then expired."""
    # Divided, not multiplied: a product as long as a time in µs costs compiled code an object.
    if now_us // 1_000_000 < exp_s:
        return "valid"
    return "grace" if now_us <= (exp_s + config.grace_s) * 1_000_000 else "expired"


class TokenAuthority(Protocol):
    """Issues and verifies tokens with one signing key."""

    def issue(self, claims: Claims) -> str:
        """A signed token in JWS compact form."""
        ...

    def verify(self, token: str) -> Claims:
        """The claims of a token that this authority signed, whether or not it has expired. Raises TokenError."""
        ...

    def jwks(self) -> dict[str, Any]:
        """The public key as a JWK Set (RFC 7517, RFC 8037)."""
        ...


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    text = _to_base64(data, newline=False).decode("ascii")
    # There is seldom anything to replace, and to look for one character costs less than a table of all.
    return text.rstrip("=").replace("+", "-").replace("/", "_")


def _of_base64url(text: str) -> bytes:
    """The bytes of base64url with or without padding. Raises ValueError."""
    return _of_base64(text.replace("-", "+").replace("_", "/") + "==")


def _are_sound(claims: Claims) -> bool:
    return 0 <= claims.exp < _END_S and 0 <= claims.iat < _END_S and _is_uuid(claims.device_id) is not None


def _claims_of(found: object) -> Claims:
    try:
        return _sound(msgspec.convert(found, Claims))
    except msgspec.ValidationError as error:
        raise TokenError(f"claims: {error}") from None


def _sound(claims: Claims) -> Claims:
    if not _are_sound(claims):
        raise TokenError("claims: iat or exp is out of range, or device_id no UUID")
    return claims


def shared(capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """The same capabilities; those of nearly all tokens as one object, since copies a connection add up."""
    return CAPABILITIES if capabilities == CAPABILITIES else capabilities


def jwk_of(public_key: bytes) -> dict[str, Any]:
    """An Ed25519 key as a JWK, its ``kid`` the RFC 7638 thumbprint."""
    x = base64url(public_key)
    thumbprint = base64url(sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": thumbprint, "alg": "EdDSA", "use": "sig"}


class JwtAuthority(TokenAuthority):
    """Real tokens: EdDSA, in the bytes that PyJWT would make of them.

    Tokens with our own header, which is all that we issue, are made and read here, by libsodium, since a relay to which
    everybody comes back at once does little else. PyJWT reads all others, and says what is wrong with a bad one.
    """

    def __init__(self, signing_seed: bytes) -> None:
        self._seed = signing_seed
        self._public, self._secret = crypto_sign_seed_keypair(signing_seed)
        self._jwk = jwk_of(self._public)
        header = {"alg": "EdDSA", "kid": self._jwk["kid"], "typ": "JWT"}
        self._header = base64url(msgspec.json.encode(header))
        self._verified: dict[bytes, Claims] = {}
        """SHA-256 of a token whose signature held → its claims: a device that comes back brings the same one."""

    def issue(self, claims: Claims) -> str:
        """A JWT with ``alg`` EdDSA and the key's ``kid``."""
        body = _encode(claims)
        if not body.isascii():
            body = json.dumps(msgspec.to_builtins(claims), separators=(",", ":")).encode()
        signed = f"{self._header}.{base64url(body)}"
        signature = crypto_sign(signed.encode("ascii"), self._secret)[:_SIGNATURE_BYTES]
        return f"{signed}.{base64url(signature)}"

    def verify(self, token: str) -> Claims:
        """See TokenAuthority."""
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._own_claims(token)
            if claims is None:
                return self._verify_by_library(token)
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.clear()
            self._verified[digest] = claims
        return claims

    def _own_claims(self, token: str) -> Claims | None:
        """The claims of a token that is as we issue them; None where it is not."""
        signed, _, signature = token.rpartition(".")
        header, _, body = signed.partition(".")
        if header != self._header:
            return None
        try:
            raw = _of_base64url(signature)
            if len(raw) != _SIGNATURE_BYTES or base64url(raw) != signature:
                return None
            crypto_sign_open(raw + signed.encode("ascii"), self._public)
            claims = _decode(_of_base64url(body))
        except (BadSignatureError, ValueError, TypeError, msgspec.MsgspecError):
            return None
        return claims if _are_sound(claims) else None

    def _verify_by_library(self, token: str) -> Claims:
        import jwt
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        unchecked = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
        public = Ed25519PublicKey.from_public_bytes(self._public)
        try:
            found = jwt.decode(token, public, algorithms=["EdDSA"], options=unchecked)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenError(f"not a token of this relay: {error}") from None
        return _claims_of(found)

    def jwks(self) -> dict[str, Any]:
        """See TokenAuthority."""
        return {"keys": [self._jwk]}


_ADDRESS_CHARACTERS: Final = 42
_IDS_CHARACTERS: Final = _ADDRESS_CHARACTERS + 36
"""Of a user's address and a device's id, with which a plain token's claims begin; ``~`` stands between the others."""
_PLAIN_JSON_BYTES: Final = len(_encode(Claims("", 0, 0, "", CAPABILITIES))) - len("00") - len("~~")
"""Of JSON around the claims of a plain token, less what separates them there."""
_SESSION_JSON_BYTES: Final = len(',"session_id":""')
_SIGNATURE_CHARACTERS: Final = len(".") + (4 * _SIGNATURE_BYTES + 2) // 3


def plain_claims(token: str) -> Claims:
    """What a plain token of ModelledAuthority's says, unverified. Raises ValueError where it is none."""
    return _claims_in(token[token.index(".") + 1 : token.rindex("~")])


def _claims_in(plain: str) -> Claims:
    iat, exp, session_id = plain[_IDS_CHARACTERS:].split("~", 2)
    sub, device_id = plain[:_ADDRESS_CHARACTERS], plain[_ADDRESS_CHARACTERS:_IDS_CHARACTERS]
    return _CLAIMS(sub, int(iat), int(exp), device_id, CAPABILITIES, session_id or _UNSET)


class ModelledAuthority(TokenAuthority):
    """Tokens as long as JwtAuthority's, for simulations in which nobody would forge one.

    Those that are issued nearly always are *plain*: the header, the claims in clear text, a checksum, and hyphens up to
    the length. Claims that cannot stand so are encoded as in a real token, and signed by whatever ``crypto`` models.
    """

    def __init__(self, signing_seed: bytes, crypto: Crypto) -> None:
        self._seed = signing_seed
        self._crypto = crypto
        self._public = crypto.public_key(signing_seed)
        self._jwk = jwk_of(self._public)
        header = msgspec.json.encode({"alg": "EdDSA", "kid": self._jwk["kid"], "typ": "JWT"})
        self._header = base64url(header)
        self._start = self._header + "."
        # The header names the key, so that another's tokens have other checksums too.
        self._start_checksum = _checksum(self._start.encode())

    def issue(self, claims: Claims) -> str:
        """A token."""
        session = claims.session_id
        if claims.capabilities == CAPABILITIES and session != "":
            sub, device_id = claims.sub, claims.device_id
            session_id: str = session or ""
            plain = f"{sub}{device_id}{claims.iat}~{claims.exp}~{session_id}"
            if len(sub) == _ADDRESS_CHARACTERS and len(sub) + len(device_id) == _IDS_CHARACTERS and plain.isascii():
                return self._sealed(plain)
        body = self._start + base64url(_encode(claims))
        return body + "." + base64url(self._crypto.sign(self._seed, body.encode()))

    def _sealed(self, plain: str) -> str:
        """The plain token of these claims, as long as a real one: the arithmetic of JSON, base64 and a signature."""
        checksum = _checksum(plain.encode(), self._start_checksum)
        json_bytes = _PLAIN_JSON_BYTES + len(plain)
        if plain[-1] != "~":
            json_bytes += _SESSION_JSON_BYTES
        characters = len(self._start) + (4 * json_bytes + 2) // 3 + _SIGNATURE_CHARACTERS
        return f"{self._start}{plain}~{checksum}".ljust(characters, "-")

    def verify(self, token: str) -> Claims:
        """See TokenAuthority."""
        try:
            if "~" in token:
                plain = token[len(self._start) : token.rindex("~")]
                if self._sealed(plain) != token:
                    raise TokenError("not a token of this relay: checksum")
                # Only what was issued is sealed, for a user and a device that there were.
                return _claims_in(plain)
            body, _, signature = token.rpartition(".")
            if not self._crypto.verify(self._public, body.encode("ascii"), _of_base64url(signature)):
                raise TokenError("not a token of this relay: signature")
            claims = _decode(_of_base64url(body.partition(".")[2]))
        except msgspec.ValidationError as error:
            raise TokenError(f"claims: {error}") from None
        except (ValueError, IndexError, RecursionError) as error:
            raise TokenError(f"not a token of this relay: {error}") from None
        return _sound(claims)

    def jwks(self) -> dict[str, Any]:
        """See TokenAuthority."""
        return {"keys": [self._jwk]}
