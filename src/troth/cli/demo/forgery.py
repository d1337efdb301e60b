"""Certificates the authority refuses to issue, signed offline with its real intermediate, to be refused on the wire."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from troth.host.files import make_directory, read_file, write_file
from troth.x509.keys import PrivateKey, generate_key, parse_private_key, private_key_to_pem, subject_key_id
from troth.x509.names import split_names
from troth.x509.pem import bundle_to_pem, parse_certificates

HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate with its key, and the name the demo gives it."""

    certificate: x509.Certificate
    key: PrivateKey


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its key as files."""

    certificate: Path
    key: Path

    @property
    def leaf(self) -> x509.Certificate:
        return parse_certificates(read_file(self.certificate), str(self.certificate))[0]


def real_intermediate(certificate: Path, key: Path, password: bytes) -> Issuer:
    """The authority's own intermediate, opened with its password, as only its operator can."""
    return Issuer(
        parse_certificates(read_file(certificate), str(certificate))[0],
        parse_private_key(read_file(key), password, str(key)),
    )


def foreign_authority(now: datetime.datetime) -> Issuer:
    """A root nobody trusts."""
    key = generate_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Foreign Root CA")])
    builder = _builder(name, name, key, now - HOUR, now + 24 * HOUR)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Issuer(builder.sign(key, hashes.SHA256()), key)


def forge(
    directory: Path,
    name: str,
    issuer: Issuer,
    now: datetime.datetime,
    *,
    subject: str,
    names: tuple[str, ...],
    purposes: tuple[ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
    ended: bool = False,
) -> Pair:
    """Sign a leaf with exactly the fault asked for and write it as ``<name>.crt`` and ``<name>.key``."""
    key = generate_key()
    start, end = (now - 25 * HOUR, now - HOUR) if ended else (now - HOUR, now + HOUR)
    subject_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = _builder(subject_name, issuer.certificate.subject, key, start, end)
    authority_key = x509.AuthorityKeyIdentifier(subject_key_id(issuer.key.public_key()), None, None)
    builder = builder.add_extension(authority_key, critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(split_names(names).general_names()), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    certificate = builder.sign(issuer.key, hashes.SHA256())
    make_directory(directory)
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    write_file(pair.key, private_key_to_pem(key), 0o600)
    write_file(pair.certificate, bundle_to_pem([certificate, issuer.certificate]).encode(), 0o644)
    return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, start: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=start,
        not_valid_after=end,
        extensions=[
            x509.Extension(
                x509.SubjectKeyIdentifier.oid, False, x509.SubjectKeyIdentifier(subject_key_id(key.public_key()))
            )
        ],
    )
