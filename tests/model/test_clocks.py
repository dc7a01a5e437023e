"""Clocks that are off: a device or node goes by its own, is woken at the right true instants, and the core copes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.support import run, run_for, world
from zentalk_sim.experiment.distributions import ConstantTime, UniformTime
from zentalk_sim.experiment.sections import ClockSkew
from zentalk_sim.model.clock import Clock, draw_clock
from zentalk_sim.model.world import START_US
from zentalk_sim.protocol.streams import Streams

S = 1_000_000


@given(
    offset=st.integers(-(10**15), 10**15),
    drift=st.integers(-10_000_000, 10_000_000),
    now=st.integers(START_US, START_US + 10**14),
)
def test_an_instant_is_the_first_at_which_the_clock_shows_its_time(offset: int, drift: int, now: int) -> None:
    clock = Clock(offset, drift, START_US)
    shown = clock.local(now)
    first = clock.instant(shown)
    assert first <= now
    assert clock.local(first) >= shown
    assert clock.local(first - 1) < shown
    assert clock.local(now + 1) >= shown, "a clock never goes backwards"


def test_an_hour_on_a_clock_that_gains_100_ppm_is_360_ms_long_by_its_own_count() -> None:
    clock = Clock(0, 100_000, START_US)
    assert clock.local(START_US + 3_600 * S) - START_US == 3_600 * S + 360_000


def test_a_clock_that_would_stand_still_is_refused() -> None:
    with pytest.raises(ValueError, match="stand still"):
        Clock(0, -1_000_000_000, START_US)


def clocks(skew: ClockSkew, count: int = 400) -> list[Clock | None]:
    return [draw_clock(skew, Streams(1).fresh(f"device/{i}/clock"), START_US) for i in range(count)]


def test_signs_fractions_and_offsets_are_as_drawn() -> None:
    both = clocks(ClockSkew(offset=ConstantTime(value_us=5 * S)))
    assert {clock.offset_us for clock in both if clock} == {-5 * S, 5 * S}
    ahead = clocks(ClockSkew(offset=UniformTime(low_us=1, high_us=9), sign="ahead"))
    assert all(clock is not None and 1 <= clock.offset_us <= 9 for clock in ahead)
    behind = clocks(ClockSkew(offset=ConstantTime(value_us=5 * S), sign="behind", fraction=0.25))
    off = [clock for clock in behind if clock is not None]
    assert 70 < len(off) < 130
    assert {clock.offset_us for clock in off} == {-5 * S}
    assert clocks(ClockSkew(drift_ppm=50.0))[0] is not None
    assert clocks(ClockSkew()) == [None] * 400


def test_a_device_passes_its_own_time_to_its_client_and_its_timers_come_at_true_instants() -> None:
    made = world(population={"devices": 2, "clock_skew": {"offset": "90s", "sign": "ahead", "drift_ppm": 10}})
    run_for(made, 100)
    device = made.devices[0]
    assert device.clock is not None
    assert device.now() - made.kernel.now == pytest.approx(90 * S, abs=2_000)
    silence_us = device.client.config.silence_timeout_ms * 1000
    assert 60 * S < device.client.due_us() - device.now() <= silence_us, "the client lives in its own time"
    assert device.client.session.offset_us == pytest.approx(-90 * S, abs=50_000), "R-11.8: it has learnt the relay's"


@pytest.mark.requirement("R-11.8")
def test_with_the_relays_time_learnt_a_clock_an_hour_off_must_not_matter() -> None:
    skew = {"clock_skew": {"offset": "1h"}}
    outcome = run(population=skew, workload={"reads": {"probability": 1.0}})
    assert outcome.counts["errors.INVALID_MESSAGE"] == 0
    assert outcome.counts["connections.authenticated"] == 6
    assert outcome.counts["messages.read"] > 0
    true = run(workload={"reads": {"probability": 1.0}})
    assert [row["auth_us"] for row in outcome.connections] == [row["auth_us"] for row in true.connections]


@pytest.mark.requirement("R-1.4")
def test_without_it_a_clock_beyond_the_window_is_kept_out_and_one_within_is_not() -> None:
    for offset, comes_in in (("290s", True), ("310s", False)):
        outcome = run(population={"clock_skew": {"offset": offset}}, client={"trust_server_time": False})
        assert bool(outcome.counts["connections.authenticated"]) is comes_in
        assert bool(outcome.counts["errors.INVALID_MESSAGE"]) is not comes_in


def test_a_fast_clock_pings_no_sooner_and_loses_patience_sooner() -> None:
    """R-8.3 by a clock that gains 1 %: 120 s of its own are 118.8 true ones."""
    fault = [{"at": "70s", "do": "partition", "fraction": 1.0}]
    quiet = {"messages": {"rate_per_device": 0}, "start": {"ramp": 0}}
    by_drift = {}
    for drift in (0, 10_000):
        outcome = run(duration="6m", faults=fault, workload=quiet, population={"clock_skew": {"drift_ppm": drift}})
        by_drift[drift] = sorted(row["end_us"] for row in outcome.connections if row["attempt"] == 1)
    true = by_drift[0][0]
    assert max(by_drift[0]) - true < 10_000
    spread = [at - true for at in by_drift[10_000]]
    assert min(spread) < -10_000, "a fast one is sooner"
    assert max(spread) > 10_000, "a slow one is later"
    assert all(abs(at) < 1.3 * S for at in spread)


@pytest.mark.parametrize(("offset", "share"), [("2s", 0.95), ("60s", 0.5)])
def test_nodes_whose_clocks_differ_share_a_store_without_harm(offset: str, share: float) -> None:
    """One node takes over what another, ahead of it, has written. A limiter filled in its future holds senders up."""
    outcome = run(
        duration="5m",
        relay={"nodes": 2, "clock_skew": {"offset": offset, "drift_ppm": 100}},
        population={"devices": 8, "devices_per_user": 2},
        workload={"messages": {"rate_per_device": "20/min"}, "presence": {"subscribe": "contacts"}},
        faults=[
            {"at": "60s", "do": "stop_node", "node": 0, "for": "60s"},
            {"at": "180s", "do": "stop_node", "node": 1},
        ],
    )
    assert outcome.counts["messages.failed"] == 0
    assert outcome.counts["messages.acked"] > share * outcome.counts["messages.sent"]
