"""For each check of what a relay keeps and passes on an edit that breaks its requirement: messages, signals, tokens."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from tests.checks.edits import S, breaks
from tests.checks.story import BOB, Story
from tests.checks.tokens import token_for
from zentalk_sim.protocol import control
from zentalk_sim.protocol.frames import (
    KeyChange,
    PresenceUpdate,
    TokenExpiring,
    TokenRefreshed,
    TypingUpdate,
)
from zentalk_sim.protocol.identity import fingerprint
from zentalk_sim.trace import events as ev

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
    change = KeyChange("0x" + "f" * 40, b"k" * 32, "1", fingerprint(b"k" * 32), "key_rotation")
    s.add(s.frame_out(c, "KEY_CHANGE", change, seq=2))


def _last_joined(s: Story) -> Any:
    """The note of the device that was authenticated last, and is still connected."""
    return next(e for e in reversed(s.events) if type(e) is ev.Note and e.name == "connections.authenticated")


@breaks("relay.key_change_told")
def _(s: Story) -> None:
    """Both users are connected, and contacts: the other one hears nothing."""
    s.add(ev.Control(0, s.end_us, control.RotateKey(_last_joined(s).user, b"k" * 32)))


@breaks("relay.key_change_form")
def _(s: Story) -> None:
    c, _, user = _watching(s)
    change = KeyChange(user, b"k" * 32, "1", "2", "key_rotation")
    s.add(s.frame_out(c, "KEY_CHANGE", change, seq=2))


# --- the session's token


@breaks("relay.capabilities")
def _(s: Story) -> None:
    c, events = s.opening()
    s.add(*events, s.answer(events), s.success(c, capabilities=("receive_message", "presence")))
    one = s.message(c)
    s.add(one, *s.ack(one, 2))


@breaks("relay.close_removed")
def _(s: Story) -> None:
    joined = _last_joined(s)
    s.add(ev.Control(0, s.end_us, control.RemoveDevice(joined.user, joined.device)))


@breaks("relay.token_expiring")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_out(c, "TOKEN_EXPIRING", _expiring(s), seq=2))


def _expiring(s: Story) -> TokenExpiring:
    return TokenExpiring(s.end_us // 1000 + 86_400_000, 86_400, "refresh_recommended")


@breaks("relay.refresh_verdict")
def _(s: Story) -> None:
    c = s.joined()
    s.add(s.frame_out(c, "TOKEN_REFRESHED", TokenRefreshed("a token nobody asked for", 2**42), seq=2))


@breaks("relay.push_offline")
def _(s: Story) -> None:
    _, reader, _ = _watching(s)
    s.add(ev.Push(0, s.end_us, reader, "a device", 1))


@breaks("client.state_edges")
def _(s: Story) -> None:
    s.add(ev.State(0, s.end_us, "a device", "DISCONNECTED", "CONNECTED", "out of nothing"))


@breaks("relay.token_claims")
def _(s: Story) -> None:
    """The token of another session, as long as it lives."""
    index = s.at(ev.FrameOut, type="TOKEN_REFRESHED")
    s.change(index, payload_session_token=token_for("0x" + "d" * 40, next(s.ids)))


@breaks("relay.conversation_id")
def _(s: Story) -> None:
    index = s.at(ev.FrameOut, type="MESSAGE_NEW")
    s.change(index, payload_conversation_id="conv_0000000000000000")


@breaks("relay.prekeys_once")
def _(s: Story) -> None:
    for r in (900_001, 900_002):
        s.add(ev.Request(0, s.end_us, r, "GET", f"/api/keys/{BOB}", {}, None, None))
        s.add(ev.Response(0, s.end_us, r, 200, {"oneTimePreKey": {"id": 7, "key": "a key"}}))
