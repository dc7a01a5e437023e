"""MACs and sequence numbers on a connection (R-5.1 to R-5.4)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from relay_world import Line, RelayWorld, b64

from zentalk_sim.protocol.config import RelayConfig
from zentalk_sim.protocol.crypto import Modelled
from zentalk_sim.protocol.frames import Frame, PresenceSet


@pytest.fixture
def world() -> RelayWorld:
    return RelayWorld()


@pytest.fixture
def line(world: RelayWorld) -> Line:
    return world.person("alice").connect()


def signed(line: Line, payload: str, *, kind: str = "PRESENCE_SET", mac: str | None = None, **envelope: Any) -> None:
    """Send a frame with its MAC, laid out by hand so that every byte is known."""
    frame_id = envelope.get("id", line.world.uuid())
    stamp = line.world.now_ms
    mac = mac or line.mac(kind, frame_id, stamp, payload)
    extra = f',"seq":{envelope["seq"]}' if "seq" in envelope else ""
    line.raw(
        f'{{"message_mac":"{mac}","payload": {payload} ,"id":"{frame_id}","timestamp":{stamp},"type":"{kind}"{extra}}}'
    )


def status_of(line: Line) -> str | None:
    user = line.world.store.user(line.person.address)
    assert user is not None
    return user.status_set


@pytest.mark.requirement("R-5.2")
@pytest.mark.parametrize(
    "payload",
    [
        '{"status":"away"}',
        '{ "status" : "away" , "x":"é" }',
        '{"x":1e5,"status":"\\u0061way"}',
        '{"status":"online","status":"away"}',
    ],
)
def test_a_mac_over_the_exact_bytes_must_verify(line: Line, payload: str) -> None:
    signed(line, payload)
    assert line.close_code is None
    assert not line.of("ERROR")
    assert status_of(line) == "away"


@pytest.mark.requirement("R-5.1")
def test_each_frame_must_be_held_to_its_own_mac(line: Line) -> None:
    signed(line, '{"status":"away"}')
    signed(line, '{"status":"online"}')
    assert line.error()["error_code"] == "RATE_LIMITED"
    signed(line, '{"status":"online"}', mac=b64(bytes(32)))
    assert line.close_code == 1008


@pytest.mark.requirement("R-5.2", "R-1.2")
def test_a_mac_must_cover_the_id_as_it_stands_in_the_frame(line: Line) -> None:
    signed(line, '{"status":"away"}', id=line.world.uuid().upper())
    assert status_of(line) == "away"


@pytest.mark.requirement("R-5.2")
def test_a_mac_must_not_cover_seq(line: Line) -> None:
    signed(line, '{"status":"away"}', seq=77)
    assert status_of(line) == "away"


@pytest.mark.requirement("R-5.3", "table:WebSocket Close Codes/1008")
@pytest.mark.parametrize("flaw", ["payload", "type", "id", "timestamp", "key", "bit"])
def test_a_wrong_mac_must_end_the_connection_and_nothing_be_processed(line: Line, flaw: str) -> None:
    frame_id, stamp, payload = line.world.uuid(), line.world.now_ms, '{"status":"away"}'
    mac = {
        "payload": line.mac("PRESENCE_SET", frame_id, stamp, '{"status":"away" }'),
        "type": line.mac("PRESENCE_GET", frame_id, stamp, payload),
        "id": line.mac("PRESENCE_SET", line.world.uuid(), stamp, payload),
        "timestamp": line.mac("PRESENCE_SET", frame_id, stamp + 1, payload),
        "key": b64(line.world.crypto.message_mac(b"k" * 32, "PRESENCE_SET", frame_id, stamp, payload.encode())),
        "bit": b64(bytes([b64decode(line.mac("PRESENCE_SET", frame_id, stamp, payload))[0] ^ 1]) + bytes(31)),
    }[flaw]
    signed(line, payload, mac=mac, id=frame_id)
    assert line.close_code == 1008
    assert not line.of("ERROR")
    assert status_of(line) is None


@pytest.mark.requirement("R-5.3")
def test_a_missing_mac_must_be_accepted_by_default(line: Line) -> None:
    line.send("PRESENCE_SET", {"status": "away"})
    assert status_of(line) == "away"


@pytest.mark.requirement("R-5.3")
@pytest.mark.parametrize("kind", ["PRESENCE_SET", "PONG", "NO_SUCH_TYPE"])
def test_a_missing_mac_must_end_the_connection_where_one_is_required(kind: str) -> None:
    line = RelayWorld(RelayConfig(integrity="require")).person("alice").connect()
    signed(line, '{"status":"away"}')
    assert (status_of(line), line.close_code) == ("away", None)
    line.send(kind, {})
    assert line.close_code == 1008
    assert not line.of("ERROR")


@pytest.mark.requirement("R-5.1")
def test_the_key_must_last_as_long_as_the_connection_over_a_token_refresh(world: RelayWorld, line: Line) -> None:
    handshake = len(line.frames)
    while world.now_ms < line.session["expires_at"] - 3_600_000:
        del line.frames[handshake:]
        world.advance(10)
        line.pong() if line.of("PING") else None
    token = line.session["session_token"]
    signature = b64(world.crypto.sign(line.person.secret, token.encode()))
    line.send("TOKEN_REFRESH", {"session_token": token, "signature": signature})
    assert line.last("TOKEN_REFRESHED")["session_token"] != token
    signed(line, '{"status":"away"}')
    assert status_of(line) == "away"


@pytest.mark.requirement("R-5.1")
def test_another_connection_must_have_another_key(world: RelayWorld, line: Line) -> None:
    old_mac = line.mac
    line.lose()
    again = line.person.connect(resume=line.session["resume_token"])
    frame_id = world.uuid()
    signed(
        again,
        '{"status":"away"}',
        id=frame_id,
        mac=old_mac("PRESENCE_SET", frame_id, world.now_ms, '{"status":"away"}'),
    )
    assert again.close_code == 1008


@pytest.mark.requirement("R-5.2", "R-5.3")
def test_a_frame_by_reference_must_be_held_to_its_modelled_mac() -> None:
    """Fidelity ``frames``: the payload has no bytes, and the modelled MAC covers none."""
    for good in (True, False):
        world = RelayWorld(crypto=Modelled())
        line = world.person("alice").connect()
        frame_id = world.uuid()
        mac = b64decode(line.mac("PRESENCE_SET", frame_id, world.now_ms, b"" if good else b"x"))
        frame = Frame("PRESENCE_SET", frame_id, world.now_ms, PresenceSet("away"), mac)
        world.apply(line.relay.receive_frame(line.conn, frame, world.now))
        assert line.close_code == (None if good else 1008)
        assert status_of(line) == ("away" if good else None)


# --- sequence numbers --------------------------------------------------------------------------------


def receive(line: Line, seq: int | None) -> str | None:
    """Send a frame with this ``seq``; the reason it is refused for."""
    line.clear()
    fields: dict[str, Any] = {} if seq is None else {"seq": seq}
    line.send("MESSAGE_RECEIVED", {"message_id": line.world.uuid()}, **fields)
    reason: str | None = line.error()["details"].get("reason")
    return reason


@pytest.mark.requirement("R-5.4", "table:Replay Attack Prevention/Sequence number")
def test_a_seq_must_be_greater_than_the_last_and_may_leave_gaps(line: Line) -> None:
    seqs: list[tuple[int | None, str | None]] = [
        (3, None),
        (3, "sequence_replayed"),
        (1, "sequence_replayed"),
        (4, None),
        (None, None),
        (900, None),
        (899, "sequence_replayed"),
        (2**63 - 1, None),
        (2**63 - 1, "sequence_replayed"),
    ]
    assert [receive(line, seq) for seq, _ in seqs] == [reason for _, reason in seqs]
    assert line.close_code is None


@pytest.mark.requirement("R-1.8", "R-5.4")
def test_a_seq_that_passed_its_step_must_be_consumed_although_the_frame_is_refused(line: Line) -> None:
    line.send("PRESENCE_SET", {"status": "away"}, seq=5, timestamp=0)
    assert line.reason() == "timestamp_out_of_window"
    assert receive(line, 5) == "sequence_replayed"
    line.send("PRESENCE_SET", {"status": "nonsense"}, seq=6)
    assert receive(line, 6) == "sequence_replayed"


@pytest.mark.requirement("R-1.8", "R-5.4")
def test_a_seq_must_not_be_consumed_by_a_frame_refused_before_its_step(line: Line) -> None:
    line.send("HELLO", {}, seq=5)
    line.send("PING", {}, seq=5)
    line.send("PRESENCE_SET", 3, seq=5)
    assert receive(line, 5) is None


@pytest.mark.requirement("R-5.4")
def test_a_pong_must_be_held_to_its_seq_too(line: Line) -> None:
    assert receive(line, 5) is None
    line.send("PONG", {"timestamp": 1, "client_time": 1}, seq=5)
    assert line.reason() == "sequence_replayed"


@pytest.mark.requirement("R-5.4", "R-3.4")
def test_the_last_seq_must_survive_a_resumption_and_only_that(world: RelayWorld, line: Line) -> None:
    assert receive(line, 9) is None
    line.lose()
    resumed = line.person.connect(resume=line.session["resume_token"])
    assert receive(resumed, 9) == "sequence_replayed"
    assert receive(resumed, 10) is None
    resumed.lose()
    assert receive(line.person.connect(), 1) is None


def test_a_frame_by_reference_with_a_foreign_payload_must_be_malformed(line: Line) -> None:
    frame = Frame("PRESENCE_SET", line.world.uuid(), line.world.now_ms, {"status": "away"})
    line.world.apply(line.relay.receive_frame(line.conn, frame, line.world.now))
    assert line.reason() == "malformed"
