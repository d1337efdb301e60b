"""Keys in the forms step passes around: PEM, JSON web keys (RFC 7517), and JWE compact or flattened (RFC 7516 §7)."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import Certificate, CertificateSigningRequest
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from troth.ca import CAError
from troth.ca.jwk import decrypt_provisioner_key, signature_algorithm, thumbprint
from troth.x509.keys import PrivateKey, PublicKey, parse_private_key, parse_public_key, private_key_to_pem, public_pem
from troth.x509.openssh import LABEL as OPENSSH_LABEL
from troth.x509.openssh import parse_private_block
from troth.x509.pem import parse_blocks, parse_certificate_der
from troth.x509.requests import LABELS as REQUEST_LABELS
from troth.x509.requests import parse_request

MEMBERS = ("use", "kty", "kid", "crv", "alg", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi", "k")
_KEY_MEMBERS = frozenset(MEMBERS) - {"use", "kid", "alg"}
_JWE_PARTS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
Password = Callable[[], bytes]


class KeyFormError(CAError):
    """A key is in no form that is known, or of a kind that cannot sign tokens."""


def to_jwk(key: PrivateKey | PublicKey, *, use: str = "", kid: str = "", alg: str = "") -> dict[str, Any]:
    """A key as step writes it as a JWK: ``alg`` by its kind, ``kid`` the RFC 7638 thumbprint unless given.

    Raises:
        KeyFormError: a curve that has no JWS algorithm.
    """
    private = isinstance(key, PrivateKey)
    pem = private_key_to_pem(key, pkcs8=True) if isinstance(key, PrivateKey) else public_pem(key).encode()
    try:
        members = _jose_kind(key).import_key(pem).as_dict(private=private)
    except (JoseError, ValueError) as error:
        raise KeyFormError("key cannot be a JSON web key: expected EC P-256, P-384, P-521, RSA or Ed25519") from error
    bare = {name: value for name, value in members.items() if name not in ("kid", "use", "alg", "key_ops")}
    return ordered({**bare, "use": use, "alg": alg or signature_algorithm(bare), "kid": kid or thumbprint(bare)})


def _jose_kind(key: PrivateKey | PublicKey) -> type[ECKey] | type[RSAKey] | type[OKPKey]:
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return ECKey
    return RSAKey if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) else OKPKey


def from_jwk(jwk: Mapping[str, Any]) -> PrivateKey | PublicKey:
    """The key inside a JWK, private when it has ``d``.

    Raises:
        KeyFormError: it is incomplete, symmetric, or of an unknown kind.
    """
    try:
        key = import_key({name: value for name, value in jwk.items() if name in _KEY_MEMBERS})
        native = key.private_key if isinstance(key, ECKey | RSAKey | OKPKey) and key.is_private else key.public_key
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KeyFormError("JSON web key is not usable: expected EC, RSA or OKP with all its members") from error
    if not isinstance(native, PrivateKey | PublicKey):
        raise KeyFormError("JSON web key is of an unsupported kind: expected EC, RSA or Ed25519")
    return native


def ordered(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The members in step's order, empty ones left out, foreign ones at the end."""
    known = {name: jwk[name] for name in MEMBERS if jwk.get(name) not in (None, "")}
    return {**known, **{name: value for name, value in jwk.items() if name not in MEMBERS}}


def is_private(jwk: Mapping[str, Any]) -> bool:
    """Whether a JWK holds a secret."""
    return "d" in jwk or "k" in jwk


def read_jwk(data: bytes, password: Password, what: str) -> dict[str, Any]:
    """A key in any form (JWK, JWE of a JWK, PEM private or public key, PEM certificate) as a JWK with its ``kid``.

    Args:
        data: the file's content.
        password: asked only when the key turns out to be encrypted.
        what: how to name it in an error.

    Raises:
        CAError, X509Error: it is none of these, or the password is wrong.
    """
    jwe = as_compact_jwe(data)
    if jwe is not None:
        return decrypt_provisioner_key(jwe, password())
    if data.lstrip().startswith(b"{"):
        return _plain(data, what)
    return to_jwk(parse_key_pem(data, password, what))


def held_key(holder: Certificate | CertificateSigningRequest, what: str) -> PublicKey:
    """The public key of a certificate or request.

    Raises:
        KeyFormError: it is of a kind not supported.
    """
    key = holder.public_key()
    if not isinstance(key, PublicKey):
        raise KeyFormError(f"{what} has a key of an unsupported kind: expected EC, RSA or Ed25519")
    return key


def _plain(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KeyFormError(f"{what} is not a JSON web key: {error}") from error
    if not isinstance(value, dict) or "kty" not in value:
        raise KeyFormError(f"{what} is not a JSON web key: expected an object with 'kty'")
    if value["kty"] == "oct":
        raise KeyFormError(f"{what} is a symmetric key: expected EC, RSA or OKP")
    from_jwk(value)
    return ordered({"kid": thumbprint(value), "alg": signature_algorithm(value), **value})


def parse_key_pem(data: bytes, password: Password, what: str) -> PrivateKey | PublicKey:
    """The key of the first PEM block: private, public, or that of a certificate or request.

    Raises:
        CAError, X509Error: it is none of these, or the password is wrong.
    """
    block = next(iter(parse_blocks(data)), None)
    if block is None:
        raise KeyFormError(f"{what} is not a key: expected a JSON web key, an encrypted one, or PEM")
    if block.label == "CERTIFICATE":
        return held_key(parse_certificate_der(block.der or b"", what), what)
    if block.label in REQUEST_LABELS:
        return held_key(parse_request(block.text, what), what)
    if block.label == OPENSSH_LABEL:
        return parse_private_block(block.text, what)
    if "PUBLIC KEY" in block.label:
        return parse_public_key(block.text, what)
    encrypted = "ENCRYPTED" in block.label or block.der is None
    return parse_private_key(block.text, password() if encrypted else None, what)


def as_compact_jwe(data: bytes) -> str | None:
    """The compact form of a JWE, given compact or as flattened JSON; None when it is something else."""
    text = data.strip().decode("utf-8", "replace")
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        parts = [value.get(name) for name in _JWE_PARTS]
        return ".".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else None
    return text if text.count(".") == 4 and "\n" not in text else None


def flattened_jwe(compact: str) -> str:
    """The flattened JSON of a compact JWE, as ``step crypto jwk create`` writes private keys."""
    return json.dumps(dict(zip(_JWE_PARTS, compact.split("."), strict=True)), indent=2)


def check_pair(public: Mapping[str, Any], private: Mapping[str, Any]) -> None:
    """Raises: KeyFormError: the two are not halves of one key."""
    if thumbprint(public) != thumbprint(private):
        raise KeyFormError("private key does not belong to the public key")
