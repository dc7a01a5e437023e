"""From the challenge to AUTH_SUCCESS (R-4)."""

from __future__ import annotations

import os
from base64 import b64encode

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage
from zentalk_sim.protocol.control import RotateKey
from zentalk_sim.protocol.crypto import Ed25519


@case(
    "The answer to the challenge",
    "R-4.1",
    checks=(
        "client.auth_first",
        "client.auth_form",
        "client.auth_signature",
        "client.auth_time",
        "client.auth_in_time",
    ),
)
async def answers(stage: Stage) -> None:
    """
    AUTH_RESPONSE has identity_key, device_id, signature and client_time; the signature covers challenge, server_time,
    device_id and client_time in 64 bytes, and verifies.
    """
    await stage.online()
    count = len(stage.frames("AUTH_RESPONSE"))
    stage.judge(count == 1, f"{count} AUTH_RESPONSE frames were sent, not one")


@case("Nothing before the challenge", "R-4.2", takes_s=4)
async def silent_before_challenge(stage: Stage) -> None:
    """
    The challenge is 2 s late. The app sends nothing before it, though it was asked to send a message; the message
    goes after AUTH_SUCCESS.
    """
    stage.rule({"type": "AUTH_CHALLENGE"}, "delay", ms=2000)
    await stage.connect()
    stage.require(await stage.wait(lambda: stage.frames("AUTH_CHALLENGE", "out")), "the app did not connect")
    await stage.send("too early")
    await stage.settle()
    early = [e.get("type") or "a frame" for e in stage.frames()]
    stage.judge(not early, f"{', '.join(early)} before the challenge")
    await stage.pass_time(2100)
    await stage.authenticated()
    found = await stage.wait(lambda: stage.frames("MESSAGE_SEND"))
    stage.judge(found, "the message did not go after AUTH_SUCCESS")


@case("Nothing between answer and AUTH_SUCCESS", "R-4.2", takes_s=4)
async def silent_before_success(stage: Stage) -> None:
    """AUTH_SUCCESS is 2 s late. The app sends its AUTH_RESPONSE and nothing more until it has AUTH_SUCCESS."""
    stage.rule({"type": "AUTH_SUCCESS"}, "delay", ms=2000)
    await stage.connect()
    found = await stage.wait(lambda: stage.frames("AUTH_RESPONSE"))
    stage.require(found, "the app did not answer the challenge")
    await stage.send("too early")
    await stage.settle()
    early = [e.get("type") or "a frame" for e in stage.frames() if e.get("type") != "AUTH_RESPONSE"]
    stage.judge(not early, f"{', '.join(early)} before AUTH_SUCCESS")
    await stage.pass_time(2100)
    sent = await stage.wait(lambda: stage.frames("MESSAGE_SEND"))
    stage.judge(sent, "the message did not go after AUTH_SUCCESS")


@case("Authentication fails", "R-11.3", ends=True, takes_s=6, checks=("client.stop_on_close",))
async def auth_failed(stage: Stage) -> None:
    """
    The relay knows another key of the user: AUTH_FAILED, then a close with 4000. The app does not come again by
    itself; it asks its user.
    """
    key = Ed25519().public_key(os.urandom(32))
    stage.space.driver.control(RotateKey(stage.app.address, key, "reinstall"))
    await stage.connect()
    stage.require(await stage.wait(stage.ends), "the relay did not close; did the app answer the challenge?", "close")
    stage.judge(stage.frames("AUTH_FAILED", "out"), "the relay did not say AUTH_FAILED")
    await stage.settle()
    await stage.stays_away(5000)


@case("The challenge never comes", "R-11.1", ends=True, takes_s=8)
async def no_challenge(stage: Stage) -> None:
    """
    AUTHENTICATING becomes FAILED after 5 s, by the relay's close with 1002 or by the app's own time-out, and the app
    tries again after the backoff.
    """
    stage.rule({"type": "AUTH_CHALLENGE"}, "drop", times=1)
    await stage.connect()
    stage.require(await stage.wait(lambda: stage.frames("AUTH_CHALLENGE", "out")), "the app did not connect")
    await stage.pass_time(5010)
    stage.require(await stage.wait(stage.ends), "after 5 s without a challenge the connection stands", "close")
    await stage.comes_again(900, 1100)
    await stage.authenticated()


@case("AUTH_SUCCESS never comes", "R-11.1", ends=True, takes_s=9)
async def no_success(stage: Stage) -> None:
    """AUTHENTICATING becomes FAILED after 5 s: the app drops the connection and tries again after the backoff."""
    stage.rule({"type": "AUTH_SUCCESS"}, "drop", times=1)
    await stage.connect()
    stage.require(await stage.wait(lambda: stage.frames("AUTH_RESPONSE")), "the app did not answer the challenge")
    await stage.pass_time(4500)
    stage.judge(not stage.ends(), "the app gave up before 5 s were over", "close", otherwise="non_strict")
    await stage.pass_until(stage.ends, 1000 + stage.settings.slack_ms, 520)
    stage.require(await stage.wait(stage.ends), "after 5 s without AUTH_SUCCESS the app still waits", "close")
    await stage.comes_again(900, 1100)
    await stage.authenticated(2)


@case("A challenge is answered once", "R-4.2")
async def answers_once(stage: Stage) -> None:
    """AUTH_CHALLENGE comes twice. The app answers once: a challenge is good for one answer."""
    stage.rule({"type": "AUTH_CHALLENGE"}, "duplicate", times=1)
    await stage.online()
    count = len(stage.frames("AUTH_RESPONSE"))
    stage.judge(count == 1, f"{count} AUTH_RESPONSE frames were sent, not one")


@case("The app's clock is wrong", "R-11.8", checks=("client.timestamp",))
async def wrong_clock(stage: Stage) -> None:
    """
    The relay's clock is an hour ahead of the app's. The app learns the difference at AUTH_CHALLENGE and gives times
    by the relay's clock. (This relay admits real time as well, so an app that does not is seen here only.)
    """
    await stage.relay_time(3_600_000)
    if stage.virtual:
        # The first connect tells the app's clock where to stand: an hour back.
        stage.clock_offset_ms = -3_600_000
    await stage.online()
    answer = stage.frames("AUTH_RESPONSE")[0]["frame"]["payload"]
    off_ms = abs(answer["client_time"] - stage.frames("AUTH_CHALLENGE", "out")[0]["frame"]["payload"]["server_time"])
    text = f"client_time is {off_ms // 1000} s off server_time"
    stage.judge(off_ms <= 300_000, text, otherwise="non_strict")
    await stage.send()
    await stage.wait(lambda: stage.frames("MESSAGE_SEND"))


@case("Traffic before authentication is not taken", "R-4.2")
async def early_traffic(stage: Stage) -> None:
    """A MESSAGE_NEW that comes before the challenge is neither shown nor confirmed; authentication goes on."""
    message = {
        "from": stage.bob.address,
        "to": stage.app.address,
        "conversation_id": stage.conversation,
        "ciphertext": b64encode(b"early").decode(),
        "nonce": b64encode(bytes(12)).decode(),
        "message_type": "text",
        "timestamp": stage.now_ms,
    }
    stage.rule({"event": "connected"}, "inject", times=1, frame={"type": "MESSAGE_NEW", "payload": message})
    await stage.online()
    kinds = [e.get("type") for e in stage.frames()]
    stage.judge("MESSAGE_RECEIVED" not in kinds, "a message that came before AUTH_SUCCESS was confirmed")
    shown = stage.shown()
    if shown is not None:
        stage.judge(not shown, "a message that came before AUTH_SUCCESS was shown")
