"""The states of a client's connection, and every edge between them, as one table (R-11.1).

Source: the specification's diagram "Connection States" and R-11.1. What is not in the table does not happen:
an event without an edge in a state leaves the state alone (a face may report a socket's end twice).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal


class ClientState(StrEnum):
    """Where a client's connection stands."""

    DISCONNECTED = "DISCONNECTED"
    CONNECTING = "CONNECTING"
    AUTHENTICATING = "AUTHENTICATING"
    CONNECTED = "CONNECTED"
    CLOSING = "CLOSING"
    FAILED = "FAILED"


Event = Literal["connect", "opened", "authenticated", "lost", "stopped", "close", "closed"]
"""connect: the application asks, or a backoff is over. lost: timeout, error, or a close to recover from.
stopped: a close that R-11.3 stops on. close: the application ends it. closed: the closing is done or timed out."""

_S = ClientState

TRANSITIONS: Final[dict[ClientState, dict[Event, ClientState]]] = {
    _S.DISCONNECTED: {"connect": _S.CONNECTING},
    _S.CONNECTING: {"opened": _S.AUTHENTICATING, "lost": _S.FAILED},
    _S.AUTHENTICATING: {
        "authenticated": _S.CONNECTED,
        "lost": _S.FAILED,
        "stopped": _S.DISCONNECTED,
        "close": _S.CLOSING,
    },
    _S.CONNECTED: {"lost": _S.FAILED, "stopped": _S.DISCONNECTED, "close": _S.CLOSING},
    _S.CLOSING: {"closed": _S.DISCONNECTED},
    _S.FAILED: {"connect": _S.CONNECTING},
}
"""State → event → next state."""

OPEN: Final = frozenset({_S.AUTHENTICATING, _S.CONNECTED, _S.CLOSING})
"""States with an open socket."""


def next_state(state: ClientState, event: Event) -> ClientState | None:
    """Where an event leads, or None where the table has no edge."""
    return TRANSITIONS[state].get(event)
