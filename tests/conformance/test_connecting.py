"""Upgrade and authentication: R-3 and R-4, on every face."""

from __future__ import annotations

import pytest
from stage import Stage

from zentalk_sim.protocol.control import Suspend

requirement = pytest.mark.requirement


@requirement("R-3.1")
@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"path": "/ws/v2"}, 404, "NOT_FOUND"),
        ({"headers": {"host": "evil.example"}}, 421, "MISDIRECTED"),
        ({"headers": {"origin": "https://evil.example"}}, 403, "FORBIDDEN"),
        ({"headers": {"sec-websocket-protocol": "chat"}}, 400, "INVALID_MESSAGE"),
        ({"query": {"token": None}}, 401, "UNAUTHORIZED"),
        ({"query": {"device_id": None}}, 400, "INVALID_MESSAGE"),
        ({"query": {"device_id": "12"}}, 400, "INVALID_MESSAGE"),
        ({"query": {"protocol_version": "2"}}, 400, "INVALID_MESSAGE"),
        # Two faults at once: the earlier of the list answers.
        ({"path": "/", "headers": {"host": "evil.example"}}, 404, "NOT_FOUND"),
        ({"headers": {"host": "evil.example", "origin": "https://evil.example"}}, 421, "MISDIRECTED"),
    ],
)
def test_an_upgrade_must_be_refused_with_its_status(stage: Stage, options: dict, status: int, code: str) -> None:
    line = stage.user("alice").open(**options)
    assert line.refused is not None
    assert (line.refused.status, line.refused.error_code) == (status, code)
    assert line.refused.message


@requirement("R-3.1")
@pytest.mark.parametrize("origin", ["https://app.zentalk.network", "capacitor://localhost", None])
def test_an_admitted_origin_or_none_must_be_let_in(stage: Stage, origin: str | None) -> None:
    line = stage.user("alice").open(headers={} if origin is None else {"origin": origin})
    assert line.refused is None
    line.expect("AUTH_CHALLENGE")


@requirement("R-3.2")
def test_a_token_of_another_device_must_be_failed_with_4000(stage: Stage) -> None:
    alice = stage.user("alice", devices=2)
    line = alice.open(0, token=alice.token(1))
    line.expect_close(4000)
    assert line.types() == ["AUTH_FAILED"]


@requirement("R-3.2", "R-9.1")
def test_a_token_past_its_grace_must_be_closed_4001_without_a_frame(stage: Stage) -> None:
    alice = stage.user("alice")
    token = alice.token(lifetime_s=10)
    stage.advance(10 + 299)
    assert alice.connect(token=token).close_code is None
    stage.advance(2)
    line = alice.open(token=token)
    line.expect_close(4001)
    assert line.types() == []


@requirement("R-3.2")
def test_a_suspended_account_must_be_closed_4003_at_once_and_at_the_next_upgrade(stage: Stage) -> None:
    alice = stage.user("alice")
    line = alice.connect()
    line.clear()
    stage.control(Suspend(alice.address))
    line.expect_close(4003)
    again = alice.open()
    again.expect_close(4003)
    assert again.types() == []


@requirement("R-3.2")
def test_the_eleventh_connection_in_a_minute_must_be_refused_with_4002(stage: Stage) -> None:
    alice = stage.user("alice")
    for _ in range(10):
        line = alice.open()
        line.expect("AUTH_CHALLENGE")
        line.hang_up()
    line = alice.open()
    line.expect_close(4002)
    error = line.expect("ERROR")
    assert error["error_code"] == "RATE_LIMITED"
    assert error["details"]["limit"] == 10


@requirement("R-3.4", "R-1.3", "R-5.4")
@pytest.mark.settings({"heartbeat": {"interval_ms": 3_600_000}, "presence": {"away_after_ms": 3_600_000}})
def test_a_resumption_must_keep_session_counters_and_topics(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a, b = alice.connect(), bob.connect()
    a.message(bob, seq=5)
    a.send("SUBSCRIBE", {"topics": [f"presence:{bob.address}"]})
    a.expect("PRESENCE_UPDATE")
    last_seq = a.frames[-1]["seq"]
    a.hang_up(None)
    stage.advance(299)
    again = alice.connect(resume=a.session["resume_token"])
    assert again.session["resumed"] is True
    assert again.session["session_id"] == a.session["session_id"]
    assert again.of("AUTH_SUCCESS")[0]["seq"] == last_seq + 1
    again.message(bob, seq=5)
    assert again.reason() == "sequence_replayed"
    again.clear()
    b.hang_up()
    stage.advance(1)
    assert again.expect("PRESENCE_UPDATE")["status"] == "offline"


@requirement("R-3.4")
def test_a_late_or_foreign_resume_token_must_begin_a_new_session(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    foreign = bob.connect(resume=a.session["resume_token"])
    assert foreign.session["resumed"] is False
    a.hang_up(None)
    stage.advance(301)
    late = alice.connect(resume=a.session["resume_token"])
    assert late.session["resumed"] is False
    assert late.session["session_id"] != a.session["session_id"]


@requirement("R-4.1", "R-4.5")
def test_auth_success_must_carry_the_session(stage: Stage) -> None:
    line = stage.user("alice").connect()
    session = line.session
    assert session["expires_at"] // 1000 - stage.now_ms() // 1000 == 86_400
    assert session["session_id"].startswith("sess_")
    assert len(session["session_id"]) == 17
    assert session["capabilities"] == ["send_message", "receive_message", "presence"]
    assert session["resumed"] is False


@requirement("R-4.2")
@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"signature": "AAAA"}, "form"),
        ({"device_id": "550e8400-e29b-41d4-a716-446655440000"}, "device_id"),
        ({"secret": b"\x01" * 32}, "signature"),
        ({"client_time": 1}, "client_time"),
        # Two at once: the earlier step answers.
        ({"secret": b"\x01" * 32, "client_time": 1}, "signature"),
    ],
)
def test_a_wrong_answer_must_fail_naming_its_step(stage: Stage, changes: dict, step: str) -> None:
    line = stage.user("alice").open()
    line.authenticate(**changes)
    line.expect_close(4000)
    failed = line.expect("AUTH_FAILED")
    assert failed["error_code"] == "UNAUTHORIZED"
    assert failed["message"].startswith(step)


@requirement("R-4.2")
def test_any_other_first_frame_must_fail(stage: Stage) -> None:
    line = stage.user("alice").open()
    line.send("PRESENCE_SET", {"status": "online"})
    line.expect_close(4000)
    line.expect("AUTH_FAILED")


@requirement("R-4.2")
def test_a_second_auth_response_must_be_forbidden(stage: Stage) -> None:
    line = stage.user("alice").connect()
    line.authenticate()
    assert line.error()["error_code"] == "FORBIDDEN"
    line.still_open()


@requirement("R-4.3")
def test_no_answer_within_5_s_must_close_1002_without_auth_failed(stage: Stage) -> None:
    line = stage.user("alice").open()
    line.expect("AUTH_CHALLENGE")
    stage.advance(4.9)
    line.still_open()
    stage.advance(0.2)
    line.expect_close(1002, "auth_timeout")
    line_types = line.types()
    assert line_types == ["AUTH_CHALLENGE"]


@requirement("R-4.5")
@pytest.mark.parametrize(
    ("capability", "kind"),
    [("send_message", "MESSAGE_SEND"), ("receive_message", "MESSAGE_RECEIVED"), ("presence", "PRESENCE_SET")],
)
def test_a_frame_whose_capability_is_missing_must_be_forbidden(stage: Stage, capability: str, kind: str) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    others = tuple(c for c in ("send_message", "receive_message", "presence") if c != capability)
    line = alice.connect(token=alice.token(capabilities=others))
    assert line.session["capabilities"] == list(others)
    payload = {
        "MESSAGE_SEND": line.message_payload(bob),
        "MESSAGE_RECEIVED": {"message_id": stage.uuid()},
        "PRESENCE_SET": {"status": "away"},
    }[kind]
    line.send(kind, payload)
    assert line.error()["error_code"] == "FORBIDDEN"


@requirement("R-4.5")
def test_one_who_may_not_receive_must_not_be_sent_messages(stage: Stage) -> None:
    alice, bob = stage.user("alice"), stage.user("bob")
    a = alice.connect()
    b = bob.connect(token=bob.token(capabilities=("send_message",)))
    a.message(bob)
    a.expect("MESSAGE_ACK")
    b.nothing("MESSAGE_NEW")
