"""What AUTH_SUCCESS brings: capabilities, what follows it, who is replaced or one too many (R-4.5, R-10.3)."""

from __future__ import annotations

from typing import Any

import pytest
from relay_world import RelayWorld

from zentalk_sim.protocol.config import Ceiling, DeviceConfig, HeartbeatConfig, Limits, RelayConfig
from zentalk_sim.protocol.control import MakeContacts

SECOND = 1_000_000
UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


# --- capabilities ------------------------------------------------------------------------------------

NEEDS = [
    (
        "MESSAGE_SEND",
        "send_message",
        {"to": "0x" + "a" * 40, "ciphertext": "", "nonce": "A" * 16, "message_type": "text"},
    ),
    ("MESSAGE_RECEIVED", "receive_message", {"message_id": UUID}),
    ("MESSAGE_READ", "receive_message", {"message_id": UUID}),
    ("PRESENCE_SET", "presence", {"status": "online"}),
    ("TYPING_START", "presence", {"conversation_id": "conv_x"}),
    ("TYPING_STOP", "presence", {"conversation_id": "conv_x"}),
    ("SUBSCRIBE", "presence", {"topics": []}),
    ("UNSUBSCRIBE", "presence", {"topics": []}),
]


@pytest.mark.requirement("R-4.5")
@pytest.mark.parametrize(("kind", "needed", "payload"), NEEDS, ids=[need[0] for need in NEEDS])
def test_a_frame_must_need_its_capability(world: RelayWorld, kind: str, needed: str, payload: Any) -> None:
    alice = world.person("alice")
    for granted in ("send_message", "receive_message", "presence"):
        line = alice.connect(token=alice.token(capabilities=(granted,)))
        assert line.session["capabilities"] == [granted]
        line.send(kind, payload)
        forbidden = [frame["payload"]["error_code"] for frame in line.of("ERROR")] == ["FORBIDDEN"]
        assert forbidden is (granted != needed)
        if forbidden:
            assert line.error()["details"] == {"capability": needed}
        line.lose()


@pytest.mark.requirement("R-4.5")
def test_a_session_without_receive_message_must_not_be_sent_messages(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a, b = alice.connect(), bob.connect(token=bob.token(capabilities=("presence",)))
    a.message(bob)
    world.advance(31)
    assert not b.of("MESSAGE_NEW")


@pytest.mark.requirement("R-4.5")
def test_pong_and_token_refresh_must_need_no_capability(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.connect(token=alice.token(capabilities=()))
    line.send("PONG", {"timestamp": 1, "client_time": 1})
    line.send("TOKEN_REFRESH", {"session_token": "x", "signature": "A" * 86 + "=="})
    assert [frame["payload"]["error_code"] for frame in line.of("ERROR")] == ["UNAUTHORIZED"]


# --- what follows ------------------------------------------------------------------------------------


@pytest.mark.requirement("R-4.6")
def test_after_auth_success_the_backlog_must_come_before_kept_notices(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    a = alice.connect()
    message_id = a.message(bob)
    a.lose()
    b = bob.connect()
    b.send("MESSAGE_RECEIVED", {"message_id": message_id})
    b.message(alice)
    assert alice.connect().types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS", "SYNC_REQUIRED", "MESSAGE_DELIVERED"]


@pytest.mark.requirement("R-7.1", "R-7.5")
def test_a_device_first_seen_must_be_registered_as_web_and_told_to_contacts(world: RelayWorld) -> None:
    alice, bob = world.person("alice"), world.person("bob")
    world.control(MakeContacts(alice.address, bob.address))
    b = bob.connect()
    alice.devices.append(world.uuid())
    alice.connect(1)
    user = world.store.user(alice.address)
    assert user is not None
    assert user.devices[alice.devices[1]].type == "web"
    assert b.last("KEY_CHANGE")["reason"] == "device_added"


@pytest.mark.requirement("R-7.1", "table:WebSocket Close Codes/4004")
def test_a_device_above_the_most_registered_must_be_closed_with_4004() -> None:
    world = RelayWorld(RelayConfig(devices=DeviceConfig(max_registered=2)))
    alice = world.person("alice", devices=2)
    alice.devices.append(world.uuid())
    line = alice.open(2)
    line.authenticate()
    assert line.types() == ["AUTH_CHALLENGE"]
    assert line.close_code == 4004
    alice.connect(1)


@pytest.mark.requirement(
    "R-10.3",
    "table:Connection Limits/Max connections per user",
    "table:Multi-Device Connection Handling/Connection limit",
)
def test_the_sixth_connected_device_of_a_user_must_be_closed_with_4004() -> None:
    world = RelayWorld(RelayConfig(limits=Limits(auth_attempts="off")))
    alice = world.person("alice", devices=7)
    lines = [alice.connect(device) for device in range(5)]
    sixth = alice.open(5)
    sixth.authenticate()
    assert sixth.types() == ["AUTH_CHALLENGE"]
    assert sixth.close_code == 4004
    lines[2].lose()
    assert alice.connect(6).close_code is None
    assert [line.close_code for line in lines] == [None] * 5


@pytest.mark.requirement("R-10.3", "R-10.4")
def test_the_number_of_connected_devices_must_be_configurable_and_off_able() -> None:
    for setting, most in ((Ceiling(limit=1), 1), ("off", 9)):
        limits = Limits(auth_attempts="off", connections_per_user=setting, connections_per_ip="off")  # type: ignore[arg-type]
        world = RelayWorld(RelayConfig(limits=limits))
        alice = world.person("alice", devices=9)
        lines = [alice.open(device) for device in range(9)]
        for line in lines:
            line.authenticate()
        assert sum(bool(line.of("AUTH_SUCCESS")) for line in lines) == most


@pytest.mark.requirement("R-10.3", "table:WebSocket Close Codes/1000")
@pytest.mark.parametrize("relay", [0, 1])
def test_the_same_device_again_must_replace_its_older_connection_at_auth_success(relay: int) -> None:
    world = RelayWorld(RelayConfig(limits=Limits(auth_attempts="off")), nodes=2)
    alice, bob = world.person("alice", devices=5), world.person("bob")
    lines = [alice.connect(device) for device in range(5)]
    again = alice.open(0, relay=relay)
    assert lines[0].close_code is None
    again.authenticate()
    assert again.of("AUTH_SUCCESS")
    assert lines[0].end == (1000, "replaced")
    lines[0].lose()
    bob.connect().message(alice)
    assert [len(line.of("MESSAGE_NEW")) for line in [again, *lines]] == [1, 0, 1, 1, 1, 1]


@pytest.mark.requirement("R-10.3")
def test_a_failed_attempt_must_replace_nothing(world: RelayWorld) -> None:
    alice = world.person("alice")
    line = alice.connect()
    alice.open().authenticate(signature="A" * 86 + "==")
    alice.open(token="not.a.token")
    assert line.close_code is None
    line.send("PRESENCE_SET", {"status": "online"})
    assert not line.of("ERROR")


@pytest.mark.requirement("R-8.3")
def test_a_device_that_set_itself_away_must_be_pinged_less_often_from_the_first() -> None:
    heartbeat = HeartbeatConfig(background_interval=90_000)
    world = RelayWorld(RelayConfig(heartbeat=heartbeat))
    alice = world.person("alice")
    line = alice.connect()
    line.send("PRESENCE_SET", {"status": "away"})
    line.lose()
    again = alice.connect()
    began = world.now
    world.advance(100)
    assert [at - began for at in again.arrived_us[2:]] == [90 * SECOND]
