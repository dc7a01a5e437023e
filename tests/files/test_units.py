"""Durations, sizes and rates: what people write, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentalk_sim.files.units import (
    MAX_DURATION_US,
    UnitError,
    format_bit_rate,
    format_duration,
    format_size,
    parse_bit_rate,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("30s", 30_000_000),
        ("150ms", 150_000),
        ("250us", 250),
        ("250µs", 250),
        ("250μs", 250),
        ("5m", 300_000_000),
        ("5min", 300_000_000),
        ("2h", 7_200_000_000),
        ("1d", 86_400_000_000),
        ("1.5h", 5_400_000_000),
        ("0.1ms", 100),
        ("1h30m", 5_400_000_000),
        ("1m 30s", 90_000_000),
        ("30 s", 30_000_000),
        (" 30s ", 30_000_000),
        ("1e3s", 1_000_000_000),
        ("0s", 0),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, us: int) -> None:
    assert parse_duration(text) == us


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "an empty text is no duration"),
        ("30", "`30` is no duration; write a number and a unit"),
        ("30x", "`x` is no unit of time; use us, ms, s, m (minutes), h or d"),
        ("30KiB", "`KiB` is no unit of time"),
        ("-3s", "`-3s` is negative; a duration is 0 or more"),
        ("0.5us", "not a whole number of microseconds"),
        ("s", "is no duration"),
        ("30s1h", "from the larger unit to the smaller"),
        ("1s1s", "from the larger unit to the smaller"),
        ("1.s", "is no duration"),
        ("1" * 70 + "s", "is too long for a duration"),
        ("36526d", "longer than 100 years"),
        ("1e99d", "longer than 100 years"),
        ("30s!", "is no duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_its_reason(text: str, complaint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_duration(text)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "count"),
    [("600B", 600), ("64KiB", 65_536), ("1MB", 1_000_000), ("10kB", 10_000), ("1.5KiB", 1_536), ("1GiB", 1 << 30)],
)
def test_a_size_is_a_number_and_a_unit(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("64", "write a number and a unit, such as 600B, 64KiB or 1MB"),
        ("64s", "`s` is no unit of size"),
        ("64kb", "`kb` is no unit of size"),
        ("-1B", "is negative"),
        ("0.5B", "not a whole number of bytes"),
    ],
)
def test_what_is_no_size_is_refused_with_its_reason(text: str, complaint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_size(text)
    assert complaint in str(caught.value)


def test_bit_rates_are_netems() -> None:
    assert parse_bit_rate("10Mbit") == 10_000_000
    assert parse_bit_rate("64kbit") == 64_000
    assert parse_bit_rate("1.5Mbit/s") == 1_500_000
    assert parse_bit_rate("9600bit") == 9_600
    for wrong in ("10", "10MB", "-1Mbit", "0.5bit"):
        with pytest.raises(UnitError):
            parse_bit_rate(wrong)


def test_event_rates_are_counted_by_the_unit_asked_for() -> None:
    assert parse_rate("2/min", "min") == 2
    assert parse_rate("1/s", "min") == 60
    assert parse_rate("90/h", "min") == 1.5
    for wrong, complaint in (
        ("2", "write events per unit of time"),
        ("2/week", "`week` is no unit"),
        ("-2/min", "negative"),
        ("x/min", "is no rate"),
    ):
        with pytest.raises(UnitError) as caught:
            parse_rate(wrong, "min")
        assert complaint in str(caught.value)


@given(st.integers(0, MAX_DURATION_US))
def test_a_formatted_duration_reads_back_equal(us: int) -> None:
    assert parse_duration(format_duration(us)) == us


@given(st.integers(0, 1 << 62))
def test_a_formatted_size_or_bit_rate_reads_back_equal(count: int) -> None:
    assert parse_size(format_size(count)) == count
    assert parse_bit_rate(format_bit_rate(count)) == count


@given(st.text(max_size=20))
def test_no_text_makes_the_parsers_fail_otherwise(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_bit_rate, lambda t: parse_rate(t, "min")):
        try:
            assert parse(text) >= 0
        except UnitError as error:
            assert str(error)


def test_the_largest_whole_unit_is_written() -> None:
    assert [format_duration(us) for us in (0, 1, 1_500, 90_000_000, 120_000_000, 86_400_000_000)] == [
        "0s",
        "1us",
        "1500us",
        "90s",
        "2m",
        "1d",
    ]
    assert [format_size(n) for n in (0, 600, 65_536, 10_000)] == ["0B", "600B", "64KiB", "10kB"]
