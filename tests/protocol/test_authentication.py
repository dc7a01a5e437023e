"""From the challenge to AUTH_SUCCESS, step by step (R-4), and who is replaced or one too many (R-10.3)."""

from __future__ import annotations

import itertools
import json
import re
from base64 import b64decode
from typing import Any

import pytest
from relay_world import Line, RelayWorld, b64

from zentalk_sim.protocol.config import (
    AuthConfig,
    Limit,
    Limits,
    RelayConfig,
    UpgradeConfig,
)
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.tokens import JwtAuthority

SECOND = 1_000_000
UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


@pytest.mark.requirement("R-4.1", "R-3.2")
def test_a_challenge_must_follow_the_upgrade_and_be_fresh(world: RelayWorld) -> None:
    alice = world.person("alice")
    challenges = []
    for _ in range(3):
        line = alice.open()
        assert line.types() == ["AUTH_CHALLENGE"]
        challenge = line.last("AUTH_CHALLENGE")
        assert len(b64decode(challenge["challenge"])) == 32
        assert len(b64decode(challenge["nonce"])) == 16
        assert challenge["server_time"] == world.now_ms
        assert "seq" not in line.frames[0]
        challenges.append(challenge["challenge"])
        line.lose()
    assert len(set(challenges)) == 3


@pytest.mark.requirement("R-4.5", "R-1.3", "table:JWT Token Format/capabilities", "table:Token Refresh/Token lifetime")
def test_auth_success_must_give_a_session_and_its_token(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.connect()
    assert line.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS"]
    assert line.frames[1]["seq"] == 1
    success = line.session
    assert re.fullmatch(r"sess_[0-9a-f]{12}", success["session_id"])
    assert success["resumed"] is False
    assert success["resume_token"]
    assert success["server_time"] == world.now_ms
    assert success["expires_at"] == world.now_ms + 86_400_000
    assert success["capabilities"] == ["send_message", "receive_message", "presence"]
    claims = JwtAuthority(world.store.signing_seed).verify(success["session_token"])
    now_s = world.now // SECOND
    assert (claims.sub, claims.device_id, claims.session_id) == (alice.address, line.device_id, success["session_id"])
    assert (claims.iat, claims.exp, list(claims.capabilities)) == (now_s, now_s + 86_400, success["capabilities"])


@pytest.mark.requirement("R-3.3")
def test_a_session_token_must_do_for_the_next_connection_and_for_rest(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.connect()
    token = line.session["session_token"]
    assert alice.rest("GET", "/api/devices", bearer=token).status == 200
    line.lose()
    assert alice.connect(token=token).close_code is None


# --- the steps ---------------------------------------------------------------------------------------

STEPS = ["form", "device_id", "signature", "client_time", "identity_key"]


def answer_with(line: Line, flaws: set[str]) -> None:
    """AUTH_RESPONSE with these steps wrong and every other right."""
    world, person = line.world, line.person
    challenge = line.last("AUTH_CHALLENGE")
    client_time = world.now_ms - 300_001 if "client_time" in flaws else world.now_ms
    secret = b"mallory" + bytes(25) if "identity_key" in flaws else person.secret
    signed = auth_signed_data(b64decode(challenge["challenge"]), challenge["server_time"], line.device_id, client_time)
    payload: dict[str, Any] = {
        "identity_key": b64(world.crypto.public_key(secret)),
        "device_id": UUID if "device_id" in flaws else line.device_id,
        "signature": b64(bytes(64) if "signature" in flaws else world.crypto.sign(secret, signed)),
        "client_time": client_time,
    }
    if "form" in flaws:
        payload["client_time"] = str(client_time)
    line.send("AUTH_RESPONSE", payload)


@pytest.mark.requirement("R-4.2", "table:WebSocket Close Codes/4000")
@pytest.mark.parametrize("step", STEPS)
def test_a_wrong_answer_must_be_failed_naming_its_step_and_closed_with_4000(world: RelayWorld, step: str) -> None:
    line = world.person("alice").open()
    answer_with(line, {step})
    assert line.types() == ["AUTH_CHALLENGE", "AUTH_FAILED"]
    assert "seq" not in line.frames[1]
    failed = line.last("AUTH_FAILED")
    assert failed["error_code"] == "UNAUTHORIZED"
    assert failed["message"].startswith(step + ":")
    assert line.close_code == 4000
    answer_with(line, set())
    assert len(line.frames) == 2


@pytest.mark.requirement("R-4.2")
@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(STEPS, 2)))
def test_of_two_wrong_steps_the_earlier_must_be_named(world: RelayWorld, first: str, second: str) -> None:
    line = world.person("alice").open()
    answer_with(line, {first, second})
    assert line.last("AUTH_FAILED")["message"].startswith(first + ":")


@pytest.mark.requirement("R-4.2")
def test_the_right_answer_must_succeed(world: RelayWorld) -> None:
    line = world.person("alice").open()
    answer_with(line, set())
    assert line.types()[1] == "AUTH_SUCCESS"


@pytest.mark.requirement("R-4.1", "R-1.2")
def test_the_device_id_must_be_compared_without_case(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.open(query={"device_id": alice.devices[0].upper()})
    line.authenticate(device_id=alice.devices[0].upper())
    assert line.of("AUTH_SUCCESS")


@pytest.mark.requirement("R-4.2")
@pytest.mark.parametrize(
    ("offset_ms", "good"), [(-300_000, True), (300_000, True), (-300_001, False), (300_001, False)]
)
def test_the_clients_time_must_lie_within_five_minutes(world: RelayWorld, offset_ms: int, good: bool) -> None:
    line = world.person("alice").open()
    line.authenticate(client_time=world.now_ms + offset_ms)
    assert bool(line.of("AUTH_SUCCESS")) is good


@pytest.mark.requirement("R-4.1", "table:Replay Attack Prevention/Nonce")
@pytest.mark.parametrize("what", ["challenge", "server_time", "nonce"])
def test_the_signature_must_cover_challenge_and_server_time_and_not_the_nonce(world: RelayWorld, what: str) -> None:
    line = world.person("alice").open()
    payload = line.frames[0]["payload"]
    payload[what] = payload[what] + 1 if what == "server_time" else b64(bytes(32 if what == "challenge" else 16))
    line.authenticate()
    assert bool(line.of("AUTH_SUCCESS")) is (what == "nonce")


FIRST_FRAMES: dict[str, Any] = {
    "not JSON": "hello",
    "not an object": "[]",
    "another type": {"type": "PRESENCE_SET", "payload": {"status": "online"}},
    "a PONG": {"type": "PONG", "payload": {"timestamp": 1, "client_time": 1}},
    "an unknown type": {"type": "HELLO"},
    "a relay's type": {"type": "AUTH_SUCCESS"},
    "an envelope without id": {"type": "AUTH_RESPONSE", "id": None},
    "an empty payload": {"type": "AUTH_RESPONSE"},
    "a payload too large for text": {"type": "AUTH_RESPONSE", "payload": {"x": "x" * 20_000}},
}


@pytest.mark.requirement("R-4.2", "R-1.8")
@pytest.mark.parametrize("first", FIRST_FRAMES.values(), ids=FIRST_FRAMES)
def test_a_malformed_answer_or_another_first_frame_must_fail(world: RelayWorld, first: Any) -> None:
    line = world.person("alice").open()
    frame = {"type": "PONG", "id": UUID, "timestamp": world.now_ms, "payload": {}}
    line.raw(first if isinstance(first, str) else json.dumps(frame | first))
    assert line.types() == ["AUTH_CHALLENGE", "AUTH_FAILED"]
    assert line.last("AUTH_FAILED")["message"].startswith("form:")
    assert line.close_code == 4000


@pytest.mark.requirement("R-1.8")
@pytest.mark.parametrize(("data", "code"), [(b"\xff", 1007), (b'"' * ((1 << 20) + 1), 1009)])
def test_size_and_utf_8_must_be_looked_at_before_the_state(world: RelayWorld, data: bytes, code: int) -> None:
    line = world.person("alice").open()
    world.apply(line.relay.receive_text(line.conn, data, world.now))
    assert line.types() == ["AUTH_CHALLENGE"]
    assert line.close_code == code


@pytest.mark.requirement("R-4.2")
def test_auth_response_after_auth_success_must_be_forbidden(world: RelayWorld) -> None:
    """It is no attempt to authenticate any more, and does not count as one."""
    line = world.person("alice").connect()
    for _ in range(10):
        line.authenticate()
    assert {frame["payload"]["error_code"] for frame in line.of("ERROR")} == {"FORBIDDEN"}
    assert len(line.of("ERROR")) == 10
    assert len(line.of("AUTH_SUCCESS")) == 1
    assert line.close_code is None


@pytest.mark.requirement("R-1.4", "R-4.2", "R-1.8")
def test_an_answer_with_a_stale_envelope_must_not_be_processed_and_leave_the_challenge_open(world: RelayWorld) -> None:
    """R-1.4 answers before the payload is looked at: ERROR, not processed, so no answer was given yet."""
    line = world.person("alice").open()
    line.send("AUTH_RESPONSE", {}, timestamp=world.now_ms - 300_001)
    assert line.reason() == "timestamp_out_of_window"
    assert "seq" not in line.frames[-1]
    assert line.close_code is None
    line.authenticate()
    assert line.of("AUTH_SUCCESS")


# --- time --------------------------------------------------------------------------------------------


@pytest.mark.requirement("R-4.3", "table:WebSocket Close Codes/1002", "table:Connection States/AUTHENTICATING")
def test_without_an_answer_for_5_s_the_connection_must_be_closed_with_1002(world: RelayWorld) -> None:
    line = world.person("alice").open()
    began = world.now
    world.advance(60)
    assert line.types() == ["AUTH_CHALLENGE"]
    assert line.end == (1002, "auth_timeout")
    assert line.closed_us == began + 5 * SECOND


@pytest.mark.requirement("R-4.3", "R-13.1")
@pytest.mark.parametrize(("after_us", "good"), [(5 * SECOND - 1, True), (5 * SECOND, True), (5 * SECOND + 1, False)])
def test_an_answer_must_be_in_time_to_the_microsecond(world: RelayWorld, after_us: int, good: bool) -> None:
    line = world.person("alice").open()
    world.now += after_us
    line.authenticate()
    assert bool(line.of("AUTH_SUCCESS")) is good
    assert line.close_code == (None if good else 1002)
    world.advance(20)
    assert line.close_code == (None if good else 1002)


@pytest.mark.requirement("R-4.3")
def test_what_counts_must_be_when_the_bytes_arrived(world: RelayWorld) -> None:
    for arrived_us, good in ((5 * SECOND, True), (5 * SECOND + 1, False)):
        line = world.person("alice").open()
        began = world.now
        world.relay.note_arrival(line.conn, began + arrived_us)
        world.advance(9)
        line.authenticate()
        assert bool(line.of("AUTH_SUCCESS")) is good


@pytest.mark.requirement("R-4.3")
@pytest.mark.parametrize("wait_s", [2, 9])
def test_bytes_that_were_no_answer_must_not_stop_the_time_out(world: RelayWorld, wait_s: int) -> None:
    line = world.person("alice").open()
    began = world.now
    world.relay.note_arrival(line.conn, began + SECOND)
    world.advance(wait_s)
    assert line.close_code is None
    line.send("AUTH_RESPONSE", {}, timestamp=0)
    assert line.reason() == "timestamp_out_of_window"
    world.advance(60)
    assert line.end == (1002, "auth_timeout")
    assert line.closed_us == began + max(5, wait_s) * SECOND


@pytest.mark.requirement("R-4.3")
def test_the_time_out_must_be_a_setting() -> None:
    world = RelayWorld(RelayConfig(auth=AuthConfig(timeout_ms=1)))
    line = world.person("alice").open()
    world.advance(1)
    assert line.closed_us == world.now - SECOND + 1_000


@pytest.mark.requirement("R-13.2")
def test_a_client_whose_clock_is_real_must_get_in_where_the_relays_was_moved(world: RelayWorld) -> None:
    alice = world.person("alice")
    real_us = world.now
    world.advance(3 * 86_400)
    line = alice.open()
    signed_at = real_us // 1000
    challenge = line.last("AUTH_CHALLENGE")
    signed = auth_signed_data(b64decode(challenge["challenge"]), challenge["server_time"], line.device_id, signed_at)
    payload = {
        "identity_key": b64(alice.key),
        "device_id": line.device_id,
        "signature": b64(world.crypto.sign(alice.secret, signed)),
        "client_time": signed_at,
    }
    frame = json.dumps({"type": "AUTH_RESPONSE", "id": UUID, "timestamp": signed_at, "payload": payload})
    world.apply(line.relay.receive_data(line.conn, frame, world.now, real_us))
    assert line.of("AUTH_SUCCESS")


# --- attempts ----------------------------------------------------------------------------------------


@pytest.mark.requirement("R-4.4", "table:Connection Limits/Auth attempts")
def test_the_sixth_attempt_of_an_ip_in_a_minute_must_be_refused_with_4002(world: RelayWorld) -> None:
    people = [world.person(f"p{i}") for i in range(7)]
    began = world.now
    for index, person in enumerate(people[:5]):
        line = person.open()
        answer_with(line, set() if index % 2 else {"signature"})
        line.lose()
    sixth = people[5].open()
    sixth.authenticate()
    assert sixth.types() == ["AUTH_CHALLENGE", "ERROR"]
    assert sixth.close_code == 4002
    error = sixth.error()
    assert error["error_code"] == "RATE_LIMITED"
    assert error["details"]["reset_at"] == (began + 60 * SECOND) // 1000
    elsewhere = people[6].open(ip="203.0.113.2")
    elsewhere.authenticate()
    assert elsewhere.of("AUTH_SUCCESS")
    world.advance(60)
    sixth.lose()
    assert people[5].connect().close_code is None


@pytest.mark.requirement("R-4.4")
@pytest.mark.parametrize("kind", ["malformed payload", "malformed envelope", "stale"])
def test_every_auth_response_must_count_also_a_malformed_one(kind: str) -> None:
    world = RelayWorld(RelayConfig(limits=Limits(auth_attempts=Limit(limit=1))))
    alice = world.person("alice")
    for expected in ("AUTH_FAILED", "ERROR"):
        line = alice.open()
        match kind:
            case "malformed payload":
                line.send("AUTH_RESPONSE", {})
            case "malformed envelope":
                line.raw('{"type":"AUTH_RESPONSE"}')
            case _:
                line.send("AUTH_RESPONSE", {}, timestamp=0)
                line.send("AUTH_RESPONSE", {})
        assert line.types()[-1] == ("ERROR" if kind == "stale" else expected)
        assert line.close_code == (4002 if kind == "stale" or expected == "ERROR" else 4000)
        line.lose()


@pytest.mark.requirement("R-4.4")
def test_another_first_frame_must_not_count_as_an_attempt() -> None:
    world = RelayWorld(RelayConfig(limits=Limits(auth_attempts=Limit(limit=1))))
    alice = world.person("alice")
    for data in ("x", '{"type":"PONG"}'):
        line = alice.open()
        line.raw(data)
        line.lose()
    assert alice.connect().close_code is None


@pytest.mark.requirement("R-4.4", "R-3.5", "R-10.4")
@pytest.mark.parametrize(
    "config",
    [RelayConfig(limits=Limits(auth_attempts="off")), RelayConfig(upgrade=UpgradeConfig(profile="dev"))],
    ids=["off", "dev"],
)
def test_attempts_must_be_unlimited_where_the_limit_is_off(config: RelayConfig) -> None:
    world = RelayWorld(config)
    for i in range(9):
        person = world.person(f"p{i}")
        line = person.open(ip="192.168.1.7")
        line.authenticate()
        assert line.of("AUTH_SUCCESS")
