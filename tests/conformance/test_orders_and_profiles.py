"""The order of checks, profiles, limits by IP, pushes and the background pace, on every face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from stage import CRYPTO, Actor, Line, Stage, b64

from zentalk_sim.protocol.control import AddDevice, AddUser
from zentalk_sim.protocol.identity import token_signed_data

requirement = pytest.mark.requirement

# A way to break one rule: changes to the envelope, then to the payload of a MESSAGE_SEND.
Breach = Callable[["Line", Actor], tuple[dict[str, Any], dict[str, Any]]]

BREACHES: dict[str, Breach] = {
    "unknown_type": lambda line, bob: ({"kind": "NO_SUCH"}, {}),
    "sequence_replayed": lambda line, bob: ({"seq": 1}, {}),
    "timestamp_out_of_window": lambda line, bob: ({"timestamp": line.stage.now_ms() - 900_000}, {}),
    "malformed": lambda line, bob: ({}, {"message_type": "song"}),
    "RECIPIENT_NOT_FOUND": lambda line, bob: ({}, {"to": "0x" + "00" * 20}),
    "KEY_MISMATCH": lambda line, bob: (
        {},
        {"x3dh_header": {"identity_key": b64(b"?" * 32), "ephemeral_key": b64(b"e" * 32)}},
    ),
}
"""In the order of R-1.8."""
PAIRS = [(first, second) for i, first in enumerate(BREACHES) for second in list(BREACHES)[i + 1 :] if first != second]


@requirement("R-1.8")
@pytest.mark.settings({"limits": {"send_message": "off"}})
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_breaches_the_earlier_must_answer(stage: Stage, first: str, second: str) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    line = alice.connect()
    line.message(bob, seq=1)
    line.clear()
    envelope: dict[str, Any] = {"kind": "MESSAGE_SEND"}
    payload = line.message_payload(bob)
    for name in (second, first):
        more, fields = BREACHES[name](line, bob)
        envelope.update(more)
        payload.update(fields)
    line.send(envelope.pop("kind"), payload, **envelope)
    error = line.error()
    assert first in (error["error_code"], error["details"].get("reason"))
    line.nothing("MESSAGE_ACK")


@requirement("R-1.8", "R-5.3")
def test_a_wrong_mac_must_close_before_an_unknown_type_is_answered(stage: Stage) -> None:
    line = stage.user("alice").connect()
    line.send("NO_SUCH", {}, message_mac=b64(b"0" * 32))
    line.expect_close(1008)
    line.nothing("ERROR")


@requirement("R-1.8", "R-5.6", "R-10.1")
def test_a_duplicate_must_be_answered_before_the_limit_and_consume_none_of_it(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    line = alice.connect()
    payload = line.message_payload(bob)
    message_id = line.send("MESSAGE_SEND", payload)
    for _ in range(9):
        line.message(bob)
    stage.settle()
    line.clear()
    line.send("MESSAGE_SEND", payload, id=message_id)
    assert line.expect("MESSAGE_ACK")["status"] == "duplicate"
    line.message(bob)
    assert line.error()["error_code"] == "RATE_LIMITED"


@requirement("R-3.5", "R-3.1")
@pytest.mark.settings({"upgrade": {"profile": "dev"}})
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "localhost:8765"},
        {"host": "app.localhost"},
        {"host": "10.0.2.2:8765"},
        {"host": "[::1]:8765"},
        {"origin": "http://localhost:5173"},
        {"origin": "https://127.0.0.1:3000"},
    ],
)
def test_profile_dev_must_admit_local_names_and_addresses(stage: Stage, headers: dict[str, str]) -> None:
    line = stage.user("alice").open(headers=headers)
    assert line.refused is None
    line.expect("AUTH_CHALLENGE")


@requirement("R-3.5")
@pytest.mark.settings({"upgrade": {"profile": "dev"}})
@pytest.mark.parametrize(
    ("headers", "status"), [({"host": "evil.example"}, 421), ({"origin": "http://evil.example"}, 403)]
)
def test_profile_dev_must_refuse_what_is_not_local_and_name_the_setting(
    stage: Stage, headers: dict[str, str], status: int
) -> None:
    line = stage.user("alice").open(headers=headers)
    assert line.refused is not None
    assert line.refused.status == status
    assert "--allow-" in line.refused.message


@requirement("R-3.5", "R-3.3")
@pytest.mark.parametrize(
    "status", [401, pytest.param(200, marks=pytest.mark.settings({"upgrade": {"profile": "dev"}}))]
)
def test_an_unknown_identity_must_be_registered_in_dev_alone(stage: Stage, status: int) -> None:
    secret, device_id, now = b"\x07" * 32, stage.uuid(), stage.now_ms()
    key = CRYPTO.public_key(secret)
    body = {
        "identity_key": b64(key),
        "device_id": device_id,
        "timestamp": now,
        "signature": b64(CRYPTO.sign(secret, token_signed_data(device_id, now))),
    }
    stranger = Actor(stage, "stranger", "", secret, [device_id])
    got, answer = stranger.rest("POST", "/api/token", body, bearer=None)
    assert got == status
    if status == 200:
        line = stranger.connect(token=answer["token"])
        assert line.session["resumed"] is False


@requirement("R-4.4")
def test_the_sixth_auth_attempt_of_an_ip_in_a_minute_must_end_with_4002(stage: Stage) -> None:
    alice = stage.user("alice", devices=6)
    for device in range(5):
        line = alice.open(device)
        line.authenticate(client_time=1)
        line.expect_close(4000)
    line = alice.open(5)
    line.authenticate()
    line.expect_close(4002)
    assert line.expect("ERROR")["error_code"] == "RATE_LIMITED"
    stage.advance(60)
    alice.connect(5)


@requirement("R-6.7", "R-6.6")
def test_a_push_must_go_out_when_nobody_is_connected_and_be_cleared_with_the_mailbox(stage: Stage) -> None:
    alice = stage.user("alice")
    secret = stage.bytes(32)
    address = stage.control(AddUser(CRYPTO.public_key(secret)))
    bob = Actor(stage, "bob", address, secret, [stage.uuid()])
    stage.control(AddDevice(address, bob.devices[0], "phone", "mobile", "fcm:bob"))
    a = alice.connect()
    message_id = a.message(bob)
    a.expect("MESSAGE_ACK")
    assert stage.count("push.sent") == 1
    b = bob.connect()
    a.message(bob)
    stage.settle()
    assert stage.count("push.sent") == 1, "bob is connected"
    b.hang_up()
    assert stage.count("push.sent") == 2, "his last connection is lost with copies unconfirmed"
    assert bob.rest("POST", "/api/messages/ack", {"message_ids": [message_id]})[0] == 200


@requirement("R-8.3")
@pytest.mark.settings({"heartbeat": {"background_interval": 120_000}})
def test_a_device_that_set_itself_away_must_be_pinged_less_often_where_so_configured(stage: Stage) -> None:
    line = stage.user("alice").connect()
    line.send("PRESENCE_SET", {"status": "away"})
    stage.settle()
    stage.advance(30.1)
    ping = line.expect("PING")
    line.send("PONG", {"timestamp": ping["timestamp"], "client_time": stage.now_ms()})
    line.clear()
    stage.advance(119)
    line.nothing("PING")
    stage.advance(2)
    line.expect("PING")
