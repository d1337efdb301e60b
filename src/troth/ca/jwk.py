"""JSON Web Keys of provisioners (RFC 7517, 7638) and the encrypted form step keeps them in (RFC 7518 §4.8, PBES2).

The key encryption is done here and not by joserfc, which refuses the 600 000 iterations step writes; go-jose's own
ceiling of 1 000 000 is kept, because the count comes from the other side and is a denial of service when unbounded.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from troth.ca import CAError

ITERATIONS = 600_000
MAX_ITERATIONS = 1_000_000
MAX_JWE_CHARACTERS = 64 * 1024
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_KEY_ENCRYPTION = {
    "PBES2-HS256+A128KW": (hashes.SHA256(), 16),
    "PBES2-HS384+A192KW": (hashes.SHA384(), 24),
    "PBES2-HS512+A256KW": (hashes.SHA512(), 32),
}
_CONTENT_KEY_BYTES = {"A128GCM": 16, "A192GCM": 24, "A256GCM": 32}
_PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_SIGNATURE_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}


class KeyDecryptionError(CAError):
    """An encrypted key cannot be opened: damaged, an unsupported form, or the wrong password."""


@dataclass(frozen=True, slots=True)
class Randomness:
    """The random inputs of one encryption: salt (16 bytes), content key (32) and nonce (12)."""

    salt: bytes
    content_key: bytes
    nonce: bytes


def b64encode(data: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64decode(text: str) -> bytes:
    """Read base64url without padding.

    Raises:
        ValueError: it has other characters.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638 SHA-256 thumbprint, base64url without padding: the ``kid`` step gives a key.

    Raises:
        CAError: the key is of an unknown type or incomplete.
    """
    try:
        members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    except KeyError as error:
        raise CAError(f"JSON web key has no usable {error}: expected EC, RSA or OKP") from error
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return b64encode(hashlib.sha256(text.encode()).digest())


def public_jwk(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The key without its private members."""
    return {name: value for name, value in jwk.items() if name not in _PRIVATE_MEMBERS}


def signature_algorithm(jwk: Mapping[str, Any]) -> str:
    """The JWS algorithm of a key: its ``alg``, else what its type implies (RS256 for RSA)."""
    named = jwk.get("alg")
    if isinstance(named, str) and named:
        return named
    return _SIGNATURE_ALGORITHMS.get(str(jwk.get("crv")), "RS256")


def encrypt_provisioner_key(
    jwk: Mapping[str, Any], password: bytes, randomness: Randomness, iterations: int = ITERATIONS
) -> str:
    """The compact JWE of a private key, with the parameters ``step`` uses."""
    header = {
        "alg": "PBES2-HS256+A128KW",
        "cty": "jwk+json",
        "enc": "A256GCM",
        "p2c": iterations,
        "p2s": b64encode(randomness.salt),
    }
    protected = b64encode(json.dumps(header, separators=(",", ":")).encode())
    wrapping = _derive("PBES2-HS256+A128KW", randomness.salt, iterations, password)
    sealed = AESGCM(randomness.content_key).encrypt(
        randomness.nonce, json.dumps(dict(jwk), separators=(",", ":")).encode(), protected.encode()
    )
    parts = (aes_key_wrap(wrapping, randomness.content_key), randomness.nonce, sealed[:-16], sealed[-16:])
    return ".".join([protected, *map(b64encode, parts)])


def decrypt_provisioner_key(jwe: str, password: bytes, *, member: str = "kty") -> dict[str, Any]:
    """The private JWK inside a compact JWE that step or troth made; `member` is what it must have, ``keys`` for a set.

    Raises:
        KeyDecryptionError: the text is not such a JWE, asks for too much work, or the password is wrong.
    """
    if len(jwe) > MAX_JWE_CHARACTERS:
        raise KeyDecryptionError("encrypted key is too large")
    try:
        protected, *rest = jwe.strip().split(".")
        header = json.loads(b64decode(protected))
        wrapped, nonce, ciphertext, tag = map(b64decode, rest)
        algorithm, encryption, iterations = header["alg"], header["enc"], header["p2c"]
        salt = b64decode(header["p2s"])
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise KeyDecryptionError("encrypted key is not a compact JWE with a password (PBES2)") from error
    if algorithm not in _KEY_ENCRYPTION or encryption not in _CONTENT_KEY_BYTES:
        raise KeyDecryptionError(f"encrypted key uses {algorithm} with {encryption}, expected PBES2 with AES-GCM")
    if not isinstance(iterations, int) or not 1 <= iterations <= MAX_ITERATIONS:
        raise KeyDecryptionError(
            f"encrypted key asks for {iterations} iterations, at most {MAX_ITERATIONS} are allowed"
        )
    try:
        content_key = aes_key_unwrap(_derive(algorithm, salt, iterations, password), wrapped)
        text = AESGCM(content_key).decrypt(nonce, ciphertext + tag, protected.encode())
    except (InvalidUnwrap, InvalidTag, ValueError) as error:
        raise KeyDecryptionError("provisioner key cannot be decrypted: the password is wrong") from error
    return _private_key(text, member)


def _private_key(text: bytes, member: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or member not in value:
        raise KeyDecryptionError("encrypted key does not contain a JSON web key")
    return value


def _derive(algorithm: str, salt: bytes, iterations: int, password: bytes) -> bytes:
    digest, length = _KEY_ENCRYPTION[algorithm]
    kdf = PBKDF2HMAC(digest, length, algorithm.encode() + b"\0" + salt, iterations)
    return kdf.derive(password)
