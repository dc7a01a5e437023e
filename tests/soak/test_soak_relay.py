"""The long forms, for ``make soak`` alone: all of Autobahn, 10 000 idle connections, and hours' worth of abuse.

They are defined only where HYPOTHESIS_PROFILE is ``soak``. The relay runs as a process of its own, so that its memory
is its own: after a round that warms it up, further rounds of the same abuse must not make it grow.
"""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from benchmarks.relay_load import Account, Load, masked
from benchmarks.relay_servers import Server, mock_relay

MIB = 1 << 20
IDLE = 10_000
ROUNDS = 30
MAX_GROWTH_BYTES = 64 * MIB


@contextmanager
def many_files() -> Iterator[int]:
    """As many open files as the machine lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def pair(server: Server, first: Account, second: Account) -> Load:
    """Two connections that send to each other."""
    load = Load("127.0.0.1", server.port)
    load.open_all([first, second])
    load.prepare(load.clients[0], load.clients[1])
    load.prepare(load.clients[1], load.clients[0])
    return load


def must_be_served(load: Load) -> None:
    """A message passes through its four stages."""
    goal = load.delivered + 1
    load.message(load.clients[0])
    load.until(lambda: load.delivered == load.confirmed == load.acked == goal, "alice's message")


def dial(server: Server, first: bytes, **options: int) -> socket.socket:
    """A connection that is not read."""
    sock = socket.socket()
    if "receive_bytes" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_bytes"])
    sock.connect(("127.0.0.1", server.port))
    sock.setblocking(False)
    send(sock, first)
    return sock


def send(sock: socket.socket, data: bytes) -> None:
    """Whatever the kernel and the relay take of it."""
    with suppress(OSError):
        sock.send(data)


def upgrade(account: Account) -> bytes:
    """An upgrade request."""
    return (
        f"GET {account.target()} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: zentalk.v1\r\n\r\n"
    ).encode()


def abuse(server: Server, accounts: list[Account]) -> None:
    """One round of everything; all of it is over when this returns."""
    with ExitStack() as open_sockets:
        for number, account in enumerate(accounts):
            loris = [dial(server, b"GET /ws/v1 HTTP/1.1\r\nX-Slow: ") for _ in range(10)]
            flooding = dial(server, upgrade(account) + masked(b'{"type":1}') * 200)
            pinging = dial(server, upgrade(account) + masked(b"x" * 100, 9) * 500, receive_bytes=4096)
            oversized = dial(server, upgrade(account) + b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
            fragments = masked(b" " * 100, 0).replace(b"\x80", b"\x00", 1)
            fragmented = dial(server, upgrade(account) + b"\x01" + masked(b"{")[1:] + fragments * 500)
            garbage = dial(server, upgrade(account) + bytes((number * 7 + at * 13) % 256 for at in range(2_000)))
            for sock in (*loris, flooding, pinging, oversized, fragmented, garbage):
                open_sockets.callback(sock.close)


if os.environ.get("HYPOTHESIS_PROFILE") == "soak":

    def test_ten_thousand_authenticated_idle_connections_must_fit_into_1_gib_and_two_be_served() -> None:
        with many_files() as most, mock_relay(min(IDLE, most - 100) + 2) as server:
            alice, bob, *others = server.accounts
            crowd = Load("127.0.0.1", server.port)
            crowd.open_all(others, sources=[f"127.0.0.{number}" for number in range(1, 6)])
            load = pair(server, alice, bob)
            must_be_served(load)
            assert server.rss_bytes() < 1 << 30
            # The first heartbeats of all of them come and are answered.
            end_s = time.monotonic() + 45
            while time.monotonic() < end_s:
                crowd.turn(0.5)
                load.turn(0.0)
            must_be_served(load)
            assert server.rss_bytes() < 1 << 30
            load.close()
            crowd.close()

    def test_round_after_round_of_abuse_must_not_make_the_relay_grow() -> None:
        bounds = ("--bound", "handshakes=100", "--bound", "journal_entries=10000", "--bound", "journal_bytes=8000000")
        with many_files(), mock_relay(22, *bounds) as server:
            alice, bob, *others = server.accounts
            load = pair(server, alice, bob)
            sizes = []
            for _ in range(ROUNDS):
                abuse(server, others)
                for _ in range(50):
                    must_be_served(load)
                sizes.append(server.rss_bytes())
            load.close()
            growth = max(sizes[ROUNDS // 2 :]) - max(sizes[: ROUNDS // 2])
            assert growth < MAX_GROWTH_BYTES, [size // MIB for size in sizes]
