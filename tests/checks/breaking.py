"""For each check an edit of a good recording that breaks its requirement, and that one only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from tests.checks.story import BOB, LIMITED, Story
from zentalk_sim.protocol import control
from zentalk_sim.protocol.frames import (
    KeyChange,
    MessageReceived,
    Ping,
    Pong,
    PresenceSet,
    PresenceUpdate,
    SyncRequired,
    TokenRefresh,
    Topics,
    TypingSignal,
    TypingUpdate,
)
from zentalk_sim.trace import events as ev

Edit = Callable[[Story], None]
EDITS: dict[str, Edit] = {}
S = 1_000_000


def breaks(name: str) -> Callable[[Edit], Edit]:
    def keep(edit: Edit) -> Edit:
        assert name not in EDITS
        EDITS[name] = edit
        return edit

    return keep


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
    from tests.checks.tokens import token_for

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


# --- the relay at the start


@breaks("relay.first_frames")
def _(s: Story) -> None:
    _, events = s.opening()
    s.add(*events, s.frame_out(events[0].c, "PING", Ping(1)))


@breaks("relay.start_order")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_out(c, "PRESENCE_UPDATE", seq=2))
    s.add(s.frame_out(c, "SYNC_REQUIRED", SyncRequired("offline_messages", 1, 1, 1, 1), seq=3))


@breaks("relay.seq")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_out(c, "PRESENCE_UPDATE", seq=3))


@breaks("relay.envelope")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_out(c, "PRESENCE_UPDATE", seq=2, mac=b"x" * 32))


@breaks("relay.text_payload")
def _(s: Story) -> None:
    index = s.at(ev.FrameOut, type="MESSAGE_NEW")
    s.change(index, raw=b"x" * 16_385)


@breaks("relay.auth_verdict")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.success(c))


@breaks("relay.auth_timeout")
def _(s: Story) -> None:
    t = s.end_us - 6 * S
    c, events = s.opening(t)
    s.add(*events, s.answer(events, s.end_us), s.success(c))


@breaks("relay.resume")
def _(s: Story) -> None:
    device = next(s.ids)
    t = s.end_us - 301 * S
    c = s.joined(t, device)
    s.add(ev.Lost(0, t, c, "reset"))
    again, events = s.opening(device=device, resume_token=f"resume {c}")
    success = s.success(again, resumed=True, session_id=f"sess_{c:012x}")
    s.add(*events, s.answer(events), replace(success, seq=2))


# --- the heartbeat


@breaks("relay.heartbeat")
def _(s: Story) -> None:
    c = s.joined(s.end_us - 29 * S)
    s.add(s.frame_out(c, "PING", Ping(s.end_us // 1000), seq=2))


@breaks("relay.heartbeat_drop")
def _(s: Story) -> None:
    c = s.joined(s.end_us - 20 * S)
    s.add(ev.Abort(0, s.end_us, c, "heartbeat"))


# --- the relay's closes


@breaks("relay.silent_after_close")
def _(s: Story) -> None:
    c = s.joined()
    s.add(ev.Close(0, s.end_us, c, 1001, ""), s.frame_out(c, "PRESENCE_UPDATE", seq=2))


@breaks("relay.close_bytes")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, ev.Oversized(0, s.end_us, c))
    # What the client did wrong is the client's.
    s.add(ev.Close(0, s.end_us, c, 1002, ""))


@breaks("relay.close_failed_auth")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, ev.Close(0, s.end_us, c, 4000, ""))


@breaks("relay.close_limited")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, ev.Close(0, s.end_us, c, 4002, ""))


@breaks("relay.close_suspended")
def _(s: Story) -> None:
    user = next(e.user for e in reversed(s.events) if type(e) is ev.Note and e.name == "connections.authenticated")
    s.add(ev.Control(0, s.end_us, control.Suspend(user)))


@breaks("relay.close_stop")
def _(s: Story) -> None:
    s.add(ev.Control(0, s.end_us, control.Stop()))


@breaks("relay.close_replaced")
def _(s: Story) -> None:
    from tests.checks.tokens import token_for

    device = next(s.ids)
    for _ in range(2):
        s.joined(device=device, token=token_for("0x" + "d" * 40, device))
    s.add(ev.Timer(0, s.end_us))


@breaks("relay.close_malformed")
def _(s: Story) -> None:
    c = s.joined()
    s.add(ev.Close(0, s.end_us, c, 1008, "too many malformed frames"))


@breaks("relay.close_code")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, ev.Close(0, s.end_us, c, 4999, ""))


# --- the relay's answers


@breaks("relay.error_fields")
def _(s: Story) -> None:
    c = s.joined()
    frame = s.frame_in(c, "TYPING_STOP", TypingSignal("conv_1"))
    error = s.error(c, "NOT_FOUND", 2, frame)
    s.add(frame, replace(error, payload=replace(error.payload, request_id="none")))


@breaks("relay.limit_details")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.error(c, "RATE_LIMITED", None, limit=10), ev.Close(0, s.end_us, c, 4002, ""))


@breaks("relay.answers_sends")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.message(c))


@breaks("relay.answers_requests")
def _(s: Story) -> None:
    s.add(ev.Request(0, s.end_us, 900_001, "GET", "/api/settings", {}, None, None))


@breaks("relay.answers_subscriptions")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_in(c, "SUBSCRIBE", Topics(("presence:0x" + "a" * 40,))))


# --- what a relay must refuse


@breaks("relay.refuses_seq")
def _(s: Story) -> None:
    index = s.at(ev.FrameIn, type="MESSAGE_SEND", nth=3)
    s.change(index, seq=1)


@breaks("relay.refuses_time")
def _(s: Story) -> None:
    index = s.at(ev.FrameIn, type="MESSAGE_SEND")
    s.change(index, timestamp=1)


@breaks("relay.refuses_mac")
def _(s: Story) -> None:
    index = s.at(ev.FrameIn, type="MESSAGE_SEND")
    s.change(index, mac=b"x" * 32)


def _as(s: Story) -> tuple[int, str, int]:
    """A connection of a new user, with its token."""
    from tests.checks.tokens import token_for

    device = next(s.ids)
    user = "0x" + "d" * 40
    return s.joined(device=device, token=token_for(user, device)), user, 2


@breaks("relay.refuses_nonce")
def _(s: Story) -> None:
    c, _, seq = _as(s)
    one, two = (s.message(c, nonce=b"the same one") for _ in range(2))
    s.add(one, *s.ack(one, seq), two, *s.ack(two, seq + 1))


@breaks("relay.refuses_other_content")
def _(s: Story) -> None:
    c, _, seq = _as(s)
    one = s.message(c)
    two = replace(one, payload=replace(one.payload, ciphertext=b"other"))
    s.add(one, *s.ack(one, seq), two, *s.ack(two, seq + 1, status="duplicate"))


@breaks("relay.refuses_expired")
def _(s: Story) -> None:
    t = s.end_us
    c, events = s.opening(t)
    s.add(*events, s.answer(events), s.success(c, expires_at=t // 1000 - 300_001))
    one = s.message(c)
    s.add(one, *s.ack(one, 2))


@breaks("relay.limits")
def _(s: Story) -> None:
    c, _, seq = _as(s)
    for n in range(11):
        send = s.message(c)
        s.add(send, *s.ack(send, seq + n))


@breaks("relay.device_ceiling")
def _(s: Story) -> None:
    from tests.checks.tokens import token_for

    for _ in range(6):
        device = next(s.ids)
        s.joined(device=device, token=token_for("0x" + "d" * 40, device))


# --- messages


@breaks("relay.ack_stored")
def _(s: Story) -> None:
    c = s.joined()
    send = s.message(c)
    s.add(send, s.ack(send, 2)[1])


@breaks("relay.ack_once")
def _(s: Story) -> None:
    c = s.joined()
    for n in range(2):
        t = s.end_us - (1 - n) * 11 * S
        send = s.message(c, t, id="00000000-0000-4000-8000-00000000aaaa", nonce=b"n" * 12)
        s.add(send, *s.ack(send, 2 + n))


@breaks("relay.ack_same")
def _(s: Story) -> None:
    c = s.joined()
    send = s.message(c)
    s.add(send, *s.ack(send, 2), send, *s.ack(send, 3, status="duplicate", server_timestamp=1))


@breaks("relay.fan_out")
def _(s: Story) -> None:
    index = s.at(ev.FrameOut, type="MESSAGE_NEW")
    frame = s.drop(index)
    # The number it took is taken by a frame that says nothing.
    s.add(s.frame_out(frame.c, "PRESENCE_UPDATE", t=frame.t, seq=frame.seq), before=index)


@breaks("relay.order")
def _(s: Story) -> None:
    c = s.joined()
    sends = [s.message(c) for _ in range(2)]
    other = s.joined()
    for n, send in enumerate(sends):
        s.add(send, *s.ack(send, 2 + n))
    for n, send in enumerate(reversed(sends)):
        s.add(replace(s.push(other, send.id, 2 + n), payload=_as_sent(s, send)))


def _as_sent(s: Story, send: Any) -> Any:
    body = s.push(0, send.id, None).payload
    return replace(body, ciphertext=send.payload.ciphertext, nonce=send.payload.nonce, timestamp=send.t // 1000)


@breaks("relay.fetch_order")
def _(s: Story) -> None:
    index = next(
        i for i, e in enumerate(s.events) if type(e) is ev.Response and _listed(e.body) and len(e.body["messages"]) > 1
    )
    body = s.events[index].body
    s.change(index, body={**body, "messages": body["messages"][::-1]})
    late = [{**m, "timestamp": m["timestamp"] + n} for n, m in enumerate(body["messages"])]
    s.change(index, body={**body, "messages": late[::-1]})


def _listed(body: Any) -> bool:
    return isinstance(body, dict) and "messages" in body


@breaks("relay.content")
def _(s: Story) -> None:
    index = s.at(ev.FrameOut, type="MESSAGE_NEW")
    s.change(index, payload_ciphertext=b"another")


def _doubled(s: Story, kind: str) -> None:
    index = s.at(ev.FrameOut, type=kind)
    frame = s.events[index]
    c = s.joined(device=_device_of(s, frame.c))
    s.add(replace(frame, t=s.end_us, c=c, seq=2, id=next(s.ids)))


def _device_of(s: Story, c: int) -> str:
    return str(s.events[s.at(ev.Upgrade, c=c)].query["device_id"])


@breaks("relay.delivered_once")
def _(s: Story) -> None:
    _doubled(s, "MESSAGE_DELIVERED")


@breaks("relay.read_once")
def _(s: Story) -> None:
    _doubled(s, "MESSAGE_READ")


@breaks("relay.receipt_fan_out")
def _(s: Story) -> None:
    index = s.at(ev.FrameOut, type="MESSAGE_DELIVERED")
    frame = s.drop(index)
    s.add(s.frame_out(frame.c, "PRESENCE_UPDATE", t=frame.t, seq=frame.seq), before=index)


@breaks("relay.fetch_known")
def _(s: Story) -> None:
    confirmed = s.events[s.at(ev.Note, name="copies.confirmed")]
    from tests.checks.tokens import token_for

    token = token_for(confirmed.user, confirmed.device)
    s.add(ev.Timer(0, s.end_us), ev.Note(0, s.end_us, "copies.stored", 1, None, confirmed.user, None, next(s.ids)))
    body = {"messages": [{"id": confirmed.message_id, "timestamp": 1}], "total": 1}
    s.add(ev.Request(0, s.end_us, 900_001, "GET", "/api/messages", {}, token, None))
    s.add(ev.Response(0, s.end_us, 900_001, 200, body))


@breaks("relay.accounted")
def _(s: Story) -> None:
    index = s.at(ev.FrameOut, type="SYNC_REQUIRED")
    s.change(index, payload_pending_count=s.events[index].payload.pending_count - 1)


@breaks("relay.fetch_complete")
def _(s: Story) -> None:
    index = next(i for i, e in enumerate(s.events) if type(e) is ev.Response and _listed(e.body) and e.body["messages"])
    body = s.events[index].body
    s.change(index, body={**body, "total": body["total"] + 1})


@breaks("relay.drops_noted")
def _(s: Story) -> None:
    s.change(0, config=_small_mailbox(s.events[0].config))


def _small_mailbox(config: Any) -> Any:
    return replace(config, mailbox=replace(config.mailbox, max_copies=2))


@breaks("relay.retention")
def _(s: Story) -> None:
    from zentalk_sim.protocol.config import RelayConfig

    t = s.end_us - 2 * S
    short = msgspec.convert({"mailbox": {"retention_s": 1}}, RelayConfig)
    s.add(ev.Config(0, t, short))
    c, reader = s.joined(t), s.joined(t)
    send = s.message(c, t)
    acked = [event for event in s.ack(send, 2) if type(event) is not ev.Note]
    s.add(ev.Note(0, t, "copies.stored", 1, None, BOB, None, send.id), *acked[-1:])
    s.add(ev.Timer(0, s.end_us), s.push(reader, send.id, 2))


# --- signals


def _watching(s: Story, t: int | None = None) -> tuple[int, str, str]:
    """A reader who is connected, its address, and that of a contact of its."""
    from tests.checks.tokens import token_for

    reader, user, device = "0x" + "d" * 40, "0x" + "e" * 40, next(s.ids)
    t = s.end_us if t is None else t
    s.add(ev.Control(0, t, control.MakeContacts(reader, user)))
    return s.joined(t, device, token=token_for(reader, device)), reader, user


@breaks("relay.presence_hidden")
def _(s: Story) -> None:
    c, _, user = _watching(s)
    s.add(ev.Control(0, s.end_us, control.ChangeSettings(user, {"share_presence": False})))
    s.add(s.frame_out(c, "PRESENCE_UPDATE", PresenceUpdate(user, "online", 1, 1), seq=2))


@breaks("relay.presence_contacts")
def _(s: Story) -> None:
    c, _, _ = _watching(s)
    s.add(s.frame_out(c, "PRESENCE_UPDATE", PresenceUpdate("0x" + "f" * 40, "offline"), seq=2))


@breaks("relay.typing_private")
def _(s: Story) -> None:
    c, reader, user = _watching(s)
    s.add(ev.Control(0, s.end_us, control.ChangeSettings(user, {"typing_disabled_for": [reader]})))
    s.add(s.frame_out(c, "TYPING_START", TypingUpdate("conv_1", user), seq=2))


@breaks("relay.typing_stop")
def _(s: Story) -> None:
    c, _, user = _watching(s, s.end_us - 7 * S)
    s.add(s.frame_out(c, "TYPING_START", TypingUpdate("conv_1", user), s.end_us - 7 * S, seq=2))
    s.add(ev.Timer(0, s.end_us))


@breaks("relay.key_change")
def _(s: Story) -> None:
    c, _, _ = _watching(s)
    change = KeyChange("0x" + "f" * 40, b"k" * 32, "1", "2", "key_rotation")
    s.add(s.frame_out(c, "KEY_CHANGE", change, seq=2))


@breaks("relay.push_offline")
def _(s: Story) -> None:
    _, reader, _ = _watching(s)
    s.add(ev.Push(0, s.end_us, reader, "a device", 1))


@breaks("client.queue_order")
def _(s: Story) -> None:
    t, device, older, newer = s.end_us, "a device", "an older message", "a newer message"
    s.add(ev.Wrote(1, t, device, older), ev.Wrote(2, t, device, newer), ev.Transmitted(3, t, device, older))


ALSO: dict[str, set[str]] = {
    "client.malformed_run": {"client.well_formed"},
    "client.pause_after_limit": {"client.limits"},
    "relay.close_bytes": {"client.payload_size"},
    "relay.refuses_seq": {"client.seq"},
    "relay.refuses_time": {"client.timestamp"},
    "relay.refuses_mac": {"client.mac"},
    "relay.refuses_nonce": {"client.nonce"},
    "relay.refuses_other_content": {"client.resend_same"},
}
"""What else such a trace shows: a client did what the relay should have refused, or a warning says it more mildly."""
