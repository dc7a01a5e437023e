"""Names of what can go wrong: error codes, reasons and close codes, as tables.

The error codes and their HTTP equivalents are the specification's tables "Error Codes" and
"Handling Specific Errors"; the close codes its table "WebSocket Close Codes" and RFC 6455 §7.4.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class CloseCode(IntEnum):
    """WebSocket close codes the protocol knows (specification, "WebSocket Close Codes"; 1007 by R-1.5)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    ABNORMAL = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_LARGE = 1009
    SERVER_ERROR = 1011
    AUTH_FAILED = 4000
    TOKEN_EXPIRED = 4001
    RATE_LIMITED = 4002
    BANNED = 4003
    DEVICE_LIMIT = 4004


INVALID_MESSAGE: Final = "INVALID_MESSAGE"
UNAUTHORIZED: Final = "UNAUTHORIZED"
FORBIDDEN: Final = "FORBIDDEN"
NOT_FOUND: Final = "NOT_FOUND"
RATE_LIMITED: Final = "RATE_LIMITED"
INTERNAL_ERROR: Final = "INTERNAL_ERROR"
SERVICE_UNAVAILABLE: Final = "SERVICE_UNAVAILABLE"
RECIPIENT_NOT_FOUND: Final = "RECIPIENT_NOT_FOUND"
KEY_MISMATCH: Final = "KEY_MISMATCH"
MISDIRECTED: Final = "MISDIRECTED"
TOO_LARGE: Final = "TOO_LARGE"

HTTP_STATUS: Final[dict[str, int]] = {
    INVALID_MESSAGE: 400,
    UNAUTHORIZED: 401,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    RECIPIENT_NOT_FOUND: 404,
    KEY_MISMATCH: 409,
    MISDIRECTED: 421,
    RATE_LIMITED: 429,
    TOO_LARGE: 413,
    INTERNAL_ERROR: 500,
    SERVICE_UNAVAILABLE: 503,
}
"""The HTTP equivalent of each error code (specification, "Error Codes"; the contract adds 404 and 409)."""

# Reasons of INVALID_MESSAGE and FORBIDDEN, in ``details.reason``.
MALFORMED: Final = "malformed"
UNKNOWN_TYPE: Final = "unknown_type"
WRONG_DIRECTION: Final = "wrong_direction"
PAYLOAD_REQUIRES_BINARY: Final = "payload_requires_binary"
TIMESTAMP_OUT_OF_WINDOW: Final = "timestamp_out_of_window"
SEQUENCE_REPLAYED: Final = "sequence_replayed"
DUPLICATE_ID: Final = "duplicate_id"
NONCE_REUSED: Final = "nonce_reused"
TOO_MANY_TOPICS: Final = "too_many_topics"
OUTSIDE_REFRESH_WINDOW: Final = "outside_refresh_window"

MALFORMED_REASONS: Final = frozenset({MALFORMED, UNKNOWN_TYPE, WRONG_DIRECTION})
"""The reasons that count towards the ten in a row of R-1.5."""


class ProtocolError(Exception):
    """What a peer sent breaks a rule: answered with an ERROR frame or, over REST, with its HTTP status.

    ``code`` is an error code of the specification, ``details`` what the ERROR frame carries in ``details``.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    @property
    def reason(self) -> object:
        """``details.reason``, where there is one."""
        return self.details.get("reason")


class CloseConnection(Exception):
    """What a peer sent ends its connection with ``code`` (R-1.5, R-1.6, R-2.3, R-5.3)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason
