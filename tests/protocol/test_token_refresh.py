"""The session token's life on a connection (R-9)."""

from __future__ import annotations

from typing import Any

import pytest
from relay_world import Json, Line, RelayWorld, b64

from zentalk_sim.protocol.config import HeartbeatConfig, Limit, Limits, RelayConfig, TokenConfig
from zentalk_sim.protocol.control import RotateKey
from zentalk_sim.protocol.tokens import JwtAuthority

SECOND = 1_000_000
HOUR_S = 3_600
QUIET = HeartbeatConfig(interval_ms=10**12)
"""No PING within any test: nothing but what is tested happens."""


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld(RelayConfig(heartbeat=QUIET))


@pytest.fixture
def line(world: RelayWorld) -> Line:
    return world.person("alice").connect()


def to(line: Line, before_expiry_s: float) -> None:
    """Let time pass up to this much before the token expires."""
    line.world.advance_us(line.session["expires_at"] * 1000 - round(before_expiry_s * SECOND) - line.world.now)


def refresh(line: Line, *, token: str | None = None, secret: bytes | None = None, **changes: Any) -> Json:
    """Ask for a new token; the payload of the answer."""
    token = line.session["session_token"] if token is None else token
    signature = line.world.crypto.sign(secret or line.person.secret, token.encode())
    line.clear()
    line.send("TOKEN_REFRESH", {"session_token": token, "signature": b64(signature), **changes})
    (answer,) = [frame["payload"] for frame in line.frames if frame["type"] in ("TOKEN_REFRESHED", "ERROR")]
    return answer  # type: ignore[no-any-return]


def alive(line: Line) -> bool:
    """Whether a frame is processed now."""
    line.clear()
    line.send("MESSAGE_RECEIVED", {"message_id": line.world.uuid()})
    return bool(line.of("ERROR")) and line.error()["error_code"] == "NOT_FOUND"


@pytest.mark.requirement("R-9.2", "table:Token Refresh/Refresh window")
def test_token_expiring_must_be_sent_once_when_the_window_opens(line: Line) -> None:
    expires_at = line.session["expires_at"]
    to(line, 1)
    (index,) = [i for i, frame in enumerate(line.frames) if frame["type"] == "TOKEN_EXPIRING"]
    assert line.arrived_us[index] == expires_at * 1000 - 2 * HOUR_S * SECOND
    assert line.last("TOKEN_EXPIRING") == {
        "expires_at": expires_at,
        "seconds_remaining": 7_200,
        "action": "refresh_recommended",
    }


@pytest.mark.requirement("R-9.1", "table:Token Refresh/Grace period", "table:WebSocket Close Codes/4001")
def test_a_token_must_be_good_warned_of_and_closed_on_to_the_microsecond(line: Line) -> None:
    to(line, 1e-6)
    assert alive(line)
    assert not line.of("TOKEN_EXPIRING")
    line.world.advance_us(1)
    assert alive(line)
    assert line.types() == ["TOKEN_EXPIRING", "ERROR"]
    assert line.last("TOKEN_EXPIRING")["seconds_remaining"] == 0
    to(line, -300)
    assert alive(line)
    assert not line.of("TOKEN_EXPIRING")
    line.world.advance_us(1)
    assert not alive(line)
    assert (line.frames, line.close_code) == ([], 4001)


@pytest.mark.requirement("R-9.1")
@pytest.mark.parametrize("kind", ["PONG", "HELLO", "AUTH_RESPONSE"])
def test_life_must_be_checked_at_every_frame_whatever_it_is(line: Line, kind: str) -> None:
    to(line, 0)
    line.clear()
    line.send(kind, {"timestamp": 1, "client_time": 1})
    assert line.types()[0] == "TOKEN_EXPIRING"
    to(line, -301)
    line.send(kind, {"timestamp": 1, "client_time": 1})
    assert line.close_code == 4001


@pytest.mark.requirement("R-9.3")
def test_a_refresh_must_give_a_token_of_the_same_session(world: RelayWorld, line: Line) -> None:
    to(line, 2 * HOUR_S)
    answer = refresh(line)
    assert answer["expires_at"] == world.now_ms + 86_400_000
    claims = JwtAuthority(world.store.signing_seed).verify(answer["session_token"])
    assert claims.session_id == line.session["session_id"]
    assert claims.exp * 1000 == answer["expires_at"]
    assert list(claims.capabilities) == line.session["capabilities"]
    old = line.session["session_token"]
    line.session |= answer
    to(line, 10)
    assert alive(line)
    assert line.close_code is None
    assert line.person.rest("GET", "/api/devices", bearer=old).status == 401


@pytest.mark.requirement("R-9.3", "R-9.2")
def test_the_new_token_must_have_its_own_window_and_grace(line: Line) -> None:
    to(line, 0)
    assert alive(line)
    line.session |= refresh(line)
    assert "session_token" in line.session
    line.clear()
    to(line, 1)
    assert len(line.of("TOKEN_EXPIRING")) == 1
    to(line, 0)
    assert alive(line)
    assert len(line.of("TOKEN_EXPIRING")) == 1


@pytest.mark.requirement("R-9.3")
def test_a_refresh_in_grace_must_be_granted(line: Line) -> None:
    to(line, -300)
    assert "session_token" in refresh(line)


@pytest.mark.requirement("R-9.3")
def test_the_old_token_must_stay_good_for_other_uses_until_its_own_end(world: RelayWorld, line: Line) -> None:
    to(line, HOUR_S)
    old = line.session["session_token"]
    refresh(line)
    assert line.person.rest("GET", "/api/devices", bearer=old).status == 200


@pytest.mark.requirement("R-9.3")
@pytest.mark.parametrize("before_s", [2 * HOUR_S + 1e-6, 20 * HOUR_S])
def test_a_refresh_before_the_window_must_be_forbidden(line: Line, before_s: float) -> None:
    to(line, before_s)
    answer = refresh(line)
    assert answer["error_code"] == "FORBIDDEN"
    assert answer["details"]["reason"] == "outside_refresh_window"
    assert answer["details"]["opens_at"] == line.session["expires_at"] - 7_200_000
    assert line.close_code is None


@pytest.mark.requirement("R-9.3")
def test_only_the_current_token_signed_by_the_identity_key_must_do(world: RelayWorld, line: Line) -> None:
    to(line, HOUR_S)
    other = line.person.token()
    assert refresh(line, token=other)["error_code"] == "UNAUTHORIZED"
    assert refresh(line, token="é")["error_code"] == "UNAUTHORIZED"
    assert refresh(line, secret=b"mallory" + bytes(25))["error_code"] == "UNAUTHORIZED"
    assert line.close_code is None


@pytest.mark.requirement("R-9.3")
def test_a_token_refreshed_away_must_no_longer_be_the_current_one(line: Line) -> None:
    to(line, HOUR_S)
    assert "session_token" in refresh(line)
    assert refresh(line)["error_code"] == "UNAUTHORIZED"


@pytest.mark.requirement("R-9.3")
def test_after_a_key_rotation_the_new_key_must_sign(world: RelayWorld, line: Line) -> None:
    new = b"rotated" + bytes(25)
    world.control(RotateKey(line.person.address, world.crypto.public_key(new)))
    to(line, HOUR_S)
    assert refresh(line)["error_code"] == "UNAUTHORIZED"
    assert "session_token" in refresh(line, secret=new)


@pytest.mark.requirement("R-9.3", "table:Token Refresh/Max refresh attempts")
def test_the_fourth_refresh_in_an_hour_must_be_refused_whatever_became_of_the_others(line: Line) -> None:
    to(line, 2 * HOUR_S + 60)
    assert refresh(line)["error_code"] == "FORBIDDEN"
    assert refresh(line, token="x")["error_code"] == "UNAUTHORIZED"
    first_us = line.world.now
    to(line, 2 * HOUR_S)
    line.session |= refresh(line)
    refused = refresh(line)
    assert refused["error_code"] == "RATE_LIMITED"
    assert refused["details"]["current_count"] == 3
    assert refused["details"]["reset_at"] == first_us // 1000 + HOUR_S * 1000
    line.world.advance_us(first_us + HOUR_S * SECOND - line.world.now)
    assert refresh(line)["details"]["reason"] == "outside_refresh_window"


@pytest.mark.requirement("R-9.3", "R-1.8")
def test_a_malformed_refresh_must_not_count(line: Line) -> None:
    to(line, HOUR_S)
    for _ in range(3):
        assert refresh(line, signature="AAAA")["details"]["reason"] == "malformed"
    assert "session_token" in refresh(line)


ORDER = ["RATE_LIMITED", "UNAUTHORIZED", "FORBIDDEN"]


@pytest.mark.requirement("R-9.3")
@pytest.mark.parametrize("wrong", [{0, 1}, {0, 2}, {1, 2}, {0, 1, 2}], ids=str)
def test_the_order_must_be_limit_token_window(wrong: set[int]) -> None:
    limits = Limits(token_refresh=Limit(limit=1, window_s=100 * HOUR_S))
    line = RelayWorld(RelayConfig(heartbeat=QUIET, limits=limits)).person("alice").connect()
    if 0 in wrong:
        refresh(line, token="spent")
    if 2 not in wrong:
        to(line, HOUR_S)
    answer = refresh(line, token="other" if 1 in wrong else None)
    assert answer["error_code"] == ORDER[min(wrong)]


@pytest.mark.requirement("R-9.3", "R-10.2")
def test_refreshes_refused_thirty_times_in_a_row_must_end_the_connection(line: Line) -> None:
    for _ in range(32):
        refresh(line, token="x")
    assert line.close_code is None
    refresh(line, token="x")
    assert line.close_code == 4002


@pytest.mark.requirement("R-9.2")
@pytest.mark.parametrize("lifetime_s", [60, 7_200])
def test_a_token_that_lives_no_longer_than_the_window_must_be_warned_of_at_once(lifetime_s: int) -> None:
    world = RelayWorld(RelayConfig(token=TokenConfig(lifetime_s=lifetime_s)))
    world.advance_us(250_000)
    line = world.person("alice").connect()
    began = world.now
    world.advance(1)
    assert line.types() == ["AUTH_CHALLENGE", "AUTH_SUCCESS", "TOKEN_EXPIRING"]
    assert line.arrived_us[-1] == began
    assert line.frames[-1]["timestamp"] == began // 1000
    assert line.last("TOKEN_EXPIRING")["seconds_remaining"] == lifetime_s
