"""Messages to the app: shown once, every copy confirmed, the backlog fetched (R-6.3, R-6.6, R-11.6)."""

from __future__ import annotations

from typing import Any

from mockrelay.certify.case import case
from mockrelay.certify.stage import Stage


def _confirmed(stage: Stage, message_id: str | None = None) -> list[Any]:
    if message_id is None:
        return stage.frames("MESSAGE_RECEIVED")
    return stage.frames("MESSAGE_RECEIVED", message_id=message_id)


def _acked_by_rest(stage: Stage) -> list[str]:
    found: list[str] = []
    for entry in stage.requests("POST", "/api/messages/ack"):
        body = entry.get("body")
        ids = body.get("message_ids") if isinstance(body, dict) else None
        found += [one for one in ids or () if isinstance(one, str)]
    return found


def _ids_confirmed(stage: Stage) -> set[str]:
    by_frame = {str(e["frame"]["payload"].get("message_id")).lower() for e in _confirmed(stage)}
    return by_frame | {one.lower() for one in _acked_by_rest(stage)}


async def _all_confirmed(stage: Stage, ids: list[str], patience_s: float | None = None) -> None:
    await stage.wait(lambda: _ids_confirmed(stage) >= set(ids), patience_s)
    missing = len(set(ids) - _ids_confirmed(stage))
    stage.judge(not missing, f"{missing} of {len(ids)} messages were not confirmed")


@case("A message comes", "R-6.3", checks=("client.confirms",))
async def pushed(stage: Stage) -> None:
    """A pushed message is shown, and confirmed with MESSAGE_RECEIVED."""
    await stage.online()
    message_id = stage.bob_sends()
    await _all_confirmed(stage, [message_id])
    await stage.must_show([message_id])


@case("Twenty messages at once", "R-6.3", checks=("client.confirms",))
async def twenty(stage: Stage) -> None:
    """Twenty messages in one instant are all shown, in their order, and each is confirmed."""
    await stage.online()
    ids = [stage.bob_sends(f"message {number}") for number in range(20)]
    await _all_confirmed(stage, ids)
    await stage.must_show(ids)


@case("The same message twice", "R-11.6")
async def twice(stage: Stage) -> None:
    """MESSAGE_NEW comes twice under one id. It is shown once, and every copy is confirmed."""
    await stage.online()
    stage.rule({"type": "MESSAGE_NEW"}, "duplicate", times=1)
    message_id = stage.bob_sends()
    await stage.wait(lambda: len(_confirmed(stage, message_id)) >= 2)
    await stage.settle()
    count = len(_confirmed(stage, message_id))
    stage.judge(count == 2, f"two copies came and {count} were confirmed")
    await stage.must_show([message_id])


@case("The confirmation is lost", "R-11.6", ends=True, checks=("client.confirms_fetched",))
async def lost_confirmation(stage: Stage) -> None:
    """
    MESSAGE_RECEIVED is lost with the connection. At the next one the relay offers the message again: the app confirms
    it again and does not show it again.
    """
    await stage.online()
    stage.rule({"type": "MESSAGE_RECEIVED"}, "drop", times=1)
    message_id = stage.bob_sends()
    stage.require(await stage.wait(lambda: _confirmed(stage)), "the message was not confirmed")
    await stage.settle()
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    fetched = await stage.wait(lambda: stage.requests("GET", "/api/messages"))
    stage.judge(fetched, "SYNC_REQUIRED came and the app did not fetch")
    again = await stage.wait(lambda: len(_confirmed(stage)) >= 2 or message_id in _acked_by_rest(stage))
    stage.judge(again, "the message came again and was not confirmed again")
    await stage.must_show([message_id])


@case("What came while the app was away", "R-6.6", checks=("client.confirms_fetched",))
async def backlog(stage: Stage) -> None:
    """
    Three messages wait. After SYNC_REQUIRED the app fetches them (GET /api/messages), shows them in the order of
    their server_timestamps, confirms each, and asks until nothing is left.
    """
    ids = []
    for number in range(3):
        ids.append(stage.bob_sends(f"message {number}"))
        await stage.relay_time(1_000)
    await stage.online()
    stage.judge(stage.frames("SYNC_REQUIRED", "out"), "the relay sent no SYNC_REQUIRED")
    fetched = await stage.wait(lambda: stage.requests("GET", "/api/messages"))
    stage.require(fetched, "SYNC_REQUIRED came and the app did not fetch")
    await _all_confirmed(stage, ids)
    await stage.must_show(ids)


@case(
    "Several pages",
    "R-6.6",
    takes_s=10,
    checks=("client.confirms_fetched",),
    config={"limits": {"send_message": "off"}},
)
async def pages(stage: Stage) -> None:
    """230 messages wait: more than one page, whatever its size. All are fetched, shown and confirmed."""
    ids = [stage.bob_sends(f"message {number}") for number in range(230)]
    await stage.online()
    await stage.pass_until(lambda: _ids_confirmed(stage) >= set(ids), 8_000, 1_000)
    await _all_confirmed(stage, ids, 3 * stage.settings.patience_s)
    stage.judge(len(stage.requests("GET", "/api/messages")) > 1, "one request cannot have fetched all")
    await stage.must_show(ids)


@case("A message comes during the fetch", "R-6.6", takes_s=4)
async def live_meanwhile(stage: Stage) -> None:
    """While the backlog is being fetched a message is pushed. It is shown after the backlog, and both are confirmed."""
    old = stage.bob_sends("old")
    await stage.relay_time(1_000)
    stage.rule({"event": "rest", "path": "/api/messages*", "method": "GET"}, "delay", times=1, ms=1_000)
    await stage.online()
    stage.require(await stage.wait(lambda: stage.frames("SYNC_REQUIRED", "out")), "the relay sent no SYNC_REQUIRED")
    new = stage.bob_sends("new")
    await stage.settle()
    await stage.pass_time(1_100)
    await _all_confirmed(stage, [old, new])
    await stage.must_show([old, new])


@case("The fetch fails once", "R-6.6", takes_s=5)
async def fetch_fails(stage: Stage) -> None:
    """GET /api/messages is answered with 500 once. The app asks again by itself, and has the message."""
    message_id = stage.bob_sends()
    stage.rule({"event": "rest", "path": "/api/messages*", "method": "GET"}, "refuse", times=1, status=500)
    await stage.online()
    asked = await stage.wait(lambda: stage.requests("GET", "/api/messages"))
    stage.require(asked, "SYNC_REQUIRED came and the app did not fetch")
    await stage.pass_until(
        lambda: len(stage.requests("GET", "/api/messages")) > 1, 40_000 if stage.virtual else 5_000, 1_000
    )
    await _all_confirmed(stage, [message_id])
    await stage.must_show([message_id])


@case("A large message comes", "R-2.2", checks=("client.confirms",))
async def large(stage: Stage) -> None:
    """A message of 20 000 bytes comes as binary frame 0x84. It is shown and confirmed as any other."""
    await stage.online()
    message_id = stage.bob_sends(bytes(20_000))
    await _all_confirmed(stage, [message_id])
    pushed_frames = stage.frames("MESSAGE_NEW", "out")
    stage.judge(pushed_frames and pushed_frames[0].get("binary"), "the relay did not send it as a binary frame")
    await stage.must_show([message_id])


@case("A gap in seq", "R-1.3")
async def gap(stage: Stage) -> None:
    """A frame of the relay's is lost, and its seq with it. The app takes what follows, and stays connected."""
    await stage.online()
    stage.rule({"type": "MESSAGE_NEW", "nth": 1}, "drop")
    stage.bob_sends("lost")
    message_id = stage.bob_sends("not lost")
    found = await stage.wait(lambda: _confirmed(stage, message_id))
    stage.judge(found, "the message behind the gap was not confirmed")
    await stage.must_show([message_id])
    await stage.answers_ping("a gap in seq")


@case("Two messages change places", "R-1.3")
async def reordered(stage: Stage) -> None:
    """Two pushed messages arrive in the other order. Both are shown once and confirmed."""
    await stage.online()
    stage.rule({"type": "MESSAGE_NEW", "nth": 1}, "reorder")
    ids = [stage.bob_sends("first"), stage.bob_sends("second")]
    await _all_confirmed(stage, ids)
    shown = stage.shown()
    if shown is not None:
        await stage.wait(lambda: len(stage.shown() or ()) >= 2)
        stage.judge(sorted(stage.shown() or ()) == sorted(ids), "the messages shown are not those sent")
    else:
        stage.find("informational", "the app does not report what it shows")
