"""Medians, bootstrap intervals and tests, against what is known of them."""

from __future__ import annotations

from itertools import product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.protocol.streams import Streams
from zentalk_sim.report.sweep_statistics import (
    ENOUGH,
    MAX_EXACT_PAIRS,
    Interval,
    coverage,
    discoveries,
    interval_words,
    median_interval,
    paired_ratio,
    rank_sum_p,
    ratio_interval,
    signed_rank_p,
    signed_ranks,
)


def draws(name: str, count: int) -> list[float]:
    stream = Streams("test").stream(name)
    return [stream.uniform() for _ in range(count)]


def test_no_value_and_one_value_have_no_interval() -> None:
    assert median_interval([]) == Interval(0, None, None, None)
    assert median_interval([3.5]) == Interval(1, 3.5, None, None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert median_interval([2.0] * 9) == Interval(9, 2.0, 2.0, 2.0)


@given(st.lists(st.floats(0, 1e9), min_size=2, max_size=30))
def test_the_interval_holds_the_median_and_stays_within_the_values(values: list[float]) -> None:
    found = median_interval(values)
    assert found.median is not None
    assert found.low is not None
    assert found.high is not None
    assert min(values) <= found.low <= found.median <= found.high <= max(values)


def test_the_interval_is_the_same_every_time() -> None:
    values = draws("same", 20)
    assert median_interval(values) == median_interval(list(values))


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    """200 samples of 25 uniform draws: the 95 % interval must hold 0.5 in 90 to 99 % of them."""
    covered = 0
    for number in range(200):
        found = median_interval(draws(f"cover/{number}", 25))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 180 <= covered <= 198


def test_few_runs_have_the_narrowest_pair_of_order_statistics_that_is_sure_enough() -> None:
    for n, low, high in ((2, 1, 2), (5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8)):
        found = median_interval([float(i) for i in range(n, 0, -1)])
        assert (found.low, found.high) == (low, high)


def test_the_coverage_of_few_runs_is_told_as_it_is() -> None:
    """The least and the greatest of n hold the median unless all fall on one side: 1 − 2·(1/2)ⁿ."""
    assert [coverage(n) for n in (2, 3, 4, 5, 6)] == [0.5, 0.75, 0.875, 0.9375, 0.96875]
    assert coverage(9) == pytest.approx(1 - 2 * (1 + 9) / 512)
    assert all(coverage(n) >= 0.95 for n in range(ENOUGH, 50))
    assert coverage(ENOUGH - 1) < 0.95
    for n in (3, 5, 7, 9):
        held = 0
        for number in range(400):
            found = median_interval(draws(f"few/{n}/{number}", n))
            assert found.low is not None
            assert found.high is not None
            held += found.low <= 0.5 <= found.high
        assert held / 400 == pytest.approx(coverage(n), abs=4 * (coverage(n) * (1 - coverage(n)) / 400) ** 0.5)


def test_an_interval_is_called_by_what_it_holds() -> None:
    assert interval_words(1) == "no interval"
    assert interval_words(3) == "least and greatest of 3 runs, 75 % sure"
    assert interval_words(5) == "least and greatest of 5 runs, 93.8 % sure"
    assert interval_words(6) == interval_words(20) == "95 % interval"


def test_from_ten_runs_on_the_interval_is_the_bootstraps() -> None:
    """The 51st least and greatest of 2 000 medians, of resamples drawn from the streams of old."""
    found = median_interval(draws("ten", 10))
    assert found == Interval(10, 0.42284214484338994, 0.22909851706475665, 0.873337282069747)


def test_the_ratio_of_medians() -> None:
    ratio, low, high = ratio_interval([10.0, 11.0, 12.0], [20.0, 22.0, 24.0])
    assert ratio == 2.0
    assert low is not None
    assert high is not None
    assert 20 / 12 <= low <= 2 <= high <= 2.4
    assert ratio_interval([2.0], [3.0]) == (1.5, None, None)
    assert ratio_interval([0.0, 0.0], [3.0, 4.0]) == (None, None, None)
    assert ratio_interval([], [3.0]) == (None, None, None)
    assert ratio_interval([0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 1.0])[1:] == (None, None)


def test_the_exact_test_of_sets_that_do_not_overlap() -> None:
    """Two of all arrangements are as extreme: the one seen and its mirror image."""
    for n, m in ((3, 3), (4, 4), (5, 5), (5, 8)):
        a = [float(i) for i in range(n)]
        b = [100.0 + i for i in range(m)]
        assert rank_sum_p(a, b) == pytest.approx(2 / comb(n + m, n))
        assert rank_sum_p(b, a) == pytest.approx(2 / comb(n + m, n))


def test_the_exact_test_against_a_known_example() -> None:
    """Ranks 1, 2, 4 of six: rank sum 7, of 20 arrangements 4 are at least as far from 10.5 (6, 7 and 14, 15)."""
    assert rank_sum_p([1.0, 2.0, 4.0], [3.0, 5.0, 6.0]) == pytest.approx(4 / 20)


def test_ties_and_empty_sets_are_no_difference() -> None:
    assert rank_sum_p([1.0] * 5, [1.0] * 5) == 1.0
    assert rank_sum_p([], [1.0]) == 1.0


def test_the_drawn_test_agrees_with_the_normal_approximation() -> None:
    """20 and 20 interleaved but for a shift of six places."""
    a = [float(i) for i in range(20)]
    b = [i + 6.5 for i in range(20)]
    wins = sum(y > x for x in a for y in b)
    z = (wins - 200) / (20 * 20 * 41 / 12) ** 0.5
    assert 2.9 < z < 3.0
    p = rank_sum_p(a, b)
    assert 0.002 < p < 0.0045
    assert rank_sum_p(a, b) == p


def test_the_test_calls_equal_sets_different_about_as_often_as_it_says() -> None:
    """300 pairs of seven draws from one distribution: p ≤ 0.05 in 1 to 8 % of them."""
    called = sum(rank_sum_p(draws(f"a/{i}", 7), draws(f"b/{i}", 7)) <= 0.05 for i in range(300))
    assert 3 <= called <= 24


def test_the_signed_rank_test_against_tables() -> None:
    """n = 8 with rank sums 4 and 32: of 256 signs 18 are as far apart (2 · 9); the table's 5 % bound is 3."""
    pairs = [(0.0, d) for d in (-4.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0)]
    assert signed_rank_p(pairs) == pytest.approx(2 * 7 / 256)
    assert signed_rank_p([(d, 0.0) for _, d in pairs]) == pytest.approx(2 * 7 / 256)
    for n in (1, 5, 6, 12):
        assert signed_rank_p([(0.0, 1.0 + i) for i in range(n)]) == pytest.approx(2 ** (1 - n))
    assert sum(signed_ranks(pairs)) == 2 * (36 - 2 * 4)


def test_pairs_without_a_difference_say_nothing_and_ties_stand_at_their_mean_rank() -> None:
    assert signed_rank_p([]) == signed_rank_p([(1.0, 1.0)] * 9) == 1.0
    assert signed_rank_p([(3.0, 3.0), *[(0.0, 1.0 + i) for i in range(6)]]) == pytest.approx(2 / 2**6)
    # 0.3 - 0.2 and 0.2 - 0.1 are not the same in binary; ranks 1.5, 1.5, 3, doubled.
    assert sorted(signed_ranks([(0.2, 0.3), (0.2, 0.1), (0.0, 0.5)])) == [-3, 3, 6]


@given(st.lists(st.integers(-6, 6).filter(bool), min_size=1, max_size=9))
def test_the_signed_rank_test_counts_all_signs(differences: list[int]) -> None:
    ranks = [abs(rank) for rank in signed_ranks([(0.0, float(d)) for d in differences])]
    seen = abs(sum(rank if d > 0 else -rank for rank, d in zip(ranks, differences, strict=True)))
    signs = list(product((1, -1), repeat=len(ranks)))
    extreme = sum(abs(sum(s * r for s, r in zip(choice, ranks, strict=True))) >= seen for choice in signs)
    assert signed_rank_p([(0.0, float(d)) for d in differences]) == pytest.approx(extreme / len(signs))


def test_beyond_the_exact_the_normal_distribution_agrees() -> None:
    x = draws("many", MAX_EXACT_PAIRS + 1)
    pairs = [(0.0, value - 0.45) for value in x]
    exact, drawn = signed_rank_p(pairs[:-1]), signed_rank_p(pairs)
    assert 0.0001 < exact < 0.5
    assert drawn == pytest.approx(exact, rel=0.2)


def test_the_ratio_of_pairs_is_the_median_of_theirs() -> None:
    assert paired_ratio([(1.0, 2.0), (10.0, 30.0), (100.0, 100.0)]) == (2.0, 1.0, 3.0)
    assert paired_ratio([(1.0, 2.0), (0.0, 1.0)]) == paired_ratio([]) == (None, None, None)
    assert paired_ratio([(2.0, 3.0)]) == (1.5, None, None)


def test_benjamini_and_hochberg() -> None:
    assert discoveries([]) == []
    assert discoveries([0.5, 0.9]) == [False, False]
    # The example of the 1995 paper: fifteen p-values, four discoveries.
    paper = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    paper += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert discoveries(paper) == [True] * 4 + [False] * 11
    # The largest rank that passes takes the smaller ones with it.
    assert discoveries([0.04, 0.045]) == [True, True]
