"""Small worlds: an experiment as a mapping, run in memory, with its rows as plain tuples."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from zentalk_sim.experiment.loader import from_mapping
from zentalk_sim.experiment.metrics import BY_NAME
from zentalk_sim.experiment.runner import simulate
from zentalk_sim.model.recorder import Recorder
from zentalk_sim.model.world import START_US, World
from zentalk_sim.report.results import Results
from zentalk_sim.trace.tables import SCHEMAS, TableWriter


class Outcome(NamedTuple):
    """What a small run left: its results, and its tables as lists of dictionaries."""

    results: Results
    messages: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    timeseries: list[dict[str, Any]]

    @property
    def counts(self) -> Counter[str]:
        """The counts; what was never counted is 0."""
        return Counter(self.results.counts)


def mapping(**changes: Any) -> dict[str, Any]:
    """A chat of six devices on a clean network for two minutes, with changes by section."""
    base: dict[str, Any] = {
        "name": "small",
        "duration": "2m",
        "population": {"devices": 6, "networks": {"lan": 1}},
        "workload": {"start": {"ramp": "2s"}, "messages": {"rate_per_device": "10/min"}},
    }
    for section, value in changes.items():
        base[section] = {**base[section], **value} if isinstance(base.get(section), dict) else value
    return base


def run(*, random_ties: bool = False, **changes: Any) -> Outcome:
    """Run a small world. Its ledgers must balance, and its counts stand in the catalogue, whatever befalls."""
    tables = {schema.name: TableWriter(schema, None) for schema in SCHEMAS}
    results = simulate(from_mapping(mapping(**changes)), tables, random_ties=random_ties)
    for check in results.checks:
        assert check.held, check.value
    assert set(results.counts) <= set(BY_NAME), sorted(set(results.counts) - set(BY_NAME))
    rows = [tables[schema.name].to_arrow().to_pylist() for schema in SCHEMAS]
    return Outcome(results, *rows)


def world(**changes: Any) -> World:
    """A small world not yet run, to look into while its clock is moved by hand."""
    tables = [TableWriter(schema, None) for schema in SCHEMAS]
    return World(from_mapping(mapping(**changes)), Recorder(*tables, measured_from_us=START_US))


def run_for(made: World, seconds: float) -> None:
    """Let so much simulated time pass."""
    made.kernel.run_until(made.kernel.now + round(seconds * 1e6))
