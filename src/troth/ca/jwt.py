"""JSON Web Tokens by hand (RFC 7519, RFC 8725): signed with a key at hand, and checked against what is expected."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import import_key

from troth.ca import CAError, UnauthorizedError
from troth.ca.jwk import b64decode, b64encode
from troth.ca.key_forms import from_jwk
from troth.ca.tokens import ALGORITHMS, Token, parse_token, verify_signature
from troth.x509.keys import PrivateKey, key_matches

FITTING: dict[tuple[str, str], tuple[str, ...]] = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("RSA", ""): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("OKP", "Ed25519"): ("EdDSA",),
}


class TokenRefusedError(CAError):
    """A token cannot be made as asked, or is not what was expected."""


def check_algorithm(jwk: Mapping[str, Any], algorithm: str) -> None:
    """Raises: TokenRefusedError: the algorithm is not one of this kind of key."""
    fitting = FITTING.get((str(jwk.get("kty")), str(jwk.get("crv") or "")), ())
    if algorithm not in fitting:
        expected = " or ".join(fitting) or "another kind of key"
        raise TokenRefusedError(f"algorithm {algorithm!r} does not fit the key: expected {expected}")


def sign_jwt(header: Mapping[str, Any], claims: Mapping[str, Any], jwk: Mapping[str, Any]) -> str:
    """A compact JWS of the claims; `header` has the algorithm.

    Raises:
        TokenRefusedError: the key cannot sign this.
    """
    check_algorithm(jwk, str(header["alg"]))
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    text = json.dumps(claims, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    try:
        key = import_key({name: value for name, value in jwk.items() if name not in ("use", "key_ops", "alg")})
        return jws.serialize_compact(dict(header), text, key, algorithms=ALGORITHMS, registry=registry)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRefusedError(f"the key cannot sign the token: {error}") from error


def certified_header(certificates: Sequence[x509.Certificate], key: PrivateKey, member: str) -> dict[str, Any]:
    """``x5c`` (or ``x5cInsecure``), or ``x5t``: the certificate that vouches for the key (RFC 7515 §4.1.6, §4.1.7).

    Raises:
        TokenRefusedError: the key is another's, or may not sign.
    """
    leaf = certificates[0]
    if not key_matches(leaf, key):
        raise TokenRefusedError("the key does not belong to the certificate")
    try:
        signs = leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = False
    if not signs:
        raise TokenRefusedError("the certificate may not sign tokens: expected key usage digitalSignature")
    ders = [one.public_bytes(Encoding.DER) for one in certificates]
    if member == "x5t":
        return {member: b64encode(hashlib.sha1(ders[0], usedforsecurity=False).digest())}
    return {member: [base64.b64encode(one).decode() for one in ders]}


def verify_jwt(text: str, jwk: Mapping[str, Any], algorithm: str) -> Token:
    """A token whose signature was made by the key with the one algorithm that is expected.

    Raises:
        TokenRefusedError: it is no token, or the signature does not hold.
    """
    check_algorithm(jwk, algorithm)
    try:
        token = parse_token(text)
        if token.header.get("alg") != algorithm:
            found = token.header.get("alg")
            raise TokenRefusedError(f"the token is signed with {found!r}: expected {algorithm}")
        from_jwk(jwk)
        verify_signature(
            token, import_key({name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk})
        )
    except (UnauthorizedError, JoseError) as error:
        raise TokenRefusedError(f"validation failed: {error}") from error
    return token


def check_claims(token: Token, now: datetime, *, issuer: str = "", audience: str = "", expired: bool = False) -> None:
    """Check what a verified token says of itself, without leeway; all that is wrong is said.

    Args:
        token: a verified token.
        now: the moment of judgement.
        issuer: who must have made it; empty for anyone.
        audience: for whom it must be; empty for anyone.
        expired: whether an expired one is taken.

    Raises:
        TokenRefusedError: something is not as it should be.
    """
    wrong = []
    if issuer and token.issuer != issuer:
        wrong.append(f"issuer is {token.issuer!r} (iss)")
    if audience and audience not in token.audiences:
        wrong.append(f"audience is {', '.join(token.audiences) or 'missing'} (aud)")
    try:
        start, end = token.moment("nbf"), token.moment("exp")
    except UnauthorizedError as error:
        raise TokenRefusedError(f"validation failed: {error.message}") from error
    if start is not None and now < start:
        wrong.append(f"not valid before {start.isoformat()} (nbf)")
    if end is not None and now > end and not expired:
        wrong.append(f"expired on {end.isoformat()} (exp)")
    if wrong:
        raise TokenRefusedError(f"validation failed: {'; '.join(wrong)}")


def shown(text: str) -> dict[str, Any]:
    """Header, payload and signature of a compact token, unverified.

    Raises:
        TokenRefusedError: it is no token.
    """
    parts = "".join(text.split()).split(".")
    try:
        if len(parts) != 3:
            raise ValueError("three parts")
        header, payload = (json.loads(b64decode(part)) for part in parts[:2])
    except (ValueError, RecursionError) as error:
        raise TokenRefusedError("not a token: expected three base64url parts, the first two of them JSON") from error
    return {"header": header, "payload": payload, "signature": parts[2]}


def key_of_set(data: Mapping[str, Any], kid: str, what: str) -> dict[str, Any]:
    """The one key of a JWK set (RFC 7517 §5) that has this id.

    Raises:
        TokenRefusedError: there is none, or there are several.
    """
    found = [one for one in keys_of_set(data, what) if one.get("kid") == kid]
    if len(found) != 1:
        many = f"{len(found)} keys" if found else "no key"
        raise TokenRefusedError(f"{what} has {many} with id {kid!r}: expected one")
    return found[0]


def keys_of_set(data: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """The keys of a JWK set.

    Raises:
        TokenRefusedError: it is none.
    """
    keys = data.get("keys")
    if not isinstance(keys, list) or not all(isinstance(one, dict) and "kty" in one for one in keys):
        raise TokenRefusedError(f"{what} is not a JSON web key set: expected an object with 'keys'")
    return keys
