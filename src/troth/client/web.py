"""Servers beside the authority, ACME's and identity providers: one bounded exchange by URL, and waiting for them."""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from troth.client import ClientError
from troth.client.transport import (
    DEFAULT_PORT,
    Address,
    Answer,
    NotAnAuthorityError,
    UnreachableError,
    UntrustedError,
    exchange,
)

LOCAL = ("localhost", "127.0.0.1", "::1")
# ACME and identity servers may validate, sign or look something up while we wait.
TIMEOUT_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The clock and the waiting of what takes several requests: monotonic seconds, and a sleep."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def system_trust(roots_pem: str = "") -> ssl.SSLContext:
    """Whom this machine trusts, and these roots too.

    Raises:
        UntrustedError: the text holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if roots_pem:
        try:
            context.load_verify_locations(cadata=roots_pem)
        except (ssl.SSLError, ValueError) as error:
            raise UntrustedError("the root certificates cannot be read: expected PEM CERTIFICATE blocks") from error
    return context


def ask(
    url: str,
    trust: ssl.SSLContext,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    hint: str,
    timeout: float = TIMEOUT_SECONDS,
) -> Answer:
    """One exchange with the server of a URL: https, or http on this machine. Redirections are not followed.

    Args:
        url: absolute.
        trust: whom to trust with https.
        method: HTTP method.
        body: what to send.
        headers: besides the User-Agent.
        hint: what a person can do when the server cannot be reached or trusted.
        timeout: seconds for the whole exchange.

    Raises:
        ClientError: the URL is not usable, or no answer came.
    """
    address, target = _parsed(url)
    try:
        return exchange(address, None if address.plain else trust, method, target, body, headers or {}, timeout)
    except (UnreachableError, UntrustedError, NotAnAuthorityError) as error:
        raise type(error)(error.message, hint=hint) from error


def _parsed(url: str) -> tuple[Address, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = parts.scheme == "http"
    allowed = parts.scheme == "https" or (plain and host in LOCAL)
    if not host or not allowed or parts.username is not None or not _is_plain(url):
        raise ClientError(f"invalid URL {url[:200]!r}: expected https://HOST/... (plain http only on this machine)")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(host, port or (80 if plain else DEFAULT_PORT), plain), target


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def json_object(answer: Answer) -> dict[str, Any] | None:
    """The JSON object of an answer, or None when it is none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def retry_after(answer: Answer) -> float | None:
    """Seconds of a ``Retry-After`` (RFC 9110 §10.2.3); None when there is none. A date counts from the answer's own."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) <= 9:
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        until, now = (parsedate_to_datetime(value) for value in (text, answer.headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None
