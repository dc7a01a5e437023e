"""The mock relay at 10, 100, 1 000 and 10 000 connections: ``python -m benchmarks.relay_growth [SIZE ...]``.

Each server, ours from sources and compiled and the bare forwarder on ``websockets``, is a process of its own, loaded by
``relay_load``. At each size, one server after the other, in turns where there are several rounds (sizes up to
``SMALL``; the largest are measured once):

- the connections are opened, 50 at most under way; how much resident memory they take, in bytes a connection. A few
  others were opened before, so that what a first connection makes the interpreter allocate is not counted. A process
  grows by whole arenas of memory: below 1 000 connections nobody can tell what one costs, and a dash stands there;
- messages of 600 bytes go one to one, by turns from all connections, ``UNDER_WAY`` under way (at 10 connections 80):
  CPU time of the server's process a message, and messages a second by the clock. A message of the relay is done when
  its MESSAGE_ACK and MESSAGE_DELIVERED have come too. What the load generator takes a message is kept beside it: where
  that were more, the server would wait for its load;
- ``RATE_PER_S`` messages a second are sent at even distances: milliseconds from sending to arrival;
- connections a second by the clock, to AUTH_SUCCESS (a forwarder: to the upgrade): small sizes are closed and opened
  again until ``OPENED`` were.

Prints the table as Markdown and keeps ``runs/bench_growth.json``, and each run in a file of its own. Needs Linux.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, Final

from benchmarks.lines import BenchmarkError, Line, line
from benchmarks.relay_lines import allow_files
from benchmarks.relay_load import Account, Client, Load, LoadError
from benchmarks.relay_servers import Server, compiled_relay, is_compiled, mock_relay, websockets_forwarder
from benchmarks.relay_throughput import Figures, Start, medians
from benchmarks.results import keep, provenance

SIZES: Final = (10, 100, 1_000, 10_000)
SMALL: Final = 1_000
ROUNDS: Final = 2
MESSAGES: Final = 10_000
UNDER_WAY: Final = 800
RATE_PER_S: Final = 1_000
RATE_S: Final = 2.5
OPENED: Final = 500
WARMING: Final = 10
TELLING: Final = 1_000
"""The least number of connections whose memory says something of one."""
BASELINE: Final = "websockets"
STEM: Final = "bench_growth"
SOURCES: Final = [f"127.0.0.{number}" for number in range(1, 6)]
"""Where connections come from: one address has too few ports for many thousands that are opened again."""

Found = dict[int, dict[str, Figures]]
"""Size → server → its figures."""


def _is_settled(load: Load, messages: int) -> bool:
    """Whether all that follows from so many messages has come."""
    if load.delivered < messages:
        return False
    return not load.clients[0].account.secret or (load.acked >= messages and load.confirmed >= messages)


def _push_through(load: Load, senders: list[Client], messages: int) -> None:
    """Send this many messages, each connection in its turn, a fixed number of them under way."""
    goal = load.delivered + messages
    left = messages
    turns = cycle(senders)

    def again(_: Client) -> None:
        nonlocal left
        if left:
            left -= 1
            load.message(next(turns))

    load.on_delivered = again
    for _ in range(min(UNDER_WAY, 8 * len(senders))):
        again(senders[0])
    load.until(lambda: _is_settled(load, goal), "messages")
    load.on_delivered = lambda sender: None


def _send_evenly(load: Load, senders: list[Client], seconds: float) -> None:
    """Send ``RATE_PER_S`` messages a second, each connection in its turn."""
    count = int(RATE_PER_S * seconds)
    goal = load.delivered + count
    load.latencies_ns.clear()
    began_s = time.perf_counter()
    for number, sender in zip(range(count), cycle(senders), strict=False):
        while (wait_s := began_s + number / RATE_PER_S - time.perf_counter()) > 0:
            # epoll waits in whole milliseconds; the rest is spent in asking.
            load.turn(0.001 if wait_s > 0.0015 else 0.0)
        load.message(sender)
    load.until(lambda: _is_settled(load, goal), "messages")


def _open(server: Server, load: Load, accounts: list[Account]) -> Figures:
    """Open the connections: what they took by the clock, of the server's CPU time, and of its memory."""
    rss_bytes, cpu_s, wall_s = server.rss_bytes(), server.cpu_s(), time.perf_counter()
    load.open_all(accounts, sources=SOURCES)
    return {
        "wall_s": time.perf_counter() - wall_s,
        "cpu_s": server.cpu_s() - cpu_s,
        "bytes": server.rss_bytes() - rss_bytes,
    }


def _connecting(server: Server, first: Figures, accounts: list[Account], least: int) -> Figures:
    """Connections a second; where the first time was too short to tell, of opening them all again."""
    count = len(accounts)
    again = 0 if count >= least else -(-least // count)
    wall_s, cpu_s = (0.0, 0.0) if again else (first["wall_s"], first["cpu_s"])
    for _ in range(again):
        load = Load("127.0.0.1", server.port)
        try:
            taken = _open(server, load, accounts)
        finally:
            load.close()
        wall_s, cpu_s = wall_s + taken["wall_s"], cpu_s + taken["cpu_s"]
    total = count * max(1, again)
    return {"connections_per_s": total / wall_s, "cpu_us_per_connection": cpu_s / total * 1e6}


def measure(start: Start, size: int, messages: int = MESSAGES, rate_s: float = RATE_S, opened: int = OPENED) -> Figures:
    """All figures of one server at one size. Raises LoadError."""
    with start(size + WARMING) as server:
        load = Load("127.0.0.1", server.port)
        try:
            load.open_all(server.accounts[size:])
            first = _open(server, load, server.accounts[:size])
            rss_bytes = server.rss_bytes()
            senders = load.clients[WARMING:]
            for number, client in enumerate(senders):
                load.prepare(client, senders[number ^ 1])
            _push_through(load, senders, messages // 4)
            load.stock(senders, messages)
            cpu_s, load_s, wall_s = server.cpu_s(), load.cpu_s(), time.perf_counter()
            _push_through(load, senders, messages)
            cpu_s, load_s, wall_s = server.cpu_s() - cpu_s, load.cpu_s() - load_s, time.perf_counter() - wall_s
            _send_evenly(load, senders, rate_s)
        finally:
            load.close()
        sample = sorted(load.latencies_ns)
        return {
            "cpu_us_per_message": cpu_s / messages * 1e6,
            "messages_per_s": messages / wall_s,
            "generator_us_per_message": load_s / messages * 1e6,
            "p50_ms": sample[len(sample) // 2] / 1e6,
            "p99_ms": sample[len(sample) * 99 // 100] / 1e6,
            **_connecting(server, first, server.accounts[:size], opened),
            "bytes_per_connection": first["bytes"] / size,
            "rss_mib": rss_bytes / 2**20,
        }


def servers() -> dict[str, Start]:
    """What is compared: ours, from sources and compiled where that was done, and the baseline."""
    compiled: dict[str, Start] = {"relay, compiled": compiled_relay} if is_compiled() else {}
    return {"relay": mock_relay, **compiled, BASELINE: websockets_forwarder}


_COLUMNS: Final[tuple[tuple[str, Callable[[int, Figures, Figures], str]], ...]] = (
    ("CPU a message, µs", lambda size, ours, base: _against(ours, base, "cpu_us_per_message")),
    ("messages/s", lambda size, ours, base: f"{ours['messages_per_s']:,.0f}"),
    (f"p50 at {RATE_PER_S:,}/s, ms", lambda size, ours, base: f"{ours['p50_ms']:.2f}"),
    (f"p99 at {RATE_PER_S:,}/s, ms", lambda size, ours, base: f"{ours['p99_ms']:.2f}"),
    ("connections/s", lambda size, ours, base: f"{ours['connections_per_s']:,.0f}"),
    ("CPU a connection, µs", lambda size, ours, base: _against(ours, base, "cpu_us_per_connection")),
    (
        "bytes an idle connection",
        lambda size, ours, base: _against(ours, base, "bytes_per_connection") if size >= TELLING else "–",
    ),
    ("MiB", lambda size, ours, base: f"{ours['rss_mib']:,.0f}"),
)


def _against(ours: Figures, base: Figures, figure: str) -> str:
    """A cost, and how many times the baseline's it is."""
    told = f"{ours[figure]:,.0f}"
    return told if ours is base or base[figure] <= 0 else f"{told} ({ours[figure] / base[figure]:.2f}×)"


def table(found: Found) -> list[str]:
    """Rows of Markdown; in brackets, what a cost is to the baseline's at the same size."""
    heads = ["connections", "server", *(title for title, _ in _COLUMNS)]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for size, figures in found.items():
        for name, ours in figures.items():
            cells = [cell(size, ours, figures[BASELINE]) for _, cell in _COLUMNS]
            rows.append(f"| {' | '.join((f'{size:,}', name, *cells))} |")
    return rows


_COMPARED: Final = (
    ("a message one to one", "CPU us", "cpu_us_per_message"),
    (f"p50 at {RATE_PER_S:,} messages a second", "ms", "p50_ms"),
    (f"p99 at {RATE_PER_S:,} messages a second", "ms", "p99_ms"),
    ("a connection authenticated", "CPU us", "cpu_us_per_connection"),
)


def lines(kept: dict[str, Any]) -> list[Line]:
    """The costs as ``benchmarks compare`` reads them; ``kept`` is ``grow``'s, size → server → medians and rounds."""
    return [
        line(
            f"{name}, {int(size):,} connections, {what}",
            unit,
            [
                (ours[figure], base[figure])
                for ours, base in zip(found["rounds"], by_server[BASELINE]["rounds"], strict=True)
            ],
            "a bare forwarder on websockets",
        )
        for size, by_server in kept.items()
        for name, found in by_server.items()
        if name != BASELINE
        for what, unit, figure in _COMPARED
    ]


def grow(sizes: tuple[int, ...], most_files: int) -> tuple[Found, dict[str, Any]]:
    """Measure all sizes; medians, and every round's figures. Raises BenchmarkError."""
    found: Found = {}
    kept: dict[str, Any] = {}
    for size in sizes:
        if size + WARMING + 100 > most_files:
            raise BenchmarkError(f"{size:,} connections need more open files than the {most_files:,} of `ulimit -Hn`")
        rounds: dict[str, list[Figures]] = {name: [] for name in servers()}
        for _ in range(ROUNDS if size <= SMALL else 1):
            for name, start in servers().items():
                try:
                    rounds[name].append(measure(start, size))
                except (LoadError, RuntimeError) as error:
                    raise BenchmarkError(f"{name}, {size:,} connections: {error}") from None
                print(f"{size:,} connections, {name}: done", file=sys.stderr, flush=True)
        found[size] = {name: medians(figures) for name, figures in rounds.items()}
        kept[str(size)] = {name: {"medians": found[size][name], "rounds": figures} for name, figures in rounds.items()}
    return found, kept


def main(arguments: list[str]) -> None:
    """Print the table, keep the figures. Raises BenchmarkError."""
    if not all(text.isdigit() and int(text) >= 2 and int(text) % 2 == 0 for text in arguments):
        raise BenchmarkError("usage: python -m benchmarks.relay_growth [SIZE ...]; sizes are even, since pairs talk")
    sizes = tuple(map(int, arguments)) or SIZES
    machine = provenance(datetime.now(UTC))
    found, kept = grow(sizes, allow_files())
    print("\n".join(table(found)))
    settings = {"messages": MESSAGES, "under_way": UNDER_WAY, "rate_per_s": RATE_PER_S, "rate_s": RATE_S}
    records = [one.record() for one in lines(kept)]
    path = keep(STEM, {"machine": machine, "settings": settings, "lines": records, "sizes": kept})
    print(f"\nkept in {path}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BenchmarkError as error:
        raise SystemExit(f"error: {error}") from None
