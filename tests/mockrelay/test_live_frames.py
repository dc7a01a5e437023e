"""Frames over sockets: what RFC 6455 and the rulings ask of the transport, with bytes made by hand."""

from __future__ import annotations

import json

import pytest

from mockrelay import outlet
from tests.mockrelay.live_support import connected, masked, message, now_ms, raw_upgraded, run, serving

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.mark.requirement("R-4.1", "R-6.2", "R-6.3")
def test_alice_and_bob_must_exchange_a_message_through_its_four_stages() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice, connected(relay, "bob") as bob:
            message_id = await alice.message(bob.user, b"ciphertext")
            ack = (await alice.until("MESSAGE_ACK"))["payload"]
            assert (ack["message_id"], ack["status"], ack["recipient_devices"]) == (message_id, "queued", 1)
            new = await bob.until("MESSAGE_NEW")
            assert (new["id"], new["payload"]["from"]) == (message_id, alice.user.address)
            await bob.send("MESSAGE_RECEIVED", {"message_id": message_id})
            delivered = (await alice.until("MESSAGE_DELIVERED"))["payload"]
            assert delivered["device_id"] == bob.user.device_id
            await bob.send("MESSAGE_READ", {"message_id": message_id})
            assert (await alice.until("MESSAGE_READ"))["payload"]["read_by"] == bob.user.address

    run(body())


@pytest.mark.requirement("R-2.1", "R-2.2")
def test_a_large_message_must_travel_as_binary_both_ways() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice, connected(relay, "bob") as bob:
            payload = json.dumps(message(bob.user, b"x" * 40_000)).encode()
            head = bytes((2,)) + b"\x11" * 6 + b"\x41" + b"\x11" + b"\x81" + b"\x11" * 7 + now_ms().to_bytes(8, "big")
            await alice.ws.send(head + len(payload).to_bytes(4, "big") + payload)
            assert (await bob.until("MESSAGE_NEW"))["binary"]

    run(body())


@pytest.mark.requirement("R-8.1")
def test_a_control_ping_must_be_answered_and_be_no_frame_of_the_protocol() -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(masked(PING, b"are you there"))
            assert await alice.frame() == (PONG, b"are you there")
            alice.writer.write(masked(PONG, b"unasked"))
            # The challenge is still open: the pings were not taken for its answer.
            assert next(iter(relay.driver.relay.connections.values())).state == "challenged"

    run(body())


def test_a_fragmented_message_must_be_put_together_around_control_frames() -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(masked(TEXT, b'{"type":"PONG",', fin=False) + masked(PING, b"!"))
            assert await alice.frame() == (PONG, b"!")
            alice.writer.write(masked(0, b'"id":', fin=False) + masked(0, b"1}"))
            frame = json.loads((await alice.frame())[1])
            assert frame["type"] == "AUTH_FAILED"
            alice.writer.write(masked(CLOSE, b"\x0f\xa0"))
            assert (await alice.until_close())[0] == 4000

    run(body())


@pytest.mark.requirement("R-1.5")
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (masked(TEXT, b"{}", mask=False), 1002),
        (masked(3, b""), 1002),
        (masked(0, b"stray"), 1002),
        (masked(PING, b"x" * 126), 1002),
        (bytes((0xC1, 0x80, 0, 0, 0, 0)), 1002),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (masked(CLOSE, b"\x03\xe8\xff\xfe"), 1007),
    ],
)
def test_a_frame_that_breaks_rfc_6455_must_end_its_connection_with_its_code(sent: bytes, code: int) -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(sent)
            assert (await alice.until_close())[0] == code
            assert relay.driver.relay.connections == {}

    run(body())


def test_a_close_frame_that_is_not_utf8_must_be_told_so_in_plain_words() -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(masked(CLOSE, b"\x03\xe8\xff\xfe"))
            assert await alice.until_close() == (1007, "not UTF-8")

    run(body())


@pytest.mark.requirement("R-1.5", "R-2.3")
@pytest.mark.parametrize(
    ("sent", "code"),
    [(masked(TEXT, b"\xff\xfe"), 1007), (masked(BINARY, b"\x02short"), 1002), (masked(TEXT, b""), 4000)],
)
def test_what_the_core_closes_must_end_with_a_closing_handshake(sent: bytes, code: int) -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(sent + masked(CLOSE, code.to_bytes(2, "big")))
            assert (await alice.until_close())[0] == code
            assert relay.driver.relay.connections == {}

    run(body())


@pytest.mark.requirement("R-1.6")
@pytest.mark.parametrize("in_fragments", [False, True])
def test_a_message_above_1_mib_must_be_closed_with_1009(in_fragments: bool) -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            half = b" " * (1 << 19)
            if in_fragments:
                alice.writer.write(masked(TEXT, half, fin=False) + masked(0, half, fin=False) + masked(0, b" "))
            else:
                alice.writer.write(masked(TEXT, half + half + b" "))
            assert (await alice.until_close())[0] == 1009
            assert relay.driver.relay.connections == {}

    run(body())


@pytest.mark.requirement("R-1.6")
def test_a_message_of_exactly_1_mib_must_be_read() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            await alice.ws.send(" " * (1 << 20))
            error = (await alice.until("ERROR"))["payload"]
            assert error["details"]["reason"] == "malformed"

    run(body())


def test_the_peers_close_must_be_echoed_and_the_core_told_once() -> None:
    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(masked(CLOSE, (1000).to_bytes(2, "big") + b"bye"))
            assert await alice.until_close() == (1000, "bye")
            assert relay.driver.relay.connections == {}
            assert relay.driver.counters["connections.lost.closed"] == 1

    run(body())


def test_a_peer_that_never_answers_a_close_must_be_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "CLOSING_TIMEOUT_S", 0.05)

    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            alice.writer.write(masked(TEXT, b"\xff"))
            opcode, payload = await alice.frame()
            assert (opcode, payload[:2]) == (CLOSE, (1007).to_bytes(2, "big"))
            with pytest.raises((ConnectionResetError, EOFError)):
                await alice.reader.readexactly(1)

    run(body())


@pytest.mark.requirement("R-6.2")
def test_a_connection_cut_without_a_close_must_leave_the_copy_in_the_mailbox() -> None:
    async def body() -> None:
        async with serving("alice", "bob") as relay, connected(relay, "alice") as alice:
            async with connected(relay, "bob") as bob:
                await alice.message(bob.user)
                await bob.until("MESSAGE_NEW")
                bob.ws.transport.abort()
            async with connected(relay, "bob") as bob:
                assert (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"] == 1

    run(body())


@pytest.mark.requirement("R-8.1")
def test_an_abort_must_end_the_connection_without_a_close_frame() -> None:
    from zentalk_sim.protocol.control import CloseConn

    async def body() -> None:
        async with serving("alice") as relay, raw_upgraded(relay) as alice:
            conn = next(iter(relay.driver.relay.connections))
            relay.driver.control(CloseConn(conn, None))
            with pytest.raises((ConnectionResetError, EOFError)):
                await alice.reader.readexactly(1)

    run(body())


@pytest.mark.requirement("R-12.1")
def test_an_orderly_stop_must_close_every_connection_with_1001() -> None:
    async def body() -> None:
        async with (
            serving("alice", "bob") as relay,
            connected(relay, "alice") as alice,
            connected(relay, "bob", authenticate=False) as bob,
        ):
            await relay.stop()
            for peer in (alice, bob):
                await peer.ws.wait_closed()
                assert peer.ws.close_code == 1001

    run(body())
