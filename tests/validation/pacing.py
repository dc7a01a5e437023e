"""The send limit and the client's backoff against their own arithmetic, through the cores.

R-10.1 admits where a bucket of b tokens, refilled at N/W, has one, and fewer than N were admitted in the last window
W. A greedy sender with b = 10, N = 60, W = 60 s thus gets 10 at once, one a second to 60 (at 50 s), and a pause until
the minute is over: the k-th of a minute at max(0, k − 9) s, k = 0 … 59. With a window that never binds it gets b + rt
by the time t. R-11.2 waits d = min(30, 2ᵏ) s and a jitter uniform on [0, d/10].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from itertools import pairwise

from tests.protocol.relay_world import RelayWorld
from tests.validation.check import Check, Outcome, Sample, distributed, exactly, number
from tests.validation.intervals import uniform_on
from zentalk_sim.protocol.client import Client
from zentalk_sim.protocol.client_effects import Connect, GaveUp, Identity
from zentalk_sim.protocol.config import BackoffConfig, ClientConfig, Limit, Limits, RelayConfig
from zentalk_sim.protocol.crypto import Modelled
from zentalk_sim.protocol.streams import Streams

SEND_SECTION, BACKOFF_SECTION = "The send limit (R-10.1)", "Backoff (R-11.2)"
FILE = "tests/validation/pacing.py"
SECOND = 1_000_000
DAY_S = 86_400


@lru_cache(maxsize=8)
def greedy_admissions_us(limit: Limit, for_s: int) -> tuple[int, ...]:
    """When a sender's messages are admitted, who sends until refused and again at the instant the refusal names."""
    world = RelayWorld(RelayConfig(limits=Limits(send_message=limit)), seed="greedy", crypto=Modelled())
    alice, bob = world.person("alice"), world.person("bob")
    line = alice.connect()
    began, end = world.now, world.now + for_s * SECOND
    admitted: list[int] = []
    while world.now < end:
        line.clear()
        line.message(bob)
        if line.of("MESSAGE_ACK"):
            admitted.append(world.now - began)
            continue
        wait_us = line.error()["details"]["reset_at"] * 1000 - world.now
        # The PINGs of a minute are to be answered, or the relay drops the sender.
        while wait_us > 0:
            step_us = min(wait_us, SECOND)
            line.clear()
            world.advance_us(step_us)
            wait_us -= step_us
            if line.of("PING"):
                line.pong()
    return tuple(admitted)


def sawtooth_us(for_s: int) -> tuple[int, ...]:
    """R-10.1's own description of the default limit."""
    minutes = range(for_s // 60)
    return tuple((60 * minute + max(0, k - 9)) * SECOND for minute in minutes for k in range(60))


def bucket_us(rate_per_s: float, burst: int, for_s: int) -> tuple[int, ...]:
    """b + rt: the k-th message at (k − b + 1)/r, not before 0."""
    instants: list[int] = []
    while (at := max(0, round((len(instants) - burst + 1) / rate_per_s * SECOND))) < for_s * SECOND:
        instants.append(at)
    return tuple(instants)


def _admissions(limit: Limit, is_long: bool) -> tuple[object, str]:
    for_s = _span_s(is_long)
    found = greedy_admissions_us(limit, for_s)
    return found, f"{number(len(found))} messages in {for_s // 60} min"


def _span_s(is_long: bool) -> int:
    return 3_600 if is_long else 600


def _send_row(what: str, theory: str, parameters: str, limit: Limit, expected: Callable[[int], object]) -> Check:
    def run(is_long: bool) -> Outcome:
        return exactly(expected(_span_s(is_long)), partial(_admissions, limit))(is_long)

    return Check(section=SEND_SECTION, what=what, theory=theory, parameters=parameters, file=FILE, run=run)


# --- backoff ---------------------------------------------------------------------------------------------------

ATTEMPTS = 9
"""Waits between the ten failures after which a client gives up."""
TABLE_S = (1, 2, 4, 8, 16, 30, 30, 30, 30)
TOLD_S = 5


@lru_cache(maxsize=2)
def waits_s(clients: int, *, told: bool = False) -> tuple[tuple[float, ...], ...]:
    """For each client, its waits from the first failure to the last attempt before it gives up.

    ``told``: with policy ``server_directed``, every attempt being refused with 503 and Retry-After.
    """
    config = ClientConfig(backoff=BackoffConfig(policy="server_directed")) if told else ClientConfig()
    refusal = (503, TOLD_S * 1000) if told else ()
    found = []
    for i in range(clients):
        identity = Identity(f"0x{i:040x}", bytes(32), "00000000-0000-4000-8000-000000000001", "token")
        client = Client(
            config, identity, streams=Streams("validation of backoff"), crypto=Modelled(), name=f"device/{i}"
        )
        now = 1_704_067_200_000_000
        client.connect(now)
        waits = []
        for _ in range(ATTEMPTS):
            client.connect_failed(now, *refusal)
            due = client.next_timeout()
            assert due is not None
            waits.append((due - now) / SECOND)
            now = due
            assert any(isinstance(effect, Connect) for effect in client.handle_timeout(now))
        assert any(isinstance(effect, GaveUp) for effect in client.connect_failed(now, *refusal))
        found.append(tuple(waits))
    return tuple(found)


def _clients(is_long: bool) -> int:
    return 20_000 if is_long else 1_000


def _waits(attempt: int, is_long: bool) -> Sample:
    return Sample([row[attempt] for row in waits_s(_clients(is_long))], "clients")


def _backoff_row(attempt: int, d: int, parameters: str) -> Check:
    high = round(1.1 * d, 1)
    return Check(
        section=BACKOFF_SECTION,
        what=f"Wait before attempt {attempt + 1}{'' if attempt < 5 else ' and later'}",
        theory=f"uniform on [{d}, {high:g}] s",
        parameters=parameters,
        file=FILE,
        run=distributed(uniform_on(d, high), d, high, partial(_waits, attempt), " s", 3),
    )


def _told_waits(attempt: int, is_long: bool) -> Sample:
    return Sample([row[attempt] for row in waits_s(_clients(is_long), told=True)], "clients")


def _told_row(attempt: int) -> Check:
    high = TOLD_S + TABLE_S[attempt]
    return Check(
        section=BACKOFF_SECTION,
        what=f"Told to wait {TOLD_S} s: wait before attempt {attempt + 1}",
        theory=f"uniform on [{TOLD_S}, {high}] s",
        parameters=f"policy server_directed, every attempt refused with 503 and Retry-After: {TOLD_S}",
        file=FILE,
        run=distributed(uniform_on(TOLD_S, high), TOLD_S, high, partial(_told_waits, attempt), " s", 3),
    )


def _later_are_alike(is_long: bool) -> tuple[object, str]:
    """Whether waits 6 to 9 keep to one bound and are drawn anew each time."""
    rows = waits_s(_clients(is_long))
    inside = all(30 <= wait <= 33 for row in rows for wait in row[5:])
    fresh = all(a != b for row in rows for a, b in pairwise(row[5:]))
    return (inside, fresh), f"{number(len(rows))} clients"


CHECKS = [
    _send_row(
        "Greedy sender, every admission",
        "10 at once, one a second to 60, pause to the minute",
        "60 a minute, burst 10",
        Limit(limit=60, window_s=60, burst=10),
        sawtooth_us,
    ),
    _send_row(
        "Greedy sender without the window, every admission",
        "b + rt",
        "r = 1/s, b = 10 (86 400 a day, so that the window never binds)",
        Limit(limit=DAY_S, window_s=DAY_S, burst=10),
        lambda for_s: bucket_us(1, 10, for_s),
    ),
    _send_row(
        "Another rate without the window, every admission",
        "b + rt",
        "r = 1/4 s, b = 20 (21 600 a day)",
        Limit(limit=DAY_S // 4, window_s=DAY_S, burst=20),
        lambda for_s: bucket_us(0.25, 20, for_s),
    ),
    *(
        _backoff_row(k, TABLE_S[k], "base 1 s, cap 30 s, jitter 0.1; a client core whose attempts all fail")
        for k in range(6)
    ),
    Check(
        section=BACKOFF_SECTION,
        what="Waits 6 to 9 in [30, 33] s and drawn anew each time",
        theory="all",
        parameters="as above",
        file=FILE,
        run=exactly((True, True), _later_are_alike),
    ),
    *(_told_row(attempt) for attempt in (0, 4)),
]
