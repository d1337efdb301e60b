"""Key pairs in step's kinds and file formats: SEC1, PKCS#1 and PKCS#8 PEM, encrypted as RFC 1423 or PBES2."""

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import Certificate, CertificateSigningRequest, SubjectKeyIdentifier

from troth.x509 import X509Error
from troth.x509.pem import parse_blocks, parse_certificates

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1,
    "P-384": ec.SECP384R1,
    "P-521": ec.SECP521R1,
}


class KeyMaterialError(X509Error):
    """A key cannot be made or read, or does not fit its certificate."""


class KeyPasswordError(KeyMaterialError):
    """A key is encrypted and no password, or a wrong one, was given."""


def generate_key(kty: str = "EC", curve: str = "", size: int = 0) -> PrivateKey:
    """Make a key of step's ``--kty EC|RSA|OKP``, ``--curve P-256|P-384|P-521|Ed25519`` and ``--size`` (RSA bits).

    Raises:
        KeyMaterialError: the combination is not one step allows.
    """
    if kty == "EC":
        if size:
            raise KeyMaterialError("flag '--size' is not allowed with '--kty EC': expected --curve")
        name = curve or "P-256"
        if name not in CURVES:
            raise KeyMaterialError(f"unknown curve {name!r} for --kty EC: expected one of {', '.join(CURVES)}")
        return ec.generate_private_key(CURVES[name]())
    if kty == "RSA":
        if curve:
            raise KeyMaterialError("flag '--curve' is not allowed with '--kty RSA': expected --size")
        bits = size or 2048
        if not 2048 <= bits <= 8192:
            raise KeyMaterialError(f"RSA key size {bits} is not allowed: expected 2048 to 8192 bits")
        return rsa.generate_private_key(65537, bits)
    if kty == "OKP":
        if curve not in ("", "Ed25519"):
            raise KeyMaterialError(f"unknown curve {curve!r} for --kty OKP: expected Ed25519")
        return ed25519.Ed25519PrivateKey.generate()
    raise KeyMaterialError(f"unknown key type {kty!r}: expected EC, RSA or OKP")


def private_key_to_pem(key: PrivateKey, password: bytes | None = None, *, pkcs8: bool = False) -> bytes:
    """A private key as step writes it: EC and RSA in their traditional form, Ed25519 as PKCS#8.

    With a password the traditional form is RFC 1423 AES-256-CBC and PKCS#8 is PBES2.
    """
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, _layout(key, pkcs8), encryption)


def private_key_to_der(key: PrivateKey, *, pkcs8: bool = False) -> bytes:
    """A private key, unencrypted: EC and RSA in their traditional form unless `pkcs8`, Ed25519 always as PKCS#8."""
    return key.private_bytes(Encoding.DER, _layout(key, pkcs8), NoEncryption())


def _layout(key: PrivateKey, pkcs8: bool) -> PrivateFormat:
    traditional = not pkcs8 and not isinstance(key, ed25519.Ed25519PrivateKey)
    return PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8


def parse_private_key(data: bytes, password: bytes | None = None, what: str = "key") -> PrivateKey:
    """Read a PEM (any of the four labels) or DER private key.

    Raises:
        KeyPasswordError: it is encrypted and the password is missing or wrong.
        KeyMaterialError: it is not a private key, or of a kind not supported (DSA, X25519 ...).
    """
    load = load_der_private_key if data[:1] == b"\x30" else load_pem_private_key
    try:
        try:
            key = load(data, password)
        except TypeError as error:
            if password is None or "not encrypted" not in str(error):
                raise
            key = load(data, None)
    except TypeError as error:
        raise KeyPasswordError(f"{what} is encrypted: expected a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if password is not None and _is_encrypted(data):
            raise KeyPasswordError(f"{what} cannot be decrypted: the password is wrong") from error
        raise KeyMaterialError(f"{what} is not a readable private key: expected PEM, EC, RSA or Ed25519") from error
    if not isinstance(key, PrivateKey):
        raise KeyMaterialError(f"{what} is of an unsupported kind: expected EC, RSA or Ed25519")
    return key


def _is_encrypted(data: bytes) -> bool:
    return b"ENCRYPTED" in data


def parse_public_key(data: bytes, what: str = "key") -> PublicKey:
    """Read a PEM (``PUBLIC KEY`` or ``RSA PUBLIC KEY``) or DER public key.

    Raises:
        KeyMaterialError: it is not a public key, or of a kind not supported.
    """
    try:
        key = (load_der_public_key if data[:1] == b"\x30" else load_pem_public_key)(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError(f"{what} is not a readable public key: expected PEM, EC, RSA or Ed25519") from error
    if not isinstance(key, PublicKey):
        raise KeyMaterialError(f"{what} is of an unsupported kind: expected EC, RSA or Ed25519")
    return key


def parse_public_keys(data: bytes, what: str = "input") -> list[PublicKey]:
    """The public keys of a PEM file, each bare or in a certificate; at least one.

    Raises:
        X509Error: there is none, or one cannot be read.
    """
    found = []
    for block in parse_blocks(data):
        if block.label == "CERTIFICATE":
            key = parse_certificates(block.text, what)[0].public_key()
            if not isinstance(key, PublicKey):
                raise KeyMaterialError(f"{what} has a key of an unsupported kind: expected EC, RSA or Ed25519")
            found.append(key)
        else:
            found.append(parse_public_key(block.text, what))
    if not found:
        raise KeyMaterialError(f"{what} contains no public key: expected PEM PUBLIC KEY or CERTIFICATE blocks")
    return found


def public_pem(key: PublicKey) -> str:
    """A public key as a PEM block ``PUBLIC KEY``."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def public_der(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER (RFC 5280 §4.1.2.7)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def public_bits(key: PublicKey) -> bytes:
    """The content of the bit string in a SubjectPublicKeyInfo: RSA as PKCS#1, a point, or the 32 bytes of Ed25519."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def subject_key_id(key: PublicKey) -> bytes:
    """SHA-1 of the public key bit string, RFC 5280 §4.2.1.2 method 1 (20 bytes)."""
    return SubjectKeyIdentifier.from_public_key(key).digest


def key_matches(certificate: Certificate, key: PrivateKey) -> bool:
    """Whether a private key belongs to a certificate."""
    return public_der(key.public_key()) == spki_of(certificate)


def spki_of(holder: Certificate | CertificateSigningRequest) -> bytes:
    """The SubjectPublicKeyInfo of a certificate or request, DER, whatever kind of key it is."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def describe_key(key: object) -> str:
    """A short name for people: ``ECDSA P-256``, ``RSA 2048``, ``Ed25519``."""
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        name = next((name for name, curve in CURVES.items() if isinstance(key.curve, curve)), key.curve.name)
        return f"ECDSA {name}"
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "Ed25519"
    return type(key).__name__


def fingerprint(certificate: Certificate) -> str:
    """SHA-256 of the DER certificate, 64 lower-case hex digits, as step prints and compares it."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
