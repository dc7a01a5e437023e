"""Whatever a peer sends, nothing raises, what is said can be encoded, and the relay goes on (R-1.5, R-12.2)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_world import HEADERS, Line, RelayWorld
from strategies import ALL_TYPES, binary_frames, json_values, text_frames, texts, uuids

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.config import Limits, RelayConfig, UpgradeConfig
from zentalk_sim.protocol.crypto import Modelled
from zentalk_sim.protocol.effects import Respond
from zentalk_sim.protocol.errors import HTTP_STATUS
from zentalk_sim.protocol.relay import Relay
from zentalk_sim.protocol.rest import ROUTES
from zentalk_sim.protocol.rest_types import Request
from zentalk_sim.protocol.upgrade import UpgradeRequest

STATES = ["challenged", "ready", "in grace", "ended", "gone"]
MAX_INT = 10**400


def scene(state: str) -> tuple[RelayWorld, Line, Line]:
    """alice's connection in a state, and bob's, ready."""
    limits = Limits(auth_attempts="off", connection_rate="off", connections_per_ip="off")
    world = RelayWorld(RelayConfig(limits=limits), crypto=Modelled(), seed="fuzz")
    alice, bob = world.person("alice"), world.person("bob")
    line = alice.open() if state == "challenged" else alice.connect()
    if state == "in grace":
        world.now = line.session["expires_at"] * 1000 + 1
        world.relay.handle_timeout(world.now - 1)
        line.lose()
        line = alice.connect(token=alice.token(lifetime_s=0))
        world.relay.connections[line.conn].token_exp_s = world.now // 1_000_000
    elif state == "ended":
        world.apply(world.relay.receive_oversized(line.conn, world.now))
    elif state == "gone":
        line.lose()
    return world, line, bob.connect()


def feed(world: RelayWorld, line: Line, data: str | bytes, as_text: bool) -> None:
    """One frame in; the world encodes every frame that comes out, and fails on one after a close."""
    if isinstance(data, bytes) and as_text:
        world.apply(line.relay.receive_text(line.conn, data, world.now))
    else:
        world.apply(line.relay.receive_data(line.conn, data, world.now))


def assert_usable(world: RelayWorld, line: Line, other: Line) -> None:
    """The relay takes new connections, moves messages, lets time pass, and can be snapshotted and restored."""
    if not line.gone:
        line.lose()
    again = line.person.connect()
    message_id = again.message(other.person)
    assert again.last("MESSAGE_ACK")["message_id"] == message_id
    assert other.of("MESSAGE_NEW")[-1]["id"] == message_id
    restored = Relay.restored(world.relay.snapshot(), world.config, crypto=world.crypto)
    assert restored.snapshot() == world.relay.snapshot()
    world.advance(40)
    assert world.relay.next_timeout() is not None


# --- what a peer may come up with --------------------------------------------------------------------

wild_text = st.text(max_size=80)
"""Lone surrogates included."""

hostile_values = st.one_of(
    json_values,
    st.sampled_from([MAX_INT, -MAX_INT, 2**63, 2**64, -(2**63) - 1, 1e308, -0.0, "", "\x00", "\ud800", "é" * 50]),
    st.just("x" * 20_000),
)


@st.composite
def odd_json(draw: st.DrawFn) -> bytes:
    """An object with the envelope's names and anything in them."""
    names = st.sampled_from(["type", "id", "timestamp", "payload", "seq", "message_mac", "extra"])
    fields = draw(st.lists(st.tuples(names, hostile_values | uuids), max_size=8))
    types = st.sampled_from([name for name, _, _ in ALL_TYPES])
    fields += draw(st.lists(st.tuples(st.just("type"), types), max_size=1))
    # Names may repeat.
    return ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in fields) + "}").encode()


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """A frame of any type whose payload has one field altered, or bytes flipped, cut or doubled."""
    name, _, kind = draw(st.sampled_from(ALL_TYPES))
    frame = draw(text_frames(name, kind))
    plain = json.loads(codec.encode_text(frame))
    plain["timestamp"] = 1_704_067_200_000
    plain.pop("message_mac", None)
    if draw(st.booleans()) and plain["payload"]:
        field = draw(st.sampled_from(sorted(plain["payload"])))
        plain["payload"][field] = draw(hostile_values)
    data = bytearray(json.dumps(plain).encode())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["flip", "cut", "double"])):
            case "flip":
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + draw(st.integers(1, 30))]
            case "double":
                data[at:at] = data[at : at + 20]
        if not data:
            break
    return bytes(data)


@st.composite
def odd_binary(draw: st.DrawFn) -> bytes:
    """A binary frame: good, with any payload, or with bytes flipped."""
    choice = draw(st.sampled_from(["good", "payload", "flip", "any"]))
    if choice == "any":
        return draw(st.binary(max_size=80))
    if choice == "payload":
        body = draw(st.binary(max_size=60) | odd_json())
        code = draw(st.sampled_from([0x02, 0x84, 0x00]))
        header = bytes([code]) + draw(st.binary(min_size=16, max_size=16))
        stamp = draw(st.sampled_from([1_704_067_200_000, 0, 2**64 - 1]))
        return header + stamp.to_bytes(8, "big") + len(body).to_bytes(4, "big") + body
    encoded = codec.encode(draw(binary_frames()))
    assert isinstance(encoded, bytes)
    data = bytearray(encoded)
    if choice == "flip":
        data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    else:
        data[17:25] = (1_704_067_200_000).to_bytes(8, "big")
    return bytes(data)


anything: st.SearchStrategy[tuple[str | bytes, bool]] = st.one_of(
    st.tuples(st.binary(max_size=100), st.booleans()),
    st.tuples(wild_text, st.just(True)),
    st.tuples(hostile_values.map(lambda value: json.dumps(value).encode()), st.just(True)),
    st.tuples(odd_json(), st.just(True)),
    st.tuples(nearly_good(), st.just(True)),
    st.tuples(odd_binary(), st.just(False)),
)


@pytest.mark.requirement("R-1.5", "R-2.3", "R-12.2")
@pytest.mark.parametrize("state", STATES)
def test_no_frame_must_raise_and_the_relay_must_stay_usable(state: str) -> None:
    @given(st.lists(anything, min_size=1, max_size=12))
    def check(inputs: list[tuple[str | bytes, bool]]) -> None:
        world, line, other = scene(state)
        for data, as_text in inputs:
            feed(world, line, data, as_text)
        if state in ("ended", "gone"):
            assert line.frames == [] or line.types()[-1] != "ERROR"
        assert_usable(world, line, other)

    check()


DEEP = 200_000
EXTREMES: dict[str, bytes] = {
    "deep arrays": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep and closed": b"[" * DEEP + b"]" * DEEP,
    "deep under type": b'{"type":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep in payload": b'{"payload":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}",
    "deep unknown field": b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b',"type":"PONG"}',
    "many brackets, flat": b'{"a":[' + b"[]," * 200_000 + b"[]]}",
    "many escaped quotes": b'{"a":"' + b'\\"' * 400_000 + b"[{" * 100,
    "many open strings": b'["' * 300_000,
    "huge integer": b'{"type":"PONG","timestamp":' + b"9" * 900_000 + b"}",
    "huge exponent": b'{"timestamp":1e999999999}',
    "minus alone": b'{"timestamp":-}',
    "lone surrogate": b'{"type":"\\ud800","id":"\\udfff"}',
    "duplicate keys": b'{"type":"PONG","type":"PING","id":1,"id":2}',
    "nul": b'{"type":"\\u0000"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "white space": b" " * 1_000_000,
    "not a number": b'{"timestamp":NaN}',
    "long type": b'{"type":"' + b"x" * 900_000 + b'"}',
    "long name": b'{"' + b"x" * 900_000 + b'":1}',
}


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize("state", ["challenged", "ready"])
@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_must_be_answered_as_malformed(name: str, state: str) -> None:
    world, line, other = scene(state)
    feed(world, line, EXTREMES[name], True)
    if state == "ready":
        assert line.reason() == "malformed"
        assert len(json.dumps(line.error())) < 1_000
        assert line.close_code is None
    else:
        assert line.close_code == 4000
    assert_usable(world, line, other)


@pytest.mark.requirement("R-1.5")
def test_a_binary_payload_that_is_deep_must_be_malformed() -> None:
    world, line, other = scene("ready")
    fields = {"to": other.person.address, "ciphertext": "", "nonce": "A" * 16, "message_type": "text"}
    body = json.dumps(fields)[:-1].encode() + b',"a":' + b"[" * 150 + b"]" * 150 + b"}"
    header = b"\x02" + bytes(16) + world.now_ms.to_bytes(8, "big") + len(body).to_bytes(4, "big")
    feed(world, line, header + body, False)
    assert line.reason() == "malformed"
    assert_usable(world, line, other)


# --- the upgrade -------------------------------------------------------------------------------------


@pytest.mark.requirement("R-3.1")
@given(
    path=st.sampled_from(["/ws/v1", "/"]) | wild_text,
    query=st.dictionaries(
        st.sampled_from(["token", "device_id", "protocol_version", "resume_token"]), wild_text | uuids
    ),
    headers=st.dictionaries(st.sampled_from([*HEADERS, "origin", "x-forwarded-for"]), wild_text),
    ip=st.sampled_from(["203.0.113.1", "::1", ""]) | wild_text,
    profile=st.sampled_from(["spec", "dev"]),
)
def test_no_upgrade_must_raise(path: str, query: Any, headers: Any, ip: str, profile: Any) -> None:
    upgrade = UpgradeConfig(profile=profile, trust_forwarded_for=True)
    world = RelayWorld(RelayConfig(upgrade=upgrade), crypto=Modelled(), seed="fuzz")
    alice = world.person("alice")
    for given_headers in (HEADERS | headers, headers):
        line = Line(alice, alice.devices[0], world.next_id(), world.relay)
        world.lines[line.conn] = line
        world.apply(world.relay.connect(line.conn, UpgradeRequest(path, query, given_headers, ip), world.now))
        assert line.accepted is not (line.refused is not None)
        if line.refused is not None:
            msgspec.json.encode({"error_code": line.refused.error_code, "message": line.refused.message})
            assert len(line.refused.message) < 3_000
    assert alice.connect().close_code is None


# --- REST --------------------------------------------------------------------------------------------

PATHS = sorted({route[1].pattern for route in ROUTES} | {"/api/token", "/api", "/"})


def filled(pattern: str, part: str) -> str:
    """A path of a route, with something in the place of its variable."""
    head, bracket, _ = pattern.partition("(?P")
    return head + part if bracket else head


safe_bodies = st.one_of(
    st.none(),
    st.binary(max_size=60),
    st.dictionaries(
        st.sampled_from(
            [
                *("id", "to", "ciphertext", "nonce", "message_type", "message_ids", "device_id", "device_name"),
                *("device_type", "push_token", "identityKey", "signedPreKey", "signature", "oneTimePreKeys"),
                *("share_presence", "typing_disabled_for", "identity_key", "timestamp"),
            ]
        ),
        hostile_values | uuids,
        max_size=5,
    ).map(lambda body: json.dumps(body).encode()),
    st.just(b"[" * 100_000),
)


@pytest.mark.requirement("R-12.2")
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", ""]),
    pattern=st.sampled_from(PATHS),
    part=texts | uuids | st.just("0x" + "A" * 40),
    query=st.dictionaries(st.sampled_from(["limit", "offset", "x"]), wild_text | st.just("1" * 5_000)),
    bearer=st.sampled_from(["good", None, ""]) | wild_text,
    body=safe_bodies,
)
def test_no_request_must_raise_and_each_be_answered_once(
    method: str, pattern: str, part: str, query: Any, bearer: str | None, body: bytes | None
) -> None:
    world, line, other = scene("ready")
    token = line.person.token() if bearer == "good" else bearer
    request = Request(method, filled(pattern, part), query, token, body, "203.0.113.1")
    effects = world.relay.handle_request(1, request, world.now)
    (answer,) = [effect for effect in effects if isinstance(effect, Respond)]
    msgspec.json.encode(answer.body)
    assert answer.status in {200, 201, 204, 405, *HTTP_STATUS.values()}
    if answer.status >= 400:
        assert answer.body["error_code"] in HTTP_STATUS
        assert answer.body["message"]
    world.apply(effects)
    assert_usable(world, line, other)
