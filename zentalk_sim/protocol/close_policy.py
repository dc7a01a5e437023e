"""What a client does after a close, by its code, as a table (R-11.3; specification, "WebSocket Close Codes")."""

from __future__ import annotations

from typing import Final, Literal

CloseAction = Literal["stop", "backoff", "token", "cooldown"]
"""stop: no more attempts. backoff: try again. token: get a new one, then connect. cooldown: wait, then backoff."""

CLOSE_POLICY: Final[dict[int, tuple[CloseAction, str]]] = {
    1000: ("stop", "normal"),
    1001: ("backoff", "going away"),
    1002: ("backoff", "protocol error"),
    1003: ("backoff", "unsupported data"),
    1006: ("backoff", "lost"),
    1008: ("stop", "policy violation"),
    1009: ("stop", "too large"),
    1011: ("backoff", "server error"),
    4000: ("stop", "authentication failed"),
    4001: ("token", "token expired"),
    4002: ("cooldown", "rate limited"),
    4003: ("stop", "account suspended"),
    4004: ("stop", "remove a device"),
}
"""Close code → what to do, and what to tell the application."""


def close_action(code: int) -> CloseAction:
    """What R-11.3 says of any code: those not in the table are backed off below 4000, and stopped on from there."""
    known = CLOSE_POLICY.get(code)
    if known is not None:
        return known[0]
    return "backoff" if code < 4000 else "stop"


def close_cause(code: int) -> str:
    """The close in words, such as ``4004 remove a device``."""
    known = CLOSE_POLICY.get(code)
    return f"{code} {known[1]}" if known is not None else str(code)
