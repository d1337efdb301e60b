"""Throw-away authorities of a proof, and the certificates, good and bad, that they sign."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from troth.host.witness import Shown
from troth.x509.keys import PrivateKey, generate_key, subject_key_id
from troth.x509.names import split_names

HOUR = timedelta(hours=1)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class Authority:
    """A throw-away root and intermediate."""

    root: x509.Certificate
    intermediate: x509.Certificate
    key: PrivateKey


def found_authority(name: str, now: datetime) -> Authority:
    """A root and an intermediate with new keys."""
    root_key, key = generate_key(), generate_key()
    root = _certificate(f"{name} Root", root_key, f"{name} Root", root_key, now, path_length=1)
    intermediate = _certificate(f"{name} Intermediate", key, f"{name} Root", root_key, now, path_length=0)
    return Authority(root, intermediate, key)


def forge(
    authority: Authority,
    now: datetime,
    *names: str,
    purposes: tuple[ObjectIdentifier, ...] = BOTH,
    ended: bool = False,
) -> Shown:
    """A certificate for `names`, the first its common name; `ended` ones have expired an hour ago."""
    key = generate_key()
    issuer = authority.intermediate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    moment = now - 25 * HOUR if ended else now
    leaf = _certificate(names[0], key, str(issuer), authority.key, moment, purposes=purposes, also=names[1:])
    return Shown((leaf, authority.intermediate), key)


def _certificate(
    name: str,
    key: PrivateKey,
    issuer: str,
    issuer_key: PrivateKey,
    now: datetime,
    *,
    path_length: int | None = None,
    purposes: tuple[ObjectIdentifier, ...] = (),
    also: tuple[str, ...] = (),
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - HOUR,
        not_valid_after=now + 24 * HOUR,
    )
    identifier = x509.SubjectKeyIdentifier(subject_key_id(key.public_key()))
    builder = builder.add_extension(identifier, critical=False)
    if path_length is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    if purposes:
        names = split_names(list(dict.fromkeys((name, *also)))).general_names()
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
