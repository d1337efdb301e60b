"""One-time tokens (RFC 7519 over RFC 7515): read unverified to find the provisioner, then checked against it."""

import hashlib
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.util import urlsafe_b64decode

from troth.ca import UnauthorizedError
from troth.ca.strict_json import read_object

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
        """What makes it single-use: its ``jti``, else a hash of what is signed."""
        return self.text_claim("jti") or self.digest

    @property
    def digest(self) -> str:
        """As `token_digest`."""
        return token_digest(self.text)

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


def token_digest(text: str) -> str:
    """The SHA-256 of header and claims, in hex; not of the signature, which others can rewrite so that it still holds.

    (An ECDSA signature has a twin, and its base64 has spare bits.)
    """
    return hashlib.sha256(text.rpartition(".")[0].encode()).hexdigest()


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
    if "crit" in header:  # RFC 7515 §4.1.11: what must be understood, and we understand none
        raise UnauthorizedError("token header demands extensions (crit)")
    try:
        claims = read_object(parsed.payload)
    except ValueError as error:
        raise UnauthorizedError(f"token claims cannot be read: {error}") from error
    audience = claims.get("aud")
    values = audience if isinstance(audience, list) else [audience]
    return Token(text, header, claims, parsed, tuple(item for item in values if isinstance(item, str)))


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
