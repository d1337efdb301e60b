"""Directory, order, authorization and challenge as a server writes them (RFC 8555 §7.1), read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from troth.acme import AcmeError
from troth.acme.identifiers import Identifier, parse_identifier
from troth.acme.problems import Problem, one_line, parse_problem

MAX_URL_CHARACTERS = 2048
MAX_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a server's operations are (§7.1.1)."""

    new_nonce: str
    new_account: str
    new_order: str
    terms: str = ""
    needs_binding: bool = False


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to prove an identifier (§7.1.5, §8)."""

    kind: str
    url: str
    status: str
    token: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """What is known of the right to one identifier (§7.1.4)."""

    identifier: Identifier
    status: str
    challenges: tuple[Challenge, ...]
    wildcard: bool = False

    def challenge(self, kind: str) -> Challenge | None:
        """The challenge of a kind, when the server offers it."""
        return next((one for one in self.challenges if one.kind == kind), None)


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate on its way (§7.1.3)."""

    status: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str = ""
    problem: Problem | None = None


def parse_directory(value: Mapping[str, Any]) -> Directory:
    """Raises AcmeError: an operation is missing, or is not at an https URL."""
    meta = value.get("meta")
    known = meta if isinstance(meta, Mapping) else {}
    return Directory(
        _url(value, "newNonce", "directory"),
        _url(value, "newAccount", "directory"),
        _url(value, "newOrder", "directory"),
        one_line(known.get("termsOfService")),
        known.get("externalAccountRequired") is True,
    )


def parse_order(value: Mapping[str, Any]) -> Order:
    """Raises AcmeError: malformed."""
    return Order(
        _text(value, "status", "order"),
        tuple(map(parse_identifier, _list(value, "identifiers", "order"))),
        tuple(check_url(one, "authorization of the order") for one in _list(value, "authorizations", "order")),
        _url(value, "finalize", "order"),
        _url(value, "certificate", "order") if value.get("certificate") else "",
        parse_problem(value["error"]) if value.get("error") else None,
    )


def parse_authorization(value: Mapping[str, Any]) -> Authorization:
    """Raises AcmeError: malformed."""
    return Authorization(
        parse_identifier(value.get("identifier")),
        _text(value, "status", "authorization"),
        tuple(map(parse_challenge, _list(value, "challenges", "authorization"))),
        value.get("wildcard") is True,
    )


def parse_challenge(value: object) -> Challenge:
    """Raises AcmeError: malformed."""
    if not isinstance(value, Mapping):
        raise AcmeError("malformed challenge: expected an object")
    token = value.get("token")
    return Challenge(
        _text(value, "type", "challenge"),
        _url(value, "url", "challenge"),
        _text(value, "status", "challenge"),
        token if isinstance(token, str) else "",
        parse_problem(value["error"]) if value.get("error") else None,
    )


def check_url(url: object, what: str) -> str:
    """An absolute https URL, which is where all of ACME happens (§6.1); what a server names is never fetched otherwise.

    Raises:
        AcmeError: it is none.
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) and len(url) <= MAX_URL_CHARACTERS else None
        usable = parts is not None and parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        shown = one_line(url)[:100] if isinstance(url, str) else type(url).__name__
        raise AcmeError(f"{what} has URL {shown!r}: expected https://HOST/...")
    return url


def _url(value: Mapping[str, Any], name: str, what: str) -> str:
    if name not in value:
        raise AcmeError(f"{what} has no {name}")
    return check_url(value[name], f"{name} of the {what}")


def _text(value: Mapping[str, Any], name: str, what: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text:
        raise AcmeError(f"{what} has no {name}")
    return one_line(text)


def _list(value: Mapping[str, Any], name: str, what: str) -> list[Any]:
    found = value.get(name)
    if not isinstance(found, list) or not found or len(found) > MAX_ENTRIES:
        raise AcmeError(f"{what} has no usable {name}: expected a list of 1 to {MAX_ENTRIES}")
    return found
