"""Fault rules at ``frame_in`` and ``frame_out`` that strike the connection: its end, its silence, its pace."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosedError

from tests.mockrelay.fault_support import advance, rule, silent_until_the_end, waiting, written
from tests.mockrelay.live_support import connected, frozen, masked, raw_upgraded, run, serving, user_of
from zentalk_sim.protocol.control import CloseConn

SENT = {"event": "frame_in", "type": "MESSAGE_SEND"}
ACKED = {"event": "frame_out", "type": "MESSAGE_ACK"}
PROBE = {"type": "PROBE", "payload": {"n": 1}}


@pytest.mark.parametrize("match", [SENT, ACKED])
def test_close_must_end_with_the_code_and_without_the_frame(match: dict[str, str]) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, match, "close", code=4321, reason="by rule")
            await alice.message(user_of(relay, "bob"))
            with pytest.raises(ConnectionClosedError):
                await alice.next()
            assert (alice.ws.close_code, alice.ws.close_reason) == (4321, "by rule")
            closed = (await written(relay, event="closed", direction="out"))[0]
            assert (closed["close_code"], closed["user"]) == (4321, alice.user.address)
            assert not relay.driver.relay.connections

    run(body())


@pytest.mark.parametrize("match", [SENT, ACKED])
def test_abort_must_reset_the_transport(match: dict[str, str]) -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            rule(relay, match, "abort")
            await alice.message(user_of(relay, "bob"))
            with pytest.raises(ConnectionClosedError) as caught:
                await alice.next()
            assert alice.ws.close_code == 1006
            assert isinstance(caught.value.__cause__, ConnectionResetError), "a reset, no orderly end"
            assert (await written(relay, event="lost"))[0]["close_code"] == 1006

    run(body())


@pytest.mark.parametrize("match", [SENT, ACKED])
def test_a_blackhole_must_leave_both_sides_untold(match: dict[str, str]) -> None:
    async def body() -> None:
        relay = serving("alice", "bob")
        async with relay, connected(relay, "alice") as alice, connected(relay, "bob") as bob:
            rule(relay, {**match, "user": "alice"}, "blackhole")
            await alice.message(bob.user)
            await written(relay, **match)
            assert len(relay.driver.relay.connections) == 2, "the relay has not noticed"
            await bob.message(alice.user)
            await bob.until("MESSAGE_ACK")
            listening = asyncio.ensure_future(alice.next())
            done, _ = await asyncio.wait([listening], timeout=0.05)
            assert not done, "the client has not noticed either"
            listening.cancel()
            alice.ws.transport.abort()

    run(body())


@pytest.mark.requirement("R-8.1")
def test_the_cores_end_of_a_silent_connection_must_not_be_told_to_the_peer() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, raw_upgraded(relay) as peer:
            rule(relay, {"event": "frame_in"}, "blackhole")
            peer.writer.write(masked(1, b"{}"))
            await written(relay, event="frame_in")
            relay.driver.control(CloseConn(next(iter(relay.driver.relay.connections)), None))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not relay.driver.relay.connections
            await silent_until_the_end(relay, peer)

    run(body())


@pytest.mark.parametrize("match", [SENT, ACKED])
def test_slow_close_must_pass_the_frame_and_answer_the_close_later(match: dict[str, str]) -> None:
    async def body() -> None:
        async with serving("alice", "bob", clock=frozen()) as relay, connected(relay, "alice") as alice:
            rule(relay, match, "slow_close", ms=5000)
            await alice.message(user_of(relay, "bob"))
            await alice.until("MESSAGE_ACK")
            alice.ws.close_timeout = 10
            closing = asyncio.ensure_future(alice.ws.close(1000))
            await written(relay, event="closed", direction="in", close_code=1000)
            assert not closing.done()
            await advance(relay, 4999)
            assert not closing.done()
            await advance(relay, 1)
            await closing
            assert alice.ws.close_code == 1000

    run(body())


@pytest.mark.parametrize("direction", ["in", "out"])
def test_throttle_must_let_bytes_pass_at_their_rate(direction: str) -> None:
    async def body() -> None:
        async with serving("alice", "bob", clock=frozen()) as relay, connected(relay, "alice") as alice:
            rule(relay, {"event": "frame_" + direction, "user": "alice"}, "throttle", times=1, bytes_per_s=1000)
            await alice.message(user_of(relay, "bob"))
            if direction == "in":
                await written(relay, **SENT)
                assert waiting(relay, alice, "in") == 1
            else:
                await written(relay, **ACKED)
                assert waiting(relay, alice, "out") == 1
            await advance(relay, 2000)
            await advance(relay, 2000)
            await alice.until("MESSAGE_ACK")

    run(body())


def test_a_throttled_frame_must_come_through_in_slices_of_its_bytes() -> None:
    """1 000 bytes a second: 50 bytes every 50 ms, each slice when its last byte would have come."""

    async def body() -> None:
        async with serving("alice", clock=frozen()) as relay, raw_upgraded(relay, "alice") as alice:
            rule(relay, {"event": "frame_out", "user": "alice"}, "throttle", times=1, bytes_per_s=1000)
            alice.writer.write(masked(1, b"{}"))
            await written(relay, event="frame_out", type="AUTH_FAILED")
            came = b""
            for _ in range(3):
                await advance(relay, 49)
                await advance(relay, 1)
                came += await alice.reader.readexactly(50)
                (gate,) = relay.default.faults.gates.values()
                assert gate.waiting_out()[0] == 2, "the frame and the close behind it"
            assert b'"type":"AUTH_FAILED"' in came

    run(body())
