"""For each check of how a relay speaks an edit that breaks its requirement: beginnings, heartbeat, closes, refusals."""

from __future__ import annotations

from msgspec.structs import replace

from tests.checks.edits import S, breaks
from tests.checks.story import Story
from tests.checks.tokens import token_for
from zentalk_sim.protocol import control
from zentalk_sim.protocol.frames import (
    Ping,
    Pong,
    PresenceSet,
    SyncRequired,
    Topics,
    TypingSignal,
)
from zentalk_sim.trace import events as ev

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


@breaks("relay.heartbeat_away")
def _(s: Story) -> None:
    t = s.end_us - 61 * S
    config = s.events[0].config
    s.add(ev.Config(0, t, replace(config, heartbeat=replace(config.heartbeat, background_interval=60_000))))
    c = s.joined(t)
    s.add(s.frame_in(c, "PRESENCE_SET", PresenceSet("away"), t))
    # What was due already keeps its instant; the next comes 60 s after it.
    for seq, at in ((2, t + 30 * S), (3, t + 60 * S)):
        ping = s.frame_out(c, "PING", Ping(at // 1000), at, seq=seq)
        s.add(ping, s.frame_in(c, "PONG", Pong(at // 1000, at // 1000), at))


@breaks("relay.ping_rtt")
def _(s: Story) -> None:
    c = s.joined(s.end_us - 30 * S)
    s.add(s.frame_out(c, "PING", Ping(s.end_us // 1000, 5.0), seq=2))


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
    for _ in range(6):
        device = next(s.ids)
        s.joined(device=device, token=token_for("0x" + "d" * 40, device))
