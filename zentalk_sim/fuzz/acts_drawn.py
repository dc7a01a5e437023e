"""The acts of a plan: what no experiment file can say, done to a running world at stated instants.

Operators suspend users, change settings, remove devices and close connections; applications restart; nodes die at
named points of a commit; and a rogue client, of a user of its own, breaks every rule it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from zentalk_sim.fuzz.plan import Dice

CRASH_POINTS: Final = ("before_commit", "after_commit", "amid_effects")
"""before_commit: the input is lost. after_commit: stored, and no effect goes out. amid_effects: some go out."""

ROGUE_MOVES: Final = (
    "send",
    "again_same",
    "again_other",
    "nonce_again",
    "old_seq",
    "bad_mac",
    "no_mac",
    "stale_time",
    "burst",
    "wait",
    "long_wait",
    "received_foreign",
    "received_unknown",
    "read_twice",
    "typing_fast",
    "presence_fast",
    "spy",
    "malformed",
    "malformed_run",
    "early_refresh",
    "stray_pong",
    "reconnect",
    "reconnect_stale",
    "resume",
    "replace",
    "abandon",
    "expired_token",
    "bad_auth",
    "no_answer",
    "many_devices",
    "fetch",
    "post",
)


def draw(dice: Dice, duration_s: int, nodes: int, users: int, devices: int) -> list[dict[str, Any]]:
    """The acts of a trial, in any order."""
    found: list[dict[str, Any]] = []

    def add(kind: str, **more: Any) -> None:
        found.append({"at_ms": dice.between(1_000, duration_s * 850), "do": kind, **more})

    lasts_ms = (1_000, 10_000, 30_000)
    if dice.chance(0.25):
        for _ in range(dice.pick((1, 2))):
            point = dice.pick(CRASH_POINTS)
            add("crash_at", node=dice.between(0, nodes - 1), point=point, for_ms=dice.pick(lasts_ms))
    if dice.chance(0.2):
        add("suspend", user=dice.between(0, users - 1), for_ms=dice.pick(lasts_ms))
    if dice.chance(0.2):
        for _ in range(dice.pick((1, 2))):
            add("remove_device", device=dice.between(0, devices - 1))
    if dice.chance(0.3):
        for _ in range(dice.pick((1, 3))):
            add("settings", user=dice.between(0, users - 1), settings=_settings(dice))
    if dice.chance(0.2):
        for _ in range(dice.pick((1, 3))):
            code = dice.pick((None, 1000, 1001, 1008, 1011, 4000, 4001, 4002, 4003, 4004, 4999))
            add("close", device=dice.between(0, devices - 1), code=code)
    if dice.chance(0.25):
        for _ in range(dice.pick((1, 3))):
            add("app_restart", device=dice.between(0, devices - 1), for_ms=dice.pick((0, 2_000, 20_000)))
    if dice.chance(0.2):
        add("invisible", device=dice.between(0, devices - 1))
    if dice.chance(0.5):
        count = dice.between(3, 25)
        gap_ms = dice.pick((20, 500, 2_000))
        node = dice.between(0, nodes - 1)
        add("rogue", node=node, gap_ms=gap_ms, moves=[dice.pick(ROGUE_MOVES) for _ in range(count)])
    return found


def draw_dismissals(dice: Dice, duration_s: int, users: int, devices: int) -> list[dict[str, Any]]:
    """Acts after which a client must not come again, or not at once: early enough for a trial to see what it does."""
    found: list[dict[str, Any]] = []
    if dice.chance(0.25):
        for _ in range(dice.pick((1, 2))):
            at_ms, for_ms = dice.between(2_000, duration_s * 600), dice.pick((5_000, 20_000, 60_000))
            found.append({"at_ms": at_ms, "do": "suspend", "user": dice.between(0, users - 1), "for_ms": for_ms})
    if dice.chance(0.25):
        for _ in range(dice.pick((1, 3))):
            at_ms, code = dice.between(2_000, duration_s * 600), dice.pick((4001, 4002, 4002, 4003))
            found.append({"at_ms": at_ms, "do": "close", "device": dice.between(0, devices - 1), "code": code})
    return found


def draw_exceptions(dice: Dice, duration_s: int, users: int) -> list[dict[str, Any]]:
    """Users except others from what they are told of typing; some later take that back."""
    found: list[dict[str, Any]] = []
    for user in range(users):
        excepted = [other for other in range(users) if other != user and dice.chance(0.6)]
        at_ms = dice.between(500, duration_s * 200)
        found.append({"at_ms": at_ms, "do": "settings", "user": user, "settings": {"typing_disabled_for": excepted}})
        if dice.chance(0.3):
            later_ms = dice.between(duration_s * 500, duration_s * 800)
            found.append({"at_ms": later_ms, "do": "settings", "user": user, "settings": {"typing_disabled_for": []}})
    return found


def draw_flood(dice: Dice, duration_s: int, nodes: int) -> dict[str, Any]:
    """A rogue that sends as much as its limit lets through, again and again: what a window forgets shows."""
    moves: list[str] = []
    for _ in range(dice.between(3, 6)):
        moves += ["burst", *["wait"] * dice.between(1, 4)]
    at_ms = dice.between(1_000, duration_s * 500)
    return {"at_ms": at_ms, "do": "rogue", "node": dice.between(0, nodes - 1), "gap_ms": 1_000, "moves": moves}


def _settings(dice: Dice) -> dict[str, Any]:
    name = dice.pick(("share_presence", "show_last_seen", "send_read_receipts", "typing_disabled_for"))
    if name == "typing_disabled_for":
        # The number of a user stands for its address, which only the world knows.
        return {name: [dice.between(0, 1)]}
    return {name: dice.chance(0.2)}
