"""The validity period of a new certificate, from what was asked, what is allowed, and now (step's formulas)."""

from datetime import datetime, timedelta
from typing import NamedTuple

from troth.ca import ForbiddenError, MalformedError
from troth.ca.claims import Claims
from troth.durations import DurationError, format_duration, parse_time_or_duration


class Window(NamedTuple):
    """Both ends, whole seconds, UTC."""

    not_before: datetime
    not_after: datetime

    @property
    def length(self) -> timedelta:
        return self.not_after - self.not_before


class Wish(NamedTuple):
    """``notBefore`` and ``notAfter`` of a request: a time, a duration, or None; a duration of nothing is as None."""

    not_before: datetime | timedelta | None = None
    not_after: datetime | timedelta | None = None

    def or_else(self, not_before: datetime | None, not_after: datetime | None) -> "Wish":
        """What a template asks for where the request does not."""
        return Wish(
            self.not_before or not_before,
            self.not_after or not_after,
        )


def parse_wish(not_before: str, not_after: str) -> Wish:
    """Read both texts of a request.

    Raises:
        MalformedError: one is neither RFC 3339 nor a Go duration.
    """
    try:
        return Wish(parse_time_or_duration(not_before), parse_time_or_duration(not_after))
    except DurationError as error:
        raise MalformedError(error.message) from error


def decide(
    wish: Wish,
    claims: Claims,
    backdate: timedelta,
    now: datetime,
    ceiling: datetime | None = None,
    floor: datetime | None = None,
) -> Window:
    """The window to sign.

    A ``notBefore`` duration counts from now. The end, asked for as a duration or by default, counts from notBefore;
    without one it counts from now, and only then the start is backdated. The limits are held against the length with
    its backdating, and the longest may be longer by it, whether there was any or not (step-ca's rule).

    Args:
        wish: what the request asked for.
        claims: what the provisioner allows.
        backdate: tolerance for slow clocks.
        now: the moment of the request.
        ceiling: a bound that an explicit end must keep and a default end is cut to (X5C).
        floor: a bound that the start must keep, before it is backdated (X5C).

    Raises:
        MalformedError: the end lies in the past, or before the start.
        ForbiddenError: the length is outside the limits.
    """
    try:
        window = _place(wish, claims, backdate, now, ceiling, floor)
    except OverflowError as error:
        raise MalformedError("requested validity lies outside the calendar") from error
    _check(window, claims, backdate, now)
    return window


def _place(
    wish: Wish,
    claims: Claims,
    backdate: timedelta,
    now: datetime,
    ceiling: datetime | None,
    floor: datetime | None,
) -> Window:
    if not wish.not_before:
        start, unbackdated = now - backdate, now
    else:
        start = wish.not_before if isinstance(wish.not_before, datetime) else now + wish.not_before
        unbackdated = start
    if floor is not None and unbackdated < floor:
        raise ForbiddenError(f"requested notBefore {start.isoformat()} is before {floor.isoformat()} of its issuer")
    if not wish.not_after:
        end = unbackdated + claims.default
        end = min(end, ceiling) if ceiling is not None else end
    else:
        end = wish.not_after if isinstance(wish.not_after, datetime) else unbackdated + wish.not_after
        if ceiling is not None and end > ceiling:
            raise ForbiddenError(
                f"requested notAfter {end.isoformat()} is later than {ceiling.isoformat()} of its issuer"
            )
    return Window(start.replace(microsecond=0), end.replace(microsecond=0))


def _check(window: Window, claims: Claims, backdate: timedelta, now: datetime) -> None:
    if window.not_after < now.replace(microsecond=0):
        raise MalformedError(f"requested notAfter {window.not_after.isoformat()} is in the past")
    if window.not_after < window.not_before:
        raise MalformedError(
            f"requested notAfter {window.not_after.isoformat()} is before notBefore {window.not_before.isoformat()}"
        )
    length, longest = window.length, claims.maximum + backdate
    if claims.minimum <= length <= longest:
        return
    what, limit = (
        ("less than the minimum", claims.minimum)
        if length < claims.minimum
        else ("more than the maximum", claims.maximum)
    )
    raise ForbiddenError(f"requested duration {format_duration(length)} is {what} {format_duration(limit)}")
