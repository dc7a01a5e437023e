"""Histograms: at most 1 % off at any quantile, exact in count, sum and extremes, the same in whatever order merged."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zentalk_sim.report.histogram import Histogram

VALUES = st.integers(0, 2**62) | st.integers(0, 100_000)
LISTS = st.lists(VALUES, min_size=1, max_size=60)
QUANTILES = st.floats(0, 1) | st.sampled_from([0, 0.5, 0.9, 0.99, 0.999, 1])


def filled(values: list[int]) -> Histogram:
    made = Histogram()
    for value in values:
        made.record(value)
    return made


@given(LISTS, QUANTILES)
@example([255, 256, 257, 511, 512, 513], 0.5)
@example([2**62 - 1, 2**62], 0.5)
def test_any_quantile_must_be_within_one_per_cent(values: list[int], q: float) -> None:
    exact = sorted(values)[max(math.ceil(Fraction(str(q)) * len(values)), 1) - 1]
    found = filled(values).quantile(q)
    assert found is not None
    assert abs(found - exact) <= exact * 0.01
    assert min(values) <= found <= max(values)


@given(LISTS)
def test_count_sum_mean_and_extremes_must_be_exact(values: list[int]) -> None:
    made = filled(values)
    assert (made.count, made.sum, made.min, made.max) == (len(values), sum(values), min(values), max(values))
    assert made.mean == sum(values) / len(values)
    assert (made.quantile(0), made.quantile(1)) == (min(values), max(values))
    assert sum(number for _, number in made.items()) == len(values)


@given(LISTS, LISTS, LISTS)
def test_merging_must_be_associative_and_commutative(a: list[int], b: list[int], c: list[int]) -> None:
    left, right, turned = filled(a), filled(b), filled(c)
    left.merge(filled(b))
    left.merge(filled(c))
    right.merge(filled(c))
    first = filled(a)
    first.merge(right)
    turned.merge(filled(b))
    turned.merge(filled(a))
    assert left == first == turned == filled(a + b + c)


@given(st.lists(VALUES, max_size=60))
def test_what_is_written_must_read_back_equal(values: list[int]) -> None:
    made = filled(values)
    assert Histogram.from_dict(made.to_dict()) == made


@given(LISTS)
def test_quantiles_never_fall(values: list[int]) -> None:
    made = filled(values)
    found = [made.quantile(q / 20) or 0 for q in range(21)]
    assert found == sorted(found)


def test_a_quantile_is_taken_as_the_decimal_it_is_written_as() -> None:
    made = filled(list(range(1, 101)))
    # In binary floating point 0.07 * 100 is a little above 7, which would give the eighth value.
    assert [made.quantile(q) for q in (0.07, 0.29, 0.57, 0.99)] == [7, 29, 57, 99]


def test_an_empty_histogram_has_no_quantile() -> None:
    made = Histogram()
    assert (made.quantile(0.5), made.mean, made.min, made.max, made.count) == (None, None, None, None, 0)
    made.merge(Histogram())
    assert made == Histogram()
    assert list(made.items()) == []


def test_memory_must_not_grow_with_the_number_of_values() -> None:
    made = filled([i * 7919 % 60_000_000 for i in range(50_000)])
    assert len(made.to_dict()["buckets"]) < 2500


@pytest.mark.parametrize("values", [[-1], [5, -1]])
def test_a_negative_value_is_refused(values: list[int]) -> None:
    with pytest.raises(ValueError, match="no negative value: -1"):
        filled(values)


def test_anything_but_an_integer_is_refused() -> None:
    with pytest.raises(TypeError, match="not float"):
        Histogram().record(0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        filled([1]).quantile(q)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"buckets": 3},
        {"buckets": [[1, 2]], "count": 1, "sum": 2, "min": 1, "max": 1},
        {"buckets": [[1, 1]], "count": 1, "sum": 1, "min": 1, "max": None},
        {"buckets": [[1, 1]], "count": 1, "sum": 1, "min": 1, "max": "1"},
        {"buckets": [[1 << 60, 1]], "count": 1, "sum": 1, "min": 1, "max": 1},
    ],
    ids=str,
)
def test_a_damaged_histogram_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram.from_dict(data)
