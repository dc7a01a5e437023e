"""Receipts, typing, presence, subscriptions: signals, and how they wait (R-6.3, R-7, R-11.4)."""

from __future__ import annotations

from typing import Any

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage

_FREE: dict[str, Any] = {"limits": {"presence": "off"}}


@case("A message is read", "R-6.3", needs=("mark_read",))
async def read(stage: Stage) -> None:
    """The user sees a message: the app sends one MESSAGE_READ with its id."""
    await stage.online()
    message_id = stage.bob_sends()
    await stage.wait(lambda: stage.frames("MESSAGE_RECEIVED"))
    await stage.act("mark_read", message_id=message_id)
    found = await stage.wait(lambda: stage.frames("MESSAGE_READ", message_id=message_id))
    stage.judge(found, "no MESSAGE_READ was sent")
    await stage.settle()
    count = len(stage.frames("MESSAGE_READ"))
    stage.judge(count <= 1, f"{count} MESSAGE_READ were sent for one message", otherwise="non_strict")


@case("Read while offline", "R-11.4", needs=("mark_read",), ends=True, takes_s=6)
async def read_offline(stage: Stage) -> None:
    """Three messages are read while there is no connection. The receipts wait, and go first in first out."""
    await stage.online()
    ids = [stage.bob_sends(f"message {number}") for number in range(3)]
    await stage.wait(lambda: len(stage.frames("MESSAGE_RECEIVED")) >= 3)
    stage.end(None)
    await stage.ended()
    for message_id in ids:
        await stage.act("mark_read", message_id=message_id)
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    await stage.pass_until(lambda: len(stage.frames("MESSAGE_READ")) >= 3, 1_500, 300)
    await stage.wait(lambda: len(stage.frames("MESSAGE_READ")) >= 3)
    sent = [e["frame"]["payload"].get("message_id") for e in stage.frames("MESSAGE_READ")]
    stage.judge(
        sorted(set(sent)) == sorted(ids), f"{len(set(sent))} of three receipts were sent after the reconnection"
    )
    stage.judge(
        sent[:3] == ids, "the receipts went in another order than the messages were read in", otherwise="non_strict"
    )


@case(
    "Receipts are limited",
    "R-11.5",
    takes_s=8,
    needs=("mark_read",),
    config={"limits": {"read_receipt": {"limit": 2, "window_s": 4, "burst": 2}}},
    ignores=("client.limits",),
    checks=("client.pause_after_limit",),
)
async def receipts_limited(stage: Stage) -> None:
    """The third of three MESSAGE_READ is refused with RATE_LIMITED. None goes for retry_after; then the third does."""
    await stage.online()
    ids = [stage.bob_sends(f"message {number}") for number in range(3)]
    await stage.wait(lambda: len(stage.frames("MESSAGE_RECEIVED")) >= 3)
    for message_id in ids:
        await stage.act("mark_read", message_id=message_id)
    found = await stage.wait(lambda: stage.frames("ERROR", "out", error_code="RATE_LIMITED"))
    error = stage.require(found, "the relay refused no MESSAGE_READ; were three sent?")[0]
    retry_ms = 1000 * error["frame"]["payload"]["details"]["retry_after"]
    await stage.settle()
    await stage.pass_time(error["t_ms"] + retry_ms - 100 - stage.now_ms)
    early = len(stage.frames("MESSAGE_READ", after=error["n"]))
    stage.judge(not early, f"{early} MESSAGE_READ were sent before retry_after ({retry_ms // 1000} s) was over")
    if not early:
        again = await stage.pass_until(
            lambda: stage.frames("MESSAGE_READ", after=error["n"]), 600 + stage.settings.slack_ms, 200
        )
        stage.judge(again, "the refused receipt was not sent again", otherwise="non_strict")


@case("Typing, key after key", "R-7.4", needs=("typing",), takes_s=5, checks=("client.typing_pace",))
async def typing(stage: Stage) -> None:
    """The user types for 4 s. TYPING_START goes at once and again after 3 s: not at every key."""
    await stage.online()
    began_ms = stage.now_ms
    for _ in range(16):
        await stage.act("typing", conversation_id=stage.conversation, to=stage.bob.address)
        await stage.pass_time(250)
    count = len(stage.frames("TYPING_START"))
    stage.judge(count > 0, "no TYPING_START was sent")
    took_ms = stage.now_ms - began_ms
    most = 1 + took_ms // 3_000
    stage.judge(count <= most, f"{count} TYPING_START were sent in {took_ms / 1000:g} s; at most {most} are allowed")


@case("Typing while offline", "R-11.4", needs=("typing",), ends=True)
async def typing_offline(stage: Stage) -> None:
    """The user types while there is no connection. That is dropped: no TYPING_START follows the reconnection."""
    await stage.online()
    stage.end(None)
    await stage.ended()
    await stage.act("typing", conversation_id=stage.conversation, to=stage.bob.address)
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    await stage.pass_time(300)
    stage.judge(not stage.frames("TYPING_START"), "TYPING_START of before the reconnection was sent after it")


@case("To the background and back", "R-7.3", needs=("background", "foreground"), config=_FREE)
async def background(stage: Stage) -> None:
    """In the background the app sets itself away, in the foreground online again, and stays connected throughout."""
    await stage.online()
    await stage.act("background")
    found = await stage.wait(lambda: stage.frames("PRESENCE_SET", status="away"))
    stage.judge(found, "the app went to the background and is still online", otherwise="non_strict")
    await stage.pass_time(300)
    await stage.act("foreground")
    if found:
        back = await stage.wait(lambda: stage.frames("PRESENCE_SET", status="online"))
        stage.judge(back, "the app is in the foreground and still away")
    await stage.answers_ping("a visit to the background")


@case("Presence while offline", "R-11.4", needs=("presence",), ends=True, config=_FREE)
async def presence_offline(stage: Stage) -> None:
    """Away, invisible, then online are set while there is no connection. Only the latest is sent."""
    await stage.online()
    after = stage.last_n
    stage.end(None)
    await stage.ended()
    for status in ("away", "invisible", "online"):
        await stage.act("presence", status=status)
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    await stage.pass_time(300)
    sent = [e["frame"]["payload"].get("status") for e in stage.frames("PRESENCE_SET", after=after)]
    stage.judge(sent == ["online"], f"sent after the reconnection: {', '.join(map(str, sent)) or 'nothing'}")


@case(
    "Presence is limited",
    "R-11.5",
    takes_s=6,
    needs=("presence",),
    config={"limits": {"presence": {"limit": 1, "window_s": 3, "burst": 1}}},
    ignores=("client.limits",),
    checks=("client.pause_after_limit",),
)
async def presence_limited(stage: Stage) -> None:
    """The second PRESENCE_SET is refused with RATE_LIMITED. None goes for retry_after; then the latest does."""
    await stage.online()
    await stage.act("presence", status="away")
    await stage.act("presence", status="invisible")
    found = await stage.wait(lambda: stage.frames("ERROR", "out", error_code="RATE_LIMITED"), 1.0)
    if not found:
        stage.find("informational", "the app kept to the limit by itself: nothing was refused")
        return
    retry_ms = 1000 * found[0]["frame"]["payload"]["details"]["retry_after"]
    await stage.settle()
    await stage.act("presence", status="online")
    await stage.settle()
    await stage.pass_time(found[0]["t_ms"] + retry_ms - 100 - stage.now_ms)
    early = len(stage.frames("PRESENCE_SET", after=found[0]["n"]))
    stage.judge(not early, f"{early} PRESENCE_SET were sent before retry_after ({retry_ms // 1000} s) was over")
    if not early:
        await stage.pass_until(
            lambda: stage.frames("PRESENCE_SET", after=found[0]["n"]), 400 + stage.settings.slack_ms, 200
        )
        sent = [e["frame"]["payload"].get("status") for e in stage.frames("PRESENCE_SET", after=found[0]["n"])]
        stage.judge(
            sent[:1] == ["online"], f"then sent: {', '.join(map(str, sent)) or 'nothing'}; the latest is online"
        )


@case("Subscriptions in a new session", "R-3.4", needs=("subscribe",), ends=True, config={"resume": {"window_ms": 0}})
async def subscriptions(stage: Stage) -> None:
    """The session cannot be resumed and its subscriptions are gone. The app subscribes again."""
    await stage.online()
    topic = f"keys:{stage.bob.address}"
    await stage.act("subscribe", topics=[topic])
    stage.require(await stage.wait(lambda: stage.frames("SUBSCRIBE")), "no SUBSCRIBE was sent")
    await stage.pass_time(200)
    after = stage.last_n
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    await stage.pass_time(200)
    again = await stage.wait(lambda: stage.frames("SUBSCRIBE", after=after))
    stage.judge(again, "the new session has no subscriptions, and the app did not subscribe again")
