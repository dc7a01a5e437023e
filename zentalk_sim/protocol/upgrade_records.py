"""An upgrade request as the relay has it, and why it is refused (R-3.1)."""

from __future__ import annotations

from msgspec import Struct


class UpgradeRequest(Struct, frozen=True):
    """A WebSocket upgrade as it reached the relay: header names in lower case, ``ip`` that of the peer."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    ip: str


class UpgradeRefusal(Struct, frozen=True):
    """Why an upgrade is refused, and with which HTTP status."""

    status: int
    error_code: str
    message: str
    retry_after_s: int | None = None
