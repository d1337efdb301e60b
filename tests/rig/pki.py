"""Throw-away authorities and certificates of today, as files; the defaults are correct, the arguments are the fault."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem
from troth.x509.names import split_names
from troth.x509.pem import bundle_to_pem

HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Pair:
    """A chain and its key as files."""

    certificate: Path
    key: Path
    chain: tuple[x509.Certificate, ...]
    private: PrivateKey

    @property
    def serial(self) -> int:
        return self.chain[0].serial_number


class Pki:
    """A root and an intermediate in a directory; the root is in ``ca.crt``."""

    def __init__(self, directory: Path, name: str = "Test") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.name = name
        self._root_key, self._key = generate_key(), generate_key()
        self.root = self._sign(f"{name} Root", self._root_key, f"{name} Root", self._root_key, length=1)
        self.intermediate = self._sign(f"{name} Intermediate", self._key, f"{name} Root", self._root_key, length=0)
        self.trust = directory / "ca.crt"
        self.trust.write_text(bundle_to_pem([self.root]))

    def leaf(
        self,
        name: str,
        *,
        file: str = "",
        purposes: tuple[x509.ObjectIdentifier, ...] = (CLIENT, SERVER),
        ended: bool = False,
        leaf_only: bool = False,
        also: tuple[str, ...] = (),
        shift: timedelta = 0 * HOUR,
    ) -> Pair:
        """A certificate for `name` and others, written as ``<file>.crt`` and ``<file>.key``.

        It lives from an hour ago until in 24 hours, moved by `shift`.
        """
        key = generate_key()
        issuer = f"{self.name} Intermediate"
        shift = -25 * HOUR if ended else shift
        leaf = self._sign(name, key, issuer, self._key, purposes=purposes, shift=shift, also=also)
        chain = (leaf,) if leaf_only else (leaf, self.intermediate)
        certificate, private = self.directory / f"{file or name}.crt", self.directory / f"{file or name}.key"
        certificate.write_text(bundle_to_pem(list(chain)))
        private.write_bytes(private_key_to_pem(key))
        private.chmod(0o600)
        return Pair(certificate, private, chain, key)

    def crl(self, file: Path, *revoked: int, shift: timedelta = 0 * HOUR) -> None:
        """The lists of both authorities in one file, as nginx needs them; `revoked` are serials of the intermediate.

        They hold from an hour ago until in 24 hours, moved by `shift`.
        """
        now = datetime.now(UTC) + shift
        texts = []
        for issuer, key, serials in ((self.root, self._root_key, ()), (self.intermediate, self._key, revoked)):
            builder = x509.CertificateRevocationListBuilder(issuer.subject, now - HOUR, now + 24 * HOUR)
            for serial in serials:
                entry = x509.RevokedCertificateBuilder(serial, now - HOUR).build()
                builder = builder.add_revoked_certificate(entry)
            texts.append(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        file.write_bytes(b"".join(texts))

    def _sign(
        self,
        subject: str,
        key: PrivateKey,
        issuer: str,
        signer: PrivateKey,
        *,
        length: int | None = None,
        purposes: tuple[x509.ObjectIdentifier, ...] = (),
        shift: timedelta = 0 * HOUR,
        also: tuple[str, ...] = (),
    ) -> x509.Certificate:
        now = datetime.now(UTC) + shift
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - HOUR,
            not_valid_after=now + (24 * HOUR if length is None else YEAR),
        )
        if length is not None:
            builder = builder.add_extension(x509.BasicConstraints(True, length), critical=True)
        else:
            names = x509.SubjectAlternativeName(split_names([subject, *also]).general_names())
            builder = builder.add_extension(names, critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
        return builder.sign(signer, hashes.SHA256())
