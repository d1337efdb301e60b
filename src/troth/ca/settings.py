"""``config/troth.json``: what is ours, kept out of ``ca.json``, where step's tools delete what they do not know.

    {"policy": {"authority": {"x509": {...}}, "provisioners": {"NAME": {"x509": {...}}}},
     "issuers": {"NAME": {"crt": FILE, "key": FILE, "passwordFile": FILE}},
     "provisioners": {"NAME": {"issuer": "NAME", "webhooks": {"NAME": {"secret": BASE64}}}}}

Read strictly: a member nobody knows may be a policy that somebody believes to be in force.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from troth.ca import ConfigurationError
from troth.ca.policy import Policy, parse_policy
from troth.ca.webhooks import Secrets, parse_secrets

FILE = "troth.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class IssuerFiles:
    """Where a further intermediate is: its certificate (with its chain), its key, and the password of the key."""

    certificate: str
    key: str
    password_file: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """``troth.json`` as read; file names as written. Without a file everything is empty."""

    authority_policy: Policy | None = None
    provisioner_policies: Mapping[str, Policy] = field(default_factory=dict)
    issuers: Mapping[str, IssuerFiles] = field(default_factory=dict)
    assigned: Mapping[str, str] = field(default_factory=dict)
    webhook_secrets: Mapping[str, Mapping[str, Secrets]] = field(default_factory=dict)

    def provisioners(self) -> list[tuple[str, str]]:
        """Every provisioner that is spoken of: where it stands, and its name."""
        policies = [("policy.provisioners", name) for name in self.provisioner_policies]
        return policies + [("provisioners", name) for name in {**self.assigned, **self.webhook_secrets}]


def parse_settings(text: str) -> Settings:
    """Read the text of ``troth.json``.

    Raises:
        ConfigurationError: it is not JSON, or something in it is unknown or malformed; the message says where.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{FILE} is not valid JSON: {error}") from error
    top = _object(raw, "", ("policy", "issuers", "provisioners"))
    policy = _object(top.get("policy"), "policy", ("authority", "provisioners"))
    issuers = {
        name: _issuer(value, f"issuers.{name}") for name, value in _object(top.get("issuers"), "issuers").items()
    }
    policies = {
        name: parse_policy(value, f"provisioner {name}", _at(f"policy.provisioners.{name}"), strict=True)
        for name, value in _object(policy.get("provisioners"), "policy.provisioners").items()
    }
    return Settings(
        parse_policy(policy.get("authority"), "the authority", _at("policy.authority"), strict=True),
        {name: value for name, value in policies.items() if value is not None},
        issuers,
        _assignments(_object(top.get("provisioners"), "provisioners"), issuers),
        {
            name: parse_secrets(value["webhooks"], f"{_at('provisioners')}.{name}.webhooks")
            for name, value in _object(top.get("provisioners"), "provisioners").items()
            if "webhooks" in value
        },
    )


def _assignments(raw: Mapping[str, Any], issuers: Mapping[str, IssuerFiles]) -> dict[str, str]:
    assigned = {}
    for name, value in raw.items():
        where = f"provisioners.{name}"
        chosen = _object(value, where, ("issuer", "webhooks")).get("issuer")
        if chosen is None:
            continue
        if not isinstance(chosen, str) or chosen not in issuers:
            known = ", ".join(issuers) or "none"
            raise ConfigurationError(f"{_at(where)}.issuer: expected the name of an issuer ({known}), got {chosen!r}")
        assigned[name] = chosen
    return assigned


def _issuer(raw: object, where: str) -> IssuerFiles:
    if not _NAME.fullmatch(where.removeprefix("issuers.")):
        # It is a part of the URL of the issuer's revocation list.
        raise ConfigurationError(f"{_at(where)}: expected a name of letters, digits, '.', '_' and '-'")
    members = _object(raw, where, ("crt", "key", "passwordFile"))
    for name, value in members.items():
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{_at(where)}.{name}: expected the name of a file, got {value!r}")
    for name in ("crt", "key"):
        if name not in members:
            raise ConfigurationError(f"{_at(where)}.{name}: expected the name of a file, got nothing")
    return IssuerFiles(members["crt"], members["key"], members.get("passwordFile", ""))


def _object(raw: object, where: str, known: tuple[str, ...] = ()) -> dict[str, Any]:
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{_at(where)}: expected an object, got {raw!r}")
    foreign = next((name for name in raw if known and name not in known), None)
    if foreign is not None:
        raise ConfigurationError(f"{_at(where)}: unknown member {foreign!r}, expected {', '.join(known)}")
    if "" in raw:
        raise ConfigurationError(f"{_at(where)}: expected a name, got an empty text")
    return raw


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON lets a name come twice and keeps the last: the first of two policies would be gone without a word."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigurationError(f"{FILE}: {name!r} is there twice in one object")
        found[name] = value
    return found


def _at(where: str) -> str:
    return f"{FILE}: {where}" if where else FILE
