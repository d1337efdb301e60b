"""When a certificate is renewed and when a failure is tried again, for any life, moment and dice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.rig import Bench
from troth.agent.schedule import FIRST_RETRY, JITTER, LONGEST_RETRY, SHORTEST, renewal, retry

BORN = datetime(2026, 3, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TWO_THIRDS = 2 / 3

lives = st.timedeltas(min_value=SECOND, max_value=timedelta(days=3650))
shares = st.floats(0.1, 0.95)
dices = st.floats(0, 1, exclude_max=True)
fractions = st.floats(0, 1)


def test_a_day_is_renewed_after_sixteen_hours_less_at_most_a_twentieth() -> None:
    ends = BORN + 24 * HOUR
    assert renewal(BORN, ends, BORN, TWO_THIRDS, 0).at == BORN + 16 * HOUR
    assert renewal(BORN, ends, BORN, TWO_THIRDS, 0.5).at == BORN + 16 * HOUR - 0.6 * HOUR
    assert renewal(BORN, ends, BORN + HOUR, TWO_THIRDS, 0).at == BORN + 16 * HOUR, "looking does not postpone it"


@given(lives, shares, dices)
def test_a_renewal_is_due_within_a_twentieth_of_life_before_its_share(
    life: timedelta, share: float, dice: float
) -> None:
    due = renewal(BORN, BORN + life, BORN, share, dice)
    moment, slack = BORN + life * share, timedelta(microseconds=2)
    assert moment - life * JITTER - slack <= due.at <= moment + slack


@given(lives, shares, dices, fractions)
def test_a_moment_gone_by_is_due_at_once_and_never_in_the_past(
    life: timedelta, share: float, dice: float, lived: float
) -> None:
    now = BORN + life * lived
    due = renewal(BORN, BORN + life, now, share, dice)
    assert due.at >= now
    assert due.at <= BORN + life, "never after its end"
    if lived > share + 0.001:
        assert due.at == now


@given(lives, shares, dices, fractions)
def test_a_certificate_just_issued_is_left_alone_for_a_second_however_long_it_was_backdated(
    life: timedelta, share: float, dice: float, lived: float
) -> None:
    now = BORN + life * lived
    due = renewal(BORN, BORN + life, now, share, dice, renewed=True)
    assert due.at >= now + SHORTEST
    left = BORN + life - now
    assert due.at <= max(BORN + life, now + SHORTEST)
    if left >= 3 * SECOND:
        assert due.at >= now + left / 3 - timedelta(microseconds=2)


@given(lives, shares, dices)
def test_an_expired_certificate_is_due_now(life: timedelta, share: float, dice: float) -> None:
    now = BORN + life + HOUR
    due = renewal(BORN, BORN + life, now, share, dice)
    assert (due.at, due.why) == (now, "expired")


def test_certificates_issued_together_are_renewed_apart() -> None:
    moments = {renewal(BORN, BORN + 24 * HOUR, BORN, TWO_THIRDS, dice / 100).at for dice in range(100)}
    assert len(moments) == 100
    assert max(moments) - min(moments) > HOUR


def test_a_failure_is_tried_again_after_doubling_pauses() -> None:
    pauses = [(retry(count, BORN, None, 0.5).at - BORN).total_seconds() for count in range(1, 13)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800, 1800]


@given(st.integers(0, 10**9), st.none() | st.timedeltas(-HOUR, timedelta(days=400)), dices)
def test_a_pause_is_never_short_enough_to_hammer_nor_longer_than_useful(
    failures: int, left: timedelta | None, dice: float
) -> None:
    ends = BORN + left if left is not None else None
    pause = retry(failures, BORN, ends, dice).at - BORN
    assert FIRST_RETRY * 0.75 <= pause <= LONGEST_RETRY * 1.25
    if left is not None and left <= timedelta(0):
        assert pause <= MINUTE * 1.25, "every moment after its end is an outage"
    elif left is not None and left > MINUTE:
        assert pause <= left / 8 + timedelta(microseconds=2), "attempts go on fitting into what is left"


@given(st.timedeltas(5 * MINUTE, timedelta(days=90)), st.floats(0.1, 0.95), st.data())
def test_at_least_ten_attempts_fit_before_the_end(life: timedelta, share: float, data: st.DataObject) -> None:
    now, ends, attempts = BORN + life * share, BORN + life, 0
    while now < ends and attempts < 10:
        attempts += 1
        now = retry(attempts, now, ends, data.draw(dices)).at
    assert attempts == 10 or life * (1 - share) < 2 * MINUTE


@given(st.integers(1, 40), dices, dices)
def test_many_that_failed_together_try_again_apart(failures: int, one: float, other: float) -> None:
    first, second = (retry(failures, BORN, None, dice).at for dice in (one, other))
    if abs(one - other) > 0.01:
        assert first != second


# The same through an agent, with a simulated authority and a clock that is wound.


@pytest.mark.parametrize(
    "shift",
    [timedelta(0), -20 * HOUR, -24 * HOUR + 10 * SECOND, -24 * HOUR + 3 * SECOND],
    ids=["24 h left", "4 h left", "10 s left", "3 s left"],
)
async def test_an_agent_does_not_loop_tightly_however_short_a_life_is_left(tmp_path: Path, shift: timedelta) -> None:
    """New certificates have lived an hour already: with seconds left they are past two thirds of life at birth."""
    bench = Bench(tmp_path)
    bench.issuer.shift = shift
    agent = await bench.started()
    rounds = 20
    for _ in range(rounds):
        seconds = agent.seconds_until_due()
        assert seconds >= 0.5
        bench.wait(timedelta(seconds=seconds))
        assert all(result.ok for result in await agent.act())
    assert len(bench.issuer.asked) <= rounds * 2


async def test_an_agent_renews_at_two_thirds_of_life(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    agent = await bench.started()
    # 25 hours of life of which one is over; the dice of the rig stand at one half.
    expected = 25 * (TWO_THIRDS - JITTER / 2) - 1
    assert agent.seconds_until_due() / 3600 == pytest.approx(expected, abs=0.01)
    bench.wait(timedelta(seconds=agent.seconds_until_due() - 60))
    assert await agent.act() == []
    bench.wait(MINUTE)
    assert [result.ok for result in await agent.act()] == [True, True]
    assert agent.seconds_until_due() > 3600


async def test_an_agent_outlives_an_authority_that_is_away_until_after_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    agent = await bench.started()
    bench.issuer.refusals = {"app": "authority is away", "db": "authority is away"}
    old = bench.serial()
    asked_alive = 0
    while bench.passed < 24.5 * HOUR:
        assert agent.seconds_until_due() >= 1
        bench.wait(timedelta(seconds=agent.seconds_until_due()))
        await agent.act()
        if bench.passed < 24 * HOUR:
            asked_alive = len(bench.issuer.asked)
    assert asked_alive > 2 * 10
    assert len(bench.issuer.asked) < 2 * 1000
    assert bench.serial() == old
    assert bench.state().failures > 10
    bench.issuer.refusals.clear()
    assert agent.seconds_until_due() <= 75, "an outage is not waited out"
    for _ in ("app", "db"):
        bench.wait(timedelta(seconds=agent.seconds_until_due()))
        await agent.act()
    assert bench.serial() != old
    assert bench.proxy.shown["app"] == bench.serial()
    assert bench.state().failures == 0


async def test_asking_an_agent_by_hand_does_not_wait_for_the_next_attempt(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    agent = await bench.started()
    bench.issuer.refusals["app"] = "authority is away"
    for _ in range(8):
        await agent.rotate_now(bench.app)
    assert agent.seconds_until_due() > 60
    bench.issuer.refusals.clear()
    restarted = bench.agent()
    await restarted.start()
    assert restarted.seconds_until_due() > 60, "a service that is restarted does not hammer"
    restarted.hurry()
    assert [result.ok for result in await restarted.act()] == [True]
    assert bench.state().last_error == ""
