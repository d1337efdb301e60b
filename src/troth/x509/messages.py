"""Signatures of plain messages, as ``step crypto key sign`` makes them.

RSA: PKCS #1 v1.5 or PSS with the longest salt (RFC 8017); ECDSA: the curve names the hash, DER; Ed25519: RFC 8032.
"""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from troth.x509.keys import KeyMaterialError, PrivateKey, PublicKey

HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha512-224": hashes.SHA512_224,
    "sha512-256": hashes.SHA512_256,
    "md5": hashes.MD5,
}
_ALIASES = {"": "sha256", "sha": "sha1"}
_OF_CURVES: dict[int, type[hashes.HashAlgorithm]] = {
    224: hashes.SHA224,
    256: hashes.SHA256,
    384: hashes.SHA384,
    521: hashes.SHA512,
}


def sign_message(key: PrivateKey, message: bytes, alg: str = "", *, pss: bool = False) -> bytes:
    """The signature of a message; `alg` (one of `HASHES`) and `pss` count for RSA only.

    Raises:
        KeyMaterialError: the key cannot sign with that hash.
    """
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            chosen = hash_of(alg)
            return key.sign(message, _padding(chosen, pss, padding.PSS.MAX_LENGTH), chosen)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(message, ec.ECDSA(_curve_hash(key.curve)))
        return key.sign(message)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError(f"key cannot sign with {alg or 'sha256'}: {error}") from error


def message_fits(key: PublicKey, signature: bytes, message: bytes, alg: str = "", *, pss: bool = False) -> bool:
    """Whether a signature is of this key and this message.

    Raises:
        KeyMaterialError: a hash or a curve that is not known.
    """
    try:
        if isinstance(key, rsa.RSAPublicKey):
            chosen = hash_of(alg)
            key.verify(signature, message, _padding(chosen, pss, padding.PSS.AUTO), chosen)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(_curve_hash(key.curve)))
        else:
            key.verify(signature, message)
    except InvalidSignature:
        return False
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError(f"key cannot verify with {alg or 'sha256'}: {error}") from error
    return True


def hash_of(alg: str) -> hashes.HashAlgorithm:
    """Raises: KeyMaterialError: no such hash."""
    name = alg.lower()
    chosen = HASHES.get(_ALIASES.get(name, name))
    if chosen is None:
        raise KeyMaterialError(f"unknown --alg {alg!r}: expected one of {', '.join(HASHES)}")
    return chosen()


def _padding(chosen: hashes.HashAlgorithm, pss: bool, salt: object) -> padding.AsymmetricPadding:
    return padding.PSS(padding.MGF1(chosen), salt) if pss else padding.PKCS1v15()  # type: ignore[arg-type]


def _curve_hash(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    chosen = _OF_CURVES.get(curve.key_size)
    if chosen is None:
        raise KeyMaterialError(f"curve {curve.name} is not supported: expected P-224, P-256, P-384 or P-521")
    return chosen()
