"""A proof that can be handed on: a compact JWS (RFC 7515), signed by an identity, its chain in ``x5c`` (§4.1.6).

Whoever holds the root of the identity's authority can check who proved what and when, without asking anyone.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jws
from joserfc.errors import JoseError

from troth.agent import AgentError
from troth.client.tokens import algorithm_of, as_jwk
from troth.host.witness import Shown
from troth.x509 import X509Error
from troth.x509.chains import CLIENT_AUTH, verify_path
from troth.x509.keys import PublicKey
from troth.x509.pem import parse_certificate_der

TYPE = "troth-proof"
ALGORITHMS = ["ES256", "ES384", "ES512", "RS256", "EdDSA"]
MAX_CHARACTERS = 4 * 1024 * 1024


class SignatureProblem(AgentError):  # noqa: N818 - it is what was found, not a failure to look
    """The text is no proof, or not one that the root vouches for; the message says why."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Signed:
    """A checked proof: what it says, when it was made, and the certificate that says so."""

    content: Mapping[str, Any]
    when: datetime
    signer: x509.Certificate


def sign_proof(content: Mapping[str, Any], signer: Shown, now: datetime) -> str:
    """Sign a proof with an identity's key.

    Args:
        content: what was proven; ``iat`` is added.
        signer: the identity's chain, leaf first, and key.
        now: the moment that is claimed for it.
    """
    key = as_jwk(signer.key)
    chain = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in signer.chain]
    header = {"alg": algorithm_of(key), "typ": TYPE, "x5c": chain}
    text = json.dumps({**content, "iat": int(now.timestamp())}, separators=(",", ":")).encode()
    return jws.serialize_compact(header, text, key, registry=_registry())


def check_proof(text: str, roots: Sequence[x509.Certificate]) -> Signed:
    """Check a proof's signature, and that its signer's certificate led to a root when it was made.

    Raises:
        SignatureProblem: it does not hold.
    """
    if len(text) > MAX_CHARACTERS:
        raise SignatureProblem(f"proof is too large: expected at most {MAX_CHARACTERS} characters")
    try:
        header = jws.extract_compact(text.strip().encode(), registry=_registry()).headers()
        chain = _chain(header)
        key = as_jwk(_public_key(chain[0]))
        if header.get("typ") != TYPE or header.get("alg") != algorithm_of(key):
            raise SignatureProblem(f"not a proof: typ {header.get('typ')!r} with alg {header.get('alg')!r}")
        payload = jws.deserialize_compact(text.strip().encode(), key, registry=_registry()).payload
        content = json.loads(payload)
        when = datetime.fromtimestamp(content["iat"], UTC)
    except (JoseError, X509Error, ValueError, TypeError, KeyError, OverflowError, OSError) as error:
        raise SignatureProblem(f"proof does not hold: {str(error) or type(error).__name__}") from error
    try:
        verify_path(chain[0], chain[1:], roots, when, purpose=CLIENT_AUTH)
    except X509Error as error:
        raise SignatureProblem(f"proof is signed by a stranger: {error.message}") from error
    return Signed(content, when, chain[0])


def _chain(header: Mapping[str, Any]) -> list[x509.Certificate]:
    values = header.get("x5c")
    if not isinstance(values, list) or not values:
        raise SignatureProblem("not a proof: its header has no certificate chain (x5c)")
    try:
        return [parse_certificate_der(base64.b64decode(one, validate=True), "x5c") for one in values]
    except (binascii.Error, TypeError) as error:
        raise SignatureProblem("not a proof: its certificate chain is not base64") from error


def _public_key(certificate: x509.Certificate) -> PublicKey:
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise SignatureProblem("not a proof: its certificate's key is of an unsupported kind")
    return key


def _registry() -> jws.JWSRegistry:
    registry = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = MAX_CHARACTERS
    return registry
