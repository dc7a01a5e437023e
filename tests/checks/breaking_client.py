"""For each check of a client an edit that breaks its requirement, and that one only."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.checks.edits import S, breaks
from tests.checks.story import LIMITED, Story
from tests.checks.tokens import token_for
from zentalk_sim.protocol.frames import (
    MessageReceived,
    Ping,
    Pong,
    PresenceSet,
    TokenRefresh,
    TypingSignal,
)
from zentalk_sim.trace import events as ev

# --- the client's handshake


@breaks("client.upgrade_form")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(events[0], ev.Refuse(0, s.end_us, c, 400, "INVALID_MESSAGE", "no zentalk.v1"))


@breaks("client.auth_first")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.frame_in(c, "PRESENCE_SET", PresenceSet("away")), *s.failed(c))


@breaks("client.auth_form")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.answer(events, device="00000000-0000-4000-8000-00000000ffff"), *s.failed(c))


@breaks("client.auth_signature")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.answer(events, spoilt=True), *s.failed(c))


@breaks("client.auth_time")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.answer(events, client_time=1), *s.failed(c))


@breaks("client.auth_in_time")
def _(s: Story) -> None:
    c, events = s.opening(s.end_us - 5 * S)
    s.add(*events, ev.Close(0, s.end_us, c, 1002, "auth_timeout"))


@breaks("client.resume_once")
def _(s: Story) -> None:
    device = next(s.ids)
    for _ in range(2):
        c = s.joined(device=device, resume_token="the same")
        s.add(s.frame_in(c, "PONG", Pong(1, 1)), ev.Lost(0, s.end_us, c, "reset"))


# --- the client's returns


def _closed(s: Story, code: int, ago_us: int, device: str, reason: str = "") -> None:
    t = s.end_us - ago_us
    c, events = s.opening(t, device) if code == 4002 else s.ready(t, device)
    s.add(*events)
    if code == 4002:
        s.add(s.frame_out(c, "ERROR", s.error(c, "RATE_LIMITED", None, **LIMITED).payload, t))
    s.add(ev.Close(0, t, c, code, reason), ev.Lost(0, t, c, "closed"))


def _refused(s: Story, t: int, device: str) -> None:
    c, events = s.opening(t, device)
    s.add(events[0], ev.Refuse(0, t, c, 503, "SERVICE_UNAVAILABLE", "full"))


@breaks("client.backoff")
def _(s: Story) -> None:
    device = next(s.ids)
    _closed(s, 1001, S - 1, device)
    _refused(s, s.end_us, device)


@breaks("client.backoff_growth")
def _(s: Story) -> None:
    device = next(s.ids)
    _closed(s, 1001, 4 * S, device)
    for ago_us in (3 * S, 0):
        _refused(s, s.end_us - ago_us, device)
    # The third wait must be 4 s, and is 2 s.
    s.events[-1] = replace(s.events[-1], t=s.end_us + 2 * S)
    _refused(s, s.end_us, device)


@breaks("client.backoff_jitter")
def _(s: Story) -> None:
    for _ in range(12):
        device = next(s.ids)
        _closed(s, 1001, 3 * S + 50_000, device)
        _refused(s, s.end_us - 2 * S, device)
        # After two failures two seconds, to the microsecond, for all of them.
        _refused(s, s.end_us, device)


@breaks("client.stop_on_close")
def _(s: Story) -> None:
    device = next(s.ids)
    _closed(s, 4003, 30 * S, device)
    _refused(s, s.end_us, device)


@breaks("client.wait_after_4002")
def _(s: Story) -> None:
    device = next(s.ids)
    _closed(s, 4002, 9 * S, device)
    _refused(s, s.end_us, device)


@breaks("client.token_after_4001")
def _(s: Story) -> None:
    device = next(s.ids)
    _closed(s, 4001, 30 * S, device)
    _refused(s, s.end_us, device)


@breaks("client.state_backoff")
def _(s: Story) -> None:
    device = next(s.ids)
    s.add(
        ev.State(0, s.end_us, device, "AUTHENTICATING", "CONNECTED", ""),
        ev.State(0, s.end_us, device, "CONNECTED", "FAILED", "1006 lost"),
        ev.State(0, s.end_us, device, "FAILED", "CONNECTING", "backoff over"),
    )


# --- the client's frames


@breaks("client.well_formed")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_in(c, "DANCE", fault="unknown_type"))


@breaks("client.malformed_run")
def _(s: Story) -> None:
    c = s.joined()
    s.add(*[s.frame_in(c, "DANCE", fault="unknown_type") for _ in range(10)])


@breaks("client.unique_ids")
def _(s: Story) -> None:
    c = s.joined()
    frame = s.frame_in(c, "TYPING_STOP", TypingSignal("conv_1"))
    s.add(frame, frame)


@breaks("client.timestamp")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_in(c, "TYPING_STOP", TypingSignal("conv_1"), timestamp=s.end_us // 1000 - 300_001))


@breaks("client.payload_size")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_in(c, "MESSAGE_SEND", fault="payload_requires_binary"))


@breaks("client.seq")
def _(s: Story) -> None:
    c = s.joined()
    s.add(*[s.frame_in(c, "TYPING_STOP", TypingSignal("conv_1"), seq=7) for _ in range(2)])


@breaks("client.mac")
def _(s: Story) -> None:
    index = s.at(ev.FrameIn, type="MESSAGE_RECEIVED")
    s.change(index, mac=b"x" * 32)


@breaks("client.nonce")
def _(s: Story) -> None:
    c = s.joined()
    one, two = (s.message(c, nonce=b"the same one") for _ in range(2))
    s.add(one, *s.ack(one, 2), two, s.error(c, "INVALID_MESSAGE", 3, two, reason="nonce_reused"))


# --- the client's life


@breaks("client.pong")
def _(s: Story) -> None:
    index = s.at(ev.FrameIn, type="PONG", nth=2)
    s.change(index, payload_timestamp=s.events[index].payload.timestamp + 1)
    # The relay ignores it, and misses one; what follows from that is cut off with the trace.
    s.events[index + 1 :] = [s.events[-1]]
    s.events[-1] = replace(s.events[-1], t=s.events[index].t)


@breaks("client.pong_in_time")
def _(s: Story) -> None:
    t = s.end_us - 31 * S
    c = s.joined(t)
    ping = s.frame_out(c, "PING", Ping((t + 30 * S) // 1000), t + 30 * S, seq=2)
    late = s.end_us + 10 * S
    s.add(ping)
    s.events[-1] = replace(s.events[-1], t=late)
    s.add(s.frame_in(c, "PONG", Pong(ping.timestamp, 1), late))


@breaks("client.typing_pace")
def _(s: Story) -> None:
    c = s.joined()
    for later_ms in (0, 2_000):
        now_ms = s.end_us // 1000
        s.add(s.frame_in(c, "TYPING_START", TypingSignal("conv_1"), timestamp=now_ms + later_ms))


@breaks("client.refresh_window")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_in(c, "TOKEN_REFRESH", _refresh(s, f"session {c}")))


@breaks("client.refresh_form")
def _(s: Story) -> None:
    index = s.at(ev.FrameIn, type="TOKEN_REFRESH")
    s.change(index, payload_session_token="another")


def _refresh(s: Story, token: str) -> TokenRefresh:
    from tests.checks.story import CRYPTO, SECRET

    return TokenRefresh(token, CRYPTO.sign(SECRET, token.encode()))


@breaks("client.limits")
def _(s: Story) -> None:
    c = s.joined()
    frame = s.frame_in(c, "PRESENCE_SET", PresenceSet("away"))
    s.add(frame, s.error(c, "RATE_LIMITED", 2, frame, **LIMITED))


@breaks("client.pause_after_limit")
def _(s: Story) -> None:
    t = s.end_us - 5 * S
    c = s.joined(t)
    frame = s.frame_in(c, "PRESENCE_SET", PresenceSet("away"), t)
    s.add(frame, s.error(c, "RATE_LIMITED", 2, frame, **LIMITED), s.frame_in(c, "PRESENCE_SET", PresenceSet("online")))


# --- the client's messages


@breaks("client.resend_same")
def _(s: Story) -> None:
    t = s.end_us - 12 * S
    c = s.joined(t)
    first = s.message(c, t)
    again = replace(first, t=s.end_us, timestamp=s.end_us // 1000, payload=replace(first.payload, ciphertext=b"other"))
    s.add(first, *s.ack(first, 2), again, s.error(c, "INVALID_MESSAGE", 3, again, reason="duplicate_id"))


@breaks("client.resend_wait")
def _(s: Story) -> None:
    t = s.end_us - 9 * S
    c = s.joined(t)
    first = s.message(c, t)
    again = replace(first, t=s.end_us, timestamp=s.end_us // 1000)
    ack = s.ack(first, 2)
    # The first send's answer is another connection's: the ACK was lost with it.
    s.add(first, ev.Crash(0, t, None), again, *[replace(e, t=s.end_us) for e in ack])


@breaks("client.unacknowledged")
def _(s: Story) -> None:
    c = s.joined()
    for _ in range(101):
        s.add(s.message(c), ev.Crash(0, s.end_us, None))


@breaks("client.retries")
def _(s: Story) -> None:
    device = next(s.ids)
    first: Any = None
    for n in range(7):
        t = s.end_us - (6 - n) * 10 * S
        c = s.joined(t, device)
        first = first or s.message(c, t)
        again = replace(first, c=c, t=t, timestamp=t // 1000)
        status = {"status": "duplicate", "server_timestamp": first.t // 1000} if n else {}
        s.add(again, *s.ack(again, 2, **status), ev.Lost(0, t, c, "reset"))


@breaks("client.resend_pace")
def _(s: Story) -> None:
    t = s.end_us - 15 * S
    c = s.joined(t)
    sends = [s.message(c, t) for _ in range(2)]
    for n, send in enumerate(sends):
        s.add(send, *s.ack(send, 2 + n))
    for n, send in enumerate(sends):
        again = replace(send, t=s.end_us, timestamp=s.end_us // 1000 + 50 * n)
        s.add(again, *s.ack(again, 4 + n, status="duplicate", server_timestamp=t // 1000))


def _pushed(s: Story, times: int) -> None:
    t = s.end_us - 92 * S
    device = next(s.ids)
    message_id = next(s.ids)
    for n in range(times):
        last = n == times - 1
        c = s.joined(t, device)
        s.add(s.push(c, message_id, 2, t))
        if not last:
            s.add(s.frame_in(c, "MESSAGE_RECEIVED", MessageReceived(message_id), t), ev.Lost(0, t, c, "reset"))
    # From the first PONG on it is plain that the message has arrived.
    _beat(s, c, t, 3)
    s.add(s.frame_in(c, "TYPING_STOP", TypingSignal("conv_1")))


def _beat(s: Story, c: int, t: int, beats: int = 2) -> None:
    """The heartbeat, answered."""
    for n in range(1, beats + 1):
        at = t + n * 30 * S
        ping = s.frame_out(c, "PING", Ping(at // 1000), at, seq=2 + n)
        s.add(ping, s.frame_in(c, "PONG", Pong(at // 1000, at // 1000), at))


@breaks("client.confirms")
def _(s: Story) -> None:
    _pushed(s, 1)


@breaks("client.confirms_again")
def _(s: Story) -> None:
    _pushed(s, 2)


@breaks("client.confirms_fetched")
def _(s: Story) -> None:
    t = s.end_us - 62 * S
    device = next(s.ids)
    user = "0x" + "d" * 40
    token = token_for(user, device)
    c = s.joined(t, device, token=token)
    message_id = next(s.ids)
    stored = ev.Note(0, t, "copies.stored", 1, None, user, None, message_id)
    body = {"messages": [{"id": message_id, "timestamp": 1}], "total": 1}
    s.add(ev.Timer(0, t), stored, ev.Request(0, t, 900_001, "GET", "/api/messages", {}, token, None))
    s.add(ev.Response(0, t, 900_001, 200, body))
    for n in (1, 2):
        at = t + n * 30 * S
        ping = s.frame_out(c, "PING", Ping(at // 1000), at, seq=1 + n)
        s.add(ping, s.frame_in(c, "PONG", Pong(at // 1000, at // 1000), at))
    s.add(s.frame_in(c, "TYPING_STOP", TypingSignal("conv_1")))


@breaks("client.shown_once")
def _(s: Story) -> None:
    s.add(*[ev.Shown(0, s.end_us, "a device", "a message") for _ in range(2)])


@breaks("client.queue_order")
def _(s: Story) -> None:
    t, device, older, newer = s.end_us, "a device", "an older message", "a newer message"
    s.add(ev.Wrote(1, t, device, older), ev.Wrote(2, t, device, newer), ev.Transmitted(3, t, device, older))
