"""What clients send, read strictly into values; unknown members are ignored, as step-ca does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from troth.ca import MalformedError, UnsupportedError
from troth.ca.strict_json import read_object
from troth.ca.validity import Wish, parse_wish

REASON_CODES = range(11)
MAX_SERIAL_BITS = 160
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class SignMessage(NamedTuple):
    """``POST /sign``."""

    csr: str
    ott: str
    wish: Wish
    template_data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RevokeMessage:
    """``POST /revoke``; without a token the client certificate authorizes."""

    serial: int
    ott: str
    reason_code: int
    reason: str


def parse_object(body: bytes) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        MalformedError: it is something else.
    """
    try:
        return read_object(body)
    except ValueError as error:
        raise MalformedError(f"request body is not a JSON object that can be read: {error}") from error


def parse_sign(body: bytes) -> SignMessage:
    """Raises: MalformedError: a member is missing or of the wrong type."""
    value = parse_object(body)
    csr, ott = _text(value, "csr"), _text(value, "ott")
    if not csr:
        raise MalformedError("missing csr")
    if not ott:
        raise MalformedError("missing ott")
    data = value.get("templateData")
    if data is not None and not isinstance(data, dict):
        raise MalformedError("templateData is not a JSON object")
    return SignMessage(csr, ott, parse_wish(_text(value, "notBefore"), _text(value, "notAfter")), data)


def parse_rekey(body: bytes) -> str:
    """The request's PEM text. Raises: MalformedError: it is missing."""
    csr = _text(parse_object(body), "csr")
    if not csr:
        raise MalformedError("missing csr")
    return csr


def parse_revoke(body: bytes) -> RevokeMessage:
    """Raises: MalformedError: a member is missing or malformed. UnsupportedError: active revocation is asked for."""
    value = parse_object(body)
    text = _text(value, "serial")
    if not text:
        raise MalformedError("missing serial")
    code = value.get("reasonCode", 0)
    if isinstance(code, bool) or not isinstance(code, int) or code not in REASON_CODES:
        raise MalformedError("reasonCode out of bounds: expected 0 to 10")
    serial = parse_serial(text)
    passive = value.get("passive")
    if passive is not None and not isinstance(passive, bool):
        raise MalformedError("passive is neither true nor false")
    if not passive:
        raise UnsupportedError("non-passive revocation is not implemented: expected passive to be true")
    return RevokeMessage(serial, _text(value, "ott"), code, _text(value, "reason")[:1024])


def parse_serial(text: str) -> int:
    """A serial number, decimal or with Go's prefixes ``0x``, ``0o``, ``0b``.

    Raises:
        MalformedError: it is not a number, or not one that fits a certificate (RFC 5280 §4.1.2.2).
    """
    plain = text.strip()
    try:
        prefixed = plain[:2].lower() in ("0x", "0o", "0b")
        number = int(plain, 0) if prefixed else int(plain, 10) if plain.isascii() and plain.isdigit() else -1
    except ValueError:
        number = -1
    if number < 0 or number.bit_length() > MAX_SERIAL_BITS:
        raise MalformedError(f"serial {text[:60]!r} is not a valid serial number")
    return number


def parse_limit(text: str) -> int:
    """The ``limit`` of a listing; empty is 0. Raises: MalformedError: it is not a number."""
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        raise MalformedError(f"limit {text[:40]!r} is not a number")
    return int(text)


def _text(value: Mapping[str, Any], name: str) -> str:
    member = value.get(name)
    if member is None:
        return ""
    if not isinstance(member, str):
        raise MalformedError(f"{name} is not a text")
    return member
