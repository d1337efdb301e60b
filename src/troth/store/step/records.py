"""step-ca's records as values of ours: what of a database is taken over, what is not, and what cannot be read."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509

from troth.ca import UnauthorizedError
from troth.ca.tokens import parse_token
from troth.store.records import IssuedCertificate, PublishedList, Revocation, SpentToken
from troth.store.step import Entry

CERTIFICATES, DATA, REVOCATIONS, TOKENS = "x509_certs", "x509_certs_data", "revoked_x509_certs", "used_ott"
LIST = "x509_crl"
TAKEN = (CERTIFICATES, DATA, REVOCATIONS, TOKENS)
# Nonces are of use for minutes, and indexes repeat what their tables say.
UNIMPORTANT = ("nonces", "_index")
TOKEN_MARGIN = timedelta(minutes=5)
UNDATED_TOKEN_LIFE = timedelta(days=1)
MAX_SERIAL_BITS = 160
MAX_REASON = 10
DIGEST_BITS = 256


@dataclass
class Found:
    """The content of a step-ca database."""

    certificates: list[IssuedCertificate] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    tokens: list[SpentToken] = field(default_factory=list)
    expired_tokens: int = 0
    published: PublishedList | None = None
    left: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    digest: str = ""
    """Changes when any record that is taken over changes; empty when there is none."""


def collect(entries: Iterable[Entry], now: datetime) -> Found:
    """Sort the records of a database.

    Args:
        entries: in any order, each key once.
        now: tokens that ended before it, with a margin, are refused for their age and only counted.

    Raises:
        SourceError: the database cannot be read on; a single record that cannot be is a problem of the result.
    """
    found = Found()
    provisioners: dict[int, Mapping[str, Any]] = {}
    certificates: list[IssuedCertificate] = []
    sum_of_records = 0
    for entry in entries:
        if entry.table in TAKEN:
            sum_of_records += int.from_bytes(_hash(entry))
        try:
            if entry.table == CERTIFICATES:
                certificates.append(_certificate(entry))
            elif entry.table == DATA:
                provisioners[_serial(entry.key)] = _provisioner(entry.value)
            elif entry.table == REVOCATIONS:
                _revoke(found, entry, now)
            elif entry.table == TOKENS:
                _spend(found, entry, now)
            elif entry.table == LIST:
                found.published = _list(entry.value)
            elif not entry.table.endswith(UNIMPORTANT):
                found.left[entry.table] += 1
        except (ValueError, KeyError, TypeError) as error:
            found.problems.append(f"{entry.table}/{_shown(entry.key)}: {_reason(error)}")
    found.certificates += (_granted(one, provisioners.get(one.serial, {})) for one in certificates)
    if sum_of_records:
        found.digest = f"{sum_of_records % (1 << DIGEST_BITS):064x}"
    return found


def _hash(entry: Entry) -> bytes:
    parts = (entry.table.encode(), entry.key, entry.value)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _serial(key: bytes) -> int:
    text = key.decode("ascii")
    if not text.isdecimal() or str(int(text)) != text or int(text).bit_length() > MAX_SERIAL_BITS:
        raise ValueError("expected a decimal serial number of at most 160 bits")
    return int(text)


def _certificate(entry: Entry) -> IssuedCertificate:
    serial = _serial(entry.key)
    try:
        certificate = x509.load_der_x509_certificate(entry.value)
    except ValueError as error:
        raise ValueError("not a certificate") from error
    if certificate.serial_number != serial:
        raise ValueError(f"holds the certificate with serial number {certificate.serial_number}")
    return IssuedCertificate(serial, entry.value, certificate.not_valid_after_utc, certificate.not_valid_before_utc)


def _granted(certificate: IssuedCertificate, provisioner: Mapping[str, Any]) -> IssuedCertificate:
    names = [str(provisioner.get(member) or "") for member in ("id", "name", "type")]
    return certificate._replace(provisioner_id=names[0], provisioner_name=names[1], provisioner_kind=names[2])


def _provisioner(value: bytes) -> Mapping[str, Any]:
    provisioner: dict[str, Any] = _expect(_object(value).get("provisioner") or {}, dict, "provisioner")
    return provisioner


def _revoke(found: Found, entry: Entry, now: datetime) -> None:
    """Whatever else cannot be read: a serial in this table is revoked, and stays so."""
    serial = _serial(entry.key)
    revocation = Revocation(serial, now)
    try:
        data = _object(entry.value)
        if data.get("Serial") != str(serial):
            raise ValueError(f"holds the revocation of {data.get('Serial')!r}")
        reason = _expect(data.get("ReasonCode", 0), int, "ReasonCode")
        if not 0 <= reason <= MAX_REASON:
            raise ValueError(f"reason code {reason} is not one of RFC 5280's")
        revocation = Revocation(
            serial,
            _moment(data["RevokedAt"]),
            reason,
            _expect(data.get("Reason", ""), str, "Reason"),
            _expect(data.get("ProvisionerID", ""), str, "ProvisionerID"),
            _expect(data.get("TokenID", ""), str, "TokenID"),
            _expect(data.get("MTLS", False), bool, "MTLS"),
        )
    finally:
        found.revocations.append(revocation)


def _spend(found: Found, entry: Entry, now: datetime) -> None:
    ends = _end(entry.value)
    if ends is None:
        ends = now + UNDATED_TOKEN_LIFE
    if ends < now - TOKEN_MARGIN:
        found.expired_tokens += 1
    else:
        found.tokens.append(SpentToken(_token_id(entry), min(ends, now + UNDATED_TOKEN_LIFE)))


def _token_id(entry: Entry) -> str:
    """What the token will be known by to us: a token without an id was recorded under the hash of its whole text."""
    key = entry.key.decode()
    if key != hashlib.sha256(entry.value).hexdigest():
        return key
    try:
        return parse_token(entry.value.decode("ascii", "replace")).digest
    except UnauthorizedError:  # and it will not be accepted either
        return key


def _end(token: bytes) -> datetime | None:
    """When a token ends, unverified; None when that cannot be told."""
    try:
        payload = token.split(b".")[1]
        claims = _object(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(_expect(claims["exp"], int, "exp"), UTC)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, OSError):
        return None


def _list(value: bytes) -> PublishedList:
    data = _object(value)
    der = base64.b64decode(_expect(data["DER"], str, "DER"), validate=True)
    try:
        crl = x509.load_der_x509_crl(der)
    except ValueError as error:
        raise ValueError("not a revocation list") from error
    number = _expect(data["Number"], int, "Number")
    return PublishedList(number, crl.last_update_utc, _moment(data["ExpiresAt"]), der)


def _object(value: bytes) -> dict[str, Any]:
    try:
        data = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    return data


def _moment(text: object) -> datetime:
    if not isinstance(text, str):
        raise ValueError(f"expected a time, got {text!r}")
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with its zone, got {text!r}")
    return moment.astimezone(UTC) if moment.year > 1 else moment.replace(tzinfo=UTC)


def _expect(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}: expected {kind.__name__}, got {value!r}")
    return value


def _reason(error: Exception) -> str:
    return f"member {error} is missing" if isinstance(error, KeyError) else str(error)


def _shown(key: bytes) -> str:
    return key[:60].decode("ascii", "backslashreplace")
