"""What an app does after each close code (R-11.3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage
from zentalk_sim.protocol.control import Suspend

_STAY_MS = 6_000
_STOPS = {
    1000: "a normal close",
    1008: "a policy violation",
    1009: "a message too large",
    4000: "a failed authentication",
    4003: "a suspended account",
    4004: "too many devices",
    4999: "an unknown code above 4000",
}
_BACKOFFS = {
    1001: "a relay that goes away",
    1002: "a protocol error",
    1003: "unsupported data",
    1011: "a relay's error",
    1013: "an unknown code below 4000: try again later",
    3000: "an unknown code of a library",
}


async def _closed(stage: Stage, code: int | None) -> None:
    await stage.online()
    stage.end(code)
    await stage.ended()


def _stops(code: int, what: str) -> Callable[[Stage], Awaitable[None]]:
    async def body(stage: Stage) -> None:
        await _closed(stage, code)
        await stage.stays_away(_STAY_MS)

    body.__doc__ = f"The relay closes with {code}, {what}. The app does not come again by itself."
    body.__module__ = __name__
    return body


def _backs_off(code: int, what: str) -> Callable[[Stage], Awaitable[None]]:
    async def body(stage: Stage) -> None:
        await _closed(stage, code)
        await stage.comes_again(1000, 1100)
        await stage.authenticated(2)

    body.__doc__ = f"The relay closes with {code}, {what}. The app comes again after 1 to 1.1 s."
    body.__module__ = __name__
    return body


for _code, _what in _STOPS.items():
    case(f"{_code}: stay away", "R-11.3", ends=True, takes_s=7, checks=("client.stop_on_close",))(_stops(_code, _what))
for _code, _what in _BACKOFFS.items():
    case(f"{_code}: come again", "R-11.3", ends=True, checks=("client.backoff",))(_backs_off(_code, _what))


@case("1006: come again", "R-11.3", ends=True)
async def lost(stage: Stage) -> None:
    """The connection is reset without a close frame. The app comes again after 1 to 1.1 s."""
    await _closed(stage, None)
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)


async def comes_with_another_token(stage: Stage, known: list[str]) -> None:
    """Require that after a 4001 the next attempt presents a token that is not one of these. Raises Over."""
    if not await stage.pass_until(lambda: len(stage.attempts()) > 1, 1_500, 500):
        await stage.try_act("renew_token", token=stage.new_token())
    found = await stage.pass_until(lambda: len(stage.attempts()) > 1, 5_000, 2_500)
    found = found or await stage.wait(lambda: len(stage.attempts()) > 1)
    stage.require(found, "the app did not come again with another token", "close")
    await stage.settle()
    used = stage.upgrade_queries()[1].get("token")
    stage.judge(used not in known, "the app came again with a token that it had before", "close")


@case("4001: another token, then come again", "R-11.3", ends=True, checks=("client.token_after_4001",))
async def token_expired(stage: Stage) -> None:
    """
    The relay closes with 4001. The app gets another token (POST /api/token, or from its application: renew_token)
    and comes again with it, not with the old one.
    """
    await stage.online()
    # Tokens of one second are alike.
    await stage.relay_time(2_000)
    known = stage.known_tokens()
    stage.end(4001)
    await stage.ended()
    await comes_with_another_token(stage, known)
    await stage.authenticated(2)


@case(
    "4002: wait retry_after, then the backoff",
    "R-11.3",
    ends=True,
    takes_s=7,
    checks=("client.wait_after_4002",),
    ignores=("client.limits",),
)
async def cooldown(stage: Stage) -> None:
    """
    ERROR RATE_LIMITED with retry_after 3, then a close with 4002. The app comes again 3 s and a backoff of 1 to 1.1 s
    later.
    """
    await stage.online()
    details = {"limit": 30, "window_seconds": 60, "current_count": 30, "retry_after": 3, "reason": "window"}
    stage.say("ERROR", error_code="RATE_LIMITED", message="too fast", request_id="req_0123456789ab", details=details)
    stage.end(4002)
    await stage.ended()
    await stage.comes_again(4000, 4100)
    await stage.authenticated(2)


@case(
    "4002 without retry_after: wait a minute",
    "R-11.3",
    ends=True,
    takes_s=63,
    checks=("client.wait_after_4002",),
)
async def cooldown_of_a_minute(stage: Stage) -> None:
    """A close with 4002 and no RATE_LIMITED before it. The app comes again after 60 s and a backoff of 1 to 1.1 s."""
    await _closed(stage, 4002)
    await stage.comes_again(61_000, 61_100)
    await stage.authenticated(2)


@case("Suspended while connected", "R-11.3", ends=True, takes_s=7, checks=("client.stop_on_close",))
async def suspended(stage: Stage) -> None:
    """The account is suspended: 4003, and an attempt would get 4003 again. The app makes none by itself."""
    await stage.online()
    stage.space.driver.control(Suspend(stage.app.address, True))
    await stage.ended()
    await stage.stays_away(_STAY_MS)


@case("The relay restarts", "R-11.3", ends=True, checks=("client.backoff",))
async def restart(stage: Stage) -> None:
    """The relay stops in order (1001) and is there again at once. The app comes again and can send."""
    await stage.online()
    stage.space.restart()
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    await stage.send("after the restart")
    found = await stage.wait(lambda: stage.frames("MESSAGE_ACK", "out"))
    stage.judge(found, "a message sent after the restart was not acknowledged")
