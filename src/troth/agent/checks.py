"""What a pair must be before it is shown to anyone: readable, matching, trusted, for clients, of this moment."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from troth.agent import AgentError
from troth.host.generations import Material
from troth.x509 import X509Error
from troth.x509.chains import CLIENT_AUTH, allows, check_dates, verify_path
from troth.x509.keys import key_matches, parse_private_key
from troth.x509.names import alternative_names, common_name
from troth.x509.pem import parse_certificates


class CheckError(AgentError):
    """The files of an identity are not fit to be deployed; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the agent needs to know of a certificate."""

    serial: int
    subject: str
    not_before: datetime
    not_after: datetime
    chain: tuple[x509.Certificate, ...]


def read_facts(certificate: bytes, what: str = "certificate") -> Facts:
    """The facts of a chain's leaf. Raises: X509Error: it cannot be read."""
    chain = parse_certificates(certificate, what)
    leaf = chain[0]
    subject = common_name(leaf.subject) or leaf.subject.rfc4514_string()
    return Facts(leaf.serial_number, subject, leaf.not_valid_before_utc, leaf.not_valid_after_utc, tuple(chain))


def check(material: Material, now: datetime, *, subject: str = "", own_authority: bool = True) -> Facts:
    """Check a generation before it becomes current.

    Args:
        material: its files.
        now: the moment.
        subject: the name that must be among its names; empty means any.
        own_authority: whether the trust bundle is also the client certificate's own root.

    Raises:
        CheckError: it is not fit.
    """
    try:
        facts = read_facts(material.certificate)
        key = parse_private_key(material.key, None, "key")
        roots = parse_certificates(material.trust, "trust bundle")
        leaf = facts.chain[0]
        if not key_matches(leaf, key):
            raise CheckError("key does not belong to the certificate")
        check_dates(leaf, now)
        if not allows(leaf, CLIENT_AUTH):
            raise CheckError("certificate may not authenticate a client (extendedKeyUsage lacks clientAuth)")
        if own_authority:
            verify_path(leaf, facts.chain[1:], roots, now, purpose=CLIENT_AUTH)
    except X509Error as error:
        raise CheckError(error.message, hint=error.hint) from error
    names = {facts.subject, *(value for _, value in alternative_names(leaf.extensions).as_set())}
    if subject and subject not in names:
        raise CheckError(f"certificate is for {', '.join(sorted(names))}, expected {subject!r}")
    return facts
