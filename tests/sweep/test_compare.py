"""Comparing runs and sweeps: what is paired with what, and verdicts that respect the spread."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import loader, sweep
from zentalk_sim.experiment.compare import Pair, compare, compare_groups
from zentalk_sim.experiment.compare_sets import CompareError, Group
from zentalk_sim.experiment.runner import run_experiment
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report import RunFolderError
from zentalk_sim.report.compare_table import comparison_json, comparison_table


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
    assert (
        "Not distinguishable: with 3 and 3 seeds a measure that alone differs cannot be told from chance\n"
        "among 2; run 5 or more each."
    ) in comparison_table([pair])
    assert compare_groups(group("a", "a", 5, 1.0), group("b", "b", 5, 100.0)).can_differ
    assert "A median [least, greatest]" in comparison_table([pair])
    uneven = compare_groups(group("a", "a", 5, 1.0), group("b", "b", 6, 100.0))
    assert "A median [least, greatest]  B median [95 %]" in re.sub("   *", "  ", comparison_table([uneven]))


def alone(n: int, measures: int, b_of_all: float = 1.0) -> Pair:
    """Two sets of ``n`` runs that differ in the first of some counts, and in the others by ``b_of_all``."""
    sides = []
    for label, factor in (("a", 1.0), ("b", b_of_all)):
        values = {}
        for i in range(measures):
            stream = Streams("alone").stream(f"{label}/{i}" if factor == 1.0 else f"a/{i}")
            values[f"connections.closed.{1000 + i}"] = [factor * (1 + stream.uniform()) for _ in range(n)]
        if label == "b":
            values["connections.closed.1000"] = [1000 + seed for seed in range(n)]
        sides.append(Group(label=label, parameters={}, seeds=list(range(n)), values=values, metrics=[]))
    return compare_groups(*sides)


def first(pair: Pair) -> str:
    return next(c.verdict for c in pair.comparisons if c.measure == "connections.closed.1000")


@pytest.mark.parametrize(("measures", "needed"), [(1, 4), (6, 5), (7, 6), (23, 6), (24, 7)])
def test_so_many_seeds_as_the_advice_names_must_show_a_measure_that_alone_differs(measures: int, needed: int) -> None:
    few, enough = alone(needed - 1, measures), alone(needed, measures)
    assert (few.can_differ, few.seeds_needed, first(few)) == (False, needed, "not distinguishable")
    assert (enough.can_differ, enough.seeds_needed, first(enough)) == (True, needed, "higher")
    told = comparison_table([few])
    assert "no measure differs" not in told
    assert f"among {measures}; run {needed} or more each." in told
    as_json = comparison_json([few, enough])["pairs"]
    assert [(pair["enough_seeds"], pair["seeds_needed"]) for pair in as_json] == [(False, needed), (True, needed)]


def test_many_measures_that_differ_together_are_told_by_fewer_seeds_with_what_is_still_hidden() -> None:
    pair = alone(5, 20, b_of_all=1000.0)
    assert {comparison.verdict for comparison in pair.comparisons} == {"higher"}
    assert not pair.can_differ
    assert comparison_table([pair]).endswith(
        "B differs from A in 20 of 20 measures; the others (~) are not distinguishable.\n"
        "But with 5 and 5 seeds a measure that alone differs cannot be told from chance\n"
        "among 20; run 6 or more each.\n"
    )


def test_a_measure_that_is_the_same_in_every_run_does_not_ask_for_more_seeds() -> None:
    values = {f"connections.closed.{1000 + i}": [7.0] * 4 for i in range(19)}
    sides = [
        Group(
            label=x,
            parameters={},
            seeds=list(range(4)),
            values={**values, "messages.sent": [k] * 3 + [k + 1]},
            metrics=[],
        )
        for x, k in (("a", 1.0), ("b", 9.0))
    ]
    pair = compare_groups(*sides)
    assert (pair.asked, pair.can_differ) == (1, True)


def test_more_measures_than_any_number_of_seeds_can_judge_are_told() -> None:
    one = alone(5, 1)
    pair = Pair(baseline=one.baseline, other=one.other, comparisons=one.comparisons * 1200, asked=1200)
    assert (pair.can_differ, pair.seeds_needed) == (False, None)
    assert "among 1200; these are too many measures for any number." in comparison_table([pair])


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


def test_figures_from_a_thousand_on_must_be_rounded_as_everywhere_else() -> None:
    from zentalk_sim.report.sweep_statistics import Interval
    from zentalk_sim.report.sweep_table import text

    assert text(Interval(6, 1999.7, 1000.5001, 123456.9)) == "2,000 [1,001, 123,457]"
    assert text(Interval(1, 1999.7, None, None)) == "2,000"
    assert text(Interval(2, 999.96, 999.94, 1000.4)) == "1,000 [999.9, 1,000]"
    sides = [
        Group(label=x, parameters={}, seeds=[1, 2], values={"messages.sent": values}, metrics=[])
        for x, values in (("a", [1.0, 1.0]), ("b", [1999.7, 1999.9]))
    ]
    row = next(line for line in comparison_table([compare_groups(*sides)]).splitlines() if "messages sent" in line)
    assert re.split(r" {2,}", row.strip())[2:4] == ["2,000 [2,000, 2,000]", "2,000 [2,000, 2,000]"]


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
    sweep.run(SMALL, seeds="1-2", settings=["duration=25s"], workers=0, out=root / "longer")
    sweep.run(SMALL, seeds="1", vary={"warm_up": ["0s", "1s"]}, workers=0, out=root / "other")
    return root


def labels(root: Path, *names: str) -> list[tuple[str, str]]:
    pairs = compare([root / name for name in names]).pairs
    return [tuple(g.label.removeprefix(f"{root}/") for g in (p.baseline, p.other)) for p in pairs]  # type: ignore[misc]


def test_runs_of_one_experiment_are_pooled(folders: Path) -> None:
    pairs = compare([folders / "a1", folders / "a2", folders / "b1"]).pairs
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


def test_what_differs_in_what_was_run_is_told(folders: Path) -> None:
    def told(*names: str) -> list[list[tuple[str, Any, Any]] | None]:
        pairs = compare([folders / name for name in names]).pairs
        return [
            None if pair.differences is None else [(d.path, d.baseline, d.other) for d in pair.differences]
            for pair in pairs
        ]

    assert told("a1", "b1") == [[("population.devices", 10, 12)]]
    assert told("a1", "a2") == [[]]
    assert told("grid") == [[("relay.nodes", 1, 2)]]
    assert told("grid", "shifted") == [[]]
    assert told("one", "longer") == [[("duration", "20s", "25s")]]
    assert told("longer", "b1") == [[("duration", "25s", "20s"), ("population.devices", 10, 12)]]
    assert "\n   duration  A 20s, B 25s\n" in comparison_table(compare([folders / "one", folders / "longer"]).pairs)
    assert "\n   the same experiment on both sides\n" in comparison_table(
        compare([folders / "a1", folders / "a2"]).pairs
    )


def test_of_many_differences_the_first_are_shown_and_all_are_in_the_json() -> None:
    a, b = group("a", "a", 8, 100.0), group("b", "b", 8, 150.0)
    assert "\n   what was run is not known of both" in comparison_table([compare_groups(a, b)])
    a.experiment = {"relay": {f"k{i}": 1 for i in range(10)}, "faults": [{"at": "10s", "do": "reset_connections"}]}
    b.experiment = {"relay": {f"k{i}": 2 for i in range(10)}}
    pair = compare_groups(a, b)
    lines = comparison_table([pair]).splitlines()[2:11]
    assert lines[0] == '   faults    A [{"at":"10s","do":"reset_conn…, B –'
    assert lines[1] == "   relay.k0  A 1, B 2"
    assert lines[8] == "   and 3 more settings; --json has all"
    assert len(comparison_json([pair])["pairs"][0]["differences"]) == 11


def test_a_folder_whose_experiment_this_version_cannot_read_is_compared_all_the_same(
    folders: Path, tmp_path: Path
) -> None:
    shutil.copytree(folders / "longer", tmp_path / "old")
    (tmp_path / "old/experiment.yaml").write_text("gone: 1\n")
    (pair,) = compare([folders / "one", tmp_path / "old"]).pairs
    assert pair.comparisons
    assert pair.differences is None


def test_the_same_run_on_both_sides_is_told_as_such(folders: Path) -> None:
    for names in (("a1", "one"), ("one", "a2"), ("a1", "a2", "one")):
        found = compare([folders / name for name in names]).pairs
        assert all(pair.is_one_set and not pair.comparisons for pair in found)
        assert "The same digests: nothing differs." in comparison_table(found)
    pairs = compare([folders / "one", folders / "grid"]).pairs
    assert [pair.shared for pair in pairs] == [[1, 2], []]
    told = comparison_table(pairs)
    assert (
        "\n   seeds 1-2: the same runs in A and B, which tell nothing\n\n"
        "The same digests: nothing differs. To compare, give runs of other seeds or of another experiment.\n"
    ) in told
    assert told.endswith(
        "\nIn short, 2 comparisons; B is\n  nodes=1  the same runs\n  nodes=2  too few seeds to tell\n"
    )


def test_a_file_in_place_of_a_folder_is_told_as_such(folders: Path) -> None:
    with pytest.raises(RunFolderError, match=r"results\.json: is a file; give the folder of a run or sweep"):
        compare([folders / "a1", folders / "a1" / "results.json"])


def test_what_cannot_be_compared_is_refused(folders: Path) -> None:
    with pytest.raises(CompareError, match="no combination of parameters is in both"):
        compare([folders / "shifted", folders / "other"])
    with pytest.raises(CompareError, match="nothing to compare it with"):
        compare([folders / "one"])
    with pytest.raises(CompareError, match="nothing to compare it with"):
        compare([folders / "a1"])
    with pytest.raises(CompareError, match="given twice"):
        compare([folders / "a1", folders / "b1", folders / ".." / folders.name / "a1"])
