"""The session token's life, and keys that change (R-9, R-7.5)."""

from __future__ import annotations

import os
from typing import Any

from mockrelay.certify.case import case
from mockrelay.certify.cases.closing import comes_with_another_token
from mockrelay.certify.stage import Stage
from zentalk_sim.protocol.control import MakeContacts, RotateKey
from zentalk_sim.protocol.crypto import Ed25519

_HOUR_MS = 3_600_000
_LEFT_S = 600
_IN_WINDOW_MS = 22 * _HOUR_MS + 1_000
_NEAR_END_MS = 2 * _HOUR_MS - 1_000 * (_LEFT_S + 1)


async def _refreshed(stage: Stage) -> Any:
    """
    The relay says TOKEN_EXPIRING as the window opens, and once more with ten minutes left; an app that has not
    refreshed by then must.
    """
    await stage.online()
    await stage.relay_time(_IN_WINDOW_MS)
    stage.require(await stage.wait(lambda: stage.frames("TOKEN_EXPIRING", "out")), "the relay sent no TOKEN_EXPIRING")
    await stage.settle()
    if not stage.frames("TOKEN_REFRESH"):
        await stage.relay_time(_NEAR_END_MS)
        expires_ms = stage.now_ms + 1_000 * _LEFT_S
        stage.say("TOKEN_EXPIRING", expires_at=expires_ms, seconds_remaining=_LEFT_S, action="refresh_recommended")
    found = await stage.wait(lambda: stage.frames("TOKEN_REFRESH"))
    return stage.require(found, "ten minutes were left, and the app did not refresh its token")[0]


@case("TOKEN_EXPIRING", "R-9.3", checks=("client.refresh_form", "client.refresh_window"))
async def expiring(stage: Stage) -> None:
    """
    The relay says that the token has ten minutes left. The app sends TOKEN_REFRESH with the session's token, signed
    by the identity key, and goes on.
    """
    await _refreshed(stage)
    found = await stage.wait(lambda: stage.frames("TOKEN_REFRESHED", "out"))
    stage.judge(found, "the relay did not refresh the token")
    await stage.answers_ping("a token refresh")


@case("The new token is used", "R-3.3", ends=True)
async def new_token_used(stage: Stage) -> None:
    """After TOKEN_REFRESHED the connection is lost. The app comes again with the new token, its newest."""
    await _refreshed(stage)
    found = await stage.wait(lambda: stage.frames("TOKEN_REFRESHED", "out"))
    fresh = stage.require(found, "the relay did not refresh the token")[0]["frame"]["payload"]["session_token"]
    await stage.settle()
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    used = stage.upgrade_queries()[-1].get("token")
    stage.judge(used == fresh, "the app came again with an older token")


@case("The refresh is refused", "R-11.7", takes_s=6)
async def refused(stage: Stage) -> None:
    """TOKEN_REFRESH is answered with an ERROR. The app stays connected, and asks again in 20 minutes, not at once."""
    stage.rule({"type": "TOKEN_REFRESH"}, "error", error_code="SERVICE_UNAVAILABLE")
    await _refreshed(stage)
    await stage.settle()
    for _ in range(4):
        await stage.pass_time(1_250)
    count = len(stage.frames("TOKEN_REFRESH"))
    stage.judge(count == 1, f"TOKEN_REFRESH was sent {count} times within 5 s")
    await stage.answers_ping("a refused refresh")


@case(
    "In the first hour of the window",
    "R-11.7",
    takes_s=7_000,
    app_clock=True,
    config={"token": {"lifetime_s": 7_800}},
    checks=("client.refresh_window", "client.refresh_form"),
)
async def by_itself(stage: Stage) -> None:
    """
    The token lives for 2 h 10 min. The app refreshes it within the first hour of its last two, and not before.
    """
    await stage.online()
    for _ in range(4):
        await stage.pass_time(149_000)
    early = stage.frames("TOKEN_REFRESH")
    stage.judge(not early, "the token was refreshed before its last two hours")
    found = await stage.pass_until(lambda: stage.frames("TOKEN_REFRESH"), 3_610_000, 180_000)
    stage.judge(found, "the token was not refreshed within the first hour of its last two")


@case("Expired", "R-11.3", ends=True, takes_s=8)
async def expired(stage: Stage) -> None:
    """
    Every TOKEN_REFRESH is lost, and the token runs out past its grace. The relay closes with 4001; the app gets another
    token and comes again with it.
    """
    stage.rule({"type": "TOKEN_REFRESH"}, "drop")
    await stage.online()
    known = stage.known_tokens()
    await stage.relay_time(24 * _HOUR_MS + 360_000)
    if not stage.ends():
        await stage.send("after the end of the token")
    stage.require(await stage.wait(stage.ends), "the relay did not close", "close")
    await stage.ended()
    await comes_with_another_token(stage, known)
    await stage.authenticated(2)


@case("A contact's key changes", "R-7.5")
async def key_change(stage: Stage) -> None:
    """A contact has another identity key: KEY_CHANGE. The app stays connected, and warns its user."""
    stage.space.driver.control(MakeContacts(stage.app.address, stage.bob.address))
    await stage.online()
    key = Ed25519().public_key(os.urandom(32))
    stage.space.driver.control(RotateKey(stage.bob.address, key, "reinstall"))
    stage.require(await stage.wait(lambda: stage.frames("KEY_CHANGE", "out")), "the relay sent no KEY_CHANGE")
    await stage.answers_ping("KEY_CHANGE")


@case("A token from the application", "R-3.3", needs=("renew_token",), ends=True)
async def renewed(stage: Stage) -> None:
    """The application hands over a newer token. The next connection presents it."""
    await stage.online()
    await stage.relay_time(2_000)
    token = stage.new_token()
    await stage.act("renew_token", token=token)
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    stage.judge(stage.upgrade_queries()[-1].get("token") == token, "the app came again with an older token")
