"""Keys in OpenSSH's forms: a line of ``authorized_keys``, and the PEM block ``OPENSSH PRIVATE KEY``."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from troth.x509.keys import KeyMaterialError, KeyPasswordError, PrivateKey, PublicKey

LABEL = "OPENSSH PRIVATE KEY"
_KINDS = (b"ssh-rsa", b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp521")


def is_public_line(data: bytes) -> bool:
    """Whether a file starts as a public key of OpenSSH does."""
    return data.lstrip().startswith(_KINDS)


def parse_public_line(data: bytes, what: str) -> PublicKey:
    """The key of an OpenSSH public key file.

    Raises:
        KeyMaterialError: it is not one, or a certificate, or of a kind not supported.
    """
    try:
        key = load_ssh_public_key(data.strip())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError(f"{what} is not a readable OpenSSH key: expected RSA, ECDSA or Ed25519") from error
    if not isinstance(key, PublicKey):
        raise KeyMaterialError(f"{what} is of an unsupported kind: expected RSA, ECDSA or Ed25519")
    return key


def parse_private_block(data: bytes, what: str) -> PrivateKey:
    """The key of an OpenSSH private key file that has no password.

    Raises:
        KeyPasswordError: it has one; OpenSSH's way of encrypting (bcrypt) is not supported.
        KeyMaterialError: it cannot be read, or is of a kind not supported.
    """
    try:
        key = load_ssh_private_key(data, None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise KeyPasswordError(
            f"{what} is encrypted as OpenSSH does it, which is not supported: expected an open key, or PKCS #8",
            hint=f"ssh-keygen -p -m PKCS8 -f {what}",
        ) from error
    except ValueError as error:
        raise KeyMaterialError(f"{what} is not a readable OpenSSH key: expected RSA, ECDSA or Ed25519") from error
    if not isinstance(key, PrivateKey):
        raise KeyMaterialError(f"{what} is of an unsupported kind: expected RSA, ECDSA or Ed25519")
    return key


def public_line(key: PublicKey) -> bytes:
    """A key as a line of ``authorized_keys``, without a comment and without a line end."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def private_block(key: PrivateKey) -> bytes:
    """A key as an OpenSSH private key file without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
