"""A builder of certificates whose defaults are all correct, so that the only visible argument is the fault."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from troth.x509.keys import PrivateKey, generate_key
from troth.x509.names import split_names

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def usage(*bits: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{bit: bit in bits for bit in _USAGES})


def issue(
    subject: str,
    issuer: Issued | None = None,
    *,
    authority: bool = False,
    path_length: int | None = None,
    names: tuple[str, ...] = (),
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    usages: tuple[str, ...] | None = None,
    purposes: tuple[x509.ObjectIdentifier, ...] = (),
    extra: x509.ExtensionType | None = None,
    extra_critical: bool = False,
    constraints: bool = True,
    key: PrivateKey | None = None,
    signed_by: PrivateKey | None = None,
) -> Issued:
    """A certificate; `signed_by` puts another signature under it, `constraints` leaves basicConstraints out."""
    own = key or generate_key()
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject if issuer else name(subject),
        subject_name=name(subject),
        public_key=own.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=end,
    )
    if authority and constraints:
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
    bits = usages if usages is not None else ("key_cert_sign", "crl_sign") if authority else ("digital_signature",)
    if bits:
        builder = builder.add_extension(usage(*bits), critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(split_names(names).general_names()), False)
    if extra is not None:
        builder = builder.add_extension(extra, extra_critical)
    signer = signed_by or (issuer.key if issuer else own)
    algorithm = None if isinstance(signer, Ed25519PrivateKey) else hashes.SHA256()
    return Issued(builder.sign(signer, algorithm), own)
