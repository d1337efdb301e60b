"""RFC 5280 linting of a certificate by pkilint, which is loaded when it is asked for (the extra ``lint``)."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.x509 import X509Error

# From worst to mildest, as pkilint has them.
SEVERITIES = ("fatal", "error", "warning", "notice", "info", "debug")


class LinterError(X509Error):
    """There is no linter, or it cannot read the certificate."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the linter has against a certificate: how bad, what, and where in it."""

    severity: str
    code: str
    path: str
    message: str


def lint(certificate: x509.Certificate) -> list[Finding]:
    """What pkilint finds, the worst first.

    Raises:
        LinterError: pkilint is not installed, or cannot read the certificate.
    """
    try:
        from pkilint import loader
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'troth[lint]'"
        raise LinterError("linting needs pkilint, which is not installed", hint=hint) from error
    try:
        document = loader.RFC5280CertificateDocumentLoader().load_der_document(
            certificate.public_bytes(Encoding.DER), "certificate"
        )
        results = _validator().validate(document.root)
    except ValueError as error:
        raise LinterError(f"pkilint cannot read the certificate: {error}") from error
    findings = [
        Finding(one.finding.severity.name.lower(), one.finding.code, str(result.node.path), one.message or "")
        for result in results
        for one in result.finding_descriptions
    ]
    return sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), one.code, one.path))


def _validator() -> Any:
    from pkilint.pkix import certificate, extension, name

    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def linter() -> str:
    """The linter's name and version."""
    return f"pkilint {version('pkilint')}"
