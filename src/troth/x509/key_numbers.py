"""The numbers of a key for people, as ``step crypto key inspect`` prints them."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from troth.x509.keys import CURVES, PrivateKey, PublicKey

BYTES_A_LINE = 16


def key_text(key: PrivateKey | PublicKey) -> str:
    """All numbers of a key, the secret ones of a private key too; lines with a final line end."""
    return "".join(f"{line}\n" for line in _lines(key))


def _lines(key: PrivateKey | PublicKey) -> Iterator[str]:
    if isinstance(key, rsa.RSAPublicKey):
        yield from _rsa_public(key)
    elif isinstance(key, rsa.RSAPrivateKey):
        yield from _rsa_private(key)
    elif isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        yield from _ec(key)
    else:
        yield from _ed25519(key)


def _rsa_public(key: rsa.RSAPublicKey) -> Iterator[str]:
    numbers = key.public_numbers()
    yield f"RSA Public-Key: ({key.key_size} bit)"
    yield from _number("Modulus", numbers.n, key.key_size // 8)
    yield f"Exponent: {numbers.e} (0x{numbers.e:x})"


def _rsa_private(key: rsa.RSAPrivateKey) -> Iterator[str]:
    numbers, size = key.private_numbers(), key.key_size // 8
    yield f"RSA Private-Key: ({key.key_size} bit)"
    yield from _number("Modulus", numbers.public_numbers.n, size)
    yield f"Public Exponent: {numbers.public_numbers.e} (0x{numbers.public_numbers.e:x})"
    yield from _number("Private Exponent", numbers.d, size)
    for name, value in (("Prime #1", numbers.p), ("Prime #2", numbers.q)):
        yield from _number(name, value)
    for name, value in (("Exponent #1", numbers.dmp1), ("Exponent #2", numbers.dmq1), ("Coefficient", numbers.iqmp)):
        yield from _number(name, value)


def _ec(key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) -> Iterator[str]:
    private = isinstance(key, ec.EllipticCurvePrivateKey)
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    numbers, size = public.public_numbers(), (key.key_size + 7) // 8
    # "PrivateKey-Key" is step's; scripts look for it.
    yield f"EC {'PrivateKey' if private else 'Public'}-Key: ({key.key_size} bit)"
    yield from _number("X", numbers.x, size)
    yield from _number("Y", numbers.y, size)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        yield from _number("D", key.private_numbers().private_value, size)
    yield f"Curve: {next((name for name, kind in CURVES.items() if isinstance(key.curve, kind)), key.curve.name)}"


def _ed25519(key: object) -> Iterator[str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    if isinstance(key, Ed25519PublicKey):
        yield "Ed25519 Public-Key: (256 bit)"
        yield from _octets("Public", key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    elif isinstance(key, Ed25519PrivateKey):
        # step counts the public half with the private one.
        yield "Ed25519 Private-Key: (512 bit)"
        yield from _octets("Public", key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        yield from _octets("Private", key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))


def _number(name: str, value: int, size: int = 0) -> Iterator[str]:
    yield from _octets(name, value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def _octets(name: str, data: bytes) -> Iterator[str]:
    yield f"{name}:"
    for start in range(0, len(data), BYTES_A_LINE):
        ends = start + BYTES_A_LINE >= len(data)
        yield "    " + data[start : start + BYTES_A_LINE].hex(":") + ("" if ends else ":")
