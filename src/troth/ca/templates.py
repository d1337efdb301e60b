"""Certificate templates: a provisioner's own text, and the certificate that its output describes."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.ca import CAError, ConfigurationError, MalformedError
from troth.ca.gotemplate import RefusedByTemplateError, TemplateError
from troth.ca.gotemplate.template import Template, parse_template
from troth.ca.template_data import as_go_reads
from troth.durations import DurationError, parse_time_or_duration

MEMBERS: tuple[str, ...] = (
    *(
        "version",
        "subject",
        "rawSubject",
        "issuer",
        "serialNumber",
        "dnsNames",
        "emailAddresses",
        "ipAddresses",
        "uris",
    ),
    *("sans", "notBefore", "notAfter", "extensions", "keyUsage", "extKeyUsage", "unknownExtKeyUsage", "subjectKeyId"),
    *("authorityKeyId", "ocspServer", "issuingCertificateURL", "crlDistributionPoints", "policyIdentifiers"),
    *("basicConstraints", "nameConstraints", "signatureAlgorithm"),
)
_KNOWN: dict[str, str] = {name.lower(): name for name in MEMBERS}


@dataclass(frozen=True, slots=True)
class CertificateTemplate:
    """A provisioner's template, and ``templateData`` of its configuration."""

    template: Template
    data: Mapping[str, Any]

    def render(self, data: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """The certificate's description, as JSON.

        Raises:
            MalformedError: the template refused with ``fail``; the message is its own.
            CAError: the template does not come to an end, or makes no JSON object.
        """
        try:
            text = self.template.execute({**data, **as_go_reads(dict(self.data))}, now)
        except RefusedByTemplateError as error:
            raise MalformedError(error.message) from error
        try:
            value, _ = json.JSONDecoder().raw_decode(text.lstrip())
        except (ValueError, RecursionError) as error:
            raise CAError(f"certificate template made no JSON: {error}") from error
        if not isinstance(value, dict):
            raise CAError("certificate template made no JSON object")
        # Go finds the members whatever their case.
        members: dict[str, Any] = {}
        for name, member in value.items():
            if member is not None:
                members[_KNOWN.get(str(name).lower(), str(name))] = member
        return members


def parse_certificate_template(
    options: Mapping[str, Any], read: Callable[[str], str], what: str
) -> CertificateTemplate | None:
    """The template of ``options.x509``, None if there is none.

    Args:
        options: ``template`` (JSON text, or base64 of it) or ``templateFile``, and ``templateData``.
        read: reads a template file.
        what: whose template it is, for messages.

    Raises:
        ConfigurationError: it is malformed, or calls what is not supported; the message has its name and line.
    """
    text, name = options.get("template") or "", options.get("templateFile") or ""
    if not isinstance(text, str) or not isinstance(name, str):
        raise ConfigurationError(f"{what}: options.x509.template and templateFile must be texts")
    data = options.get("templateData") or {}
    if not isinstance(data, dict):
        raise ConfigurationError(f"{what}: options.x509.templateData must be an object")
    if not text and not name:
        return None
    source = _decoded(text.strip(), what) if text else read(name)
    try:
        return CertificateTemplate(parse_template(name if not text else "template", source), data)
    except TemplateError as error:
        raise ConfigurationError(f"{what}: {error.message}") from error


def _decoded(text: str, what: str) -> str:
    if text.startswith("{"):
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{what}: options.x509.template is neither JSON nor base64 of it") from error


def moment(described: Mapping[str, Any], member: str) -> datetime | None:
    """``notBefore`` or ``notAfter`` of a description. Raises: CAError: it is no RFC 3339 time."""
    value = described.get(member)
    if value is None:
        return None
    try:
        parsed = parse_time_or_duration(value) if isinstance(value, str) else None
    except DurationError as error:
        raise CAError(f"certificate template: {member} is not a time: {value!r}") from error
    if not isinstance(parsed, datetime):
        raise CAError(f"certificate template: {member} is not a time: {value!r}")
    return parsed if parsed.year > 1 else None
