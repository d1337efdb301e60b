"""A certificate and key that a person already has, read and checked to belong together."""

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from troth.client.transport import ClientCertificate
from troth.errors import UsageError
from troth.host.files import read_file
from troth.host.pairs import finish_interrupted
from troth.host.terminal import note
from troth.x509.keys import PrivateKey, key_matches, parse_private_key, private_key_to_pem
from troth.x509.pem import bundle_to_pem, parse_certificates


@dataclass(frozen=True, slots=True)
class OwnedPair:
    """A certificate with its issuers, leaf first, and the leaf's key."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def leaf(self) -> x509.Certificate:
        return self.chain[0]

    @property
    def presented(self) -> ClientCertificate:
        """For a handshake."""
        return ClientCertificate(bundle_to_pem(list(self.chain)).encode(), private_key_to_pem(self.key))


def complete(certificate: str | Path, key: str | Path) -> None:
    """Finish what an earlier command was interrupted in, and say so."""
    if finish_interrupted(Path(certificate), Path(key)):
        note(f"Completed an interrupted write of {certificate} and {key}.")


def read_pair(certificate: str, key: str, password_file: str = "") -> OwnedPair:
    """Read a pair; an interrupted write of it is completed first.

    Raises:
        FileError, X509Error: a file cannot be read or is not what it should be.
        UsageError: the key belongs to another certificate.
    """
    complete(certificate, key)
    chain = parse_certificates(read_file(Path(certificate)), certificate)
    password = read_file(Path(password_file)).rstrip() if password_file else None
    private = parse_private_key(read_file(Path(key)), password, key)
    if not key_matches(chain[0], private):
        hint = f"look at the certificate with: troth certificate inspect --short {certificate}"
        raise UsageError(f"key {key} does not belong to certificate {certificate}", hint=hint)
    return OwnedPair(tuple(chain), private)
