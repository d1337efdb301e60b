"""Go's duration syntax (``1h30m``, ``300ms``, ``-1.5h``), which step's flags, files and wire format use."""

import re
from datetime import UTC, datetime, timedelta

from troth.errors import UsageError

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_HOURS = {"d": 24, "w": 7 * 24, "y": 365 * 24}
_LONG = re.compile(r"([0-9]{1,6})([dwy])")
_MAX_NANOSECONDS = 2**63 - 1


class DurationError(UsageError):
    """A text is not a Go duration."""


def parse_duration(text: str) -> timedelta:
    """Read a Go duration; a bare ``0`` is allowed, any other number needs a unit.

    Raises:
        DurationError: the text does not follow Go's ``time.ParseDuration``.
    """
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return timedelta(0)
    nanoseconds = 0.0
    position = 0
    while position < len(body):
        part = _PART.match(body, position)
        if part is None:
            break
        nanoseconds += float(part[1]) * _NANOSECONDS[part[2]]
        position = part.end()
    if position == 0 or position != len(body) or nanoseconds > _MAX_NANOSECONDS:
        message = f"invalid duration {text!r}: expected a value such as 24h, 90m or 1h30m"
        raise DurationError(message, hint=_in_hours(text))
    value = timedelta(microseconds=nanoseconds / 1000)
    return -value if text.startswith("-") else value


def _in_hours(text: str) -> str | None:
    """What people who write days mean; Go's durations know no unit above the hour."""
    match = _LONG.fullmatch(text)
    return f"hours are the largest unit: {text} is {int(match[1]) * _HOURS[match[2]]}h" if match else None


def format_duration(value: timedelta) -> str:
    """Write a duration as Go does: ``24h0m0s``, ``5m0s``, ``1.5s``, ``0s``."""
    total = value / timedelta(microseconds=1)
    if total == 0:
        return "0s"
    sign = "-" if total < 0 else ""
    microseconds = abs(round(total))
    if microseconds < 1_000:
        return f"{sign}{microseconds}µs"
    if microseconds < 1_000_000:
        return f"{sign}{_trim(microseconds / 1_000)}ms"
    seconds, fraction = divmod(microseconds, 1_000_000)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    tail = f"{_trim(seconds + fraction / 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{tail}"
    return f"{sign}{minutes}m{tail}" if minutes else f"{sign}{tail}"


def _trim(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def parse_time_or_duration(text: str) -> datetime | timedelta | None:
    """Read step's "time or duration" value: empty is unset (None), RFC 3339 is a time, else a Go duration.

    Raises:
        DurationError: neither form fits.
    """
    if not text:
        return None
    if "T" in text:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    try:
        return parse_duration(text)
    except DurationError as error:
        message = f"invalid time or duration {text!r}: expected RFC 3339 such as 2026-01-02T15:04:05Z, or 24h"
        raise DurationError(message, hint=error.hint) from None
