"""Sets of the same seeds: compared seed by seed, with runs that stand on both sides counted on neither."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.sweep_support import SMALL
from zentalk_sim.experiment import sweep
from zentalk_sim.experiment.compare import Pair, compare, compare_groups
from zentalk_sim.experiment.compare_sets import CompareError, Group
from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report.compare_table import comparison_json, comparison_table
from zentalk_sim.report.sweep_statistics import median_interval


def spread(n: int, name: str = "spread") -> list[float]:
    """``n`` runs whose figures are a factor of two apart by their seeds alone."""
    stream = Streams("pairs").stream(name)
    return [100 * (1 + stream.uniform()) for _ in range(n)]


def group(label: str, values: Sequence[float | None], first: int = 1, measures: int = 1, **settings: Any) -> Group:
    """Simulated runs of the seeds from ``first`` on; all but the first of the measures are the same everywhere."""
    names = [f"connections.closed.{1000 + i}" for i in range(measures)]
    return Group(
        label=label,
        parameters={},
        seeds=list(range(first, first + len(values))),
        values={name: [1.0] * len(values) if number else [*values] for number, name in enumerate(names)},
        metrics=[],
        digests=[f"{label}/{first + i}" for i in range(len(values))],
        experiment={"source": "simulation", **settings},
    )


def shifted(n: int, by: float) -> tuple[Group, Group]:
    """Two sets of one seed each ``n`` times: the second of each pair is greater by ``by``, far within the spread."""
    values = spread(n)
    return group("a", [*values], nodes=1), group("b", [value + by for value in values], nodes=2)


def verdict(pair: Pair) -> str:
    return pair.comparisons[0].verdict


def test_a_difference_at_every_seed_must_be_found_within_the_spread_between_seeds() -> None:
    a, b = shifted(10, by=1.0)
    pair = compare_groups(a, b)
    assert (pair.test, verdict(pair), pair.can_differ, pair.pairs_needed) == ("signed-rank", "higher", True, None)
    assert pair.comparisons[0].p == pytest.approx(2 / 2**10)
    assert verdict(compare_groups(b, a)) == "lower"
    told = comparison_table([pair])
    assert (
        "Compared seed by seed, whose random streams are the same in A and B (signed-rank test; B / A by seed).\n"
        in told
    )
    assert comparison_json([pair])["pairs"][0]["test"] == "signed-rank"
    # The same figures of other seeds are no pairs, and their spread hides the difference.
    b = group("b", [*b.values["connections.closed.1000"]], first=11, nodes=2)
    pair = compare_groups(a, b)
    assert (pair.test, verdict(pair), pair.pairs_needed) == ("rank-sum", "not distinguishable", None)


def test_the_ratio_of_pairs_is_that_of_the_seeds_and_told_apart_from_one() -> None:
    a, b = shifted(10, by=0.0)
    b.values["connections.closed.1000"] = [value * 1.0004 for value in a.numbers("connections.closed.1000")]  # type: ignore[index]
    found = compare_groups(a, b).comparisons[0]
    assert (found.ratio, found.ratio_low, found.ratio_high) == pytest.approx((1.0004, 1.0004, 1.0004))
    assert "  1.0004 [1.0004, 1.0004]  ▲ higher\n" in comparison_table([compare_groups(a, b)])


def test_pairs_are_by_seed_whatever_their_order() -> None:
    a, b = shifted(10, by=1.0)
    backwards = b.of(b.seeds[::-1])
    pair = compare_groups(a, backwards)
    assert (pair.other.seeds, pair.comparisons[0].p) == (a.seeds, compare_groups(a, b).comparisons[0].p)


def test_a_seed_without_a_value_on_one_side_is_no_pair() -> None:
    a, b = shifted(10, by=1.0)
    b.values["connections.closed.1000"][3] = None  # type: ignore[index]
    found = compare_groups(a, b).comparisons[0]
    assert found.other.n == 9
    assert found.p == pytest.approx(2 / 2**9)


def far_apart(n: int, measures: int) -> Pair:
    """Sets whose ``measures`` all differ at every seed, the first one alone in the same direction."""
    a, b = group("a", [1.0] * n, measures=measures), group("b", [1.0] * n, measures=measures, nodes=2)
    for number, name in enumerate(a.values):
        b.values[name] = [2.0 if seed % 2 or not number else 0.5 for seed in b.seeds]  # type: ignore[index]
    return compare_groups(a, b)


@pytest.mark.parametrize(("measures", "needed"), [(1, 6), (2, 7), (3, 7), (4, 8), (12, 9), (13, 10), (51, 11)])
def test_so_many_pairs_as_the_page_names_are_enough_for_a_measure_that_alone_differs(
    measures: int, needed: int
) -> None:
    few, enough = far_apart(needed - 1, measures), far_apart(needed, measures)
    assert (few.test, few.pairs_needed) == ("rank-sum", needed)
    assert f"With {needed} or more of the same seeds they are compared seed by seed" in comparison_table([few])
    assert (enough.test, verdict(enough), enough.asked) == ("signed-rank", "higher", measures)
    assert enough.comparisons[-1].verdict == ("higher" if measures == 1 else "not distinguishable")


def test_pairs_of_one_kind_are_hardly_ever_called_different() -> None:
    """60 sets of 10 pairs that share most of what chance does, six measures each: a difference in at most 7."""
    wrong = 0
    for number in range(60):
        sides = [group(label, spread(10), measures=6, side=label) for label in "ab"]
        for name in sides[0].values:
            common = spread(10, f"{number}/{name}")
            for side in sides:
                noise = spread(10, f"{number}/{name}/{side.label}")
                side.values[name] = [x + 0.1 * y for x, y in zip(common, noise, strict=True)]  # type: ignore[index]
        pair = compare_groups(*sides)
        assert pair.test == "signed-rank"
        wrong += any(comparison.verdict != "not distinguishable" for comparison in pair.comparisons)
    assert wrong <= 7


@pytest.mark.parametrize("source", ["live", None])
def test_runs_that_are_not_known_to_be_simulated_are_no_pairs(source: str | None) -> None:
    a, b = shifted(10, by=1.0)
    b.experiment = None if source is None else {"source": source}
    assert compare_groups(a, b).test == "rank-sum"


def test_a_run_that_stands_on_both_sides_counts_on_neither() -> None:
    values = spread(12)
    a, b = group("a", [*values[:8]]), group("b", [*values[4:]], first=5)
    b.digests[:4] = a.digests[4:]
    pair = compare_groups(a, b)
    assert (pair.baseline.seeds, pair.other.seeds, pair.shared) == ([1, 2, 3, 4], [9, 10, 11, 12], [5, 6, 7, 8])
    found = pair.comparisons[0]
    assert (found.baseline, found.other) == (median_interval(values[:4]), median_interval(values[8:]))
    alone = compare_groups(group("a", [*values[:4]]), group("b", [*values[8:]], first=9))
    assert (found.p, found.ratio, found.ratio_low) == (
        alone.comparisons[0].p,
        alone.comparisons[0].ratio,
        alone.comparisons[0].ratio_low,
    )
    assert "seeds 5-8: the same runs in A and B, which tell nothing and count in neither" in comparison_table([pair])
    assert comparison_json([pair])["pairs"][0]["same_runs"] == [5, 6, 7, 8]


def test_another_name_or_threshold_makes_no_other_run() -> None:
    a, b = group("a", [*spread(3)], name="a"), group("b", [*spread(3)], name="b", thresholds={"x": ["< 1"]})
    b.digests = a.digests
    assert compare_groups(a, b).is_one_set


def test_runs_that_came_to_the_same_under_another_setting_are_evidence_that_it_has_no_effect() -> None:
    values = spread(8)
    a, b = group("a", [*values], nodes=1), group("b", [*values[:7], values[7] + 1], nodes=2)
    b.digests[:7] = a.digests[:7]
    pair = compare_groups(a, b)
    assert (pair.shared, pair.alike, pair.is_one_set) == ([], [1, 2, 3, 4, 5, 6, 7], False)
    assert (pair.test, pair.comparisons[0].p, verdict(pair)) == ("signed-rank", 1.0, "not distinguishable")
    assert "   seeds 1-7: what differs changed nothing of what happened\n" in comparison_table([pair])
    same = compare_groups(a, group("b", [*values], nodes=2))
    assert "\nNot distinguishable: every measure is the same at every seed.\n" in comparison_table([same])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweeps `nodes` (2, 3, ten devices by the file), `shifted` (3, 4), `wide` (nodes × devices), `many`."""
    root = tmp_path_factory.mktemp("pairs")
    small = {**SMALL, "duration": "11s"}
    axes = {"population.devices": [6, 10], "relay.nodes": [2, 3]}
    sweep.run(small, seeds="1-2", vary={"relay.nodes": [2, 3]}, workers=0, out=root / "nodes")
    sweep.run(small, seeds="3-4", vary={"relay.nodes": [3, 4]}, workers=0, out=root / "shifted")
    sweep.run(small, seeds="3-4", vary=axes, workers=0, out=root / "wide")
    sweep.run(SMALL, seeds="1-6", vary={"client.backoff.base": ["1s", "4s"]}, workers=0, out=root / "many")
    return root


def test_combinations_without_a_counterpart_must_be_told(folders: Path) -> None:
    found = compare([folders / "nodes", folders / "shifted"])
    assert [(pair.baseline.parameters, pair.other.parameters) for pair in found.pairs] == [
        ({"relay.nodes": 3}, {"relay.nodes": 3})
    ]
    assert comparison_table(found.pairs, found.unmatched).endswith("\n\nonly in A: nodes=2; only in B: nodes=4\n")
    assert comparison_json(found.pairs, found.unmatched)["unmatched"] == [
        {
            "baseline": str(folders / "nodes"),
            "other": str(folders / "shifted"),
            "only_baseline": [{"relay.nodes": 2}],
            "only_other": [{"relay.nodes": 4}],
        }
    ]
    assert compare([folders / "nodes"]).unmatched == []


def test_combinations_that_come_to_the_same_must_be_matched_whatever_is_varied(folders: Path) -> None:
    found = compare([folders / "nodes", folders / "wide"])
    told = [(pair.baseline.parameters, pair.other.parameters, pair.differences) for pair in found.pairs]
    assert told == [({"relay.nodes": nodes}, {"population.devices": 10, "relay.nodes": nodes}, []) for nodes in (2, 3)]
    (unmatched,) = found.unmatched
    assert unmatched.only_baseline == []
    assert [combination["population.devices"] for combination in unmatched.only_other] == [6, 6]


def test_combinations_are_matched_by_what_their_values_mean_where_something_else_differs(tmp_path: Path) -> None:
    axes = {"warm_up": ["1s", "2s"]}
    sweep.run({**SMALL, "duration": "5s", "faults": []}, seeds="1", vary=axes, workers=0, out=tmp_path / "a")
    axes = {"warm_up": ["2000ms", "3s"]}
    sweep.run({**SMALL, "duration": "6s", "faults": []}, seeds="2", vary=axes, workers=0, out=tmp_path / "b")
    (pair,) = compare([tmp_path / "a", tmp_path / "b"]).pairs
    assert (pair.baseline.parameters, pair.other.parameters) == ({"warm_up": "2s"}, {"warm_up": "2000ms"})
    assert [difference.path for difference in pair.differences or ()] == ["duration"]


def test_combinations_of_one_sweep_are_compared_seed_by_seed(folders: Path) -> None:
    (pair,) = compare([folders / "many"]).pairs
    found = {comparison.measure: comparison for comparison in pair.comparisons}["reconnect_time_s.p50"]
    assert (found.verdict, pair.shared, pair.alike) == ("higher", [], [])
    assert found.ratio is not None
    assert found.ratio > 2


def test_several_pairs_end_in_a_line_for_each(folders: Path, tmp_path: Path) -> None:
    sweep.run(SMALL, seeds="11-16", workers=0, out=tmp_path / "one")
    found = compare([tmp_path / "one", folders / "many"])
    lines = comparison_table(found.pairs).splitlines()
    start = lines.index("In short, 2 comparisons; B is")
    assert lines[start + 1] == "  base=1s  not distinguishable"
    last = " ".join(" ".join(lines[start + 2 :]).split())
    assert last.startswith("base=4s ")
    assert " of 19 differ: ▲ higher: " in last
    assert "Reconnect time p50" in last
    assert max(map(len, lines)) <= 110
    assert "\nIn short, 2 comparisons; A is\n" in comparison_table(compare([folders / "many", tmp_path / "one"]).pairs)


def test_sweeps_with_nothing_in_common_are_refused(folders: Path) -> None:
    with pytest.raises(CompareError, match="no combination of parameters is in both sweeps"):
        compare([folders / "shifted", folders / "many"])
