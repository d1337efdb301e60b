"""Renewal comes in time, is spread, never in a tight loop, and follows step's arithmetic where that is safe."""

from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.x509.authorities import NOW, issue
from troth.client.schedule import (
    RETRY,
    SHORTEST_WAIT,
    ScheduleError,
    check_times,
    is_due,
    length_of,
    next_renewal,
    retry_after,
)
from troth.x509.keys import generate_key

KEY = generate_key()
DICE = st.floats(min_value=0, max_value=1, exclude_max=True)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def certificate(length: timedelta, backdated: timedelta = MINUTE) -> x509.Certificate:
    """Issued at NOW."""
    return issue("x", start=NOW - backdated, end=NOW - backdated + length, key=KEY).certificate


DAY = certificate(24 * HOUR + MINUTE)


@given(DICE)
def test_a_third_of_the_life_is_left_and_a_twentieth_is_spread(dice: float) -> None:
    delay = next_renewal(DAY, NOW, dice)
    latest = 24 * HOUR - length_of(DAY) / 3
    assert latest - length_of(DAY) / 20 <= delay <= latest


def test_expires_in_and_period_replace_it() -> None:
    assert next_renewal(DAY, NOW, 0.0, expires_in=HOUR) == 23 * HOUR
    assert next_renewal(DAY, NOW, 0.9, period=HOUR) == HOUR
    assert next_renewal(DAY, NOW + 23 * HOUR + MINUTE, 0.9, period=HOUR) == timedelta(0)


@given(st.integers(min_value=0, max_value=24 * 3600), DICE)
def test_renewal_is_never_after_expiry(passed: int, dice: float) -> None:
    moment = NOW + timedelta(seconds=passed)
    assert timedelta(0) <= next_renewal(DAY, moment, dice) <= max(DAY.not_valid_after_utc - moment, timedelta(0))


@given(st.integers(min_value=2, max_value=600), DICE)
def test_however_short_the_life_a_renewal_is_followed_by_a_wait(seconds: int, dice: float) -> None:
    short = certificate(timedelta(seconds=seconds) + MINUTE)
    delay = next_renewal(short, NOW, dice, renewed=True)
    assert SHORTEST_WAIT <= delay <= timedelta(seconds=seconds)
    assert delay >= timedelta(seconds=seconds) / 3


@given(DICE)
def test_a_time_that_was_asked_for_is_kept_after_a_renewal_too(dice: float) -> None:
    assert next_renewal(DAY, NOW, dice, period=HOUR, renewed=True) == HOUR
    assert HOUR / 2 <= next_renewal(DAY, NOW, 0.0, expires_in=22 * HOUR + HOUR / 2, renewed=True) <= 2 * HOUR
    assert next_renewal(DAY, NOW, dice, expires_in=24 * HOUR, renewed=True) == 8 * HOUR
    assert next_renewal(DAY, NOW, dice, period=timedelta(milliseconds=1), renewed=True) == SHORTEST_WAIT


def test_an_expired_certificate_is_renewed_at_once_but_not_in_a_loop() -> None:
    late = NOW + 48 * HOUR
    assert next_renewal(DAY, late, 0.5) == timedelta(0)
    assert next_renewal(DAY, late, 0.5, renewed=True) == SHORTEST_WAIT


@given(st.integers(min_value=0, max_value=48 * 3600), DICE)
def test_errors_wait_a_minute_or_less_but_never_nothing(passed: int, dice: float) -> None:
    wait = retry_after(DAY, NOW + timedelta(seconds=passed), dice)
    assert timedelta(seconds=5) <= wait <= RETRY * 1.1


def test_due_is_the_threshold_and_up_to_a_twentieth_more() -> None:
    at = DAY.not_valid_after_utc
    assert is_due(DAY, at - HOUR, HOUR, 0.0)
    assert not is_due(DAY, at - HOUR - MINUTE, HOUR, 0.0)
    assert is_due(DAY, at - HOUR - MINUTE, HOUR, 0.5)
    assert not is_due(DAY, at - HOUR - 4 * MINUTE, HOUR, 0.999)


@pytest.mark.parametrize(
    ("expires_in", "period", "reason"),
    [
        (25 * HOUR, None, "--expires-in is longer"),
        (None, 25 * HOUR, "--renew-period is longer"),
        (-HOUR, None, "--expires-in is negative"),
        (HOUR, HOUR, "cannot be used together"),
    ],
)
def test_times_that_do_not_fit(expires_in: timedelta | None, period: timedelta | None, reason: str) -> None:
    with pytest.raises(ScheduleError, match=reason):
        check_times(DAY, expires_in, period)
    check_times(DAY, 24 * HOUR, None)
