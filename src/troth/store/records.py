"""What is recorded, as values: an issued certificate, a spent token, a revocation, and a change of several at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from troth.store import StoreError


class TokenSpentError(StoreError):
    """The token was used before; nothing of the change was recorded."""


class AlreadyRevokedError(StoreError):
    """The serial was revoked before; that stands, and only the token of the change is recorded."""


class IssuedCertificate(NamedTuple):
    """A certificate as it left the authority. `provisioner_*` are empty when none granted it."""

    serial: int
    der: bytes
    not_after: datetime
    issued_at: datetime
    provisioner_id: str = ""
    provisioner_name: str = ""
    provisioner_kind: str = ""


class SpentToken(NamedTuple):
    """A token by its id; after `ends` it is refused for its age and need not be remembered."""

    identifier: str
    ends: datetime


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revoked serial; `reason_code` as in RFC 5280 §5.3.1."""

    serial: int
    revoked_at: datetime
    reason_code: int = 0
    reason: str = ""
    provisioner_id: str = ""
    token_id: str = ""
    mtls: bool = False


class Revoked(NamedTuple):
    """A revocation as a list shows it."""

    serial: int
    revoked_at: datetime
    reason_code: int


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The revocation list that an issuer has out; numbers begin at 0 (RFC 5280 §5.2.3)."""

    number: int
    made_at: datetime
    ends: datetime
    der: bytes = field(repr=False)


class Change(NamedTuple):
    """Recorded wholly or not at all."""

    token: SpentToken | None = None
    certificate: IssuedCertificate | None = None
    revocation: Revocation | None = None


class Import(NamedTuple):
    """A database of another program that was taken over: its name, and what tells whether it changed since."""

    source: str
    signature: str
    digest: str


class Store(Protocol):
    """Every database offers this, and passes the same contract tests."""

    def apply(self, changes: list[Change]) -> list[StoreError | None]:
        """Record many changes in one durable transaction; each succeeds or fails by itself.

        Raises:
            StoreError: the transaction as a whole failed, and nothing of it is recorded.
        """
        ...

    def provisioner_of(self, serial: int) -> str:
        """The provisioner id recorded for a serial, or an empty text."""
        ...

    def is_revoked(self, serial: int) -> bool: ...

    def revocation(self, serial: int) -> Revocation | None: ...

    def publish(
        self,
        signer: str,
        ended_before: datetime,
        due: Callable[[PublishedList | None], bool],
        make: Callable[[int, list[Revoked]], PublishedList],
    ) -> bool:
        """Replace an issuer's revocation list in one transaction, if it is due; whether it was.

        Args:
            signer: the issuer's name, empty for the authority's own.
            ended_before: certificates that ended earlier are left out; of unknown ones nobody knows, they stay.
            due: asked with the present list, inside the transaction.
            make: the list, from its number and the revocations in the order of their serials.

        Raises:
            StoreError: it cannot be read or written.
        """
        ...

    def published(self, signer: str) -> PublishedList | None:
        """The present revocation list of an issuer."""
        ...

    def certificate(self, serial: int) -> bytes | None:
        """The DER of an issued certificate."""
        ...

    def count(self) -> int:
        """How many certificates are recorded."""
        ...

    def take_over(
        self, changes: Iterable[Change], published: PublishedList | None, record: Import, now: datetime
    ) -> int:
        """Record what another program issued, revoked and spent, in one transaction; how many records were new.

        Raises:
            StoreError: it cannot be written, and nothing of it is.
        """
        ...

    def imports(self) -> list[Import]:
        """What was taken over."""
        ...

    def purge_tokens(self, now: datetime) -> int:
        """Forget tokens that ended, with a margin for slow clocks; the result is how many."""
        ...

    def close(self) -> None: ...
