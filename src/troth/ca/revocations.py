"""Certificate revocation lists (RFC 5280 §5) in step-ca's form: its ``crl`` block of ca.json, and the signed list."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from troth.ca import ConfigurationError
from troth.ca.profile import Issuer
from troth.durations import DurationError, parse_duration
from troth.x509 import der

DEFAULT_CACHE = timedelta(hours=24)
# How long a revoked certificate stays listed after its end, for those whose clock is behind.
LISTED_AFTER_END = timedelta(hours=1)
_REASON_OID, _NUMBER_OID, _POINT_OID = "2.5.29.21", "2.5.29.20", "2.5.29.28"
_ENUMERATED, _URI_TAG = 0x0A, 0x86
_CONTEXT_0 = 0xA0
# 7 is no reason, and lists with it are unreadable to many; 8, removeFromCRL, tells verifiers to let the holder in.
_UNSAID = (0, 7, 8)


class Entry(NamedTuple):
    """One revoked serial."""

    serial: int
    revoked_at: datetime
    reason_code: int = 0


@dataclass(frozen=True, slots=True)
class Lists:
    """How lists are made; there are none unless ca.json enables them."""

    cache: timedelta = DEFAULT_CACHE
    period: timedelta = DEFAULT_CACHE * 2 / 3
    on_revoke: bool = False
    point: str = ""

    def point_of(self, signer: str) -> str:
        """The URL that the list of an issuer says it is at; the further issuers' below the authority's own."""
        return f"{self.point}/{signer}" if signer else self.point


def parse_lists(raw: Mapping[str, Any], names: tuple[str, ...]) -> Lists | None:
    """The ``crl`` block; None when it is not there or not enabled.

    Args:
        raw: the object.
        names: ``dnsNames``; the list is at the first of them unless ``idpURL`` says where.

    Raises:
        ConfigurationError: a value is malformed, or a list would end before the next one is made.
    """
    if not _flag(raw, "enabled"):
        return None
    # step-ca takes 0 as "not given" for both.
    cache = _duration(raw, "cacheDuration") or DEFAULT_CACHE
    period = _duration(raw, "renewPeriod") or cache * 2 / 3
    if period > cache:
        raise ConfigurationError("crl.renewPeriod: expected at most crl.cacheDuration, or lists end before the next")
    point = raw.get("idpURL") or ""
    if not isinstance(point, str) or not point.isascii():
        raise ConfigurationError(f"crl.idpURL: expected a URL, got {point!r}")
    host = f"[{names[0].strip('[]')}]" if ":" in names[0] else names[0]
    return Lists(cache, period, _flag(raw, "generateOnRevoke"), point or f"https://{host}/1.0/crl")


def _flag(raw: Mapping[str, Any], name: str) -> bool:
    value = raw.get(name) or False
    if not isinstance(value, bool):
        raise ConfigurationError(f"crl.{name}: expected true or false, got {value!r}")
    return value


def _duration(raw: Mapping[str, Any], name: str) -> timedelta:
    value = raw.get(name)
    if value is None:
        return timedelta(0)
    if not isinstance(value, str):
        raise ConfigurationError(f"crl.{name}: expected a duration such as 24h, got {value!r}")
    try:
        duration = parse_duration(value)
    except DurationError as error:
        raise ConfigurationError(f"crl.{name}: {error.message}") from error
    if duration < timedelta(0):
        raise ConfigurationError(f"crl.{name}: expected a positive duration, got {value}")
    return duration


def sign_list(
    entries: Iterable[Entry], issuer: Issuer, number: int, point: str, now: datetime, cache: timedelta
) -> bytes:
    """A version 2 list, DER: authority key identifier, list number, and where it is distributed (critical).

    With an empty point the list says nothing of that, and holds for certificates that name no distribution point too.

    A builder that copies what it has for every entry takes a minute for ten thousand; this is assembled as
    certificates are.
    """
    revoked = [_entry(entry) for entry in entries]
    tbs = der.sequence(
        der.integer(1),
        issuer.algorithm,
        issuer.name,
        der.time(now.replace(microsecond=0)),
        der.time((now + cache).replace(microsecond=0)),
        # RFC 5280 §5.1.2.6: an empty list is left out.
        der.sequence(*revoked) if revoked else b"",
        der.tlv(
            _CONTEXT_0,
            der.sequence(
                issuer.key_id,
                der.extension(_NUMBER_OID, der.integer(number)),
                der.extension(_POINT_OID, _distribution_point(point), critical=True) if point else b"",
            ),
        ),
    )
    return der.sequence(tbs, issuer.algorithm, der.bit_string(issuer.signature(tbs)))


def _entry(entry: Entry) -> bytes:
    """RFC 5280 §5.3.1: unspecified is said by saying nothing."""
    reason = der.tlv(_ENUMERATED, bytes((entry.reason_code,)))
    said = entry.reason_code not in _UNSAID
    extensions = der.sequence(der.extension(_REASON_OID, reason)) if said else b""
    return der.sequence(der.integer(entry.serial), der.time(entry.revoked_at.replace(microsecond=0)), extensions)


def _distribution_point(point: str) -> bytes:
    """IssuingDistributionPoint (RFC 5280 §5.2.5) with one full name."""
    full_name = der.tlv(_CONTEXT_0, der.tlv(_URI_TAG, point.encode("ascii")))
    return der.sequence(der.tlv(_CONTEXT_0, full_name))
