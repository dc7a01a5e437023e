"""R-1.8: of two rules that one frame breaks, the earlier answers. Every pair, from one table.

A ``Draft`` is a good MESSAGE_SEND with everything around it; each breach breaks one rule and leaves the others alone.
The last step of the list, the store, has nothing that a frame could break.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from relay_world import Line, Person, RelayWorld, b64

from zentalk_sim.protocol.config import HeartbeatConfig, Limit, Limits, RelayConfig, TokenConfig
from zentalk_sim.protocol.records import Message

LIFETIME_S = 600
NONCE = "A" * 16
OLD_SEQ = 5

Outcome = tuple[str, Any]


class Draft:
    """What will be sent, and the circumstances."""

    def __init__(self) -> None:
        self.envelope: dict[str, Any] = {}
        self.payload: dict[str, Any] = {}
        self.before = b""
        self.after = b""
        self.mac_is_good = True
        self.authenticated = True
        self.expired = False
        self.late_ms = 0
        self.capabilities: tuple[str, ...] = ("send_message", "receive_message", "presence")
        self.id_is_bobs = False
        self.limit: Limit | str = "off"
        self.nonce_was_used = False


Breach = Callable[[Draft], None]


def break_size(draft: Draft) -> None:
    draft.after += b" " * (1 << 20)


def break_utf_8(draft: Draft) -> None:
    draft.before += b"\xff"


def break_json(draft: Draft) -> None:
    draft.after += b"}"


def break_text_size(draft: Draft) -> None:
    draft.payload["pad"] = "x" * 20_000


def break_state(draft: Draft) -> None:
    draft.authenticated = False


def break_mac(draft: Draft) -> None:
    draft.mac_is_good = False


def break_life(draft: Draft) -> None:
    draft.expired = True


def break_type(draft: Draft) -> None:
    draft.envelope["type"] = "HELLO"


def break_direction(draft: Draft) -> None:
    draft.envelope["type"] = "MESSAGE_NEW"


def break_seq(draft: Draft) -> None:
    draft.envelope["seq"] = OLD_SEQ


def break_timestamp(draft: Draft) -> None:
    draft.late_ms = 300_001


def break_form(draft: Draft) -> None:
    draft.payload["message_type"] = "sticker"


def break_capability(draft: Draft) -> None:
    draft.capabilities = ("receive_message", "presence")


def break_id(draft: Draft) -> None:
    draft.id_is_bobs = True


def break_limit(draft: Draft) -> None:
    draft.limit = Limit(limit=1, window_s=86_400)


def break_nonce(draft: Draft) -> None:
    draft.nonce_was_used = True


def break_recipient(draft: Draft) -> None:
    draft.payload["to"] = "0x" + "0" * 40


def break_membership(draft: Draft) -> None:
    draft.payload["conversation_id"] = "of bob and carol"


def break_key(draft: Draft) -> None:
    draft.payload["x3dh_header"] = {"identity_key": b64(bytes(32)), "ephemeral_key": b64(bytes(32))}


ORDER: list[tuple[Breach, Outcome]] = [
    (break_size, ("close", 1009)),
    (break_utf_8, ("close", 1007)),
    (break_json, ("INVALID_MESSAGE", "malformed")),
    (break_text_size, ("INVALID_MESSAGE", "payload_requires_binary")),
    (break_state, ("AUTH_FAILED", "form: MESSAGE_SEND before AUTH_RESPONSE")),
    (break_mac, ("close", 1008)),
    (break_life, ("close", 4001)),
    (break_direction, ("INVALID_MESSAGE", "wrong_direction")),
    (break_type, ("INVALID_MESSAGE", "unknown_type")),
    (break_seq, ("INVALID_MESSAGE", "sequence_replayed")),
    (break_timestamp, ("INVALID_MESSAGE", "timestamp_out_of_window")),
    (break_form, ("INVALID_MESSAGE", "malformed")),
    (break_capability, ("FORBIDDEN", None)),
    (break_id, ("INVALID_MESSAGE", "duplicate_id")),
    (break_limit, ("RATE_LIMITED", "window")),
    (break_nonce, ("INVALID_MESSAGE", "nonce_reused")),
    (break_recipient, ("RECIPIENT_NOT_FOUND", None)),
    (break_membership, ("FORBIDDEN", None)),
    (break_key, ("KEY_MISMATCH", None)),
]
STEP = {breach: index for index, (breach, _) in enumerate(ORDER)}
SEQ_STEP = STEP[break_seq]


class Scene:
    """A relay on which a draft meets its circumstances."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.world = RelayWorld(
            RelayConfig(
                limits=Limits(send_message=draft.limit),  # type: ignore[arg-type]
                heartbeat=HeartbeatConfig(interval_ms=10**9),
                token=TokenConfig(lifetime_s=LIFETIME_S, refresh_window_s=0, grace_s=0),
            )
        )
        self.alice, self.bob, self.carol = (self.world.person(name) for name in ("alice", "bob", "carol"))
        self.bobs_id = self.post(self.bob, self.carol, conversation_id="of bob and carol")
        if draft.nonce_was_used or draft.limit != "off":
            self.post(self.alice, self.bob, nonce=NONCE if draft.nonce_was_used else "B" * 16)
        self.line = self.connect()
        self.world.notes.clear()

    def post(self, sender: Person, to: Person, **fields: Any) -> str:
        """Send a message by REST."""
        message_id = self.world.uuid()
        body = {"id": message_id, "to": to.address, "ciphertext": "", "nonce": "C" * 16, "message_type": "text"}
        assert sender.rest("POST", "/api/messages", body | fields).status == 200
        return message_id

    def connect(self) -> Line:
        draft, alice = self.draft, self.alice
        if not draft.authenticated:
            line = alice.open(token=alice.token(lifetime_s=1 if draft.expired else None))
            self.world.advance(2)
            return line
        line = alice.connect(token=alice.token(capabilities=draft.capabilities))
        line.send("MESSAGE_RECEIVED", {"message_id": self.world.uuid()}, seq=OLD_SEQ)
        if draft.expired:
            self.world.advance(LIFETIME_S + 1)
        return line

    def send(self) -> Outcome:
        """Send the draft; what it was answered with."""
        draft, line = self.draft, self.line
        line.clear()
        payload = {
            "to": self.bob.address,
            "ciphertext": "AAAA",
            "nonce": NONCE,
            "message_type": "text",
            **draft.payload,
        }
        raw = json.dumps(payload)
        frame_id = self.bobs_id if draft.id_is_bobs else self.world.uuid()
        envelope: dict[str, Any] = {
            "type": "MESSAGE_SEND",
            "id": frame_id,
            "timestamp": self.world.now_ms - draft.late_ms,
            "seq": 6,
        }
        envelope |= draft.envelope
        if not draft.mac_is_good:
            envelope["message_mac"] = b64(bytes(32))
        elif draft.authenticated:
            line.frames.insert(0, self.challenge)
            envelope["message_mac"] = line.mac(envelope["type"], frame_id, envelope["timestamp"], raw)
            line.clear()
        text = json.dumps(envelope)[:-1] + f',"payload":{raw}}}'
        data = draft.before + text.encode() + draft.after
        self.world.apply(line.relay.receive_text(line.conn, data, self.world.now))
        return self.outcome()

    @property
    def challenge(self) -> dict[str, Any]:
        """The frame that Line.mac looks for, as the relay remembers it."""
        conn = self.world.relay.connections[self.line.conn]
        return {"type": "AUTH_CHALLENGE", "payload": {"challenge": b64(conn.challenge)}}

    def outcome(self) -> Outcome:
        frames = [frame for frame in self.line.frames if frame["type"] != "TOKEN_EXPIRING"]
        if not frames:
            return ("close", self.line.close_code)
        (frame,) = frames
        payload = frame["payload"]
        if frame["type"] == "ERROR":
            return (payload["error_code"], payload["details"].get("reason"))
        return (frame["type"], payload.get("message") or payload.get("status"))

    def trace(self) -> tuple[Any, ...]:
        """All that a refused frame must leave as it was."""
        store = self.world.store
        messages: list[Message] = list(store.messages.values())
        return (
            [message.id for message in messages],
            list(store.nonces.items()),
            {key: list(box) for key, box in store.mailboxes.items()},
            {scope: list(state.admitted_us) for scope, state in store.limits.get("send_message", {}).items()},
            dict(store.conversations),
        )


def meet(*breaches: Breach) -> tuple[Scene, Outcome, bool]:
    """A scene after a frame with these breaches, its outcome, and whether the frame left no trace."""
    draft = Draft()
    for breach in breaches:
        breach(draft)
    scene = Scene(draft)
    before = scene.trace()
    outcome = scene.send()
    return scene, outcome, scene.trace() == before


@pytest.mark.requirement("R-1.8")
def test_a_frame_that_breaks_nothing_must_be_accepted() -> None:
    _, outcome, untouched = meet()
    assert outcome == ("MESSAGE_ACK", "queued")
    assert not untouched


@pytest.mark.requirement("R-1.8")
@pytest.mark.parametrize(("breach", "expected"), ORDER, ids=[breach.__name__[6:] for breach, _ in ORDER])
def test_each_breach_alone_must_have_its_answer(breach: Breach, expected: Outcome) -> None:
    _, outcome, _ = meet(breach)
    assert outcome == expected


PAIRS = [
    pair
    for pair in itertools.combinations(ORDER, 2)
    # One type cannot be two wrong ones.
    if {pair[0][0], pair[1][0]} != {break_direction, break_type}
]


@pytest.mark.requirement("R-1.8")
@pytest.mark.parametrize(
    ("first", "second"), PAIRS, ids=[f"{a.__name__[6:]}-{b.__name__[6:]}" for (a, _), (b, _) in PAIRS]
)
def test_of_two_breaches_the_earlier_must_answer_and_the_frame_leave_nothing(
    first: tuple[Breach, Outcome], second: tuple[Breach, Outcome]
) -> None:
    scene, outcome, untouched = meet(first[0], second[0])
    if break_state in (first[0], second[0]) and STEP[first[0]] in (STEP[break_json], STEP[break_text_size]):
        # What is malformed before AUTH_SUCCESS is a malformed answer: the form is found wrong first, and
        # says how that is told then.
        assert outcome[0] == "AUTH_FAILED"
        assert outcome[1].startswith("form: not a JSON" if first[0] is break_json else "form: a payload above")
    elif first[0] is break_state:
        kind = scene.draft.envelope.get("type", "MESSAGE_SEND")
        assert outcome == ("AUTH_FAILED", f"form: {kind} before AUTH_RESPONSE")
    else:
        assert outcome == first[1]
    assert untouched
    consumed = STEP[first[0]] > SEQ_STEP
    session = scene.world.relay.connections[scene.line.conn].session
    assert (session.seq_in if session else None) == (
        None if not scene.draft.authenticated else 6 if consumed else OLD_SEQ
    )


@pytest.mark.requirement("R-1.8", "R-5.6")
def test_a_duplicate_must_be_answered_before_the_limit_and_consume_nothing() -> None:
    world = RelayWorld(RelayConfig(limits=Limits(send_message=Limit(limit=1, window_s=60))))
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect()
    first = a.message(bob, nonce=NONCE)
    for _ in range(40):
        a.message(bob, id=first, nonce=NONCE)
    assert not a.of("ERROR")
    assert len(b.of("MESSAGE_NEW")) == 1
    a.message(bob)
    assert a.error()["details"]["current_count"] == 1
