"""Nothing that a relay sends or answers can raise; what makes no sense is counted and ignored."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from fake_relay import (
    BOB,
    CHALLENGE,
    T0_MS,
    FakeRelay,
    S,
    message,
    page,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Count, Rejected
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.config import ClientConfig
from zentalk_sim.protocol.frames import (
    RELAY_FRAMES,
    AuthChallenge,
    ErrorPayload,
    Frame,
    MessageAck,
    Ping,
    TokenExpiring,
    TokenRefreshed,
)
from zentalk_sim.protocol.streams import Streams

STATES = list(ClientState)


def _in_state(state: ClientState) -> FakeRelay:
    relay = FakeRelay()
    if state is ClientState.DISCONNECTED:
        return relay
    relay.do(relay.client.connect(relay.now))
    if state is ClientState.CONNECTING:
        return relay
    if state is ClientState.AUTHENTICATING:
        relay.open()
        relay.challenge()
        return relay
    relay.handshake()
    relay.send()
    relay.do(relay.client.mark_read(message(1)[0], relay.now))
    relay.do(relay.client.subscribe(["keys:" + BOB], relay.now))
    relay.sync_required()
    if state is ClientState.CLOSING:
        relay.do(relay.client.close(relay.now))
    elif state is ClientState.FAILED:
        relay.lose()
    return relay


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(
    {
        msgspec.structs.fields(kind)[i].encode_name
        for kind in RELAY_FRAMES.values()
        for i in range(len(msgspec.structs.fields(kind)))
    }
)
near_frames = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*RELAY_FRAMES, "NONSENSE"]),
        "id": st.sampled_from([message(1)[0], "x", ""]),
        "timestamp": st.integers() | st.just(T0_MS),
        "payload": st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=9),
    }
).map(lambda frame: msgspec.json.encode(_small(frame)).decode())


def _small(value: Any) -> Any:
    """Integers that JSON's encoder takes."""
    if isinstance(value, dict):
        return {key: _small(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_small(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-(2**63), min(value, 2**64 - 1))
    return value


@pytest.mark.parametrize("state", STATES)
@given(data=st.one_of(st.binary(max_size=80), st.text(st.characters(), max_size=80), near_frames))
def test_nothing_the_relay_sends_can_raise(state: ClientState, data: str | bytes) -> None:
    relay = _in_state(state)
    relay.do(relay.client.receive_data(data, relay.now))
    relay.advance(60 * S)
    assert relay.client.next_timeout() is None or relay.client.next_timeout() > relay.now  # type: ignore[operator]


MORE = settings(max_examples=max(100, settings().max_examples))
"""There is no state to go through besides."""
valid_payloads = st.one_of(
    st.builds(Ping, timestamp=st.integers(0, 2**63 - 1)),
    st.builds(MessageAck, st.text(max_size=3), st.integers(), st.text(max_size=3), st.integers()),
    st.builds(TokenExpiring, st.integers(), st.integers(), st.text(max_size=3)),
    st.builds(TokenRefreshed, st.text(max_size=5), st.integers()),
    st.builds(
        ErrorPayload,
        st.sampled_from(["RATE_LIMITED", "INTERNAL_ERROR", "KEY_MISMATCH", "FORBIDDEN"]),
        st.text(max_size=2),
        st.text(max_size=2),
        st.dictionaries(st.just("retry_after"), st.integers() | st.floats() | st.text(max_size=2)),
        st.sampled_from(["MESSAGE_SEND", "MESSAGE_READ", "SUBSCRIBE", "PRESENCE_SET", "TOKEN_REFRESH", ""]),
        st.text(max_size=3),
    ),
)
NAMES = {kind: name for name, kind in RELAY_FRAMES.items()}


@MORE
@given(payloads=st.lists(valid_payloads, max_size=5))
def test_well_formed_frames_with_odd_values_cannot_raise_either(payloads: list[Any]) -> None:
    relay = _in_state(ClientState.CONNECTED)
    for payload in payloads:
        frame = Frame(NAMES[type(payload)], message(1)[0], T0_MS, payload)
        relay.do(relay.client.receive_frame(frame, relay.now))
    relay.advance(60 * S)


@MORE
@given(status=st.integers(0, 599), body=st.one_of(st.binary(max_size=60), json_values, json_values.map(repr)))
def test_no_answer_to_a_request_can_raise(status: int, body: object) -> None:
    relay = _in_state(ClientState.CONNECTED)
    relay.respond(status, body)
    relay.error("KEY_MISMATCH", relay.sent("MESSAGE_SEND")[-1][1])
    relay.respond(status, body)
    relay.advance(5 * S)


def test_frames_by_reference_must_have_their_types_payload() -> None:
    relay = FakeRelay(wire=False).join()
    for frame in (
        Frame("PING", message(1)[0], T0_MS, {"timestamp": 1}),
        Frame("MESSAGE_ACK", message(1)[0], T0_MS, Ping(1)),
        Frame("NONSENSE", message(1)[0], T0_MS, Ping(1)),
        Frame("AUTH_CHALLENGE", message(1)[0], T0_MS, AuthChallenge(CHALLENGE, T0_MS, b"\x00" * 16)),
    ):
        assert relay.do(relay.client.receive_frame(frame, relay.now)) == [Count("frames.ignored")]


def test_without_a_socket_frames_are_ignored() -> None:
    relay = FakeRelay()
    frame = Frame("PING", message(1)[0], T0_MS, Ping(1))
    assert relay.client.receive_frame(frame, relay.now) == [Count("frames.ignored")]
    assert relay.client.receive_data(codec.encode(frame), relay.now) == [Count("frames.ignored")]


@pytest.mark.requirement("R-2.2")
def test_large_messages_come_in_as_binary() -> None:
    relay = FakeRelay().join()
    payload = codec.encode_payload(message(1)[1])
    head = b"\x84" + bytes.fromhex(message(1)[0].replace("-", "")) + T0_MS.to_bytes(8, "big")
    relay.do(relay.client.receive_data(head + len(payload).to_bytes(4, "big") + payload, relay.now))
    assert relay.shown() == [message(1)[0]]
    wrong_way = b"\x02" + head[1:]
    relay.do(relay.client.receive_data(wrong_way + len(payload).to_bytes(4, "big") + payload, relay.now))
    assert relay.count("frames.ignored") == 1


def test_a_client_is_its_streams_and_its_name() -> None:
    """The same seed, name and inputs give the same effects; another name gives other ids."""

    def life(name: str) -> list[tuple[int, Any]]:
        relay = FakeRelay()
        relay.client = Client(ClientConfig(), relay.identity, streams=Streams(1), name=name)
        relay.join()
        relay.send()
        relay.lose()
        relay.wait_for_attempt()
        return relay.effects

    assert life("alice") == life("alice")
    assert life("alice") != life("bob")


def test_names_too_long_for_a_text_frame_are_refused() -> None:
    relay = FakeRelay().join()
    relay.do(relay.client.subscribe(["typing:" + "x" * 200], relay.now))
    relay.do(relay.client.start_typing("x" * 200, relay.now))
    relay.do(relay.client.stop_typing("x" * 200, relay.now))
    assert relay.new(object) == [Rejected("", "too_large")] * 3


def test_a_page_is_answered_for_in_bytes_and_text_alike() -> None:
    relay = FakeRelay().join()
    relay.sync_required()
    relay.respond(200, page(message(1)).decode())
    assert relay.shown() == [message(1)[0]]
