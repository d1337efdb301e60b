"""What every kind of provisioner has in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from troth.ca import UnauthorizedError
from troth.ca.audiences import Audiences
from troth.ca.claims import Claims
from troth.ca.extension import ProvisionerExtension
from troth.ca.tokens import Token, check_times


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token allows: a subject, its names, and the token to spend."""

    provisioner: "Provisioner"
    token_id: str
    token_end: datetime
    subject: str
    names: tuple[str, ...] = ()
    confirmation: str = ""
    ceiling: datetime | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


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
        """The audience fragment its tokens carry; empty for kinds found by issuer and key id."""
        return self.identifier

    @property
    def extension(self) -> ProvisionerExtension:
        return ProvisionerExtension(self.kind, self.name)

    @cached_property
    def marker(self) -> bytes:
        """The provisioner extension of its certificates, encoded."""
        return self.extension.to_extension()

    def public(self) -> dict[str, Any]:
        """What ``GET /provisioners`` shows."""
        return dict(self.raw)

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
        confirmation = token.claims.get("cnf")
        bound = confirmation.get("x5rt#S256", "") if isinstance(confirmation, dict) else ""
        return Grant(
            self,
            token.identifier,
            end,
            token.subject,
            listed or (token.subject,),
            bound if isinstance(bound, str) else "",
            None,
            token.claims,
        )


class ListedProvisioner(Provisioner):
    """A kind that is configured and listed but not served; tokens for it are refused."""

    def __init__(self, raw: Mapping[str, Any], claims: Claims, kind: str, reason: str) -> None:
        super().__init__(raw, claims)
        self.kind = kind
        self.reason = reason

    def public(self) -> dict[str, Any]:
        return {**self.raw, "state": "Uninitialized", "stateReason": self.reason}

    def verify(self, token: Token) -> None:
        raise UnauthorizedError(f"provisioner {self.name} ({self.kind}) is not served: {self.reason}")
