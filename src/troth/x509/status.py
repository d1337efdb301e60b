"""Whether a certificate is revoked: judged by a revocation list (RFC 5280 §6.3) or an OCSP answer (RFC 6960).

Only full lists, signed by the certificate's own issuer, are understood; anything else is refused, not overlooked.
"""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID

from troth.x509 import X509Error
from troth.x509.chains import allows
from troth.x509.pem import parse_blocks

_UNDERSTOOD = (ExtensionOID.ISSUING_DISTRIBUTION_POINT, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)


class StatusError(X509Error):
    """A list or an answer cannot be believed, or does not speak of the certificate."""


class RevokedError(X509Error):
    """The certificate is revoked."""


def list_urls(certificate: x509.Certificate) -> list[str]:
    """Where the certificate says its revocation lists are (cRLDistributionPoints)."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return []
    names = [name for point in points for name in point.full_name or []]
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]


def responder_urls(certificate: x509.Certificate) -> list[str]:
    """Where the certificate says its status can be asked for (authorityInfoAccess, OCSP)."""
    return _access(certificate, AuthorityInformationAccessOID.OCSP)


def issuer_urls(certificate: x509.Certificate) -> list[str]:
    """Where the certificate says its issuer's certificate is (authorityInfoAccess, caIssuers)."""
    return _access(certificate, AuthorityInformationAccessOID.CA_ISSUERS)


def _access(certificate: x509.Certificate, method: x509.ObjectIdentifier) -> list[str]:
    try:
        descriptions = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    names = [one.access_location for one in descriptions if one.access_method == method]
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]


def check_list(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    """Judge a certificate by a revocation list, DER or PEM.

    Args:
        data: the list.
        certificate: whom it is asked about.
        issuer: who issued the certificate, and must have signed the list.
        now: the moment of judgement, timezone-aware.

    Raises:
        StatusError: the list cannot be read, is another issuer's, is not in force, or is of a kind not understood.
        RevokedError: the certificate is on it.
    """
    found = _read_list(data, issuer.subject)
    if found.issuer != issuer.subject or certificate.issuer != issuer.subject:
        raise StatusError(f"revocation list is of {found.issuer.rfc4514_string()!r}, who did not issue the certificate")
    key = issuer.public_key()
    try:
        held = found.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        held = False
    if not held:
        raise StatusError(f"revocation list was not signed by {issuer.subject.rfc4514_string()!r}")
    if not _may(issuer, "crl_sign"):
        raise StatusError(f"{issuer.subject.rfc4514_string()!r} may not sign revocation lists (keyUsage)")
    _check_scope(found, certificate)
    _check_window(found.last_update_utc, found.next_update_utc, now, "revocation list")
    entry = found.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is not None:
        reason = _reason(entry)
        raise RevokedError(f"certificate was revoked on {entry.revocation_date_utc.isoformat()}{reason}")


def _read_list(data: bytes, issuer: x509.Name) -> x509.CertificateRevocationList:
    """The list of an issuer; of several in a PEM text the first of that issuer, or the first."""
    try:
        ders = [data] if data[:1] == b"\x30" else [b.der or b"" for b in parse_blocks(data) if b.label == "X509 CRL"]
        lists = [x509.load_der_x509_crl(der) for der in ders]
        found = next((one for one in lists if one.issuer == issuer), lists[0])
        _ = found.extensions
    except (ValueError, IndexError, X509Error, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise StatusError("revocation list cannot be read: expected DER, or PEM X509 CRL blocks") from error
    return found


def _check_scope(found: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """RFC 5280 §5.2: what a critical extension says must be understood."""
    for extension in found.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            oid = extension.oid.dotted_string
            raise StatusError(f"revocation list has a critical extension that is not understood ({oid})")
    try:
        scope = found.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return
    authority = _is_authority(certificate)
    partial = (
        scope.indirect_crl
        or scope.only_some_reasons is not None
        or scope.only_contains_attribute_certs
        or (scope.only_contains_ca_certs and not authority)
        or (scope.only_contains_user_certs and authority)
    )
    if partial:
        raise StatusError("revocation list does not speak of all certificates of this kind (issuingDistributionPoint)")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _may(certificate: x509.Certificate, usage: str) -> bool:
    try:
        return bool(getattr(certificate.extensions.get_extension_for_class(x509.KeyUsage).value, usage))
    except x509.ExtensionNotFound:
        return True


def _check_window(start: datetime, end: datetime | None, now: datetime, what: str) -> None:
    if now < start:
        raise StatusError(f"{what} is not in force before {start.isoformat()}")
    if end is not None and now > end:
        raise StatusError(f"{what} ended on {end.isoformat()}")


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return f" ({entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value})"
    except x509.ExtensionNotFound:
        return ""


def ask(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """An OCSP request (RFC 6960 §4.1), DER; SHA-1 is what every responder understands as the hash of names."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - an index
    return builder.build().public_bytes(Encoding.DER)


def check_answer(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    """Judge a certificate by an OCSP answer, DER.

    Raises:
        StatusError: it is an error, about another certificate, not in force, not signed by the issuer or by somebody
            the issuer charged with it, or it says that the responder does not know.
        RevokedError: it says so.
    """
    try:
        answer = ocsp.load_der_ocsp_response(data)
        if answer.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise StatusError(f"OCSP responder refused: {answer.response_status.name.lower().replace('_', ' ')}")
        singles = [one for one in answer.responses if _is_about(one, certificate, issuer)]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StatusError("OCSP answer cannot be read") from error
    if not singles:
        raise StatusError("OCSP answer is not about this certificate")
    _check_signature(answer, issuer, now)
    single = singles[0]
    _check_window(single.this_update_utc, single.next_update_utc, now, "OCSP answer")
    if single.certificate_status == ocsp.OCSPCertStatus.REVOKED:
        when = single.revocation_time_utc
        reason = f" ({single.revocation_reason.value})" if single.revocation_reason is not None else ""
        raise RevokedError(f"certificate was revoked on {when.isoformat() if when else 'an unknown day'}{reason}")
    if single.certificate_status != ocsp.OCSPCertStatus.GOOD:
        raise StatusError("OCSP responder does not know the certificate")


def _is_about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """The serial number, and the hashes of the issuer's name and key, as a request of ours would have them."""
    ours = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, _hash(single)).build()
    return (single.serial_number, single.issuer_name_hash, single.issuer_key_hash) == (
        certificate.serial_number,
        ours.issuer_name_hash,
        ours.issuer_key_hash,
    )


def _hash(single: ocsp.OCSPSingleResponse) -> hashes.SHA1 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    known = {one.name: one for one in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())}  # noqa: S303
    found = known.get(single.hash_algorithm.name)
    if found is None:
        raise StatusError(f"OCSP answer uses {single.hash_algorithm.name} for names, expected SHA-1 or SHA-2")
    return found


def _check_signature(answer: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """RFC 6960 §4.2.2.2: by the issuer itself, or by one whose certificate the issuer signed for this purpose."""
    if _has_signed(answer, issuer):
        return
    for responder in answer.certificates:
        try:
            responder.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError):
            continue
        charged = allows(responder, ExtendedKeyUsageOID.OCSP_SIGNING) and _names_purposes(responder)
        current = responder.not_valid_before_utc <= now <= responder.not_valid_after_utc
        if charged and current and _has_signed(answer, responder):
            return
    raise StatusError("OCSP answer was not signed by the issuer, nor by one whom it charged with answering")


def _names_purposes(certificate: x509.Certificate) -> bool:
    """Without extended key usage any leaf of the issuer could answer."""
    return any(extension.oid == ExtensionOID.EXTENDED_KEY_USAGE for extension in certificate.extensions)


def _has_signed(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, digest = signer.public_key(), answer.signature_hash_algorithm
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
            key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey) and digest is not None:
            key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), digest)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(answer.signature, answer.tbs_response_bytes)
        else:
            return False
    except InvalidSignature:
        return False
    return True
