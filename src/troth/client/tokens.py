"""One-time tokens as step makes them (RFC 7519 claims in an RFC 7515 compact signature).

A token is what a provisioner's key says about one request: which names, for which operation, for the next minutes.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jws
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key

from troth.client import ClientError
from troth.client.provisioners import CertifiedKey, SigningKey
from troth.x509.keys import PrivateKey, PublicKey, private_key_to_pem, public_pem
from troth.x509.names import common_name

LIFETIME = timedelta(minutes=5)
SHORTEST = timedelta(seconds=10)
LONGEST = timedelta(hours=1)
LATEST_START = timedelta(minutes=30)
SERVICE_ACCOUNT_ISSUER = "kubernetes/serviceaccount"
RENEW_ISSUER = "step-ca-client/1.0"
ALGORITHMS = ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"]
MAX_TOKEN_CHARACTERS = 64 * 1024


class TokenError(ClientError):
    """A token cannot be made as asked, or the one given is not a token."""


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a token is good."""

    start: datetime
    end: datetime


def validity(now: datetime, start: datetime | None = None, end: datetime | None = None) -> Validity:
    """step's rules: five minutes unless told; 10 s to 1 h long; starting at most 30 minutes ahead.

    Raises:
        TokenError: outside these bounds.
    """
    begin = start or now
    until = end or begin + LIFETIME
    if begin > now + LATEST_START:
        raise TokenError("token starts too late: expected --not-before within 30 minutes from now")
    if not SHORTEST <= until - begin <= LONGEST:
        length = until - begin
        raise TokenError(f"token validity of {length} is not allowed: expected 10 seconds to 1 hour (--not-after)")
    return Validity(begin, until)


def sign_token(
    key: SigningKey | CertifiedKey, audience: str, subject: str, span: Validity, claims: Mapping[str, Any]
) -> str:
    """Sign a token with a provisioner's key, or with a certificate's for an X5C provisioner.

    `claims` come on top of the registered ones.

    Raises:
        TokenError: the key cannot sign.
    """
    payload = {
        "aud": audience,
        "exp": _seconds(span.end),
        "iat": _seconds(span.start),
        "iss": key.provisioner,
        "jti": secrets.token_hex(32),
        "nbf": _seconds(span.start),
        **claims,
        "sub": subject,
    }
    if isinstance(key, CertifiedKey):
        own = as_jwk(key.key)
        header = {"alg": algorithm_of(own), "kid": key.kid or own.thumbprint(), "typ": "JWT", "x5c": _der(key.chain)}
        return _sign(header, {**payload, "aud": f"{audience}#x5c/{key.provisioner}"}, own)
    try:
        signer = import_key(dict(key.jwk))
    except Exception as error:  # the key library's errors have no common base
        raise TokenError(f"the key of provisioner {key.provisioner!r} cannot be used: {error}") from error
    algorithm = str(key.jwk.get("alg") or algorithm_of(signer))
    if algorithm not in ALGORITHMS:
        raise TokenError(f"the key of provisioner {key.provisioner!r} has algorithm {algorithm!r}: expected ES256")
    return _sign({"alg": algorithm, "kid": key.kid, "typ": "JWT"}, payload, signer)


def sign_audience(ca_url: str) -> str:
    """What a token for ``/sign`` is addressed to."""
    return f"{ca_url}/1.0/sign"


def revoke_audience(ca_url: str) -> str:
    """What a token for ``/revoke`` is addressed to."""
    return f"{ca_url}/1.0/revoke"


def request_claims(
    subject: str,
    sans: Sequence[str],
    root_sha: str,
    *,
    confirmation: str = "",
    user: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The claims of a sign token beyond the registered ones.

    Args:
        subject: the common name; also the only alternative name when `sans` is empty.
        sans: alternative names.
        root_sha: fingerprint of the authority's root, for a client that has nothing but the token.
        confirmation: `request_fingerprint` of the one request the token is good for, or empty.
        user: template data, None leaves the claim out.
    """
    claims: dict[str, Any] = {"sans": list(sans) or [subject], "sha": root_sha}
    if confirmation:
        claims["cnf"] = {"x5rt#S256": confirmation}
    if user is not None:
        claims["user"] = dict(user)
    return claims


def request_fingerprint(request: x509.CertificateSigningRequest) -> str:
    """Base64url SHA-256 of a request's DER, the value of ``cnf.x5rt#S256``."""
    return _base64url(hashlib.sha256(request.public_bytes(Encoding.DER)).digest())


def renewal_token(
    key: PrivateKey, chain: Sequence[x509.Certificate], ca_url: str, span: Validity, path: str = "/renew"
) -> str:
    """A bearer token by which a certificate's key asks for its renewal (step's ``x5cInsecure`` header).

    The header carries the whole chain: the authority verifies it as of the certificate's last minute, so that an
    expired certificate can still speak for itself where the provisioner allows that.
    """
    signer = as_jwk(key)
    header = {
        "alg": algorithm_of(signer),
        "kid": signer.thumbprint(),
        "typ": "JWT",
        "x5cInsecure": _der(chain),
    }
    claims = {
        "aud": f"{ca_url}{path}",
        "exp": _seconds(span.end),
        "iat": _seconds(span.start),
        "iss": RENEW_ISSUER,
        "jti": secrets.token_hex(32),
        "nbf": _seconds(span.start),
        "sub": common_name(chain[0].subject),
    }
    return _sign(header, claims, signer)


def _der(chain: Sequence[x509.Certificate]) -> list[str]:
    """As token headers carry certificates (RFC 7515 §4.1.6)."""
    return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]


def _sign(header: dict[str, Any], payload: Mapping[str, Any], key: Key) -> str:
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
    return jws.serialize_compact(header, text, key, algorithms=ALGORITHMS, registry=registry)


def as_jwk(key: PrivateKey | PublicKey) -> Key:
    """A certificate's key, or its public one, in the form that joserfc signs and verifies with."""
    pem: str | bytes = private_key_to_pem(key, pkcs8=True) if isinstance(key, PrivateKey) else public_pem(key)
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return ECKey.import_key(pem)
    return RSAKey.import_key(pem) if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey) else OKPKey.import_key(pem)


def algorithm_of(key: Key) -> str:
    """The one signature algorithm we use with a key (RFC 7518 §3.1)."""
    if isinstance(key, ECKey):
        return {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}.get(key.curve_name, key.curve_name)
    return "RS256" if isinstance(key, RSAKey) else "EdDSA"


@dataclass(frozen=True, slots=True)
class TokenView:
    """What an unverified token says; good for choosing what to send where, never for trust."""

    subject: str
    sans: tuple[str, ...]
    audiences: tuple[str, ...]
    root_sha: str
    expires: datetime | None
    issuer: str
    email: str = ""
    nonce: str = ""

    @property
    def is_service_account(self) -> bool:
        """A token of a Kubernetes service account: it names no subject of a certificate."""
        return self.issuer == SERVICE_ACCOUNT_ISSUER

    @property
    def is_identity(self) -> bool:
        """An identity token of an OpenID provider: it names a person, and is not addressed to an authority."""
        return not self.sans and not self.root_sha and not self.is_service_account and bool(self.email)


def read_token(token: str) -> TokenView:
    """Read a token's claims without verifying it.

    Raises:
        TokenError: it is not a compact JWS with a JSON object inside.
    """
    from datetime import UTC

    parts = token.split(".")
    try:
        if len(parts) != 3 or len(token) > MAX_TOKEN_CHARACTERS:
            raise ValueError("three parts")
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        if not isinstance(claims, dict):
            raise ValueError("object")
        aud = claims.get("aud") or []
        expires = claims.get("exp")
        return TokenView(
            subject=str(claims.get("sub") or ""),
            sans=tuple(map(str, claims.get("sans") or ())),
            audiences=tuple(map(str, [aud] if isinstance(aud, str) else aud)),
            root_sha=str(claims.get("sha") or ""),
            expires=None if expires is None else datetime.fromtimestamp(float(expires), UTC),
            issuer=str(claims.get("iss") or ""),
            email=str(claims.get("email") or ""),
            nonce=str(claims.get("nonce") or ""),
        )
    except (ValueError, TypeError, OverflowError, OSError, RecursionError) as error:
        raise TokenError("invalid token: expected three base64url parts as printed by 'troth ca token'") from error


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
