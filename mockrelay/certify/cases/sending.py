"""Messages of the app: acknowledged, sent again, refused, queued (R-5, R-6.2, R-11.4, R-11.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

from mockrelay.bots import bots_of
from mockrelay.certify.case import case
from mockrelay.certify.drive import DriveError
from mockrelay.certify.stage import Stage

_NEVER_MS = 600_000
"""An ACK that is so late never comes: the connection is lost before."""
_UNLIMITED: dict[str, Any] = {"limits": {"send_message": "off"}}


def _sends(stage: Stage, after: int = 0) -> list[Any]:
    return stage.frames("MESSAGE_SEND", after=after)


def _id(entry: Any) -> str:
    return str((entry.get("frame") or {}).get("id")).lower()


async def _sent(stage: Stage, count: int = 1) -> Any:
    """Wait for the app's ``count``-th MESSAGE_SEND."""
    found = await stage.wait(lambda: _sends(stage)[count - 1 :])
    return stage.require(found, f"the app sent {len(_sends(stage))} MESSAGE_SEND frames, not {count}")[0]


def _same(stage: Stage, first: Any, again: Any) -> None:
    """Judge a message sent again."""
    if stage.judge(_id(first) == _id(again), "the message was sent again under another id"):
        one, two = first["frame"]["payload"], again["frame"]["payload"]
        stage.judge(one == two, "the message was sent again under its id with another content")


@case(
    "A message",
    "R-6.1",
    checks=("client.well_formed", "client.unique_ids", "client.nonce", "client.mac", "client.payload_size"),
)
async def message(stage: Stage) -> None:
    """MESSAGE_SEND has all its fields, a fresh id and nonce, and a right MAC where it has one; the relay has it."""
    await stage.online()
    await stage.send()
    await _sent(stage)
    found = await stage.wait(lambda: stage.frames("MESSAGE_ACK", "out"))
    errors = [e["frame"]["payload"].get("message") for e in stage.frames("ERROR", "out")]
    stage.judge(found, f"the relay did not take it: {errors[0] if errors else 'no answer'}")
    text = "the frame carries no message_mac: its integrity is not protected"
    stage.judge("message_mac" in _sends(stage)[0]["frame"], text, otherwise="non_strict")


@case(
    "Eight messages in a row",
    "R-11.4",
    checks=("client.unacknowledged", "client.seq", "client.limits", "client.malformed_run"),
)
async def row(stage: Stage) -> None:
    """Each of eight messages has an id, a nonce and a seq of its own, is sent once and acknowledged."""
    await stage.online()
    for number in range(8):
        await stage.send(f"message {number}")
    await _sent(stage, 8)
    await stage.wait(lambda: len(stage.frames("MESSAGE_ACK", "out")) >= 8)
    await stage.settle()
    ids = [_id(entry) for entry in _sends(stage)]
    stage.judge(len(ids) == 8 and len(set(ids)) == 8, f"{len(ids)} frames with {len(set(ids))} ids for eight messages")


@case("A conversation", "R-6.2", takes_s=3)
async def conversation(stage: Stage) -> None:
    """A message to a bot that reads and answers: the receipts are taken in, the answer is shown and confirmed."""
    bot = bots_of(stage.space).add("echo")
    stage.publish_keys(bot.person)
    await stage.online()
    await stage.send("hello bot", to=bot.person.address)
    found = await stage.wait(lambda: stage.frames("MESSAGE_NEW", "out"))
    answer = stage.require(found, "the bot did not answer; did the message reach the relay?")[0]
    confirmed = await stage.wait(lambda: stage.frames("MESSAGE_RECEIVED"))
    stage.judge(confirmed, "the bot's answer was not confirmed")
    await stage.must_show([_id(answer)])


@case("A lost ACK, then a lost connection", "R-11.4", ends=True, checks=("client.resend_same", "client.retries"))
async def lost_ack(stage: Stage) -> None:
    """
    MESSAGE_ACK is lost, then the connection. The app sends the message again under the same id, with the same content,
    and the relay answers "duplicate". It is not sent a third time.
    """
    await stage.online()
    stage.rule({"type": "MESSAGE_ACK"}, "delay", times=1, ms=_NEVER_MS)
    await stage.send()
    first = await _sent(stage)
    await stage.settle()
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    if stage.virtual:
        await stage.pass_time(100)
    again = await _sent(stage, 2)
    _same(stage, first, again)
    await stage.pass_time(1500)
    stage.judge(len(_sends(stage)) == 2, f"the message was sent {len(_sends(stage))} times")


@case("Three lost ACKs", "R-11.4", ends=True, checks=("client.resend_same",))
async def three_lost_acks(stage: Stage) -> None:
    """Three messages lose their ACKs and the connection. They are sent again, oldest first, 100 ms apart."""
    await stage.online()
    stage.rule({"type": "MESSAGE_ACK"}, "delay", times=3, ms=_NEVER_MS)
    firsts = []
    for number in range(3):
        await stage.send(f"message {number}")
        firsts.append(await _sent(stage, number + 1))
        await stage.pass_time(20)
    stage.end(None)
    await stage.ended()
    await stage.comes_again(1000, 1100)
    await stage.authenticated(2)
    await stage.pass_until(lambda: len(_sends(stage)) >= 6, 1_000, 100)
    await _sent(stage, 6)
    again = _sends(stage)[3:]
    stage.judge([_id(e) for e in again] == [_id(e) for e in firsts], "not sent again in the order of the first sending")
    stamps = [entry["frame"]["timestamp"] for entry in again]
    least = min(b - a for a, b in pairwise(stamps))
    stage.judge(least >= 99, f"sent again {least} ms apart; 100 ms are asked for")


@case("No ACK on a standing connection", "R-11.4", takes_s=14, ignores=("client.resend_wait",))
async def late_ack(stage: Stage) -> None:
    """The ACK is held back. After 10 s, and not before, the app sends the message again under the same id."""
    await stage.online()
    stage.rule({"type": "MESSAGE_ACK"}, "delay", ms=13_000)
    await stage.send()
    first = await _sent(stage)
    await stage.pass_time(9_500)
    stage.judge(len(_sends(stage)) == 1, "the message was sent again before 10 s were over")
    if len(_sends(stage)) == 1:
        await stage.pass_until(lambda: len(_sends(stage)) > 1, 1_000 + stage.settings.slack_ms, 700)
    again = await _sent(stage, 2)
    _same(stage, first, again)
    stage.clear_rules()
    await stage.pass_time(4_000)


@case("Five times and no more", "R-11.4", takes_s=75, ignores=("client.resend_wait",))
async def five_times(stage: Stage) -> None:
    """No ACK ever comes. The message is sent again five times, 10 s apart, and then reported as failed."""
    await stage.online()
    stage.rule({"type": "MESSAGE_ACK"}, "drop")
    sent = await stage.send()
    await _sent(stage)
    for _ in range(7):
        await stage.pass_time(10_500)
    count = len(_sends(stage))
    stage.judge(count == 6, f"the message was sent {count} times; it must be 6")
    stage.judge(len({_id(e) for e in _sends(stage)}) == 1, "the message was sent again under another id")
    await stage.must_report("failed", sent, "the message was not acknowledged")


@case(
    "RATE_LIMITED: wait retry_after",
    "R-11.5",
    takes_s=7,
    config={"limits": {"send_message": {"limit": 2, "window_s": 4, "burst": 2}}},
    ignores=("client.limits",),
    checks=("client.pause_after_limit",),
)
async def limited(stage: Stage) -> None:
    """
    The relay takes two messages in 4 s and refuses the third with RATE_LIMITED. The app sends no message for
    retry_after, then the third again under the same id.
    """
    await stage.online()
    for number in range(3):
        await stage.send(f"message {number}")
    third = await _sent(stage, 3)
    found = await stage.wait(lambda: stage.frames("ERROR", "out", error_code="RATE_LIMITED"))
    error = stage.require(found, "the relay did not refuse")[0]
    retry_ms = 1000 * error["frame"]["payload"]["details"]["retry_after"]
    await stage.settle()
    await stage.pass_time(error["t_ms"] + retry_ms - 100 - stage.now_ms)
    early = len(_sends(stage)) - 3
    stage.judge(not early, f"{early} messages were sent before retry_after ({retry_ms // 1000} s) was over")
    if not early:
        await stage.pass_until(lambda: len(_sends(stage)) > 3, 600 + stage.settings.slack_ms, 200)
        _same(stage, third, await _sent(stage, 4))
        taken = await stage.wait(lambda: len(stage.frames("MESSAGE_ACK", "out")) >= 3)
        stage.judge(taken, "the third message was not acknowledged in the end")


def _retried(code: str) -> Callable[[Stage], Awaitable[None]]:
    async def body(stage: Stage) -> None:
        await stage.online()
        stage.rule({"type": "MESSAGE_SEND"}, "error", times=1, error_code=code)
        await stage.send()
        first = await _sent(stage)
        await stage.settle()
        await stage.pass_time(900)
        stage.judge(len(_sends(stage)) == 1, "the message was sent again before 1 s was over")
        await stage.pass_until(lambda: len(_sends(stage)) > 1, 400 + stage.settings.slack_ms, 300)
        _same(stage, first, await _sent(stage, 2))
        taken = await stage.wait(lambda: stage.frames("MESSAGE_ACK", "out"))
        stage.judge(taken, "the message was not acknowledged in the end")

    body.__doc__ = f"ERROR {code} answers the message. The app sends it again, under its id, after 1 to 1.1 s."
    return body


def _given_up(code: str) -> Callable[[Stage], Awaitable[None]]:
    async def body(stage: Stage) -> None:
        await stage.online()
        stage.rule({"type": "MESSAGE_SEND"}, "error", times=1, error_code=code)
        sent = await stage.send()
        await _sent(stage)
        await stage.settle()
        for _ in range(3):
            await stage.pass_time(1_500)
        count = len(_sends(stage))
        stage.judge(count == 1, f"the message was sent {count} times; it cannot succeed and must not be sent again")
        await stage.must_report("failed", sent, f"the relay answered {code}")

    body.__doc__ = f"ERROR {code} answers the message. The app tells its user and does not send it again."
    return body


for _code in ("INTERNAL_ERROR", "SERVICE_UNAVAILABLE"):
    case(f"{_code}: again, with backoff", "R-11.5")(_retried(_code))
for _code in ("RECIPIENT_NOT_FOUND", "INVALID_MESSAGE", "FORBIDDEN"):
    case(f"{_code}: not again", "R-11.5", takes_s=6)(_given_up(_code))


async def _mismatched(stage: Stage, times: int) -> str | None:
    """KEY_MISMATCH answers the first message, or more; wait for the keys to be fetched. The message's id."""
    await stage.online()
    stage.rule({"type": "MESSAGE_SEND"}, "error", times=times, error_code="KEY_MISMATCH")
    sent = await stage.send()
    await _sent(stage)
    fetched = await stage.wait(lambda: stage.requests("GET", f"/api/keys/{stage.bob.address}"))
    stage.require(fetched, "the app did not fetch the recipient's keys")
    await stage.settle()
    await stage.pass_time(300)
    return sent


@case("KEY_MISMATCH: fetch the keys, then again", "R-11.5")
async def key_mismatch(stage: Stage) -> None:
    """
    ERROR KEY_MISMATCH answers the message. The app fetches the recipient's key bundle (GET /api/keys/ADDRESS) and sends
    the message again, under its id.
    """
    await _mismatched(stage, 1)
    again = await _sent(stage, 2)
    stage.judge(_id(_sends(stage)[0]) == _id(again), "the message was sent again under another id")
    stage.judge(await stage.wait(lambda: stage.frames("MESSAGE_ACK", "out")), "the message was not acknowledged")


@case("KEY_MISMATCH again: give up", "R-11.5", takes_s=6)
async def key_mismatch_again(stage: Stage) -> None:
    """A second KEY_MISMATCH answers the message that was sent with fresh keys. The app tells its user and gives up."""
    sent = await _mismatched(stage, 4)
    for _ in range(3):
        await stage.pass_time(1_200)
    count = len(_sends(stage))
    stage.judge(count <= 2, f"the message was sent {count} times; once more is allowed")
    await stage.must_report("failed", sent, "the keys do not match")


async def _offline(stage: Stage, failures: int = 2) -> None:
    """The app is without a connection, and has a backoff to wait."""
    await stage.online()
    stage.rule({"event": "upgrade"}, "refuse", times=failures, status=503)
    stage.end(None)
    await stage.ended()


@case("Written offline", "R-11.4", ends=True, checks=("client.resume_once",))
async def offline(stage: Stage) -> None:
    """
    Three messages are written while there is no connection. Once there is they go, newest first, 100 ms apart, each
    once.
    """
    await _offline(stage)
    ids = [await stage.send(f"message {number}") for number in range(3)]
    await stage.comes_again(1000, 1100)
    await stage.comes_again(2000, 2200)
    await stage.settle()
    await stage.comes_again(4000, 4400)
    await stage.authenticated(2)
    await stage.pass_until(lambda: len(_sends(stage)) >= 3, 1_000, 100)
    await _sent(stage, 3)
    await stage.pass_time(500)
    sends = _sends(stage)
    stage.judge(len(sends) == 3, f"{len(sends)} MESSAGE_SEND frames for three messages")
    stamps = [entry["frame"]["timestamp"] for entry in sends]
    least = min((b - a for a, b in pairwise(stamps)), default=100)
    stage.judge(least >= 99, f"two queued messages {least} ms apart; 100 ms are asked for")
    if None in ids:
        stage.find("informational", "the app does not tell the ids of its messages: their order cannot be judged")
    else:
        stage.judge([_id(e) for e in sends] == ids[::-1], "the newest message must go first, the oldest last")


@case("The queue is full", "R-11.4", ends=True, takes_s=14, config=_UNLIMITED, checks=("client.resume_once",))
async def queue_full(stage: Stage) -> None:
    """
    101 messages are written while there is no connection: the 101st is rejected to the caller, and the other hundred
    go once there is a connection.
    """
    await _offline(stage, 2)
    refused = 0
    for number in range(101):
        try:
            await stage.send(f"message {number:03d}")
        except DriveError:
            refused += 1
    await stage.comes_again(1000, 1100)
    await stage.comes_again(2000, 2200)
    await stage.settle()
    await stage.comes_again(4000, 4400)
    await stage.authenticated(2)
    await stage.pass_until(lambda: len(_sends(stage)) >= 100, 12_000, 1_000)
    await stage.wait(lambda: len(_sends(stage)) >= 100)
    await stage.pass_time(400)
    count = len({_id(entry) for entry in _sends(stage)})
    stage.judge(count == 100, f"{count} of the hundred queued messages were sent")
    if not refused:
        await stage.must_report("rejected", None, "the 101st message does not fit the queue")


@case("A large message", "R-1.6", checks=("client.payload_size",))
async def large(stage: Stage) -> None:
    """A message of 20 000 bytes has a payload above 16 384 bytes: it goes as a binary frame, and is acknowledged."""
    await stage.online()
    await stage.send(bytes(20_000))
    entry = await _sent(stage)
    stage.judge(entry.get("binary"), "the frame is a text frame")
    found = await stage.wait(lambda: stage.frames("MESSAGE_ACK", "out"))
    stage.judge(found, "the relay did not acknowledge it")
