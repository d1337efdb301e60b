"""What is in the files that a configuration names, as values: read by the agent, judged by the findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One certificate, key, trust or CRL file.

    `problem` says why it cannot be used, and then nothing else counts. `mode` holds the permission bits, `modified` is
    in seconds since the epoch; `for_workers` is whether nginx's workers may read it; `key` is the public half of a
    private key as SubjectPublicKeyInfo, empty when there is none or it is encrypted.
    """

    path: str
    problem: str = ""
    mode: int = 0
    modified: float = 0.0
    for_workers: bool = True
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Facts:
    """All files, the moment, and since when the running workers run (seconds since the epoch, None: none do)."""

    now: datetime
    files: Mapping[str, FileFacts] = field(default_factory=dict)
    workers_since: float | None = None


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it names itself as its issuer."""
    return certificate.subject == certificate.issuer


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether its basic constraints say that it is an authority's (RFC 5280 §4.2.1.9)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
