"""R-12.4: the bounded outbox, by a transport of our own and by a peer that does not read."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from mockrelay.driver import Driver
from mockrelay.spaces import Space
from mockrelay.websocket import Connection
from tests.mockrelay.live_support import (
    config,
    connected,
    masked,
    message,
    now_ms,
    run,
    serving,
    user_of,
)
from zentalk_sim.protocol.effects import Accept


class Wire(asyncio.Transport):
    """A transport that takes what it is given until ``full`` is set, and then keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.kept = b""
        self.full = False
        self.reading = True
        self.closed = self.aborted = False
        self.protocol: Connection | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert high <= 1, "what waits must wait in the connection's own outbox"

    def get_write_buffer_size(self) -> int:
        return len(self.kept)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        assert not self.kept, "written while paused"
        if not self.full:
            self.written += data
            return
        self.kept += data
        assert self.protocol is not None
        self.protocol.pause_writing()

    def take_all(self) -> None:
        """The peer reads everything."""
        self.full = False
        self.written, self.kept = self.written + self.kept, b""
        assert self.protocol is not None
        self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True


def upgraded(**outbox: int) -> tuple[Driver, Connection, Wire]:
    """A connection on a wire, upgraded; call it on a running loop."""
    space = Space(config(outbox=outbox), seed=1)
    driver = space.driver
    connection, wire = Connection(lambda path: (space, path), lambda _: None, lambda _: None), Wire()
    wire.protocol = connection
    connection.connection_made(wire)
    request = (
        b"GET /ws/v1?token=t&device_id=0ad5bd67-171e-4c68-9866-76b209781ee0 HTTP/1.1\r\nHost: localhost\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: zentalk.v1\r\n\r\n"
    )
    # What the core says of this connection is no matter here: the test says it in its place.
    vars(driver.relay)["connect"] = lambda conn, *_: [_accept(conn)]
    connection.data_received(request)
    driver.cork.flush()
    assert wire.written.startswith(b"HTTP/1.1 101 ")
    wire.written = b""
    return driver, connection, wire


def _accept(conn: int) -> Any:
    return Accept(conn)


def finish(driver: Driver, connection: Connection) -> None:
    connection.connection_lost(None)
    driver.stop()


@pytest.mark.requirement("R-12.4")
def test_frames_must_wait_in_order_while_the_peer_does_not_read() -> None:
    async def body() -> None:
        driver, connection, wire = upgraded()
        connection.send(b"one", False)
        wire.full = True
        for text in (b"two", b"three", b"four"):
            connection.send(text, False)
        assert wire.written == b"\x81\x03one"
        assert connection.queued() == (3, 5 + 7 + 6)
        wire.take_all()
        assert wire.written == b"\x81\x03one\x81\x03two\x81\x05three\x81\x04four"
        assert connection.queued() == (0, 0)
        finish(driver, connection)

    run(body())


@pytest.mark.requirement("R-12.4")
@pytest.mark.parametrize(("outbox", "payload"), [({"max_frames": 4}, b"x"), ({"max_bytes": 400}, b"x" * 98)])
def test_one_frame_beyond_the_bound_must_drop_the_connection(outbox: dict[str, int], payload: bytes) -> None:
    async def body() -> None:
        driver, connection, wire = upgraded(**outbox)
        wire.full = True
        for _ in range(4):
            connection.send(payload, False)
        assert not wire.aborted, "the bound itself is within"
        connection.send(payload, False)
        assert wire.aborted
        connection.send(payload, False)
        assert driver.counters["slow_consumer"] == 1
        finish(driver, connection)
        assert driver.counters.get("slow_consumer") == 1

    run(body())


@pytest.mark.requirement("R-12.4")
def test_reading_must_pause_while_the_outbox_is_more_than_half_full() -> None:
    async def body() -> None:
        driver, connection, wire = upgraded(max_frames=8)
        wire.full = True
        for _ in range(4):
            connection.send(b"x", False)
        assert wire.reading, "half is not more than half"
        connection.send(b"x", False)
        assert not wire.reading
        # What was read with the frame that paused reading waits too.
        connection.data_received(masked(9, b"late"))
        assert connection.queued()[0] == 5
        wire.take_all()
        assert wire.reading
        driver.cork.flush()
        assert wire.written.endswith(b"\x8a\x04late")
        finish(driver, connection)

    run(body())


@pytest.mark.requirement("R-12.4")
def test_a_close_must_flush_what_was_sent_before_it() -> None:
    async def body() -> None:
        driver, connection, wire = upgraded()
        wire.full = True
        connection.send(b"kept", False)
        connection.send(b"queued", True)
        connection.close(1001, "é" * 100)
        connection.send(b"too late", False)
        wire.take_all()
        reason = ("é" * 61).encode()
        assert wire.written == b"\x81\x04kept\x82\x06queued\x88\x7c\x03\xe9" + reason
        assert not wire.closed, "the peer's close frame is waited for"
        connection.data_received(masked(8, b"\x03\xe9"))
        assert wire.closed
        assert not wire.aborted
        finish(driver, connection)

    run(body())


@pytest.mark.requirement("R-12.4")
def test_a_transport_must_not_be_closed_from_within_its_own_write() -> None:
    """asyncio's resumes its protocol amid a write, and would then tell of its loss twice."""

    async def body() -> None:
        driver, connection, wire = upgraded()
        wire.full = True
        connection.send(b"kept", False)
        connection.send(b"queued", False)
        connection.data_received(masked(8, b"\x03\xe8"))
        wire.take_all()
        assert wire.written.endswith(b"\x88\x02\x03\xe8"), "the answer to its close frame has gone out"
        assert not wire.closed
        await asyncio.sleep(0)
        assert wire.closed
        assert not wire.aborted
        finish(driver, connection)

    run(body())


@pytest.mark.requirement("R-12.4")
def test_a_slow_consumer_must_be_dropped_and_others_served() -> None:
    async def body() -> None:
        limits = {"send_message": "off"}
        async with serving("alice", "bob", "carol", settings={"limits": limits}) as relay:
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            host, port = relay.ws_url.split("/")[2].rsplit(":", 1)
            async with connected(relay, "carol") as carol, connected(relay, "alice") as alice:
                async with connected(relay, "bob", sock=slow_socket(slow, host, int(port))) as bob:
                    bob.ws.transport.pause_reading()
                    sent = 0
                    while not relay.driver.counters.get("slow_consumer"):
                        assert sent < 60, "bob's connection must be dropped by now"
                        await large(alice, user_of(relay, "bob"), sent)
                        sent += 1
                    await alice.message(carol.user, b"you are served")
                    assert (await carol.until("MESSAGE_NEW"))["payload"]["from"] == alice.user.address
                    bob.ws.transport.abort()
                assert relay.driver.counters["slow_consumer"] == 1
                assert relay.driver.counters["connections.lost.slow_consumer"] == 1
                async with connected(relay, "bob") as bob:
                    pending = (await bob.until("SYNC_REQUIRED"))["payload"]["pending_count"]
                    assert pending == sent, "the copies stay in the mailbox"

    run(body())


def slow_socket(sock: socket.socket, host: str, port: int) -> socket.socket:
    sock.setblocking(True)
    sock.connect((host, port))
    sock.setblocking(False)
    return sock


async def large(peer: Any, to: Any, number: int) -> None:
    """A message of 600 kB, and its ACK."""
    payload = json.dumps(message(to, b"x" * 450_000)).encode()
    ident = bytes((number,)) * 6 + b"\x41\x11\x81" + b"\x11" * 7
    await peer.ws.send(b"\x02" + ident + now_ms().to_bytes(8, "big") + len(payload).to_bytes(4, "big") + payload)
    await peer.until("MESSAGE_ACK")
