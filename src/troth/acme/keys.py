"""An account's key: signed requests (RFC 8555 §6.2, RFC 7515 §7.2.2) and key authorizations (§8.1)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey

from troth.acme import AcmeError

ALGORITHM = "ES256"
CURVE = "P-256"
CHALLENGE_PATH = "/.well-known/acme-challenge/"
# At least 128 bits of base64url (§8.3); the token becomes a path and a file name, so nothing else may be in it.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,256}")


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A P-256 key, made by `new_account_key`."""

    key: ECKey

    @property
    def public(self) -> dict[str, Any]:
        """The JWK of its public half."""
        return {name: self.key.as_dict(private=False)[name] for name in ("crv", "kty", "x", "y")}

    def sign(self, url: str, nonce: str, payload: Mapping[str, Any] | None, account: str = "") -> bytes:
        """A request body.

        Args:
            url: where it goes.
            nonce: the server's, good once.
            payload: what is said; None says nothing, which is how ACME reads a resource (POST-as-GET, §6.3).
            account: the account's URL; empty puts the public key in its place, for a new account.
        """
        who = {"kid": account} if account else {"jwk": self.public}
        header = {"alg": ALGORITHM, "nonce": nonce, "url": url, **who}
        text = b"" if payload is None else json.dumps(payload, separators=(",", ":")).encode()
        registry = jws.JWSRegistry(algorithms=[ALGORITHM], strict_check_header=False)
        compact = jws.serialize_compact(header, text, self.key, algorithms=[ALGORITHM], registry=registry)
        protected, body, signature = compact.split(".")
        return json.dumps({"protected": protected, "payload": body, "signature": signature}).encode()

    def authorization(self, token: str) -> str:
        """What must be found where a challenge with this token points.

        Raises:
            AcmeError: the token is none.
        """
        return f"{check_token(token)}.{self.key.thumbprint()}"


def new_account_key() -> AccountKey:
    """A fresh key; the dice are OpenSSL's."""
    return AccountKey(ECKey.generate_key(CURVE, auto_kid=False))


def check_token(token: str) -> str:
    """Raises AcmeError: it is not base64url of 128 bits or more, and so may be a path."""
    if not _TOKEN.fullmatch(token):
        raise AcmeError("the challenge's token is malformed: expected at least 22 characters of base64url")
    return token


def challenge_path(token: str) -> str:
    """The path a validation of http-01 asks for (§8.3)."""
    return CHALLENGE_PATH + check_token(token)
