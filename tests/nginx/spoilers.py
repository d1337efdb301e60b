"""What can be wrong with files: each writes into a copy of the directory of certificates."""

import ssl
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.nginx.reproducers import Prepare
from tests.rig.pki import CLIENT, HOUR, SERVER, YEAR, Pair, Pki
from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem
from troth.x509.pem import bundle_to_pem


def both(*parts: Prepare) -> Prepare:
    """One after the other."""

    def write(directory: Path, pki: Pki) -> None:
        for part in parts:
            part(directory, pki)

    return write


def _put(directory: Path, name: str, pair: Pair) -> None:
    (directory / f"{name}.crt").write_bytes(pair.certificate.read_bytes())
    (directory / f"{name}.key").write_bytes(pair.key.read_bytes())


def _subject(name: str) -> str:
    return "up.test" if name == "server" else "client"


def shown(name: str, **fault: object) -> Prepare:
    """Another certificate as client.crt or server.crt, with a fault."""
    return lambda directory, pki: _put(directory, name, pki.leaf(_subject(name), file="made", **fault))  # type: ignore[arg-type]


def stranger(name: str) -> Prepare:
    """A certificate of an authority that nobody trusts."""
    return lambda directory, _: _put(directory, name, Pki(directory / "foreign", "Foreign").leaf(_subject(name)))


def self_signed(name: str) -> Prepare:
    """A certificate that is its own issuer."""

    def write(directory: Path, pki: Pki) -> None:
        key, subject = generate_key(), _subject(name)
        one = pki._sign(subject, key, subject, key, purposes=(CLIENT, SERVER))
        (directory / f"{name}.crt").write_text(bundle_to_pem([one]))
        (directory / f"{name}.key").write_bytes(private_key_to_pem(key))

    return write


def rsa_1024(directory: Path, pki: Pki) -> None:
    key: PrivateKey = rsa.generate_private_key(65537, 1024)
    one = pki._sign("client", key, "Test Intermediate", pki._key, purposes=(CLIENT,))
    (directory / "client.crt").write_text(bundle_to_pem([one, pki.intermediate]))
    (directory / "client.key").write_bytes(private_key_to_pem(key))


def intermediate_ended(directory: Path, pki: Pki) -> None:
    """The leaf is good, its issuer's certificate has ended."""
    pair = pki.leaf("up.test", file="server")
    old = pki._sign("Test Intermediate", pki._key, "Test Root", pki._root_key, length=0, shift=-2 * YEAR)
    (directory / "server.crt").write_text(bundle_to_pem([pair.chain[0], old]))


def with_own_root(directory: Path, _: Pki) -> None:
    """An upstream of another authority, which sends its root along."""
    foreign = Pki(directory / "foreign", "Foreign")
    pair = foreign.leaf("up.test")
    _put(directory, "server", pair)
    (directory / "server.crt").write_text(bundle_to_pem([*pair.chain, foreign.root]))


def foreign_root(directory: Path, _: Pki) -> None:
    (directory / "ca.crt").write_bytes(Pki(directory / "foreign", "Foreign").trust.read_bytes())


def text(file: str, content: str) -> Prepare:
    return lambda directory, _: (directory / file).write_text(content)


def copied(source: str, target: str) -> Prepare:
    """Replaced by rename: nginx takes a file of the same inode and second for unchanged."""

    def write(directory: Path, _: Pki) -> None:
        (directory / "new").write_bytes((directory / source).read_bytes())
        (directory / "new").chmod((directory / source).stat().st_mode)
        (directory / "new").replace(directory / target)

    return write


def after(seconds: float) -> Prepare:
    """Files have times of whole seconds to nginx."""
    return lambda _, __: time.sleep(seconds)


def cut(file: str) -> Prepare:
    """Ended in the middle."""
    return lambda directory, _: (directory / file).write_bytes((directory / file).read_bytes()[:300])


def readable(directory: Path, _: Pki) -> None:
    """With a variable the workers read the keys."""
    for path in directory.glob("*.key"):
        path.chmod(0o644)


def der(directory: Path, _: Pki) -> None:
    first = (directory / "client.crt").read_text().partition("-----END")[0]
    (directory / "client.crt").write_bytes(ssl.PEM_cert_to_DER_cert(first + "-----END CERTIFICATE-----\n"))


def encrypted(directory: Path, _: Pki) -> None:
    key = load_pem_private_key((directory / "client.key").read_bytes(), None)
    form = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (directory / "client.key").write_bytes(key.private_bytes(*form))
    (directory / "words").write_text("wrong\n")


def days(count: int) -> Prepare:
    """Revocation lists of another day."""
    return lambda directory, pki: pki.crl(directory / "crl.pem", shift=24 * count * HOUR)


def revoked(name: str, file: str) -> Prepare:
    """The certificate that is shown stands in a revocation list."""

    def write(directory: Path, pki: Pki) -> None:
        pair = pki.leaf(_subject(name), file="made")
        _put(directory, name, pair)
        pki.crl(directory / file, pair.serial)

    return write
