"""What a token says (the specification's table "JWT Token Format"), apart from how tokens are made and read."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class Claims(Struct, frozen=True, omit_defaults=True):
    """The claims of a token; times in seconds. A connection token has no ``session_id`` (R-3.3)."""

    sub: str
    iat: int
    exp: int
    device_id: str
    """A UUID; who reads a token checks it."""
    capabilities: tuple[str, ...]
    session_id: str | UnsetType = UNSET
