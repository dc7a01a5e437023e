"""Comparing runs and sweeps: what is paired with what, and verdicts that respect the spread."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import loader, sweep
from zentalk_sim.experiment.compare import CompareError, Group, compare, compare_groups
from zentalk_sim.experiment.runner import run_experiment
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report.compare_table import comparison_table


def group(label: str, name: str, n: int, mean: float, metric: str = "rtt_ms", **more: Any) -> Group:
    """``n`` runs whose median round trip is spread by ±10 % about ``mean``."""
    stream = Streams("compare").stream(name)
    values = [mean * (0.9 + 0.2 * stream.uniform()) for _ in range(n)]
    return Group(
        label=label,
        parameters={},
        seeds=list(range(1, n + 1)),
        values={f"{metric}.p50": values, f"{metric}.p99": [2 * value for value in values], **more},
        metrics=[metric],
    )


def verdicts(a: Group, b: Group) -> dict[str, str]:
    return {comparison.measure: comparison.verdict for comparison in compare_groups(a, b).comparisons}


def test_a_difference_beyond_the_spread_is_told_with_its_direction() -> None:
    a, b = group("a", "a", 8, 100.0), group("b", "b", 8, 150.0)
    assert set(verdicts(a, b).values()) == {"higher"}
    assert set(verdicts(b, a).values()) == {"lower"}
    comparison = compare_groups(a, b).comparisons[0]
    assert comparison.ratio == pytest.approx(1.5, rel=0.1)
    assert comparison.ratio_low is not None
    assert comparison.ratio_low > 1.2


def test_a_difference_within_the_spread_is_not() -> None:
    assert set(verdicts(group("a", "a", 8, 100.0), group("b", "b", 8, 101.0)).values()) == {"not distinguishable"}


def test_few_seeds_tell_nothing_however_far_apart() -> None:
    pair = compare_groups(group("a", "a", 3, 1.0), group("b", "b", 3, 100.0))
    assert not pair.can_differ
    assert {comparison.verdict for comparison in pair.comparisons} == {"not distinguishable"}
    assert "with 3 and 3 seeds no difference can be told from chance; run 5 or more each" in comparison_table([pair])
    assert "A median [least, greatest]" in comparison_table([pair])
    pair = compare_groups(group("a", "a", 5, 1.0), group("b", "b", 6, 100.0))
    assert pair.can_differ
    assert "A median [least, greatest]  B median [95 %]" in re.sub("   *", "  ", comparison_table([pair]))


def test_the_columns_are_as_wide_as_their_widest_cell_and_stand_apart() -> None:
    names = ["messages.sent", "connections.closed.1006"]
    values = {name: [123456.5 + 1111 * seed for seed in range(5)] for name in names}
    pair = compare_groups(
        *(Group(label=x, parameters={}, seeds=list(range(5)), values=values, metrics=[]) for x in "ab")
    )
    rows = [line for line in comparison_table([pair]).splitlines() if line.endswith("~")]
    assert [len(re.split(r" {2,}", row.strip())) for row in rows] == [5, 5]
    assert rows[1].strip().startswith("connections closed, code 1006  ")
    assert len({len(row) for row in rows}) == 1


def test_runs_of_one_kind_are_hardly_ever_called_different() -> None:
    """40 pairs of sets from one distribution, ten measures each: a verdict of a difference in at most 5 pairs."""
    wrong = 0
    for number in range(40):
        sides = []
        for side in "ab":
            stream = Streams("null").stream(f"{number}/{side}")
            values = {f"connections.closed.{1000 + i}": [1 + stream.uniform() for _ in range(8)] for i in range(10)}
            sides.append(Group(label=side, parameters={}, seeds=list(range(8)), values=values, metrics=[]))
        found = verdicts(*sides)
        assert len(found) == 10
        wrong += any(verdict != "not distinguishable" for verdict in found.values())
    assert wrong <= 5


def test_a_measure_without_values_on_one_side_is_not_judged() -> None:
    a, b = group("a", "a", 8, 100.0), group("b", "b", 8, 150.0)
    b.values["rtt_ms.p50"] = []
    found = compare_groups(a, b).comparisons[0]
    assert (found.measure, found.verdict, found.ratio) == ("rtt_ms.p50", "not distinguishable", None)
    assert found.other.median is None


def test_runs_of_different_metrics_are_refused() -> None:
    a, b = group("a", "a", 8, 100.0), group("b", "b", 8, 150.0, metric="queue_depth")
    with pytest.raises(CompareError, match="different metrics: only a has rtt_ms; only b has queue_depth"):
        compare_groups(a, b)


def test_a_split_that_one_side_lacks_is_no_different_metric() -> None:
    a, b = group("a", "a", 8, 100.0), group("b", "b", 8, 150.0)
    b.metrics.append("rtt_ms.push")
    assert compare_groups(a, b).comparisons


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a1 a2 b1`, sweeps `one`, `grid` over the nodes and `other` over something else."""
    root = tmp_path_factory.mktemp("compare")
    for name, seed, devices in (("a1", 1, 10), ("a2", 2, 10), ("b1", 1, 12)):
        mapping = {**SMALL, "seed": seed, "population": {**SMALL["population"], "devices": devices}}
        run_experiment(loader.from_mapping(mapping), out=root / name, plots=False)
    sweep.run(SMALL, seeds="1-2", workers=0, out=root / "one")
    sweep.run(SMALL, seeds="1-2", vary={"relay.nodes": [1, 2]}, workers=0, out=root / "grid")
    sweep.run(SMALL, seeds="3-4", vary={"relay.nodes": [2, 3]}, workers=0, out=root / "shifted")
    sweep.run(SMALL, seeds="1", vary={"warm_up": ["0s", "1s"]}, workers=0, out=root / "other")
    return root


def labels(root: Path, *names: str) -> list[tuple[str, str]]:
    pairs = compare([root / name for name in names])
    return [tuple(g.label.removeprefix(f"{root}/") for g in (p.baseline, p.other)) for p in pairs]  # type: ignore[misc]


def test_runs_of_one_experiment_are_pooled(folders: Path) -> None:
    pairs = compare([folders / "a1", folders / "a2", folders / "b1"])
    assert [(pair.baseline.seeds, pair.other.seeds) for pair in pairs] == [([1, 2], [1])]
    assert pairs[0].baseline.label.endswith("a1 and 1 more of small")


def test_two_runs_of_one_experiment_stand_for_themselves(folders: Path) -> None:
    assert labels(folders, "a1", "a2") == [("a1", "a2")]


def test_a_sweep_alone_is_compared_with_its_first_combination(folders: Path) -> None:
    assert labels(folders, "grid") == [("grid (nodes=1)", "grid (nodes=2)")]


def test_sweeps_are_matched_by_their_parameters(folders: Path) -> None:
    assert labels(folders, "grid", "shifted") == [("grid (nodes=2)", "shifted (nodes=2)")]


def test_a_single_set_is_compared_with_every_combination(folders: Path) -> None:
    assert labels(folders, "one", "grid") == [("one", "grid (nodes=1)"), ("one", "grid (nodes=2)")]
    assert labels(folders, "a1", "b1", "one") == [("a1", "b1"), ("a1", "one")]


def test_what_cannot_be_compared_is_refused(folders: Path) -> None:
    with pytest.raises(CompareError, match="no combination of parameters is in both"):
        compare([folders / "grid", folders / "other"])
    with pytest.raises(CompareError, match="nothing to compare it with"):
        compare([folders / "one"])
    with pytest.raises(CompareError, match="nothing to compare it with"):
        compare([folders / "a1"])
    with pytest.raises(CompareError, match="given twice"):
        compare([folders / "a1", folders / "b1", folders / ".." / folders.name / "a1"])
