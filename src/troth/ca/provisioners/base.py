"""What every kind of provisioner has in common."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any

from cryptography import x509

from troth.ca import ConfigurationError, UnauthorizedError
from troth.ca.audiences import Audiences
from troth.ca.claims import Claims
from troth.ca.extension import ProvisionerExtension
from troth.ca.tokens import Token, check_times

REDACTED = "*** REDACTED ***"
# Members of SCEP provisioners, and whether step has them as text or as bytes. (An OIDC client's secret is meant to be
# listed: command lines need it, and it authenticates nobody by itself.)
SECRETS = {
    "challenge": "text",
    "decrypterCertificate": "bytes",
    "decrypterKeyPEM": "bytes",
    "decrypterKey": "text",
    "decrypterKeyPassword": "text",
}


class Naming(Enum):
    """Whose names a certificate gets, and whether the request's are held against them."""

    CHECKED = "the token's, and the request may name no others"
    GIVEN = "the token's, whatever the request names"
    REQUESTED = "the request's, subject and alternative names as they are"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows: a subject, its names, and the token to spend.

    An empty `token_id` is a token that may be used again. The validity of a certificate must lie between `floor`
    and `ceiling`, those of `certificate`, which signed the token (X5C). `any_serial` tokens revoke any certificate,
    not only the one their subject names.
    """

    provisioner: "Provisioner"
    token_id: str
    token_end: datetime
    subject: str
    names: tuple[str, ...] = ()
    confirmation: str = ""
    ceiling: datetime | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    naming: Naming = Naming.CHECKED
    common_names: tuple[str, ...] = ()
    floor: datetime | None = None
    certificate: x509.Certificate | None = None
    any_serial: bool = False


class Provisioner:
    """One configured provisioner; kinds override what a token of theirs must hold."""

    kind = ""

    def __init__(self, raw: Mapping[str, Any], claims: Claims) -> None:
        self.raw = raw
        self.name = str(raw["name"])
        self.claims = claims

    @property
    def identifier(self) -> str:
        """The internal id that step records with a certificate."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def token_fragment(self) -> str:
        """What its tokens name it by: an audience's fragment, or a client id; empty where issuer and key id do."""
        return self.identifier

    @property
    def extension(self) -> ProvisionerExtension:
        return ProvisionerExtension(self.kind, self.name)

    @cached_property
    def marker(self) -> bytes:
        """The provisioner extension of its certificates, encoded."""
        return self.extension.to_extension()

    def public(self) -> dict[str, Any]:
        """What ``GET /provisioners`` shows to anybody; no secret is in it."""
        return {name: _redacted(name, value) if name in SECRETS else value for name, value in self.raw.items()}

    def verify(self, token: Token) -> None:
        """Check a token's signature.

        Raises:
            UnauthorizedError: the signature does not hold, or this kind takes no tokens.
        """
        raise UnauthorizedError(f"provisioner {self.name} ({self.kind}) does not accept tokens here")

    def authorize(self, token: Token, audiences: Audiences, purpose: str, now: datetime) -> Grant:
        """Everything a token must hold for a purpose (``sign`` or ``revoke``), signature first.

        Raises:
            UnauthorizedError: anything about the token is not right.
        """
        self.verify(token)
        if token.issuer != self.name:
            raise UnauthorizedError(f"token issuer is {token.issuer!r}, expected {self.name!r}")
        end = check_times(token, now)
        if not audiences.match(purpose, token.audiences, self.token_fragment):
            raise UnauthorizedError(
                f"token audience {', '.join(token.audiences)} is not this authority's for {purpose}"
            )
        if not token.subject:
            raise UnauthorizedError("token has no subject")
        return self.grant(token, end)

    def grant(self, token: Token, end: datetime) -> Grant:
        """The grant of a token that has passed every check."""
        names = token.claims.get("sans")
        listed = tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
        bound = _bound_to(token.claims.get("cnf"))
        granted = listed or (token.subject,)
        return Grant(
            self,
            token.identifier,
            end,
            token.subject,
            granted,
            bound,
            None,
            token.claims,
            common_names=(token.subject, *granted),
        )

    def texts(self, member: str) -> tuple[str, ...]:
        """A list of texts of its configuration, empty when it is not there.

        Raises:
            ConfigurationError: it is something else.
        """
        value = self.raw.get(member) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(f"provisioner {self.name}: {member} must be a list of texts")
        return tuple(value)

    def text(self, member: str, *, required: bool = False) -> str:
        """A text of its configuration, empty when it is not there.

        Raises:
            ConfigurationError: it is something else, or required and missing.
        """
        value = self.raw.get(member)
        if isinstance(value, str) and (value or not required):
            return value
        if value is None and not required:
            return ""
        raise ConfigurationError(f"provisioner {self.name}: expected a text in {member!r}")

    def pem(self, member: str) -> bytes:
        """A member that holds PEM text in standard base64, as step writes files into ca.json.

        Raises:
            ConfigurationError: it is missing or not base64.
        """
        try:
            return base64.b64decode(self.text(member, required=True), validate=True)
        except binascii.Error as error:
            raise ConfigurationError(f"provisioner {self.name}: {member} is not base64 of PEM text") from error


def _bound_to(confirmation: object) -> str:
    """The fingerprint of the request a token is for (RFC 7800), empty when it is for any.

    Raises:
        UnauthorizedError: there is a confirmation that cannot be read: it was meant to bind the token to something.
    """
    if confirmation is None:
        return ""
    bound = confirmation.get("x5rt#S256", "") if isinstance(confirmation, dict) else None
    if not isinstance(bound, str):
        raise UnauthorizedError("token claim cnf is malformed")
    return bound


def _redacted(name: str, value: object) -> object:
    """What a secret is replaced by, in the type that step's clients expect; what is not set stays so."""
    if not value:
        return value
    return base64.b64encode(REDACTED.encode()).decode() if SECRETS[name] == "bytes" else REDACTED


class ListedProvisioner(Provisioner):
    """A kind that is configured and listed but not served; tokens for it are refused."""

    def __init__(self, raw: Mapping[str, Any], claims: Claims, kind: str, reason: str) -> None:
        super().__init__(raw, claims)
        self.kind = kind
        self.reason = reason

    @property
    def identifier(self) -> str:
        """step's id; Azure's is its tenant."""
        tenant = self.raw.get("tenantID") if self.kind == "Azure" else None
        return tenant if isinstance(tenant, str) and tenant else super().identifier

    def public(self) -> dict[str, Any]:
        return {**super().public(), "state": "Uninitialized", "stateReason": self.reason}

    def verify(self, token: Token) -> None:
        raise UnauthorizedError(f"provisioner {self.name} ({self.kind}) is not served: {self.reason}")
