"""Tokens signed with the key of a certificate, which travels in the token's header: renewal without mutual TLS.

step-ca's rules for ``Authorization: Bearer``: the header ``x5cInsecure`` holds the chain, which is judged as of the
moment the leaf ends, so that an expired certificate can ask; whether it may is the provisioner's claim. (step-ca
judges one minute earlier, and so refuses what a very young authority issued for less than a minute.)
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from troth.ca import UnauthorizedError
from troth.ca.audiences import Audiences
from troth.ca.tokens import Token, check_times, parse_token, verify_signature
from troth.x509 import X509Error
from troth.x509.chains import CLIENT_AUTH, verify_path
from troth.x509.keys import public_pem
from troth.x509.names import common_name
from troth.x509.pem import parse_certificate_der

RENEWAL_HEADER = "x5cInsecure"
RENEWAL_ISSUER = "step-ca-client/1.0"
MAX_CHAIN = 8
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


@dataclass(frozen=True, slots=True)
class RenewalToken:
    """A verified token for renewing `certificate`; `issuer` is still to be held against its provisioner."""

    certificate: x509.Certificate
    identifier: str
    end: datetime
    issuer: str


def authorize_renewal(
    text: str, roots: tuple[x509.Certificate, ...], audiences: Audiences, now: datetime
) -> RenewalToken:
    """Verify a bearer token for renewal; the caller spends it and asks whether the certificate may be renewed.

    Raises:
        UnauthorizedError: anything about the token is not right.
    """
    token = parse_token(text)
    chain = certificates_of(token, RENEWAL_HEADER)
    leaf = chain[0]
    try:
        verify_path(leaf, chain[1:], roots, leaf.not_valid_after_utc, purpose=CLIENT_AUTH)
    except X509Error as error:
        raise UnauthorizedError(f"renewal token: {error.message}") from error
    verify_by_certificate(token, leaf)
    end = check_times(token, now)
    if token.subject != common_name(leaf.subject):
        raise UnauthorizedError(f"renewal token is for {token.subject!r}, its certificate for another subject")
    if not audiences.match("renew", token.audiences):
        raise UnauthorizedError(f"token audience {', '.join(token.audiences)} is not this authority's for renew")
    return RenewalToken(leaf, token.identifier, end, token.issuer)


def certificates_of(token: Token, header: str) -> tuple[x509.Certificate, ...]:
    """The chain in a token's header (RFC 7515 §4.1.6: standard base64 of DER, leaf first), believed for nothing yet.

    Raises:
        UnauthorizedError: there is none, or it cannot be read.
    """
    value = token.header.get(header)
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CHAIN or not all(isinstance(one, str) for one in value):
        raise UnauthorizedError(f"token header {header} is not a list of 1 to {MAX_CHAIN} certificates")
    try:
        ders = [base64.b64decode(one, validate=True) for one in value]
        return tuple(parse_certificate_der(der, f"certificate in token header {header}") for der in ders)
    except (binascii.Error, X509Error) as error:
        raise UnauthorizedError(f"token header {header} has a certificate that cannot be read") from error


def verify_by_certificate(token: Token, leaf: x509.Certificate) -> None:
    """Check that a leaf that may sign has signed the token, with an algorithm of its key's kind.

    Raises:
        UnauthorizedError: it has not, or may not.
    """
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.digital_signature:
        raise UnauthorizedError("certificate of the token may not make signatures (keyUsage)")
    key, algorithms = key_of(leaf.public_key())
    if token.header.get("alg") not in algorithms:
        raise UnauthorizedError(
            f"token algorithm is not one for its certificate's key ({', '.join(sorted(algorithms))})"
        )
    verify_signature(token, key)


def key_of(public: object) -> tuple[Any, frozenset[str]]:
    """A public key in the form that signatures are checked with, and the algorithms it is for.

    Raises:
        UnauthorizedError: it is of another kind than EC, RSA or Ed25519.
    """
    try:
        if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
            return ECKey.import_key(public_pem(public)), frozenset({_CURVES[public.curve.name]})
        if isinstance(public, rsa.RSAPublicKey):
            return RSAKey.import_key(public_pem(public)), _RSA
        if isinstance(public, ed25519.Ed25519PublicKey):
            return OKPKey.import_key(public_pem(public)), frozenset({"EdDSA", "Ed25519"})
    except (JoseError, ValueError) as error:
        raise UnauthorizedError("certificate of the token has a key that cannot be used") from error
    raise UnauthorizedError("certificate of the token has an unsupported kind of key")
