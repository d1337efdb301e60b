"""One-time tokens (RFC 7519 over RFC 7515): read unverified to find the provisioner, then checked against it."""

import base64
import binascii
import hashlib
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.util import urlsafe_b64decode

from troth.ca import UnauthorizedError
from troth.ca.strict_json import read_object
from troth.x509 import X509Error
from troth.x509.pem import parse_certificate_der

LEEWAY = timedelta(seconds=60)
MAX_LIFETIME = timedelta(hours=1)
MAX_TOKEN_CHARACTERS = 64 * 1024
ALGORITHMS = ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA", "Ed25519"]
_REGISTRY = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
_REGISTRY.max_header_length = MAX_TOKEN_CHARACTERS  # a header may carry a chain of certificates
with warnings.catch_warnings():
    warnings.simplefilter("ignore", SecurityWarning)  # "EdDSA" is what step's clients write
    _ALGORITHMS = {name: _REGISTRY.get_alg(name) for name in ALGORITHMS}
_PLAIN_HEADERS = frozenset({"alg", "kid", "typ"})
_TEXTS = ("iss", "sub", "jti", "email", "nonce")
# The orders of the groups (SEC 2 §2.4): (r, s) and (r, order - s) are both signatures of whoever made one of them.
_ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
    "ES512": int("1FF" + "F" * 63 + "A51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409", 16),
}


class Token(NamedTuple):
    """A parsed token; nothing in it may be believed before `verify_signature` has passed."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    parsed: jws.CompactSignature
    audiences: tuple[str, ...]

    @property
    def issuer(self) -> str:
        return self.text_claim("iss")

    @property
    def subject(self) -> str:
        return self.text_claim("sub")

    @property
    def identifier(self) -> str:
        """What makes it single-use: its ``jti``, else its `digest`."""
        return self.text_claim("jti") or self.digest

    @property
    def digest(self) -> str:
        """The SHA-256 of header, claims and signature, in hex.

        A signature counts in one spelling: others can rewrite it so that it still holds (base64 has spare bits, an
        ECDSA signature has a twin).
        """
        signature = urlsafe_b64decode(self.parsed.segments["signature"])
        order = _ORDERS.get(str(self.header.get("alg")))
        if order is not None:
            half = len(signature) // 2
            second = int.from_bytes(signature[half:])
            signature = signature[:half] + min(second, order - second).to_bytes(half + 1, signed=True)
        return hashlib.sha256(self.text.rpartition(".")[0].encode() + b"." + signature).hexdigest()

    def text_claim(self, name: str) -> str:
        value = self.claims.get(name)
        return value if isinstance(value, str) else ""

    def moment(self, name: str) -> datetime | None:
        """A NumericDate claim (RFC 7519 §2).

        Raises:
            UnauthorizedError: it is there and not a number, or outside the calendar.
        """
        value = self.claims.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnauthorizedError(f"token claim {name} is not a number")
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError) as error:
            raise UnauthorizedError(f"token claim {name} is not a time") from error


def parse_token(text: str) -> Token:
    """Split and decode a compact JWS without believing it; blanks and line ends are left out, as step-ca does.

    Raises:
        UnauthorizedError: it is not a compact JWS with JSON object header and claims.
    """
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise UnauthorizedError("token is too large")
    text = "".join(text.split())
    try:
        parsed = jws.extract_compact(text.encode("ascii"), registry=_REGISTRY)
        header = read_object(urlsafe_b64decode(parsed.segments["header"]))
    except (JoseError, ValueError, RecursionError) as error:
        raise UnauthorizedError("token is not a compact JWS") from error
    _check_chain(header.get("x5c"))
    if "crit" in header:  # RFC 7515 §4.1.11: what must be understood, and we understand none
        raise UnauthorizedError("token header demands extensions (crit)")
    try:
        claims = read_object(parsed.payload)
    except ValueError as error:
        raise UnauthorizedError(f"token claims cannot be read: {error}") from error
    _check_types(claims)
    audience = claims.get("aud")
    values = audience if isinstance(audience, list) else [audience]
    return Token(text, header, claims, parsed, tuple(item for item in values if isinstance(item, str)))


def _check_chain(value: object) -> None:
    """``x5c`` (RFC 7515 §4.1.6) is a chain of certificates also where nobody asks for it.

    Raises:
        UnauthorizedError: it is something else.
    """
    if value is None:
        return
    if not _is_list_of_texts(value):
        raise UnauthorizedError("token header x5c is not a list of certificates")
    try:
        for one in value:
            parse_certificate_der(base64.b64decode(one, validate=True), "certificate in token header x5c")
    except (binascii.Error, X509Error) as error:
        raise UnauthorizedError("token header x5c has a certificate that cannot be read") from error


def _check_types(claims: Mapping[str, Any]) -> None:
    """A claim of another type than its own is not passed over: somebody meant something by it.

    Raises:
        UnauthorizedError: there is one.
    """
    for name in _TEXTS:
        if not isinstance(claims.get(name), str | None):
            raise UnauthorizedError(f"token claim {name} is not a text")
    audience, names = claims.get("aud"), claims.get("sans")
    if not (isinstance(audience, str | None) or _is_list_of_texts(audience)):
        raise UnauthorizedError("token claim aud is not a text or a list of texts")
    if not (names is None or _is_list_of_texts(names)):
        raise UnauthorizedError("token claim sans is not a list of texts")
    for name in ("step", "cnf"):
        if not isinstance(claims.get(name), dict | None):
            raise UnauthorizedError(f"token claim {name} is not an object")


def _is_list_of_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def verify_signature(token: Token, key: Any) -> None:
    """Check the signature with a joserfc key.

    Raises:
        UnauthorizedError: it does not hold, or its algorithm is not one for this key.
    """
    algorithm = _ALGORITHMS.get(str(token.header.get("alg")))
    try:
        if algorithm is not None and token.header.keys() <= _PLAIN_HEADERS:
            # Nothing in the header needs the library's examination: its algorithm alone decides.
            algorithm.check_key(key)
            segments = token.parsed.segments
            signature = urlsafe_b64decode(segments["signature"])
            valid = algorithm.verify(segments["header"] + b"." + segments["payload"], signature, key)
        else:
            valid = jws.validate_compact(token.parsed, key, registry=_REGISTRY)
    except (JoseError, ValueError, TypeError) as error:
        raise UnauthorizedError(f"token signature cannot be checked: {type(error).__name__}") from error
    if not valid:
        raise UnauthorizedError("token signature is not valid")


def check_moment(token: Token, now: datetime) -> datetime | None:
    """Check nbf, exp and iat, those that are there, with 60 s leeway; the result is exp.

    Raises:
        UnauthorizedError: the token is not valid now.
    """
    issued, start, end = token.moment("iat"), token.moment("nbf"), token.moment("exp")
    if start is not None and now + LEEWAY < start:
        raise UnauthorizedError(f"token is not valid before {start.isoformat()}")
    if end is not None and now - LEEWAY > end:
        raise UnauthorizedError(f"token expired at {end.isoformat()}")
    if issued is not None and now + LEEWAY < issued:
        raise UnauthorizedError(f"token was issued in the future, at {issued.isoformat()}")
    return end


def check_times(token: Token, now: datetime) -> datetime:
    """As `check_moment`, and cap the lifetime at one hour; the result is when the token ends.

    step-ca sets no maximum and accepts tokens without any time; see docs/divergences.md.

    Raises:
        UnauthorizedError: the token is not valid now, or could be for longer than an hour.
    """
    end = check_moment(token, now)
    begun = token.moment("nbf") or token.moment("iat")
    latest = begun + MAX_LIFETIME if begun is not None else None
    if end is None and latest is None:
        raise UnauthorizedError("token carries neither exp nor iat nor nbf")
    if end is None:
        end = latest
    elif end > (latest or now + MAX_LIFETIME):
        raise UnauthorizedError("token is valid for longer than one hour")
    assert end is not None
    if now - LEEWAY > end:
        raise UnauthorizedError(f"token is older than one hour and carries no exp ({end.isoformat()})")
    return end
