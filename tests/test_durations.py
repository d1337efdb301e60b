"""Durations and times are read as Go reads them and written as Go writes them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.durations import DurationError, format_duration, parse_duration, parse_time_or_duration


@given(st.timedeltas(min_value=timedelta(days=-30_000), max_value=timedelta(days=30_000)))
def test_what_is_written_reads_back(value: timedelta) -> None:
    assert abs(parse_duration(format_duration(value)) - value) <= timedelta(microseconds=abs(value.days))


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_whole_seconds_are_exact(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value == parse_duration(f"{seconds}s")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("24h", 86400),
        ("1h30m", 5400),
        ("-1.5h", -5400),
        ("2h45m", 9900),
        ("300ms", 0.3),
        (".5s", 0.5),
        ("1.s", 1),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("1000ns", 1e-6),
        ("1m1h", 3660),
    ],
)
def test_gos_examples(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "-", "1", "h", ".", ".h", "1d", "1h1", "1 h", "1h ", "--1h", "1e3s", "٣s", "9999999999h", "1H"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(DurationError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(hours=24), "24h0m0s"),
        (timedelta(minutes=5), "5m0s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(milliseconds=300), "300ms"),
        (timedelta(microseconds=7), "7µs"),
        (timedelta(hours=-1, minutes=-30), "-1h30m0s"),
    ],
)
def test_gos_writing(value: timedelta, text: str) -> None:
    assert format_duration(value) == text


def test_times_or_durations() -> None:
    assert parse_time_or_duration("") is None
    assert parse_time_or_duration("90m") == timedelta(minutes=90)
    assert parse_time_or_duration("2026-01-02T15:04:05Z") == datetime(2026, 1, 2, 15, 4, 5, tzinfo=UTC)
    assert parse_time_or_duration("2026-01-02T15:04:05+02:00") == datetime(2026, 1, 2, 13, 4, 5, tzinfo=UTC)
    for text in ("2026-01-02T15:04:05", "2026-01-02", "tomorrow"):
        with pytest.raises(DurationError, match="expected RFC 3339"):
            parse_time_or_duration(text)
