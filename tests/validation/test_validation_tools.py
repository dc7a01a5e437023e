"""The tools of the checks: intervals by published tables, and checks that refuse what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import log2
from statistics import fmean

import pytest

from tests.validation import queues
from tests.validation.aws_jitter import Completed, compete
from tests.validation.check import Sample, distributed, estimated, exactly, is_long, published, with_error
from tests.validation.intervals import interval, ks_distance, ks_two, quantile, student_t, uniform_on
from tests.validation.links import (
    LOSS,
    MEAN_DELAY_MS,
    PRECISION,
    TIMEOUT_MS,
    bad_stays,
    mean_delay_ms,
    timeout_delays_ms,
    timeout_size,
)
from tests.validation.pacing import bucket_us, sawtooth_us
from zentalk_sim.model.ingress import Ingress
from zentalk_sim.protocol.streams import Streams

# --- intervals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "degrees", "t"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 9, 2.2622),
        (0.99, 19, 2.8609),
        (0.999, 19, 3.8834),
        (0.99, 99, 2.6264),
        (0.99, 999, 2.5808),
    ],
)
def test_students_t_is_that_of_the_tables(level: float, degrees: int, t: float) -> None:
    assert student_t(level, degrees) == pytest.approx(t, abs=6e-5)


def test_an_interval_is_the_mean_and_t_standard_errors() -> None:
    found = interval([1.0, 2.0, 3.0], 0.95)
    assert (found.mean, found.seeds) == (2.0, 3)
    assert found.half_width == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert found.holds(4.4)
    assert not found.holds(4.5)


def test_one_seed_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two, not 1"):
        interval([1.0])


def test_distances_by_hand() -> None:
    assert ks_distance([0.5], uniform_on(0, 1)) == 0.5
    assert ks_distance([0.25, 0.75], uniform_on(0, 1)) == 0.25
    assert ks_distance([2.0, 3.0], uniform_on(0, 1)) == 1.0
    assert ks_two([1, 2, 3], [1, 2, 3]) == 0
    assert ks_two([1, 2], [3, 4]) == 1
    assert ks_two([1, 3], [2, 4]) == 0.5


def test_quantiles_are_values_of_the_sample() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [quantile(values, q) for q in (0, 0.2, 0.21, 0.5, 1)] == [1, 1, 2, 3, 5]


def test_a_figure_is_told_to_the_digits_its_interval_allows() -> None:
    assert with_error(8.8861, 0.6444) == "8.89 ± 0.64"
    assert with_error(1854.03, 14.9) == "1854 ± 15"
    assert with_error(2.0, 0.0) == "2 ± 0"


# --- checks that can fail --------------------------------------------------------------------------------------


def _sample(*values: float) -> object:
    return lambda _is_long: Sample(values, "draws")


def test_an_estimate_off_theory_or_too_wide_must_disagree() -> None:
    close = _sample(0.99, 1.0, 1.01, 1.0)
    assert estimated(1.0, close, precision=0.1)(False).agrees  # type: ignore[arg-type]
    assert not estimated(1.2, close, precision=0.1)(False).agrees  # type: ignore[arg-type]
    assert not estimated(1.0, _sample(0.5, 1.5, 1.0), precision=0.1)(False).agrees  # type: ignore[arg-type]


def test_a_published_figure_missed_by_more_than_its_rounding_must_disagree() -> None:
    close = _sample(1990, 2000, 2010)
    assert published(2.0, close, within=0.05, scale=1000)(False).agrees  # type: ignore[arg-type]
    assert not published(2.2, close, within=0.05, scale=1000)(False).agrees  # type: ignore[arg-type]


def test_a_distribution_of_another_shape_or_range_must_disagree() -> None:
    draws = Streams(1).stream("uniform")
    values = [draws.uniform() for _ in range(1000)]
    assert distributed(uniform_on(0, 1), 0, 1, _sample(*values))(False).agrees  # type: ignore[arg-type]
    assert not distributed(uniform_on(0, 1), 0, 1, _sample(*(v * v for v in values)))(False).agrees  # type: ignore[arg-type]
    assert not distributed(uniform_on(0, 1), 0, 0.9, _sample(*values))(False).agrees  # type: ignore[arg-type]


def test_an_exact_statement_missed_must_disagree() -> None:
    assert exactly((1, 2), lambda _is_long: ((1, 2), ""))(False).agrees
    assert not exactly((1, 2), lambda _is_long: ((1, 3), ""))(False).agrees


def test_another_queue_must_not_pass_for_m_m_1() -> None:
    """The same arrivals with constant service, with a second worker, or with a job lost now and then."""
    rho = 0.8
    theory = queues.mm1_wait(rho)

    def constant(_is_long: bool) -> Sample:
        return Sample([w.mean for w in queues.waits(rho, 1, "deterministic", 10, 20_000)], "jobs")

    def two_workers(_is_long: bool) -> Sample:
        return Sample([w.mean for w in queues.waits(rho, 2, "exponential", 10, 20_000)], "jobs")

    assert not estimated(theory, constant, precision=0.5)(False).agrees
    assert not estimated(theory, two_workers, precision=0.5)(False).agrees


def test_a_timer_that_does_not_double_must_not_pass_for_one_that_does() -> None:
    """The short form of the mean added delay alone: n losses in a row made n·R late in the place of (2ⁿ − 1)·R."""
    doubled = timeout_delays_ms(*timeout_size(False))
    undoubled = [tuple(TIMEOUT_MS * log2(delay / TIMEOUT_MS + 1) for delay in row) for row in doubled]

    def means(rows: Iterable[tuple[float, ...]]) -> Callable[[bool], Sample]:
        return lambda _is_long: Sample([mean_delay_ms(row) for row in rows], "frames")

    assert fmean(map(fmean, undoubled)) == pytest.approx(TIMEOUT_MS * LOSS / (1 - LOSS), rel=0.03)
    assert estimated(MEAN_DELAY_MS, means(doubled), precision=PRECISION)(False).agrees
    assert not estimated(MEAN_DELAY_MS, means(undoubled), precision=PRECISION)(False).agrees


def test_the_long_form_is_asked_for_by_either_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPOTHESIS_PROFILE", raising=False)
    monkeypatch.delenv("ZENTALK_SOAK", raising=False)
    assert not is_long()
    monkeypatch.setenv("ZENTALK_SOAK", "0")
    assert not is_long()
    monkeypatch.setenv("ZENTALK_SOAK", "1")
    assert is_long()
    monkeypatch.delenv("ZENTALK_SOAK")
    monkeypatch.setenv("HYPOTHESIS_PROFILE", "soak")
    assert is_long()


# --- theory and drivers ----------------------------------------------------------------------------------------


def test_the_closed_forms_give_the_figures_they_are_known_by() -> None:
    assert [queues.mm1_wait(rho) for rho in (0.5, 0.8, 0.9)] == pytest.approx([1, 4, 9])
    assert [queues.md1_wait(rho) for rho in (0.5, 0.8, 0.9)] == pytest.approx([0.5, 2, 4.5])
    assert queues.mm1k_blocking(0.8, 10) == pytest.approx(0.023493, abs=5e-7)
    assert queues.erlang_b(8, 10) == pytest.approx(0.121661, abs=5e-7)
    assert queues.erlang_c(8, 10) == pytest.approx(0.409180, abs=5e-7)


def test_draws_in_a_batch_are_the_streams_own() -> None:
    from math import log1p

    one_by_one = Streams(3).fresh("x")
    expected = [round(-1000 * log1p(-one_by_one.uniform())) for _ in range(100)]
    assert queues.exponentials_us(Streams(3).fresh("x"), 100, 1000) == expected


def test_a_job_of_no_cost_tells_of_a_free_worker_and_changes_nothing() -> None:
    ingress = Ingress(2, 1, 0)
    ingress.serve(0, 100)
    assert ingress.serve(10, 0) == 10
    ingress.serve(10, 100)
    assert ingress.serve(20, 0) == 100
    assert ingress.serve(20, 5) == 105


def test_stays_cut_short_by_the_samples_ends_are_left_out() -> None:
    assert bad_stays(bytes([1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1])) == [3, 1]


def test_the_sawtooth_and_the_bucket_begin_as_the_ruling_says() -> None:
    second = 1_000_000
    assert sawtooth_us(120)[:12] == (*(0,) * 10, second, 2 * second)
    assert sawtooth_us(120)[59:61] == (50 * second, 60 * second)
    assert bucket_us(1, 10, 3) == (*(0,) * 10, second, 2 * second)


def test_the_exponent_is_one_at_the_first_backoff() -> None:
    """Two clients in step: the second is told at 40 ms, waits 5·2¹ = 10 ms, and needs four hops more."""
    assert compete(2, "exponential", 0, hop_sd_ms=0) == Completed(90_000, 3)


def test_a_run_of_the_study_follows_from_its_seed() -> None:
    assert compete(20, "full", 5) == compete(20, "full", 5)
    assert compete(20, "full", 5) != compete(20, "full", 6)
