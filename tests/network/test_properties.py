"""What holds on every link, whatever is sent and whatever breaks; and that instants depend on the stream alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.network.support import MS, S
from zentalk_sim.network.latency import Constant, Uniform
from zentalk_sim.network.loss import Bernoulli, GilbertElliott
from zentalk_sim.network.path import Path
from zentalk_sim.network.profile import PROFILES, LinkProfile
from zentalk_sim.network.tcp import TcpConnection
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.protocol.timers import NEVER

HOSTILE = LinkProfile(
    latency=Uniform(1.0, 400.0),
    rate_bit_per_s=500_000,
    queue_bytes=6_000,
    loss=GilbertElliott(p=0.2, r=0.3),
    initial_window_segments=2,
    max_retries=4,
)
LINKS = {**PROFILES, "hostile": HOSTILE, "give-up": LinkProfile(loss=Bernoulli(0.7), max_retries=2)}

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["up", "down", "block", "heal"]),
        st.sampled_from(["up", "down", "both"]),
        st.integers(0, 20_000),
        st.sampled_from([0, 1, 5 * MS, 300 * MS, 2 * S, 40 * S]),
    ),
    max_size=60,
)


def play(profile: LinkProfile, seed: int, steps: list[tuple[str, Any, int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Run ``steps`` (what, which way, size, pause before): (sent, arrived) per direction, in the order of sending."""
    path = Path()
    alice = TcpConnection(profile, path, Streams(seed).fresh("link"), 0)
    arrived: dict[str, list[tuple[int, int]]] = {"up": [], "down": []}
    held: dict[str, list[int]] = {"up": [], "down": []}
    now_us = 0
    blocks: list[Any] = []
    for what, direction, size_bytes, pause_us in steps:
        now_us += pause_us
        if what == "block":
            path.block(direction, now_us)
            blocks.append(direction)
        elif what == "heal":
            if blocks:
                path.heal(blocks.pop(), now_us)
            for each in list(path.stalled):
                for way in ("up", "down"):
                    instants = each.release(way, now_us)
                    assert len(instants) <= len(held[way])
                    arrived[way] += zip(held[way], instants, strict=False)
                    del held[way][: len(instants)]
        else:
            at_us = (alice.carry_up if what == "up" else alice.carry_down)(size_bytes, now_us)
            if at_us == NEVER:
                held[what].append(now_us)
            else:
                assert not held[what], "a later frame passed one that is held"
                arrived[what].append((now_us, at_us))
        ends_us = alice.reset_at_us
        assert ends_us == NEVER or alice.reset_by is not None
    return arrived


@pytest.mark.parametrize("name", LINKS)
@given(steps=STEPS, seed=st.integers(0, 5))
def test_order_is_never_violated_and_nothing_arrives_before_its_latency(
    name: str, steps: list[tuple[str, Any, int, int]], seed: int
) -> None:
    profile = LINKS[name]
    least_us = {"hostile": 1_000, "lan": 250, "satellite": 100_000, "edge": 200_000}.get(name, 0)
    for pairs in play(profile, seed, steps).values():
        instants = [at_us for _, at_us in pairs]
        assert instants == sorted(instants)
        assert all(at_us >= sent_us + least_us for sent_us, at_us in pairs)


@given(steps=STEPS)
def test_a_link_without_loss_and_partition_delivers_everything(steps: list[tuple[str, Any, int, int]]) -> None:
    sends = [step for step in steps if step[0] in ("up", "down")]
    profile = LinkProfile(latency=Uniform(1.0, 90.0), rate_bit_per_s=1_000_000)
    assert sum(len(pairs) for pairs in play(profile, 1, sends).values()) == len(sends)


@given(steps=STEPS, seed=st.integers(0, 5))
def test_the_same_stream_gives_the_same_instants(steps: list[tuple[str, Any, int, int]], seed: int) -> None:
    assert play(HOSTILE, seed, steps) == play(HOSTILE, seed, steps)


def run_of(streams: Streams, name: str) -> list[int]:
    alice = TcpConnection(HOSTILE, Path(), streams.fresh(name), 0)
    return [alice.carry_up(3_000, i * S) for i in range(200)]


def test_adding_a_connection_moves_no_other() -> None:
    alone = run_of(Streams(9), "alice")
    streams = Streams(9)
    run_of(streams, "bob")
    assert run_of(streams, "alice") == alone
    assert run_of(streams, "bob") != alone


def test_a_stream_may_be_made_at_the_first_draw_and_never_is_where_nothing_is_drawn() -> None:
    made: list[str] = []

    def make() -> Any:
        made.append("stream")
        return Streams(9).fresh("alice")

    plain = TcpConnection(LinkProfile(latency=Constant(5.0)), Path(), make, 0)
    plain.carry_up(0, 0)
    assert made == []
    lazy = TcpConnection(HOSTILE, Path(), make, 0)
    assert made == []
    assert [lazy.carry_up(3_000, i * S) for i in range(200)] == run_of(Streams(9), "alice")
    assert made == ["stream"]


def test_instants_are_the_same_in_another_process_with_another_hash_seed() -> None:
    program = (
        "from tests.network.test_properties import run_of; from zentalk_sim.protocol.streams import Streams;"
        "print(run_of(Streams(9), 'alice'))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{run_of(Streams(9), 'alice')}\n"}
