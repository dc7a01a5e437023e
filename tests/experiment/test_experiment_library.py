"""Every experiment of the library runs at a small size, balances its ledgers and shows what it is there to show.

The sizes are the smallest at which the effect is seen; thresholds that speak of the real size are named as such.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from zentalk_sim.experiment import loader
from zentalk_sim.experiment.metrics import BY_NAME
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.report.results import Results
from zentalk_sim.trace.tables import SCHEMAS, TableWriter

FOLDER = Path(__file__).resolve().parents[2] / "experiments"

SMALL: dict[str, tuple[str, ...]] = {
    "bus_outage": ("population.devices=24",),
    "capacity": ("population.devices=18", "relay.ingress.costs.frame=100ms"),
    "clock_skew": ("population.devices=30",),
    "half_open_detection": ("population.devices=30", "workload.messages.rate_per_device=1/min"),
    "jitter_study": ("population.devices=60",),
    "lossy_mobile": ("population.devices=40",),
    "office_nat": ("population.devices=30", "population.nat_group_size=15", "duration=10m"),
    "million": ("population.devices=80", "relay.nodes=8", "faults.0.nodes=3", "duration=3m"),
    "offline_backlog": (
        "population.devices=12",
        "faults.0.devices=2",
        "faults.1.devices=6",
        "workload.messages.interval.mean=4h",
        "relay.mailbox.max_copies=120",
        "relay.heartbeat.interval=6h",
        "relay.mailbox.look_interval=6h",
        "client.silence_timeout=24h",
        "measure.interval=1d",
    ),
    "presence_fanout": ("population.devices=30", "duration=6m"),
    "rate_limit_burst": ("population.devices=10", "duration=6m"),
    "reconnect_storm": ("population.devices=60",),
    "rolling_deploy": ("population.devices=40",),
    "token_cliff": ("population.devices=6", "measure.interval=1m"),
}
"""Experiment → the settings at which it is run here."""


@cache
def small(name: str, *more: str) -> Results:
    """An experiment at its small size, run once."""
    experiment = loader.load(FOLDER / f"{name}.yaml", [*SMALL[name], *more])
    tables = {schema.name: TableWriter(schema, None) for schema in SCHEMAS}
    return simulate(experiment, tables)


def test_every_experiment_is_run_here() -> None:
    assert sorted(SMALL) == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", SMALL)
def test_an_experiment_keeps_its_thresholds_and_checks_at_a_small_size(name: str) -> None:
    results = small(name)
    broken = [f"{verdict.id} (found {verdict.value})" for verdict in results.thresholds if not verdict.held]
    assert not broken
    assert results.thresholds
    assert all(check.held for check in results.checks)
    assert set(results.counts) <= set(BY_NAME), "a count that the catalogue does not know"


def test_without_backoff_everybody_gives_up_before_the_nodes_are_back() -> None:
    results = small("jitter_study", "client.backoff.policy=none")
    assert results.counts["clients.gave_up"] == 60
    assert results.metrics["reconnect_time_s"].count == 0


def test_more_jitter_makes_the_return_slower_and_spreads_it() -> None:
    spread = {}
    for policy in ("spec", "full", "server_directed"):
        times = small("jitter_study", f"client.backoff.policy={policy}").metrics["reconnect_time_s"]
        spread[policy] = (times.quantile(0.95) or 0) - (times.quantile(0.05) or 0)
    assert spread["full"] > 3 * spread["spec"]
    assert spread["server_directed"] > 3 * spread["spec"], "a relay that says when to come back parts those in step"


@pytest.mark.requirement("R-12.2")
def test_a_store_that_is_away_for_longer_than_a_message_is_repeated_costs_messages() -> None:
    assert small("bus_outage").counts["errors.SERVICE_UNAVAILABLE"] > 0
    longer = small("bus_outage", "faults.1.for=60s").counts
    assert longer["messages.failed"] > 0
    assert longer["messages.failed_but_stored"] == 0, "nothing was taken in without being acknowledged"


@pytest.mark.requirement("R-6.7")
def test_who_looks_in_at_a_notification_loses_less() -> None:
    def dropped(*more: str) -> int:
        return sum(
            n for name, n in small("offline_backlog", *more).counts.items() if name.startswith("copies.dropped.")
        )

    assert dropped("workload.push={wake_probability: 50%, delay: 10s, stay: 2m}") < dropped() / 4


def test_beyond_its_capacity_a_node_makes_everybody_wait() -> None:
    results = small("capacity", "population.devices=60")
    assert results.counts["messages.shown"] < 0.8 * results.counts["messages.sent"]
    assert (results.metrics["queue_depth"].quantile(0.5) or 0) > 100


def test_an_untrusted_relay_time_keeps_out_whose_clock_is_far_off() -> None:
    results = small("clock_skew", "client.trust_server_time=false", "population.clock_skew.offset=6m")
    assert results.counts["connections.authenticated"] == 0
    assert results.counts["errors.INVALID_MESSAGE"] > 0


@pytest.mark.requirement("R-9.1", "R-11.7")
def test_who_never_refreshes_meets_the_cliff_and_who_does_meets_none() -> None:
    assert small("token_cliff").counts.get("connections.closed.4001", 0) == 0
    cliff = small("token_cliff", "client.token_refresh=never")
    assert cliff.counts["connections.closed.4001"] == 6
    assert cliff.counts["connections.authenticated"] == 12


def test_a_relay_too_weak_for_refreshes_that_come_together_breaks_the_cliffs_threshold() -> None:
    """40 refreshes in a second, on one worker at 0.3 s a frame: a queue of seconds, which the samples must see.

    Without heartbeats, which would come together too; spread over an hour, the same refreshes keep the threshold.
    """
    weak = (
        "population.devices=40",
        "workload.start.ramp=1s",
        "relay.heartbeat.interval=2d",
        "client.silence_timeout=4d",
        "relay.ingress.workers=1",
        "relay.ingress.costs={tls: 1ms, auth: 1ms, frame: 300ms}",
    )
    broken = {}
    for policy in ("window_opens", "uniform_first_hour"):
        experiment = loader.load(FOLDER / "token_cliff.yaml", [*weak, f"client.token_refresh={policy}"])
        results = simulate(experiment, {schema.name: TableWriter(schema, None) for schema in SCHEMAS})
        broken[policy] = [verdict.id for verdict in results.thresholds if not verdict.held]
    assert broken == {"window_opens": ["queue_depth: max < 20"], "uniform_first_hour": []}


@pytest.mark.requirement("R-10.3")
def test_an_office_gets_ten_people_in_and_no_more() -> None:
    results = small("office_nat")
    assert results.counts["connections.authenticated"] == 20


def test_what_is_dropped_over_a_month_is_told_by_cause() -> None:
    counts = small("offline_backlog").counts
    dropped = counts["copies.dropped.overflow"] + counts["copies.dropped.expired"]
    assert counts["copies.stored"] == counts["copies.confirmed"] + dropped + counts["copies.pending"]
    assert counts["push.sent"] > 0
