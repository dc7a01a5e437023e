"""What a sweep gives: a row per run, intervals over the seeds, the same from its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import run as run_one
from zentalk_sim.experiment import sweep
from zentalk_sim.report import load
from zentalk_sim.report.sweep_results import Sweep


def test_a_row_per_cell_with_parameters_counts_and_statistics(study: Sweep) -> None:
    cells = study.cells
    assert len(cells) == 12
    assert list(cells["population.devices"]) == [4] * 6 + [6] * 6
    assert list(cells["relay.nodes"]) == ([1] * 3 + [2] * 3) * 2
    assert list(cells["seed"]) == [1, 2, 3] * 4
    assert cells["digest"].nunique() == 12
    assert cells["held"].all()
    assert (cells["connections.authenticated"] >= 8).all()
    for name in ("delivery_latency_ms.p50", "delivery_latency_ms.push.p99", "reconnect_time_s.max", "rtt_ms.count"):
        assert name in cells


def test_a_cell_is_the_run_that_its_settings_and_seed_give(study: Sweep) -> None:
    alone = run_one({**SMALL, "population": {**SMALL["population"], "devices": 6}, "relay": {"nodes": 2}}, seed=2)
    row = study.cells.query("`population.devices` == 6 and `relay.nodes` == 2 and seed == 2").iloc[0]
    assert row["digest"] == alone.summary["digest"]
    assert row["messages.sent"] == alone.summary["counts"]["messages.sent"]
    assert row["delivery_latency_ms.p99"] == alone.summary["metrics"]["delivery_latency_ms"]["p99"]


def test_load_gives_the_same_sweep(study: Sweep) -> None:
    assert study.folder is not None
    loaded = load(study.folder)
    assert isinstance(loaded, Sweep)
    assert loaded.cells.equals(study.cells)
    assert loaded.summary == study.summary == json.loads((study.folder / "summary.json").read_text())
    for name in ("messages", "connections", "timeseries"):
        with pytest.raises(AttributeError, match=f"no .{name}: run one of its cells"):
            getattr(loaded, name)
    assert loaded.parameters == ("population.devices", "relay.nodes")
    assert repr(loaded) == "<Sweep small, 12 cells: 4 combinations × seeds 1-3>"


def test_intervals_and_tidy_tables(study: Sweep) -> None:
    found = study.interval("messages.sent", {"population.devices": 6, "relay.nodes": 1})
    values = sorted(study.cells.query("`population.devices` == 6 and `relay.nodes` == 1")["messages.sent"])
    assert (found.n, found.median) == (3, values[1])
    intervals = study.intervals
    row = intervals.query(
        "`population.devices` == 6 and `relay.nodes` == 1 and metric == 'messages.sent' and statistic == 'value'"
    ).iloc[0]
    assert (row["median"], row["low"], row["high"]) == (found.median, found.low, found.high)
    tidy = study.tidy()
    assert list(tidy.columns) == ["population.devices", "relay.nodes", "seed", "metric", "statistic", "value"]
    assert len(tidy) == 12 * len(study.measures)
    with pytest.raises(KeyError, match="no combination"):
        study.interval("messages.sent", {"population.devices": 5, "relay.nodes": 1})


def test_a_sweep_shows_itself(study: Sweep) -> None:
    text = str(study)
    assert "small · 12 cells: 4 combinations × seeds 1-3" in text
    assert "  devices=4, nodes=2" in text
    assert "[least, greatest]: 75 % sure to hold the true median, not 95 %; run 6 or more" in text
    assert "95 % interval" not in text
    assert max(map(len, text.splitlines())) <= 100
    page = study._repr_html_()
    assert page.count("<tr>") > 20
    assert "devices=4, nodes=2" in page
    assert "75 % of such sweeps" in page


def test_a_parameter_of_text_comes_back_as_it_was(tmp_path: Path) -> None:
    axes = {"client.backoff.policy": ["spec", "none"], "warm_up": ["0s", "1s"], "relay.ingress.enabled": [True, False]}
    made = sweep.run(SMALL, seeds="1", vary=axes, settings=["duration=5s", "faults=[]"], workers=0, out=tmp_path)
    loaded = load(tmp_path)
    assert isinstance(loaded, Sweep)
    assert made.cells.equals(loaded.cells)
    assert loaded.cells["relay.ingress.enabled"].dtype == bool
    assert loaded.meta.settings == {"duration": "5s", "faults": "[]"}
    assert str(loaded) == str(made)
