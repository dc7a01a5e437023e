"""The handshake's answer, the envelope's numbers, resumption, token refresh."""

from __future__ import annotations

from base64 import b64decode

import msgspec
import pytest
from fake_relay import (
    ALICE_DEVICE,
    BOB,
    CHALLENGE,
    HOUR,
    MS,
    SECRET,
    T0_MS,
    FakeRelay,
    S,
    config,
    message,
)

from zentalk_sim.protocol import codec
from zentalk_sim.protocol.client_effects import Connect, Count, Update
from zentalk_sim.protocol.client_state import ClientState
from zentalk_sim.protocol.crypto import Ed25519, Modelled
from zentalk_sim.protocol.frames import (
    AuthChallenge,
    ErrorPayload,
    KeyChange,
    PresenceUpdate,
    TokenExpiring,
    TokenRefreshed,
)
from zentalk_sim.protocol.identity import auth_signed_data
from zentalk_sim.protocol.timers import NEVER

# --- authentication --------------------------------------------------------------------------------


@pytest.mark.requirement("R-4.1")
def test_the_answer_signs_challenge_server_time_device_and_client_time() -> None:
    relay = FakeRelay().join()
    ((_, frame),) = relay.sent("AUTH_RESPONSE")
    answer = frame.payload
    data = auth_signed_data(CHALLENGE, T0_MS, ALICE_DEVICE, answer.client_time)
    assert Ed25519().verify(answer.identity_key, data, answer.signature)
    assert answer.identity_key == Ed25519().public_key(SECRET)
    assert answer.device_id == ALICE_DEVICE


@pytest.mark.requirement("R-1.3")
def test_the_answer_carries_neither_seq_nor_mac() -> None:
    relay = FakeRelay().join()
    ((_, frame),) = relay.sent("AUTH_RESPONSE")
    assert frame.seq is None
    assert frame.message_mac is None


@pytest.mark.requirement("R-4.2")
def test_a_second_challenge_is_not_answered() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.open()
    relay.challenge()
    relay.challenge()
    assert len(relay.sent("AUTH_RESPONSE")) == 1
    assert relay.count("frames.ignored") == 1


@pytest.mark.parametrize("server_time", [-1, 2**53 + 1, 2**80])
def test_a_challenge_at_no_possible_time_is_ignored(server_time: int) -> None:
    relay = FakeRelay(wire=False)
    relay.do(relay.client.connect(relay.now))
    relay.open()
    relay.say("AUTH_CHALLENGE", AuthChallenge(CHALLENGE, server_time, b"\x00" * 16))
    assert relay.sent("AUTH_RESPONSE") == []


def test_success_without_a_challenge_answered_is_ignored() -> None:
    relay = FakeRelay()
    relay.do(relay.client.connect(relay.now))
    relay.open()
    relay.success()
    assert relay.state is ClientState.AUTHENTICATING
    relay.challenge()
    relay.success(token="tökén")
    assert relay.state is ClientState.AUTHENTICATING


@pytest.mark.requirement("R-11.8")
@pytest.mark.parametrize("ahead_us", [90_000 * MS, -90_000 * MS])
def test_the_relays_clock_is_learnt_at_the_challenge_and_used_for_every_time_sent(ahead_us: int) -> None:
    relay = FakeRelay(clock_ahead_us=ahead_us).join()
    relay.advance(10 * S)
    relay.send()
    relay.ping()
    theirs = (relay.now + ahead_us) // MS
    ((_, sent),) = relay.sent("MESSAGE_SEND")
    ((_, pong),) = relay.sent("PONG")
    ((_, answer),) = relay.sent("AUTH_RESPONSE")
    assert sent.timestamp == pong.timestamp == pong.payload.client_time == theirs
    assert answer.payload.client_time == theirs - 10_000


@pytest.mark.requirement("R-11.8")
def test_with_the_policy_off_the_clients_own_clock_is_sent() -> None:
    relay = FakeRelay(config(trust_server_time=False), clock_ahead_us=90 * S).join()
    relay.send()
    ((_, sent),) = relay.sent("MESSAGE_SEND")
    assert sent.timestamp == relay.now // MS


@pytest.mark.requirement("R-3.3")
def test_the_request_for_a_token_is_signed_over_device_and_time() -> None:
    relay = FakeRelay(clock_ahead_us=90 * S).join()
    body = msgspec.json.decode(relay.client.token_request(relay.now))
    timestamp = T0_MS + 90_000
    assert (body["device_id"], body["timestamp"]) == (ALICE_DEVICE, timestamp)
    key = Ed25519().public_key(SECRET)
    assert b64decode(body["identity_key"]) == key
    signed = b"zentalk.v1 token" + bytes.fromhex(ALICE_DEVICE.replace("-", "")) + timestamp.to_bytes(8, "big")
    assert Ed25519().verify(key, signed, b64decode(body["signature"]))


# --- envelope ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R-5.4")
def test_seq_counts_from_1_over_all_text_frames_of_the_session() -> None:
    relay = FakeRelay().join()
    relay.send()
    relay.ping()
    relay.new_message(message(1))
    assert [frame.seq for frame in relay.frames()] == [1, 2, 3]


@pytest.mark.requirement("R-5.2")
def test_every_text_frame_carries_its_mac_over_the_payloads_exact_bytes() -> None:
    relay = FakeRelay().join()
    relay.send()
    relay.ping()
    relay.do(relay.client.set_presence("away", relay.now))
    key = Ed25519().session_key("session-token", CHALLENGE)
    frames = relay.frames()
    assert len(frames) == 3
    for frame in frames:
        raw = codec.decode_text(codec.encode_text(frame), 1 << 20).raw_payload
        assert raw is not None
        assert frame.message_mac == Ed25519().message_mac(key, frame.type, frame.id, frame.timestamp, raw)


@pytest.mark.requirement("R-5.2")
def test_where_frames_travel_by_reference_the_mac_covers_no_bytes() -> None:
    relay = FakeRelay(wire=False).join()
    relay.send()
    (frame,) = relay.frames()
    key = Modelled().session_key("session-token", CHALLENGE)
    assert frame.message_mac == Modelled().message_mac(key, frame.type, frame.id, frame.timestamp, b"")


@pytest.mark.requirement("R-5.1")
def test_a_token_refresh_does_not_change_the_key() -> None:
    relay = FakeRelay().join()
    relay.say("TOKEN_REFRESHED", TokenRefreshed("newer", relay.now // MS + 86_400_000))
    relay.ping()
    (frame,) = relay.frames()
    key = Ed25519().session_key("session-token", CHALLENGE)
    raw = codec.encode_payload(frame.payload)
    assert frame.message_mac == Ed25519().message_mac(key, frame.type, frame.id, frame.timestamp, raw)


def test_seq_and_mac_can_be_left_out() -> None:
    relay = FakeRelay(config(send_mac=False, send_seq=False)).join()
    relay.send()
    (frame,) = relay.frames()
    assert frame.seq is None
    assert frame.message_mac is None


# --- resumption -------------------------------------------------------------------------------------


@pytest.mark.requirement("R-3.4")
def test_a_reconnection_offers_the_newest_resume_token_and_keeps_seq_if_resumed() -> None:
    relay = FakeRelay().join(resume_token="r1")
    relay.ping()
    relay.lose()
    relay.wait_for_attempt()
    assert relay.all(Connect)[-1].query["resume_token"] == "r1"
    assert relay.all(Connect)[-1].query["token"] == "session-token"
    relay.handshake(resumed=True, resume_token="r2")
    relay.ping()
    assert relay.sent("PONG")[-1][1].seq == 2
    relay.rejoin(resumed=False)
    assert relay.all(Connect)[-1].query["resume_token"] == "r2"
    relay.ping()
    assert relay.sent("PONG")[-1][1].seq == 1


@pytest.mark.requirement("R-3.4")
@pytest.mark.parametrize("code", [4000, 4003, 4004])
def test_after_these_closes_there_is_nothing_to_resume(code: int) -> None:
    relay = FakeRelay().join()
    relay.lose(code)
    relay.do(relay.client.connect(relay.now))
    assert "resume_token" not in relay.all(Connect)[-1].query


# --- token refresh ----------------------------------------------------------------------------------


def _until_refresh(relay: FakeRelay, limit_us: int = 30 * HOUR) -> int:
    start = relay.now
    while not relay.sent("TOKEN_REFRESH") and relay.now - start < limit_us:
        relay.ping()
        due = relay.client.next_timeout()
        assert due is not None
        relay.advance(min(due - relay.now, 60 * S))
    return relay.sent("TOKEN_REFRESH")[0][0] - start


@pytest.mark.requirement("R-11.7")
def test_the_token_is_refreshed_at_an_instant_spread_over_the_first_hour_of_the_window() -> None:
    instants = []
    for seed in range(12):
        relay = FakeRelay(wire=False, seed=seed).join(lifetime_s=3 * 3600)
        instants.append(_until_refresh(relay))
    assert all(1 * HOUR <= at <= 2 * HOUR for at in instants)
    assert max(instants) - min(instants) > HOUR // 2


@pytest.mark.requirement("R-11.7")
def test_the_refresh_may_come_as_the_window_opens_or_never() -> None:
    at_opening = FakeRelay(config(token_refresh="window_opens"), wire=False).join(lifetime_s=3 * 3600)
    assert _until_refresh(at_opening) == HOUR
    never = FakeRelay(config(token_refresh="never", silence_timeout_ms=10**9), wire=False).join(lifetime_s=3 * 3600)
    never.say("TOKEN_EXPIRING", TokenExpiring(never.now // MS, 0, "refresh_recommended"))
    never.advance(3 * HOUR)
    assert never.sent("TOKEN_REFRESH") == []


@pytest.mark.requirement("R-9.3")
def test_the_refresh_names_the_current_token_signed_and_the_new_one_is_used_from_then_on() -> None:
    relay = FakeRelay(config(token_refresh="window_opens", silence_timeout_ms=10**9)).join(lifetime_s=7200)
    relay.advance(0)
    ((_, frame),) = relay.sent("TOKEN_REFRESH")
    assert frame.payload.session_token == "session-token"
    assert Ed25519().verify(Ed25519().public_key(SECRET), b"session-token", frame.payload.signature)
    relay.say("TOKEN_REFRESHED", TokenRefreshed("newer", relay.now // MS + 86_400_000))
    assert relay.client.token == "newer"
    relay.advance(21 * HOUR)
    assert len(relay.sent("TOKEN_REFRESH")) == 1
    relay.advance(1 * HOUR)
    assert relay.sent("TOKEN_REFRESH")[1][1].payload.session_token == "newer"


@pytest.mark.requirement("R-11.7")
def test_after_a_refusal_the_client_asks_again_in_20_minutes() -> None:
    relay = FakeRelay(config(token_refresh="window_opens", silence_timeout_ms=10**9)).join(lifetime_s=7200)
    relay.advance(5 * S)
    ((_, frame),) = relay.sent("TOKEN_REFRESH")
    relay.error("FORBIDDEN", frame, reason="outside_refresh_window")
    relay.advance(1200 * S - 1)
    assert len(relay.sent("TOKEN_REFRESH")) == 1
    relay.advance(1)
    assert len(relay.sent("TOKEN_REFRESH")) == 2


@pytest.mark.requirement("R-9.1")
def test_token_expiring_in_the_grace_period_refreshes_at_once() -> None:
    relay = FakeRelay().join()
    relay.say("TOKEN_EXPIRING", TokenExpiring(relay.now // MS, 0, "refresh_recommended"))
    assert len(relay.sent("TOKEN_REFRESH")) == 1
    relay.say("TOKEN_EXPIRING", TokenExpiring(relay.now // MS, 0, "refresh_recommended"))
    assert len(relay.sent("TOKEN_REFRESH")) == 1


@pytest.mark.requirement("R-11.7")
def test_token_expiring_as_the_window_opens_must_not_bring_the_refreshes_together() -> None:
    relay = FakeRelay(config(silence_timeout_ms=10**9)).join(lifetime_s=7200)
    planned = relay.client.next_timeout()
    relay.say("TOKEN_EXPIRING", TokenExpiring(relay.now // MS + 7_200_000, 7200, "refresh_recommended"))
    assert relay.client.next_timeout() == relay.client.session.refresh_us == planned
    assert relay.sent("TOKEN_REFRESH") == []
    relay.client.session.refresh_us = NEVER
    relay.say("TOKEN_EXPIRING", TokenExpiring(relay.now // MS + 7_200_000, 5400, "refresh_recommended"))
    assert relay.client.session.refresh_us == relay.now + 1800 * S


@pytest.mark.requirement("R-11.7")
def test_the_instant_of_a_refresh_must_be_the_same_whenever_it_is_asked_for() -> None:
    """It is drawn once it may be near, and must not depend on when that is."""
    asked, unasked = (FakeRelay(config(silence_timeout_ms=10**9)).join(lifetime_s=7200) for _ in range(2))
    planned = asked.client.next_timeout()
    assert planned is not None
    for relay in (asked, unasked):
        relay.advance(planned - relay.now - 1)
        assert relay.sent("TOKEN_REFRESH") == []
        relay.advance(1)
        assert len(relay.sent("TOKEN_REFRESH")) == 1


def test_a_refreshed_token_that_could_not_be_signed_is_ignored() -> None:
    relay = FakeRelay(wire=False).join()
    relay.say("TOKEN_REFRESHED", TokenRefreshed("tökén", relay.now // MS))
    relay.say("TOKEN_REFRESHED", TokenRefreshed("token", 2**70))
    assert relay.client.token == "session-token"
    assert relay.count("frames.ignored") == 2


# --- other frames -----------------------------------------------------------------------------------


def test_presence_and_key_changes_are_passed_on() -> None:
    relay = FakeRelay().join()
    relay.say("PRESENCE_UPDATE", PresenceUpdate(BOB, "online"))
    relay.say("KEY_CHANGE", KeyChange(BOB, b"k" * 32, "old", "new", "reinstall"))
    assert [effect.frame.type for effect in relay.new(Update)] == ["PRESENCE_UPDATE", "KEY_CHANGE"]


def test_error_codes_are_counted_by_name_and_unknown_ones_together() -> None:
    relay = FakeRelay().join()
    relay.error("NOT_FOUND")
    relay.error("x" * 1000)
    assert relay.count("errors.NOT_FOUND") == 1
    assert relay.count("errors.unknown") == 1


@pytest.mark.parametrize("kind", ["MESSAGE_SEND", "MESSAGE_READ", "SUBSCRIBE", "PRESENCE_SET", "NOTHING"])
def test_errors_for_what_was_never_sent_change_nothing(kind: str) -> None:
    relay = FakeRelay().join()
    payload = ErrorPayload("FORBIDDEN", "no", "req_000000000000", {}, original_type=kind, original_id="x")
    assert relay.say("ERROR", payload) == [Count("errors.FORBIDDEN")]
