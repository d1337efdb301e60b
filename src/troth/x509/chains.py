"""Certification paths: find one from a leaf to a trusted root and check it (RFC 5280 §6.1, without policies).

pyca's own verifier follows the web PKI profile, which refuses Ed25519 leaves and certificates without a subject
alternative name; a private authority issues both, so the path is checked here, on pyca's signature primitives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier

from troth.x509 import X509Error
from troth.x509.constraints import NameConstraintError, constraints_of
from troth.x509.names import alternative_names, common_name

MAX_DEPTH = 8
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.POLICY_CONSTRAINTS,
    ExtensionOID.INHIBIT_ANY_POLICY,
    ExtensionOID.NAME_CONSTRAINTS,
}


class ChainError(X509Error):
    """No acceptable path leads from the certificate to a trusted root; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Path:
    """A checked path, leaf first and root last."""

    certificates: tuple[x509.Certificate, ...]

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """The certificates between leaf and root; their number is what ``proxy_ssl_verify_depth`` must allow."""
        return self.certificates[1:-1]


def verify_path(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
    *,
    purpose: ObjectIdentifier | None = None,
) -> Path:
    """Find and check a path from `leaf` to one of `roots`.

    Args:
        leaf: the end-entity certificate.
        intermediates: certificates that may be used in between, in any order.
        roots: trusted anchors.
        now: the moment of judgement, timezone-aware.
        purpose: an extended key usage the leaf must allow (absent extension allows all, RFC 5280 §4.2.1.12).

    Raises:
        ChainError: no path holds.
    """
    if not roots:
        raise ChainError("no trusted root certificate was given")
    _check_leaf(leaf, now, purpose)
    problems: list[str] = []
    path = _search((leaf,), intermediates, roots, now, problems)
    if path is None:
        raise ChainError(problems[-1] if problems else _no_issuer(leaf))
    return Path(path)


def _no_issuer(certificate: x509.Certificate) -> str:
    return f"certificate signed by unknown authority: no issuer {certificate.issuer.rfc4514_string()!r} is trusted"


def _check_leaf(leaf: x509.Certificate, now: datetime, purpose: ObjectIdentifier | None) -> None:
    check_dates(leaf, now)
    if purpose is not None and not allows(leaf, purpose):
        raise ChainError(f"certificate of {_label(leaf)} may not be used for {_purpose_name(purpose)}")
    _check_critical(leaf)


def _search(
    path: tuple[x509.Certificate, ...],
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
    problems: list[str],
) -> tuple[x509.Certificate, ...] | None:
    last = path[-1]
    if last in roots:
        return path
    if len(path) > MAX_DEPTH:
        problems.append(f"certification path is longer than {MAX_DEPTH}")
        return None
    for issuer in (*roots, *intermediates):
        if issuer.subject != last.issuer or issuer in path:
            continue
        try:
            _check_issuer(issuer, last, len(path) - 1, now)
            _check_names(issuer, path)
        except ChainError as error:
            problems.append(error.message)
            continue
        found = _search((*path, issuer), intermediates, roots, now, problems)
        if found is not None:
            return found
    return None


def _check_issuer(issuer: x509.Certificate, child: x509.Certificate, below: int, now: datetime) -> None:
    """`below` is the number of intermediates between this issuer and the leaf (RFC 5280 §4.2.1.9)."""
    try:
        child.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise ChainError(f"signature of {_label(child)} was not made by {_label(issuer)}") from error
    check_dates(issuer, now)
    _check_critical(issuer)
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca:
        raise ChainError(f"{_label(issuer)} is not a certificate authority (basicConstraints)")
    if constraints.path_length is not None and below > constraints.path_length:
        raise ChainError(f"path length {constraints.path_length} of {_label(issuer)} is exceeded")
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise ChainError(f"{_label(issuer)} may not sign certificates (keyUsage)")


def _check_names(issuer: x509.Certificate, below: Sequence[x509.Certificate]) -> None:
    """RFC 5280 §4.2.1.10: for every certificate below, but an authority that signed itself anew."""
    for constraints in constraints_of([issuer]):
        if not constraints.understood:
            raise ChainError(f"name constraints of {_label(issuer)} are of a form that is not understood")
        for index, certificate in enumerate(below):
            if index and certificate.subject == certificate.issuer:
                continue
            try:
                constraints.check(alternative_names(certificate.extensions))
            except NameConstraintError as error:
                raise ChainError(error.message) from error


def check_dates(certificate: x509.Certificate, now: datetime) -> None:
    """RFC 5280 §4.1.2.5: both ends of the validity period are inclusive.

    Raises:
        ChainError: the moment lies outside.
    """
    if now < certificate.not_valid_before_utc:
        start = certificate.not_valid_before_utc.isoformat()
        raise ChainError(f"certificate of {_label(certificate)} is not valid before {start}")
    if now > certificate.not_valid_after_utc:
        end = certificate.not_valid_after_utc.isoformat()
        raise ChainError(f"certificate of {_label(certificate)} expired on {end}")


def _check_critical(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            oid = extension.oid.dotted_string
            raise ChainError(f"certificate of {_label(certificate)} has an unknown critical extension {oid}")


def allows(certificate: x509.Certificate, purpose: ObjectIdentifier) -> bool:
    """Whether the extended key usage permits a purpose; an absent extension permits all."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return purpose in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def may_sign_certificates(certificate: x509.Certificate) -> bool:
    """Whether the key usage is there and has keyCertSign (RFC 5280 §4.2.1.3)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return False


def _purpose_name(purpose: ObjectIdentifier) -> str:
    return {SERVER_AUTH: "serverAuth", CLIENT_AUTH: "clientAuth"}.get(purpose, purpose.dotted_string)


def _label(certificate: x509.Certificate) -> str:
    return repr(common_name(certificate.subject) or certificate.subject.rfc4514_string() or "(no subject)")


def matches_host(certificate: x509.Certificate, host: str) -> bool:
    """RFC 6125: an exact DNS or IP alternative name, or a wildcard for exactly one left-most label."""
    names = alternative_names(certificate.extensions)
    if host in names.ips:
        return True
    wanted = host.rstrip(".").lower()
    wildcard = "*." + wanted.partition(".")[2]
    return any(name.rstrip(".").lower() in (wanted, wildcard) for name in names.dns)
