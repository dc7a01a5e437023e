"""The fault rules of a plan: what goes wrong with single frames, upgrades and REST calls, in an experiment's words.

Each family is one action; in or out by a coin, and three trials in four have none at all, so that what clients do
there is judged without any doubt. A rule strikes a bounded number of times, and is taken out when peace begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zentalk_sim.faults.vocabulary import ACTIONS_AT, CORRUPTIONS

if TYPE_CHECKING:
    from zentalk_sim.fuzz.plan import Dice

FAMILIES: Final = tuple(
    (event, action) for event, actions in ACTIONS_AT.items() for action in actions if action != "pass"
)
"""Every action at every event at which it can be done."""

_IN: Final = (
    "AUTH_RESPONSE",
    "MESSAGE_SEND",
    "MESSAGE_RECEIVED",
    "MESSAGE_READ",
    "TYPING_START",
    "PRESENCE_SET",
    "SUBSCRIBE",
    "PONG",
    "TOKEN_REFRESH",
)
_OUT: Final = (
    "AUTH_CHALLENGE",
    "AUTH_SUCCESS",
    "SYNC_REQUIRED",
    "MESSAGE_ACK",
    "MESSAGE_NEW",
    "MESSAGE_DELIVERED",
    "MESSAGE_READ",
    "PRESENCE_UPDATE",
    "TYPING_START",
    "PING",
    "ERROR",
    "TOKEN_REFRESHED",
)
_PATHS: Final = ("/api/messages", "/api/messages/ack", "/api/token", "/api/*")
_CODES: Final = (1000, 1001, 1002, 1008, 1011, 4000, 4001, 4002, 4003, 4004, 4999)
_NOBODY: Final = "0x" + "0" * 40
_ID: Final = "00000000-0000-4000-8000-000000000000"

_FORGED_IN: Final[tuple[Any, ...]] = (
    {"type": "MESSAGE_RECEIVED", "payload": {"message_id": _ID}},
    {"type": "MESSAGE_READ", "payload": {"message_id": _ID}},
    {"type": "PONG", "payload": {"timestamp": 1}},
    {"type": "PRESENCE_SET", "payload": {"status": "away"}},
    {"type": "TYPING_START", "payload": {"conversation_id": "conv_0000000000000000"}},
    {"type": "SUBSCRIBE", "payload": {"topics": [f"presence:{_NOBODY}"]}},
    {"type": "MESSAGE_ACK", "payload": {}},
    {"type": "NO_SUCH_FRAME"},
    {"type": "MESSAGE_SEND", "timestamp": 0, "payload": {}},
    "no JSON at all",
)
"""What a rule may put in a client's mouth: what is refused, what is ignored, and what is taken."""

_FORGED_OUT: Final[tuple[Any, ...]] = (
    {"type": "MESSAGE_ACK", "payload": {"message_id": _ID, "server_timestamp": 1, "status": "queued"}},
    {"type": "MESSAGE_DELIVERED", "payload": {"message_id": _ID, "device_id": _ID, "timestamp": 1}},
    {"type": "PING", "payload": {"timestamp": 1}},
    {"type": "SYNC_REQUIRED", "payload": {"reason": "offline_messages", "pending_count": 3}},
    {"type": "PRESENCE_UPDATE", "payload": {"user_id": _NOBODY, "status": "online"}},
    {"type": "AUTH_SUCCESS", "payload": {}},
    {"type": "TOKEN_EXPIRING", "payload": {"action": "refresh_recommended", "seconds_remaining": 0}},
    {"type": "ERROR", "payload": {"error_code": "INTERNAL_ERROR", "message": "forged", "details": {}}},
    {"type": "NO_SUCH_FRAME", "seq": 1},
    "no JSON at all",
)
"""What a rule may say for a relay."""


def draw(dice: Dice, devices: int) -> list[dict[str, Any]]:
    """The rules of a trial, in the order in which they are tried."""
    if not dice.chance(0.25):
        return []
    found: list[dict[str, Any]] = []
    for event, action in FAMILIES:
        if dice.chance(0.12):
            found.extend(_one(dice, event, action, devices) for _ in range(dice.pick((1, 1, 2))))
    return found


def _one(dice: Dice, event: str, action: str, devices: int) -> dict[str, Any]:
    match: dict[str, Any] = {"event": event}
    if event in ("frame_in", "frame_out") and dice.chance(0.7):
        match["type"] = dice.pick(_IN if event == "frame_in" else _OUT)
    elif event == "rest" and dice.chance(0.7):
        match["path"] = dice.pick(_PATHS)
    elif event == "connected" and dice.chance(0.7):
        match["after_ms"] = dice.pick((1, 500, 5_000))
    if dice.chance(0.2):
        match["device"] = f"device-{dice.between(0, devices - 1)}"
    which = dice.pick(("nth", "every", "probability", "all"))
    if which == "nth":
        match["nth"] = dice.between(1, 10)
    elif which == "every":
        match["every"] = dice.between(2, 10)
    elif which == "probability":
        match["probability"] = dice.pick((0.02, 0.1, 0.5))
    rule: dict[str, Any] = {"match": match, "action": {"do": action, **_parameters(dice, event, action)}}
    rule["times"] = dice.pick((1, 2, 5, 20))
    return rule


def _parameters(dice: Dice, event: str, action: str) -> dict[str, Any]:
    match action:
        case "delay":
            return {"ms": dice.pick((5, 300, 3_000, 12_000)), "jitter_ms": dice.pick((0, 200, 5_000))}
        case "corrupt":
            return {"kind": dice.pick(CORRUPTIONS)}
        case "replace" | "inject":
            return {"frame": dice.pick(_FORGED_IN if event == "frame_in" else _FORGED_OUT)}
        case "close":
            return {"code": dice.pick(_CODES), "reason": dice.pick(("", "rule"))}
        case "slow_close":
            return {"ms": dice.pick((100, 1_500, 6_000))}
        case "throttle":
            return {"bytes_per_s": dice.pick((200, 2_000, 50_000))}
        case "refuse":
            return {"status": dice.pick((400, 401, 403, 404, 429, 500, 502, 503))}
        case "error":
            code = dice.pick(("RATE_LIMITED", "SERVICE_UNAVAILABLE", "INTERNAL_ERROR", "INVALID_MESSAGE", "FORBIDDEN"))
            return {"error_code": code, **({"retry_after": dice.pick((1, 5, 20))} if code == "RATE_LIMITED" else {})}
        case _:
            return {}
