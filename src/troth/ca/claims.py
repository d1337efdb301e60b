"""What a provisioner may grant: how long, whether renewable. Its own claim wins, then the authority's, then step's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from troth.ca import ConfigurationError
from troth.durations import DurationError, format_duration, parse_duration


@dataclass(frozen=True, slots=True)
class Claims:
    """Durations of TLS certificates and the switches for renewal and step's extension."""

    minimum: timedelta = timedelta(minutes=5)
    maximum: timedelta = timedelta(hours=24)
    default: timedelta = timedelta(hours=24)
    disable_renewal: bool = False
    allow_renewal_after_expiry: bool = False
    disable_extensions: bool = False


DEFAULTS = Claims()


def parse_claims(raw: Mapping[str, Any] | None, base: Claims, what: str) -> Claims:
    """Claims as configured, on top of `base`.

    A default outside the inherited limits moves the limit, when that limit is not given itself (step's rule).

    Raises:
        ConfigurationError: a value is malformed, or min <= default <= max does not hold.
    """
    raw = raw or {}
    minimum = _duration(raw, "minTLSCertDuration", what)
    maximum = _duration(raw, "maxTLSCertDuration", what)
    default = _duration(raw, "defaultTLSCertDuration", what)
    chosen = default if default is not None else base.default
    low = minimum if minimum is not None else min(base.minimum, chosen) if default is not None else base.minimum
    high = maximum if maximum is not None else max(base.maximum, chosen) if default is not None else base.maximum
    if not timedelta(0) < low <= chosen <= high:
        limits = " <= ".join(format_duration(value) for value in (low, chosen, high))
        raise ConfigurationError(f"{what}: expected min <= default <= max of the certificate durations, got {limits}")
    return Claims(
        low,
        high,
        chosen,
        _flag(raw, "disableRenewal", base.disable_renewal, what),
        _flag(raw, "allowRenewalAfterExpiry", base.allow_renewal_after_expiry, what),
        _flag(raw, "disableSmallstepExtensions", base.disable_extensions, what),
    )


def _duration(raw: Mapping[str, Any], name: str, what: str) -> timedelta | None:
    value = raw.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ConfigurationError(f"{what}: claim {name} must be a duration such as 24h, got {value!r}")
    try:
        return parse_duration(value)
    except DurationError as error:
        raise ConfigurationError(f"{what}: claim {name}: {error.message}") from error


def _flag(raw: Mapping[str, Any], name: str, default: bool, what: str) -> bool:
    value = raw.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what}: claim {name} must be true or false, got {value!r}")
    return value
