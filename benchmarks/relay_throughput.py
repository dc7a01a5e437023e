"""The mock relay against bare forwarders: ``python -m benchmarks.relay_throughput [quick]``.

What is counted, the same way for each server: an application message is a MESSAGE_SEND text of 600 bytes, and it counts
once, when its recipient's socket has brought it to the load generator. For that the forwarders parse one JSON text and
send it on. The relay also checks ``seq`` and MAC, stores the message, answers MESSAGE_ACK, takes MESSAGE_RECEIVED from
the recipient and tells the sender MESSAGE_DELIVERED; a run of the relay ends when all of these have come, so that
their cost is in its figures.

Each of 100 connections sends to its partner, with at most ``WINDOW`` messages under way: what has arrived makes room
for the next of the same sender, so that messages come by several at once. Servers run as processes of
their own, in turns; each figure is the median of its rounds. Cost is CPU time of the server's process, which a busy
machine distorts less than the wall's clock. Needs Linux (epoll, /proc).
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.relay_load import Load
from benchmarks.relay_servers import (
    Server,
    compiled_relay,
    has_node,
    is_compiled,
    mock_relay,
    node_forwarder,
    websockets_forwarder,
)

RESULT: Final = Path("runs") / "bench_relay.json"
CONNECTIONS: Final = 100
WINDOW: Final = 8
RATE_PER_S: Final = 1_000
COMPILED: Final = "relay, compiled"
OURS: Final = ("relay", COMPILED)
_IDLE_SOURCES: Final = [f"127.0.0.{number}" for number in range(1, 6)]

Start = Callable[[int], AbstractContextManager[Server]]
Figures = dict[str, float]


def with_load(server: Server) -> Load:
    """A load generator for a server."""
    return Load("127.0.0.1", server.port)


@contextmanager
def paired(start: Start, connections: int = CONNECTIONS) -> Iterator[tuple[Server, Load]]:
    """A server with connections that send to each other by twos."""
    with start(connections) as server:
        load = with_load(server)
        try:
            load.open_all(server.accounts)
            for number, client in enumerate(load.clients):
                load.prepare(client, load.clients[number ^ 1])
            yield server, load
        finally:
            load.close()


def _settled(load: Load, messages: int) -> bool:
    if load.delivered < messages:
        return False
    return not load.clients[0].account.secret or (load.acked >= messages and load.confirmed >= messages)


def _push_through(load: Load, messages: int) -> None:
    """Send this many messages more, in closed loops of ``WINDOW``, until all that follows from them has come."""
    goal = sum(client.sent for client in load.clients) + messages
    left = messages

    def again(sender: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            load.message(sender)

    load.on_delivered = again
    for client in load.clients:
        for _ in range(WINDOW):
            again(client)
    load.until(lambda: _settled(load, goal), "messages")


def throughput(start: Start, messages: int, connections: int = CONNECTIONS) -> Figures:
    """Messages a second, and CPU time a message: the server's, and the load generator's, which must be less."""
    with paired(start, connections) as (server, load):
        _push_through(load, messages // 4)
        load.stock(load.clients, messages)
        cpu_s, load_s, wall_s = server.cpu_s(), load.cpu_s(), time.perf_counter()
        _push_through(load, messages)
        cpu_s, load_s, wall_s = server.cpu_s() - cpu_s, load.cpu_s() - load_s, time.perf_counter() - wall_s
        return {
            "messages_per_s": messages / wall_s,
            "cpu_us_per_message": cpu_s / messages * 1e6,
            "generator_us_per_message": load_s / messages * 1e6,
        }


def latency(start: Start, seconds: float) -> Figures:
    """Milliseconds from sending to arrival at 1 000 messages a second, sent at even distances."""
    with paired(start) as (server, load):
        _push_through(load, 1_000)
        load.latencies_ns.clear()
        load.on_delivered = lambda sender: None
        count = int(RATE_PER_S * seconds)
        goal = sum(client.sent for client in load.clients) + count
        began_s, cpu_s = time.perf_counter(), server.cpu_s()
        for number in range(count):
            while (wait_s := began_s + number / RATE_PER_S - time.perf_counter()) > 0:
                # epoll waits in whole milliseconds; the rest is spent in asking.
                load.turn(0.001 if wait_s > 0.0015 else 0.0)
            load.message(load.clients[number % CONNECTIONS])
        load.until(lambda: _settled(load, goal), "messages")
        cpu_s = server.cpu_s() - cpu_s
        sample = sorted(load.latencies_ns)
        return {
            "p50_ms": sample[len(sample) // 2] / 1e6,
            "p99_ms": sample[len(sample) * 99 // 100] / 1e6,
            "max_ms": sample[-1] / 1e6,
            "cpu_share": cpu_s / (time.perf_counter() - began_s),
        }


def connecting(start: Start, connections: int) -> Figures:
    """Connections a second from TCP to AUTH_SUCCESS (for a forwarder: to the upgrade), and CPU time of one."""
    with start(connections) as server:
        load = with_load(server)
        cpu_s, wall_s = server.cpu_s(), time.perf_counter()
        load.open_all(server.accounts)
        cpu_s, wall_s = server.cpu_s() - cpu_s, time.perf_counter() - wall_s
        load.close()
        return {"connections_per_s": connections / wall_s, "cpu_us_per_connection": cpu_s / connections * 1e6}


def idle(start: Start, connections: int) -> Figures:
    """Bytes of resident memory that each further connection costs, and what the server holds in the end."""
    with start(connections) as server:
        load = with_load(server)
        # What the first connections make the interpreter allocate once is not theirs.
        first = connections // 10
        load.open_all(server.accounts[:first], sources=_IDLE_SOURCES)
        before = server.rss_bytes()
        load.open_all(server.accounts[first:], sources=_IDLE_SOURCES)
        after = server.rss_bytes()
        cpu_s, wall_s = server.cpu_s(), time.perf_counter()
        while time.perf_counter() - wall_s < 3:
            load.turn(0.1)
        cpu_s = server.cpu_s() - cpu_s
        load.close()
        return {
            "bytes_per_connection": (after - before) / (connections - first),
            "rss_mib": after / 2**20,
            "idle_cpu_share": cpu_s / 3,
        }


def servers() -> dict[str, Start]:
    """What is compared, by name; the relay first, from sources and, where it was compiled, from machine code."""
    found: dict[str, Start] = {"relay": mock_relay}
    if is_compiled():
        found[COMPILED] = compiled_relay
    found["websockets"] = websockets_forwarder
    if has_node():
        found["node ws"] = node_forwarder
    return found


def medians(rounds: list[Figures]) -> Figures:
    """Each figure's median."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def compare(measure: Callable[[Start], Figures], rounds: int) -> dict[str, Figures]:
    """The servers in turns."""
    seen: dict[str, list[Figures]] = {name: [] for name in servers()}
    for _ in range(rounds):
        for name, start in servers().items():
            seen[name].append(measure(start))
    return {name: medians(figures) for name, figures in seen.items()}


def show(title: str, result: dict[str, Figures]) -> None:
    """Print a table, with the ratio of the relay's two forms to each forwarder."""
    print(f"\n{title}")
    for figure in result["relay"]:
        cells = "".join(f"{name}: {figures[figure]:,.2f}   " for name, figures in result.items())
        print(f"  {figure:<24}{cells}", flush=True)
        for ours in (name for name in OURS if name in result):
            ratios = ", ".join(
                f"{result[ours][figure] / figures[figure]:.2f}x {name}"
                for name, figures in result.items()
                if name not in OURS and figures[figure]
            )
            if ratios:
                print(f"{'':<26}{ours} is {ratios}", flush=True)


def measure(quick: bool, told: Callable[[str, dict[str, Figures]], None]) -> dict[str, dict[str, Figures]]:
    """Everything, kept in ``RESULT``; ``told`` is told of each part as it is done."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    many = 1_000 if quick else min(10_000, most - 100)
    rounds, messages = (1, 5_000) if quick else (3, 20_000)
    parts: list[tuple[str, str, Callable[[Start], Figures], int]] = [
        ("throughput", f"one to one, {CONNECTIONS} connections", lambda s: throughput(s, messages), rounds),
        ("latency", f"latency at {RATE_PER_S} messages a second", lambda s: latency(s, 2 if quick else 5), rounds),
        ("connecting", "connecting", lambda s: connecting(s, 500 if quick else 2_000), rounds),
        ("idle", f"{many:,} idle connections", lambda s: idle(s, many), 1),
    ]
    found: dict[str, dict[str, Figures]] = {}
    for key, title, part, count in parts:
        found[key] = compare(part, count)
        told(title, found[key])
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**machine, "window": WINDOW, **found}, indent=1) + "\n")
    return found


def main() -> None:
    """Measure, print, keep."""
    measure("quick" in sys.argv[1:], show)
    print(f"\nkept in {RESULT}")


if __name__ == "__main__":
    main()
