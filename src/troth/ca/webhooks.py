"""Webhooks: what others are asked before a certificate is issued, and what their answers mean. The asking is not here.

``ENRICHING`` ones give data to the certificate template; ``AUTHORIZING`` ones see the certificate as it would be.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.ca import ConfigurationError, ForbiddenError
from troth.ca.gotemplate import TemplateError
from troth.ca.gotemplate.json_form import Ordered, to_json
from troth.ca.gotemplate.template import Template, parse_template
from troth.ca.profile import check_key
from troth.ca.provisioners import Grant
from troth.ca.template_data import certificate_data, template_data
from troth.x509.keys import public_der
from troth.x509.names import common_name, split_names

ENRICHING, AUTHORIZING = "ENRICHING", "AUTHORIZING"
# Kinds that X.509 requests have nothing to do with.
OTHERS = ("SCEPCHALLENGE", "NOTIFYING")


@dataclass(frozen=True, slots=True)
class Secrets:
    """How we show a webhook who we are: the key of our signature, and what goes into ``Authorization``."""

    key: bytes = b""
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One of ``options.webhooks``; its address is a template."""

    name: str
    kind: str
    address: Template
    identifier: str = ""
    secrets: Secrets = Secrets()
    shows_certificate: bool = True

    def headers(self, body: bytes) -> dict[str, str]:
        """What goes with a body: who asks, signed."""
        headers = {
            "Content-Type": "application/json",
            "X-Smallstep-Signature": hmac.new(self.secrets.key, body, hashlib.sha256).hexdigest(),
            "X-Smallstep-Webhook-ID": self.identifier,
        }
        if self.secrets.authorization:
            headers["Authorization"] = self.secrets.authorization
        return headers


def parse_webhooks(raw: object, secrets: Mapping[str, Secrets], what: str) -> tuple[Webhook, ...]:
    """Those of a provisioner that are for X.509, in order.

    Raises:
        ConfigurationError: one is malformed, or its address is not https.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise ConfigurationError(f"{what}: options.webhooks must be a list of objects")
    found = (_webhook(one, secrets, f"{what}: options.webhooks[{index}]") for index, one in enumerate(raw))
    return tuple(one for one in found if one is not None)


def _webhook(raw: Mapping[str, Any], secrets: Mapping[str, Secrets], where: str) -> Webhook | None:
    for member in ("name", "url", "kind"):
        if not isinstance(raw.get(member), str) or not raw[member]:
            raise ConfigurationError(f"{where}.{member}: expected a text")
    kind, scope = raw["kind"].upper(), str(raw.get("certType") or "ALL").upper()
    if kind not in (ENRICHING, AUTHORIZING, *OTHERS):
        raise ConfigurationError(f"{where}.kind: expected {ENRICHING} or {AUTHORIZING}, got {raw['kind']!r}")
    try:
        parts = urlsplit(raw["url"])
    except ValueError as error:
        raise ConfigurationError(f"{where}.url is not a URL") from error
    if parts.scheme != "https" or not parts.hostname:
        raise ConfigurationError(f"{where}.url: expected https://host/path, got {raw['url']!r}")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{where}.url must not hold a password")
    try:
        address = parse_template("url", raw["url"])
    except TemplateError as error:
        raise ConfigurationError(f"{where}.url: {error.message}") from error
    if kind in OTHERS or scope not in ("ALL", "X509"):
        return None
    name, anonymous = raw["name"], raw.get("disableTLSClientAuth") or False
    if not isinstance(anonymous, bool):
        raise ConfigurationError(f"{where}.disableTLSClientAuth: expected true or false, got {anonymous!r}")
    return Webhook(name, kind, address, str(raw.get("id") or ""), secrets.get(name, Secrets()), not anonymous)


def parse_secrets(raw: object, where: str) -> dict[str, Secrets]:
    """``webhooks`` of a provisioner in ``troth.json``: by name, ``secret`` (base64), ``bearerToken``, or both of
    ``username`` and ``password``.

    Raises:
        ConfigurationError: it is malformed.
    """
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{where}: expected an object")
    found = {}
    for name, value in raw.items():
        known = ("secret", "bearerToken", "username", "password")
        if not isinstance(value, dict) or any(
            key not in known or not isinstance(text, str) for key, text in value.items()
        ):
            raise ConfigurationError(f"{where}.{name}: expected texts in {', '.join(known)}")
        try:
            key = base64.b64decode(value.get("secret", ""), validate=True)
        except binascii.Error as error:
            raise ConfigurationError(f"{where}.{name}.secret is not base64") from error
        found[name] = Secrets(key, _authorization(value))
    return found


def _authorization(members: Mapping[str, str]) -> str:
    if members.get("bearerToken"):
        return f"Bearer {members['bearerToken']}"
    if members.get("username") or members.get("password"):
        pair = f"{members.get('username', '')}:{members.get('password', '')}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return ""


def address_data(grant: Grant, request: x509.CertificateSigningRequest) -> dict[str, Any]:
    """What the template of an address sees."""
    return template_data(grant.subject, split_names(grant.names), grant.claims, request, request.public_key())


def enriching_body(grant: Grant, request: x509.CertificateSigningRequest, now: datetime) -> bytes:
    """What an enriching webhook is told: who asks, and the request. Never the token: who holds it could use it."""
    data = address_data(grant, request)["Insecure"]["CR"]
    shown = Ordered(data.json)
    shown["publicKey"] = public_der(check_key(request.public_key()))
    shown["publicKeyAlgorithm"] = data.fields["PublicKeyAlgorithm"].text
    shown["raw"] = request.public_bytes(Encoding.DER)
    return _body(grant, now, "x509CertificateRequest", shown)


def authorizing_body(grant: Grant, certificate: x509.Certificate, now: datetime) -> bytes:
    """What an authorizing webhook is told: who asks, and the certificate as it would be."""
    return _body(grant, now, "x509Certificate", _shown(certificate))


def _shown(certificate: x509.Certificate) -> Ordered:
    data = certificate_data(certificate)
    shown = Ordered(data.json)
    shown["publicKey"] = public_der(check_key(certificate.public_key()))
    shown["publicKeyAlgorithm"] = data.fields["PublicKeyAlgorithm"].text
    return shown


def _body(grant: Grant, now: datetime, member: str, shown: Ordered) -> bytes:
    body = Ordered({"timestamp": now, "provisionerName": grant.provisioner.name, member: shown})
    if grant.certificate is not None:
        signed_by = _shown(grant.certificate)
        members = ("publicKey", "publicKeyAlgorithm", "notBefore", "notAfter")
        own = {name: signed_by[name] for name in members}
        body["x5cCertificate"] = Ordered({"raw": grant.certificate.public_bytes(Encoding.DER), **own})
        body["authorizationPrincipal"] = common_name(grant.certificate.subject)
    return to_json(body).encode()


def parse_answer(hook: Webhook, body: bytes) -> Any:
    """The data of an answer that allows.

    Raises:
        ForbiddenError: it does not allow, or cannot be understood.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ForbiddenError(f"webhook {hook.name} answered what is not JSON") from error
    if not isinstance(answer, dict):
        raise ForbiddenError(f"webhook {hook.name} answered what is no JSON object")
    if answer.get("allow") is not True:
        said = answer.get("error")
        reason = said.get("message") if isinstance(said, dict) else None
        raise ForbiddenError(f"webhook {hook.name} did not allow the request{f': {reason}' if reason else ''}")
    return answer.get("data")
