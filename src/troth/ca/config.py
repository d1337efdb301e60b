"""``ca.json``, the file that step-ca and troth share: the text becomes a checked, frozen profile in one place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from troth.ca import ConfigurationError
from troth.ca.audiences import Audiences, audiences_for
from troth.ca.claims import DEFAULTS, parse_claims
from troth.ca.policy import Policy, parse_policy
from troth.ca.provisioners import Provisioners, load_provisioners
from troth.ca.revocations import Lists, parse_lists
from troth.durations import DurationError, parse_duration

DEFAULT_NAMES = ("localhost", "127.0.0.1", "::1")
TLS_VERSIONS = (1.2, 1.3)
# step-ca's names of the suites it offers, which `/sign` answers with and clients may configure themselves by.
DEFAULT_SUITES = ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")


@dataclass(frozen=True, slots=True)
class Configuration:
    """``ca.json`` as read. File names are as written; `raw` is the whole object, for writing it back unharmed."""

    roots: tuple[str, ...]
    federated_roots: tuple[str, ...]
    certificate: str
    key: str
    host: str
    port: int
    names: tuple[str, ...]
    common_name: str
    backdate: timedelta
    check_issued_at: bool
    subject_defaults: Mapping[str, Any]
    provisioners: Provisioners
    audiences: Audiences
    log_format: str
    key_password: str
    tls_options: Mapping[str, Any]
    database: Mapping[str, Any] | None
    policy: Policy | None
    lists: Lists | None
    insecure: tuple[str, int] | None
    raw: Mapping[str, Any] = field(repr=False)


def parse_configuration(text: str) -> Configuration:
    """Read the text of ``ca.json``.

    Raises:
        ConfigurationError: it is not JSON, or something in it is missing or malformed; the message names the key.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"ca.json is not valid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError("ca.json: expected a JSON object")
    authority = _object(raw, "authority")
    host, port = _address(_text(raw, "address", required=True))
    names = _texts(raw, "dnsNames") or DEFAULT_NAMES
    claims = parse_claims(_object(authority, "claims"), DEFAULTS, "authority")
    return Configuration(
        roots=_texts(raw, "root", required=True),
        federated_roots=_texts(raw, "federatedRoots"),
        certificate=_text(raw, "crt", required=True),
        key=_text(raw, "key", required=True),
        host=host,
        port=port,
        names=names,
        common_name=_text(raw, "commonName") or "Step Online CA",
        backdate=_backdate(authority),
        check_issued_at=not authority.get("disableIssuedAtCheck", False),
        subject_defaults=_object(authority, "template"),
        provisioners=load_provisioners(authority.get("provisioners"), claims),
        audiences=audiences_for(names),
        log_format=str(_object(raw, "logger").get("format") or "text"),
        key_password=_text(raw, "password"),
        tls_options=tls_options(_object(raw, "tls")),
        database=_object(raw, "db") or None,
        lists=parse_lists(_object(raw, "crl"), names),
        insecure=_insecure(raw),
        policy=parse_policy(authority.get("policy"), "the authority", "authority.policy"),
        raw=raw,
    )


def tls_options(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The ``tls`` object with step's defaults filled in; versions are JSON numbers, as on step's wire.

    Raises:
        ConfigurationError: a version is neither 1.2 nor 1.3.
    """
    low, high = raw.get("minVersion") or 1.2, raw.get("maxVersion") or 1.3
    for name, version in (("minVersion", low), ("maxVersion", high)):
        if version not in TLS_VERSIONS:
            raise ConfigurationError(f"tls.{name}: expected 1.2 or 1.3, got {version!r}")
    if low > high:
        raise ConfigurationError(f"tls: minVersion {low} is higher than maxVersion {high}")
    suites = raw.get("cipherSuites") or list(DEFAULT_SUITES)
    if not isinstance(suites, list) or not all(isinstance(suite, str) for suite in suites):
        raise ConfigurationError("tls.cipherSuites: expected a list of names")
    renegotiation = bool(raw.get("renegotiation", False))
    return {"cipherSuites": suites, "minVersion": low, "maxVersion": high, "renegotiation": renegotiation}


def _backdate(authority: Mapping[str, Any]) -> timedelta:
    value = authority.get("backdate")
    if value is None:
        return timedelta(minutes=1)
    try:
        backdate = parse_duration(str(value))
    except DurationError as error:
        raise ConfigurationError(f"authority.backdate: {error.message}") from error
    if backdate < timedelta(0):
        raise ConfigurationError(f"authority.backdate: expected a positive duration, got {value}")
    return backdate


def _insecure(raw: Mapping[str, Any]) -> tuple[str, int] | None:
    text = _text(raw, "insecureAddress")
    return _address(text, "insecureAddress") if text else None


def _address(text: str, name: str = "address") -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"{name}: expected host:port such as :9000 or 127.0.0.1:9000, got {text!r}")
    return host.strip("[]"), int(port)


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name}: expected an object, got {value!r}")
    return value


def _text(raw: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    value = raw.get(name)
    if isinstance(value, str) and (value or not required):
        return value
    if value is None and not required:
        return ""
    raise ConfigurationError(f"{name}: expected a text, got {'nothing' if value in (None, '') else repr(value)}")


def _texts(raw: Mapping[str, Any], name: str, *, required: bool = False) -> tuple[str, ...]:
    value = raw.get(name)
    values = [value] if isinstance(value, str) else value or []
    if not isinstance(values, list) or not all(isinstance(item, str) and item for item in values):
        raise ConfigurationError(f"{name}: expected a text or a list of texts, got {value!r}")
    if required and not values:
        raise ConfigurationError(f"{name}: expected at least one")
    return tuple(values)
