"""When a certificate is renewed: step's arithmetic, safe for very short lives. Pure: clock and dice are arguments."""

from datetime import datetime, timedelta

from cryptography import x509

from troth.client import ClientError
from troth.durations import format_duration

RETRY = timedelta(minutes=1)
SHORTEST_RETRY = timedelta(seconds=5)
SHORTEST_WAIT = timedelta(seconds=1)
NOW = timedelta(0)


class ScheduleError(ClientError):
    """The wanted times do not fit the certificate."""


def length_of(certificate: x509.Certificate) -> timedelta:
    """From notBefore to notAfter, the authority's backdating included."""
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


def check_times(
    certificate: x509.Certificate,
    expires_in: timedelta | None,
    period: timedelta | None,
    period_flag: str = "--renew-period",
) -> None:
    """Refuse times that can never be met.

    Raises:
        ScheduleError: one is negative, both are given, or one is longer than the certificate lives.
    """
    length = length_of(certificate)
    if expires_in is not None and period is not None:
        raise ScheduleError(f"--expires-in and {period_flag} cannot be used together")
    for flag, value in (("--expires-in", expires_in), (period_flag, period)):
        if value is not None and value < NOW:
            raise ScheduleError(f"{flag} is negative: expected a duration such as 8h")
        if value is not None and value > length:
            limit, got = format_duration(length), format_duration(value)
            raise ScheduleError(f"{flag} is longer than the certificate: expected at most {limit}, got {got}")


def is_due(certificate: x509.Certificate, now: datetime, expires_in: timedelta, dice: float) -> bool:
    """One-shot renewal: due when no more than `expires_in` and up to a twentieth of it remains.

    Args:
        certificate: the one to renew.
        now: the present.
        expires_in: the threshold.
        dice: uniform in [0, 1), spreads many machines.
    """
    return certificate.not_valid_after_utc - now <= expires_in + expires_in / 20 * dice


def next_renewal(
    certificate: x509.Certificate,
    now: datetime,
    dice: float,
    *,
    expires_in: timedelta | None = None,
    period: timedelta | None = None,
    renewed: bool = False,
) -> timedelta:
    """How long a daemon waits before it renews.

    Args:
        certificate: the current one.
        now: the present.
        dice: uniform in [0, 1); spreads renewals over a twentieth of the life.
        expires_in: renew when this much remains; a third of the life by default.
        period: renew this often instead.
        renewed: whether `certificate` was just issued. Then a third of what remains passes first, at least a second:
            with lives shorter than the backdating the sum below is never positive, and would be a tight loop.
            A time that was asked for and leaves a pause is kept.
    """
    length, remaining = length_of(certificate), certificate.not_valid_after_utc - now
    if period is not None:
        delay = NOW if remaining <= period else period
    else:
        delay = remaining - (length / 3 if expires_in is None else expires_in)
        if delay > NOW:
            spread = length / 20
            delay = delay * dice if delay < spread else delay - spread * dice
    asked = (period is not None or expires_in is not None) and delay > NOW
    floor = max(NOW if asked else remaining / 3, SHORTEST_WAIT) if renewed else NOW
    return max(delay, floor, NOW)


def retry_after(certificate: x509.Certificate, now: datetime, dice: float) -> timedelta:
    """How long a daemon waits after an error: a minute, less when the certificate has little left, plus a spread."""
    remaining = certificate.not_valid_after_utc - now
    wait = min(RETRY, max(remaining / 4, SHORTEST_RETRY)) if remaining > NOW else RETRY
    return wait * (1 + dice / 10)
