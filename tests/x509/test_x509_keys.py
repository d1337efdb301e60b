"""Keys are written as step writes them, read in every form it reads, and refused by name otherwise."""

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.x509.authorities import issue
from troth.x509.keys import (
    KeyMaterialError,
    KeyPasswordError,
    describe_key,
    fingerprint,
    generate_key,
    key_matches,
    parse_private_key,
    private_key_to_pem,
    public_der,
    spki_of,
    subject_key_id,
)

KINDS = [("EC", "", 0), ("EC", "P-384", 0), ("EC", "P-521", 0), ("RSA", "", 2048), ("OKP", "Ed25519", 0)]


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("EC", ""), ec.EllipticCurvePrivateKey, "ECDSA P-256"),
        (("EC", "P-384"), ec.EllipticCurvePrivateKey, "ECDSA P-384"),
        (("EC", "P-521"), ec.EllipticCurvePrivateKey, "ECDSA P-521"),
        (("RSA", ""), rsa.RSAPrivateKey, "RSA 2048"),
        (("OKP", ""), ed25519.Ed25519PrivateKey, "Ed25519"),
    ],
)
def test_kinds(arguments: tuple[str, str], kind: type, told: str) -> None:
    key = generate_key(*arguments)
    assert isinstance(key, kind) and describe_key(key) == describe_key(key.public_key()) == told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("EC", "P-224"), "unknown curve 'P-224'"),
        (("EC", "", 2048), "'--size' is not allowed"),
        (("RSA", "P-256"), "'--curve' is not allowed"),
        (("RSA", "", 1024), "RSA key size 1024"),
        (("RSA", "", 100_000), "RSA key size 100000"),
        (("OKP", "X25519"), "unknown curve 'X25519'"),
        (("oct",), "unknown key type 'oct'"),
    ],
)
def test_kinds_that_are_none(arguments: tuple[str, str, int], reason: str) -> None:
    with pytest.raises(KeyMaterialError, match=reason):
        generate_key(*arguments)


@pytest.mark.parametrize("pkcs8", [True, False])
@pytest.mark.parametrize("password", [None, b"secret"])
@pytest.mark.parametrize("kind", KINDS)
def test_written_keys_read_back(kind: tuple[str, str, int], password: bytes | None, pkcs8: bool) -> None:
    key = generate_key(*kind)
    text = private_key_to_pem(key, password, pkcs8=pkcs8)
    assert public_der(parse_private_key(text, password).public_key()) == public_der(key.public_key())
    assert (b"ENCRYPTED" in text) == (password is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_der_and_needless_passwords_are_fine(kind: tuple[str, str, int]) -> None:
    key = generate_key(*kind)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    for data in (der, private_key_to_pem(key)):
        assert public_der(parse_private_key(data, b"unneeded").public_key()) == public_der(key.public_key())


@pytest.mark.parametrize("pkcs8", [True, False])
def test_passwords_are_missing_or_wrong(pkcs8: bool) -> None:
    text = private_key_to_pem(generate_key(), b"right", pkcs8=pkcs8)
    with pytest.raises(KeyPasswordError, match=r"x\.key is encrypted: expected a password"):
        parse_private_key(text, None, "x.key")
    with pytest.raises(KeyPasswordError, match=r"x\.key cannot be decrypted: the password is wrong"):
        parse_private_key(text, b"wrong", "x.key")


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", b"\x30\x03\x02\x01\x00", b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"],
)
def test_what_is_no_key(data: bytes) -> None:
    with pytest.raises(KeyMaterialError, match=r"x\.key is not a readable private key"):
        parse_private_key(data, None, "x.key")


@pytest.mark.parametrize(
    "key", [x25519.X25519PrivateKey.generate(), dsa.generate_private_key(1024)], ids=["X25519", "DSA"]
)
def test_keys_that_cannot_sign_certificates_here(key: x25519.X25519PrivateKey) -> None:
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyMaterialError, match="unsupported kind"):
        parse_private_key(text)


def test_a_key_fits_its_own_certificate_only() -> None:
    mine, other = issue("a"), issue("b")
    assert key_matches(mine.certificate, mine.key) and not key_matches(mine.certificate, other.key)
    assert spki_of(mine.certificate) == public_der(mine.key.public_key())


def test_identifiers() -> None:
    issued = issue("a")
    assert len(subject_key_id(issued.key.public_key())) == 20
    assert len(fingerprint(issued.certificate)) == 64 and fingerprint(issued.certificate).islower()
