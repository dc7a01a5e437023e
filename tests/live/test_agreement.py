"""The agreement of two runs: distances with their critical values, quantile ratios, and a verdict that can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zentalk_sim.cli import errors
from zentalk_sim.cli import zsim as command_line
from zentalk_sim.experiment import run
from zentalk_sim.experiment.agreement import FIGURES, LEAST_VALUES, agree, agreement, ks_distance, quantile
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report.agreement_page import as_data, as_html, as_text

LATENCY = FIGURES[0]


def drawn(name: str, count: int, scale: float = 100.0, shift: float = 0.0) -> list[float]:
    stream = Streams(1).fresh(name)
    return sorted(shift + scale * stream.uniform() for _ in range(count))


def test_two_samples_of_one_distribution_must_be_the_same() -> None:
    found = agreement(LATENCY, drawn("a", 400), drawn("b", 400), 0.1)
    assert found.verdict == "same"
    assert found.distance is not None
    assert found.critical == pytest.approx(1.628 * (800 / 160_000) ** 0.5)


def test_a_shift_must_be_told_from_a_change_of_shape() -> None:
    a = drawn("a", 2_000, shift=1_000)
    found = agreement(LATENCY, a, [value + 30 for value in a], 0.1)
    assert found.verdict == "close", "three in a hundred is within a tenth"
    assert found.shift == pytest.approx(30)
    assert found.aligned_distance == pytest.approx(0, abs=0.01)
    assert agreement(LATENCY, a, [value + 30 for value in a], 0.01).verdict == "differs"


def test_another_distribution_must_differ() -> None:
    assert agreement(LATENCY, drawn("a", 200), drawn("b", 200, scale=150), 0.1).verdict == "differs"


def test_too_few_values_must_give_no_verdict() -> None:
    found = agreement(LATENCY, drawn("a", LEAST_VALUES - 1), drawn("b", 100), 0.1)
    assert (found.verdict, found.distance) == ("too few values", None)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [([1.0, 2.0], [1.0, 2.0], 0.0), ([1.0, 2.0], [3.0, 4.0], 1.0), ([1.0, 2.0, 3.0, 4.0], [3.0, 4.0], 0.5)],
)
def test_the_distance_must_be_the_greatest_between_both_functions(
    a: list[float], b: list[float], distance: float
) -> None:
    assert ks_distance(a, b) == distance
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert quantile([], 0.5) is None


EXPERIMENT = {
    "name": "x",
    "duration": "20s",
    "population": {"devices": 10, "networks": {"wifi": 1}, "contacts": 3},
    "workload": {"start": {"ramp": "1s"}, "messages": {"rate_per_device": "30/min"}},
    "faults": [{"at": "10s", "do": "reset_connections"}],
}


def test_the_reconnect_time_is_the_metrics() -> None:
    """Must be: from a node's death, which a device notices much later, and not from then."""
    run_of = {**EXPERIMENT, "duration": "2m", "relay": {"nodes": 2}}
    crashed = run({**run_of, "faults": [{"at": "10s", "do": "crash_node", "node": 0, "for": "20s"}]}, seed=1)
    metric = crashed.summary["metrics"]["reconnect_time_s"]
    assert metric["p50"] > 10
    found = {figure.figure.name: figure for figure in agree([crashed], [crashed], 0.1).agreements}
    values = found["reconnect_time_s"].a.values
    assert len(values) == metric["count"]
    assert (quantile(values, 0.5), values[-1]) == pytest.approx((metric["p50"], metric["max"]), rel=0.004)


def test_runs_of_two_seeds_must_agree_and_another_network_not() -> None:
    slow = {**EXPERIMENT, "population": {**EXPERIMENT["population"], "networks": {"lte": 1}}}  # type: ignore[dict-item]
    one, other, third = run(EXPERIMENT, seed=1), run(EXPERIMENT, seed=2), run(slow, seed=1)
    same = agree([one], [other], 0.1)
    assert not same.differs, as_text(same)
    found = {figure.figure.name: figure for figure in same.agreements}
    assert len(found["reconnect_time_s"].a.values) == 10
    assert len(found["delivery_latency_ms"].a.values) == one.summary["metrics"]["delivery_latency_ms"]["count"]
    assert len(found["ack_latency_ms"].a.values) == one.summary["metrics"]["ack_latency_ms"]["count"]
    assert len(found["connect_time_ms"].a.values) == one.summary["counts"]["connections.authenticated"]
    different = agree([one, other], [third], 0.1)
    assert different.differs
    assert "NOT reached" in as_text(different)
    assert all(len(line) <= 110 for line in as_text(different).splitlines())
    page = as_html(different)
    assert page.count("<svg") == len(different.agreements)
    assert "http" not in page.replace("http-equiv", "")
    assert as_data(different)["agrees"] is False


def test_the_command_must_end_with_99_where_runs_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def zsim(*arguments: str) -> int:
        return errors.run(command_line, arguments, "zsim")

    monkeypatch.chdir(tmp_path)
    Path("x.json").write_text(json.dumps({**EXPERIMENT, "duration": "12s", "plots": False}))
    assert zsim("run", "x.json", "--out", "a") == 0
    assert zsim("run", "x.json", "--out", "b", "-S", "population.networks={lte: 1}") == 0
    assert zsim("compare", "a", "a", "--agreement") == 0
    assert "Agreement: reached" in capsys.readouterr().out
    assert zsim("compare", "a", "b", "--agreement", "--html", "page.html") == 99
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert zsim("compare", "a", "--agreement") == 2
