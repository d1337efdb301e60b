"""HTTPS to an authority: one request per connection, bounded in time and size, refusals turned into errors.

The standard library's client is used because a short command must start fast; every call stands alone, so an
`Authority` may be used from several threads at once.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from troth import __version__
from troth.client import ClientError
from troth.proxies import Proxy, ProxyError, proxy_for, tunnel

TIMEOUT_SECONDS = 15.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
DEFAULT_PORT = 443


class AddressError(ClientError):
    """The URL of an authority is not usable."""


class UnreachableError(ClientError):
    """No TLS connection could be made, or it broke: name, network, time-out."""


class UntrustedError(ClientError):
    """The authority's certificate does not verify, or it refused ours during the handshake."""


class NotAnAuthorityError(ClientError):
    """Something answered, but not with the step protocol."""


class RefusedError(ClientError):
    """The authority said no; `status` is the HTTP status."""

    def __init__(self, message: str, status: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """Where an authority is."""

    host: str
    port: int
    plain: bool = False

    @property
    def url(self) -> str:
        """``https://host`` or ``https://host:port``; IPv6 in brackets; the scheme's own port left out."""
        scheme, own = ("http", 80) if self.plain else ("https", DEFAULT_PORT)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}" if self.port == own else f"{scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers with lower-case names, and body of an exchange."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What to present in the handshake: a certificate chain and its unencrypted key, both PEM."""

    chain: bytes
    key: bytes


def parse_address(url: str) -> Address:
    """Read ``--ca-url`` as step does: a missing scheme is https, any path is dropped, http is refused.

    Raises:
        AddressError: it is not an https URL with a host.
    """
    text = url.strip()
    if "://" not in text:
        text = "https://" + text
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("https:")
    if parts.scheme != "https":
        hint = f"use https://{parts.netloc}"
        raise AddressError(f"CA URL {url!r} uses {parts.scheme}: expected https", hint=hint)
    if not host or parts.username is not None:
        raise AddressError(f"invalid CA URL {url!r}: expected https://HOST[:PORT]")
    return Address(host, port or DEFAULT_PORT)


def trusting(roots_pem: str) -> ssl.SSLContext:
    """A TLS context that accepts only servers below these roots.

    Raises:
        UntrustedError: the text holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=roots_pem)
    except (ssl.SSLError, ValueError) as error:
        raise UntrustedError("the root certificates cannot be read: expected PEM CERTIFICATE blocks") from error
    return context


def trusting_nobody() -> ssl.SSLContext:
    """A TLS context without verification, only for fetching a root whose fingerprint is then compared."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def present(context: ssl.SSLContext, certificate: ClientCertificate) -> None:
    """Let a context present a certificate; the key passes through an anonymous memory file, never the disk.

    Raises:
        UntrustedError: OpenSSL refuses the pair.
    """
    descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(certificate.chain.rstrip() + b"\n" + certificate.key)
        stream.flush()
        try:
            # The empty password keeps OpenSSL from asking on the terminal when a key is encrypted after all.
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        except (ssl.SSLError, ValueError) as error:
            raise UntrustedError("the client certificate and key do not fit together") from error


def call(
    address: Address,
    context: ssl.SSLContext,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """One request; the answer is its JSON object.

    Args:
        address: the authority.
        context: whom to trust, and what to present.
        method: HTTP method.
        path: unprefixed path such as ``/sign``.
        body: sent as JSON; None sends none.
        headers: additional headers.
        timeout: seconds for the whole exchange, name look-up excepted.

    Raises:
        UnreachableError, UntrustedError, NotAnAuthorityError, RefusedError: see each.
    """
    data = None if body is None else json.dumps(body).encode()
    sent = {"X-Request-Id": str(uuid.uuid4()), **(headers or {})}
    if data is not None:
        sent["Content-Type"] = "application/json"
    elif method == "POST":
        sent["Content-Length"] = "0"
    answer = exchange(address, context, method, path, data, sent, timeout)
    return _understood(address, answer.status, path, answer.body)


def exchange(
    address: Address,
    context: ssl.SSLContext | None,
    method: str,
    target: str,
    body: bytes | None,
    headers: Mapping[str, str],
    timeout: float = TIMEOUT_SECONDS,
) -> Answer:
    """One HTTP exchange over a fresh connection; redirections are answers like others.

    Args:
        address: the server.
        context: whom to trust, and what to present; None speaks plain HTTP.
        method: HTTP method.
        target: path and query.
        body: sent as it is.
        headers: besides the User-Agent.
        timeout: seconds for the whole exchange, name look-up excepted.

    Raises:
        UnreachableError, UntrustedError, NotAnAuthorityError: see each.
    """
    sent = {"User-Agent": f"troth/{__version__}", **headers}
    try:
        proxy = proxy_for("https" if context is not None else "http", address.host, address.port, os.environ)
    except ProxyError as error:
        raise UnreachableError(f"cannot reach {address.url}: {error.message}", hint=error.hint) from error
    if proxy is not None and context is None:
        target = address.url + target
        sent |= proxy.headers
    with _connected(address, context, timeout, proxy) as connection:
        connection.request(method, target, body, sent)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES + 1)
    if len(answer) > MAX_ANSWER_BYTES:
        raise NotAnAuthorityError(f"{address.url} answered with more than {MAX_ANSWER_BYTES} bytes")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, answer)


@contextlib.contextmanager
def _connected(
    address: Address, context: ssl.SSLContext | None, timeout: float, proxy: Proxy | None
) -> Iterator[http.client.HTTPConnection]:
    connection: http.client.HTTPConnection
    if context is not None:
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=context)
    elif proxy is not None:
        connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=timeout)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout)
    # A socket's time-out starts anew with every byte; the timer bounds the whole exchange.
    late = threading.Event()
    timer = threading.Timer(timeout, _interrupt, (connection, late))
    timer.daemon = True
    try:
        if context is not None and proxy is not None:
            plain = tunnel(proxy, address.host, address.port, timeout)
            connection.sock = context.wrap_socket(plain, server_hostname=address.host)
        else:
            connection.connect()
        timer.start()
        yield connection
        if late.is_set():
            # Cut off by the timer, what was read so far can look like a complete answer.
            raise TimeoutError
    except ProxyError as error:
        raise UnreachableError(f"cannot reach {address.url}: {error.message}", hint=error.hint) from error
    except (OSError, http.client.HTTPException) as error:
        raise _explained(address, error, late.is_set(), timeout) from error
    finally:
        timer.cancel()
        connection.close()


def _interrupt(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _explained(address: Address, error: Exception, late: bool, timeout: float) -> ClientError:
    url = address.url
    if late or isinstance(error, TimeoutError):
        return UnreachableError(f"{url} did not answer within {timeout:g} seconds", hint=_is_it_up(url))
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        # "Hostname mismatch" begins a sentence, "IP address mismatch" begins with a name.
        reason = reason if reason[:2].isupper() else reason[:1].lower() + reason[1:]
        hint = (
            f"check the CA URL and the root; to trust another CA: troth ca bootstrap --ca-url {url} --fingerprint ..."
        )
        return UntrustedError(f"the certificate of {url} is not trusted: {reason}", hint=hint)
    if isinstance(error, ssl.SSLError):
        return _explained_tls(url, error)
    if isinstance(error, socket.gaierror):
        return UnreachableError(f"cannot find host {address.host!r}: {_lower(error)}", hint="check the CA URL")
    if isinstance(error, OSError) and not isinstance(error, http.client.RemoteDisconnected):
        return UnreachableError(f"cannot reach {url}: {_lower(error)}", hint=_is_it_up(url))
    return NotAnAuthorityError(f"{url} did not answer with HTTP", hint="check the CA URL")


def _explained_tls(url: str, error: ssl.SSLError) -> ClientError:
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if "alert" in reason:
        alert = reason.replace("tlsv1", "").replace("tlsv13", "").replace("sslv3", "").strip(" 3")
        message = f"{url} refused the connection: {alert}"
        hint = "is the client certificate expired, or from another authority?"
        return UntrustedError(message, hint=hint if "certificate" in reason or "unknown ca" in reason else None)
    if "wrong version number" in reason or "http request" in reason or "record layer" in reason:
        return NotAnAuthorityError(f"{url} does not speak TLS", hint="check the port of the CA URL")
    return UnreachableError(f"TLS with {url} failed: {reason}", hint="check the CA URL")


def _lower(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _is_it_up(url: str) -> str:
    return f"is the authority running there? try: troth ca health --ca-url {url}"


def _understood(address: Address, status: int, path: str, answer: bytes) -> dict[str, Any]:
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        what = f"{address.url} is not a step-compatible CA: {path} answered with status {status} and no JSON object"
        raise NotAnAuthorityError(what, hint="check the CA URL")
    if status >= 400:
        message = str(value.get("message") or value.get("detail") or f"status {status}")
        raise RefusedError(printable(message), status)
    return value


def printable(message: str) -> str:
    """The other side's words for a terminal: one line, no control characters, no final full stop."""
    line = "".join(c if c.isprintable() else " " for c in message[:2000]).strip().removesuffix(".")
    return line[:1].lower() + line[1:]
