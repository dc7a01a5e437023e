"""Devices, presence, typing, keys, heartbeat, token life, limits, relay life and time: R-7 to R-13, on every face."""

from __future__ import annotations

import pytest
from stage import CRYPTO, Stage, b64

from zentalk_sim.protocol.control import MakeContacts, RotateKey, Stop
from zentalk_sim.protocol.identity import conversation_id, fingerprint

requirement = pytest.mark.requirement


@requirement("R-7.1")
def test_the_21st_device_must_be_refused(stage: Stage) -> None:
    alice = stage.user("alice")
    for n in range(19):
        device = {"device_id": stage.uuid(), "device_name": f"phone {n}", "device_type": "mobile"}
        assert alice.rest("POST", "/api/devices", device)[0] in (200, 201)
    device = {"device_id": stage.uuid(), "device_name": "one more", "device_type": "mobile"}
    status, body = alice.rest("POST", "/api/devices", device)
    assert (status, body["error_code"]) == (403, "FORBIDDEN")
    alice.devices.append(stage.uuid())
    line = alice.open(1)
    line.authenticate()
    line.expect_close(4004)
    assert "AUTH_SUCCESS" not in line.types()


@requirement("R-7.2")
def test_presence_must_be_for_contacts_and_answered_at_once(stage: Stage) -> None:
    alice, bob, carol = stage.user("alice"), stage.user("bob"), stage.user("carol")
    stage.control(MakeContacts(alice.address, bob.address))
    a = alice.connect()
    a.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    update = a.expect("PRESENCE_UPDATE")
    assert (update["user_id"], update["status"], update["last_seen"]) == (bob.address, "offline", None)
    a.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}", f"presence:{carol.address}"]})
    assert a.error()["error_code"] == "FORBIDDEN"
    a.send("SUBSCRIBE", {"topics": ["weather:here"]})
    assert a.reason() == "malformed"
    a.send("SUBSCRIBE", {"topics": [f"keys:{bob.address}"] * 101})
    assert a.reason() == "too_many_topics"


@requirement("R-7.3")
def test_presence_must_follow_devices_activity_and_privacy(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob", devices=2)
    stage.control(MakeContacts(alice.address, bob.address))
    a = alice.connect()
    a.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    a.clear()
    b0 = bob.connect(0)
    update = a.expect("PRESENCE_UPDATE")
    assert (update["status"], update["device_count"]) == ("online", 1)
    a.clear()
    b1 = bob.connect(1)
    a.nothing("PRESENCE_UPDATE")
    b1.hang_up()
    a.nothing("PRESENCE_UPDATE")
    b0.send("PRESENCE_SET", {"status": "invisible"})
    update = a.expect("PRESENCE_UPDATE")
    assert update == {"user_id": bob.address, "status": "offline"}


@requirement("R-7.3")
@pytest.mark.settings({"heartbeat": {"interval_ms": 3_600_000}})
def test_a_quiet_device_must_turn_away_after_5_minutes_and_return_by_activity(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    b.message(alice)
    stage.settle()
    a.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    assert a.expect("PRESENCE_UPDATE")["status"] == "online"
    a.clear()
    stage.advance(299)
    a.nothing("PRESENCE_UPDATE")
    stage.advance(1)
    assert a.expect("PRESENCE_UPDATE")["status"] == "away"
    a.clear()
    b.send("TYPING_STOP", {"conversation_id": conversation_id(alice.address, bob.address)})
    assert a.expect("PRESENCE_UPDATE")["status"] == "online"


@requirement("R-7.4", "R-10.1")
def test_typing_must_be_throttled_forwarded_and_stop_by_itself(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    conversation = {"conversation_id": conversation_id(alice.address, bob.address)}
    a.send("TYPING_START", conversation)
    assert b.expect("TYPING_START") == {**conversation, "user_id": alice.address}
    b.clear()
    stage.advance(1)
    a.send("TYPING_START", conversation)
    b.nothing()
    stage.advance(2)
    a.send("TYPING_START", conversation)
    b.expect("TYPING_START")
    b.clear()
    stage.advance(4.9)
    b.nothing("TYPING_STOP")
    stage.advance(0.2)
    b.expect("TYPING_STOP")
    a.nothing("ERROR")


@requirement("R-7.4")
def test_typing_in_no_or_others_conversation_must_be_refused(stage: Stage) -> None:
    alice, bob, carol = stage.user("alice"), stage.user("bob"), stage.user("carol")
    a, c = alice.connect(), carol.connect()
    c.send("TYPING_START", {"conversation_id": "conv_nowhere"})
    assert c.error()["error_code"] == "NOT_FOUND"
    a.message(bob)
    stage.settle()
    c.send("TYPING_START", {"conversation_id": conversation_id(alice.address, bob.address)})
    assert c.error()["error_code"] == "FORBIDDEN"


@requirement("R-7.4", "R-7.3")
def test_typing_must_not_be_sent_to_those_it_is_disabled_for(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    alice.rest("PUT", "/api/settings", {"typing_disabled_for": [bob.address]})
    a.send("TYPING_START", {"conversation_id": conversation_id(alice.address, bob.address)})
    b.nothing("TYPING_START")


@requirement("R-7.5")
def test_a_key_change_must_reach_contacts_with_fingerprints(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    stage.control(MakeContacts(alice.address, bob.address))
    a = alice.connect()
    new_key = CRYPTO.public_key(b"k" * 32)
    stage.control(RotateKey(bob.address, new_key, "reinstall"))
    assert a.expect("KEY_CHANGE") == {
        "user_id": bob.address,
        "new_key": b64(new_key),
        "old_key_fingerprint": fingerprint(bob.key),
        "new_key_fingerprint": fingerprint(new_key),
        "reason": "reinstall",
        "verified": False,
    }


@requirement("R-7.5")
def test_a_further_device_must_be_told_to_contacts(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    stage.control(MakeContacts(alice.address, bob.address))
    a = alice.connect()
    bob.rest("POST", "/api/devices", {"device_id": stage.uuid(), "device_name": "tablet", "device_type": "tablet"})
    change = a.expect("KEY_CHANGE")
    assert change["reason"] == "device_added"
    assert change["old_key_fingerprint"] == change["new_key_fingerprint"] == fingerprint(bob.key)


@requirement("R-8.1", "R-8.2")
def test_pings_must_come_every_30_s_and_carry_the_round_trip(stage: Stage) -> None:
    line = stage.user("alice").connect()
    line.clear()
    stage.advance(29.9)
    line.nothing("PING")
    stage.advance(0.2)
    ping = line.expect("PING")
    assert "rtt_ms" not in ping
    line.send("PONG", {"timestamp": ping["timestamp"], "client_time": stage.now_ms()})
    line.clear()
    stage.advance(30)
    assert line.expect("PING")["rtt_ms"] >= 0


@requirement("R-8.1")
def test_a_peer_silent_for_120_s_must_be_dropped_without_a_close(stage: Stage) -> None:
    line = stage.user("alice").connect()
    stage.advance(119)
    line.still_open()
    assert len(line.of("PING")) == 3
    stage.advance(2)
    line.expect_close(1006)


@requirement("R-9.1", "R-9.2", "R-9.3")
@pytest.mark.settings({"heartbeat": {"interval_ms": 604_800_000}})
def test_a_token_must_be_warned_about_refreshed_in_its_window_and_end(stage: Stage) -> None:
    alice = stage.user("alice")
    line = alice.connect()
    token = line.session["session_token"]

    def refresh(which: str) -> None:
        line.clear()
        line.send(
            "TOKEN_REFRESH", {"session_token": which, "signature": b64(CRYPTO.sign(alice.secret, which.encode()))}
        )

    refresh(token)
    error = line.error()
    assert (error["error_code"], error["details"]["reason"]) == ("FORBIDDEN", "outside_refresh_window")
    stage.advance(22 * 3600)
    warning = line.expect("TOKEN_EXPIRING")
    assert warning["expires_at"] == line.session["expires_at"]
    assert warning["action"] == "refresh_recommended"
    assert 7190 <= warning["seconds_remaining"] <= 7200
    refresh(token + "x")
    assert line.error()["error_code"] == "UNAUTHORIZED"
    refresh(token)
    fresh = line.expect("TOKEN_REFRESHED")
    assert fresh["session_token"] != token
    assert fresh["expires_at"] > line.session["expires_at"]
    stage.advance(24 * 3600)
    line.clear()
    line.send("TYPING_STOP", {"conversation_id": "conv_none"})
    assert line.expect("TOKEN_EXPIRING")["seconds_remaining"] == 0
    line.clear()
    line.send("TYPING_STOP", {"conversation_id": "conv_none"})
    line.nothing("TOKEN_EXPIRING")
    stage.advance(301)
    line.send("TYPING_STOP", {"conversation_id": "conv_none"})
    line.expect_close(4001)


@requirement("R-10.1", "R-1.7")
def test_the_eleventh_message_at_once_must_be_limited_with_the_exact_instant(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    for _ in range(10):
        a.message(bob)
    a.nothing("ERROR")
    a.message(bob)
    error = a.error()
    details = error["details"]
    assert error["error_code"] == "RATE_LIMITED"
    assert details["limit"] == 60
    assert details["window_seconds"] == 60
    assert details["current_count"] == 10
    assert details["reason"] == "burst"
    assert details["retry_after"] == 1
    assert 0 < details["reset_at"] - stage.now_ms() <= 1001
    stage.advance(1)
    a.clear()
    a.message(bob)
    a.expect("MESSAGE_ACK")


@requirement("R-10.2")
def test_thirty_refusals_in_a_row_must_close_4002(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    for _ in range(10 + 29):
        a.message(bob)
    a.still_open()
    a.message(bob)
    a.expect_close(4002)
    assert len(a.of("ERROR")) == 30


@requirement("R-10.3")
@pytest.mark.settings({"limits": {"auth_attempts": "off"}})
def test_a_sixth_device_must_be_closed_4004_and_the_same_device_replace_itself(stage: Stage) -> None:
    alice = stage.user("alice", devices=6)
    lines = [alice.connect(device) for device in range(5)]
    sixth = alice.open(5)
    sixth.authenticate()
    sixth.expect_close(4004)
    assert "AUTH_SUCCESS" not in sixth.types()
    again = alice.connect(2)
    lines[2].expect_close(1000, "replaced")
    again.still_open()


@requirement("R-10.4")
@pytest.mark.settings({"limits": {"send_message": "off"}})
def test_a_limit_that_is_off_must_not_refuse(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    for _ in range(80):
        a.message(bob)
    stage.settle()
    assert len(a.of("MESSAGE_ACK")) == 80


@requirement("R-12.1")
def test_an_orderly_stop_must_close_every_connection_with_1001(stage: Stage) -> None:
    a, b = stage.user("alice").connect(), stage.user("bob").connect()
    stage.control(Stop())
    a.expect_close(1001)
    b.expect_close(1001)


@requirement("R-3.3")
def test_a_token_must_be_issued_to_the_holder_of_a_registered_key(stage: Stage) -> None:
    from zentalk_sim.protocol.identity import token_signed_data

    alice = stage.user("alice")
    device_id, now = alice.devices[0], stage.now_ms()

    def ask(timestamp: int, secret: bytes) -> tuple[int, dict]:
        body = {
            "identity_key": b64(CRYPTO.public_key(alice.secret)),
            "device_id": device_id,
            "timestamp": timestamp,
            "signature": b64(CRYPTO.sign(secret, token_signed_data(device_id, timestamp))),
        }
        return alice.rest("POST", "/api/token", body, bearer=None)

    status, answer = ask(now, alice.secret)
    assert status == 200
    assert alice.connect(token=answer["token"]).session["resumed"] is False
    assert ask(now, b"\x02" * 32)[0] == 401
    assert ask(now - 330_000, alice.secret)[0] == 400


@requirement("R-13.1")
def test_what_arrives_at_a_deadline_must_count_before_it(stage: Stage) -> None:
    line = stage.user("alice").open()
    line.expect("AUTH_CHALLENGE")
    stage.advance(4.5)
    line.authenticate()
    line.expect("AUTH_SUCCESS")
    stage.advance(1)
    line.still_open()
