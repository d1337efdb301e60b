"""One bounded HTTP exchange with a server that a certificate names: revocation lists, OCSP, issuers."""

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit, urlunsplit

from cryptography import x509

from troth import __version__
from troth.host import HostError
from troth.proxies import ProxyError, proxy_for, tunnel
from troth.x509.pem import bundle_to_pem

TIMEOUT_SECONDS = 15.0
MAX_BYTES = 64 * 1024 * 1024
MAX_REDIRECTS = 3
_MOVED = (301, 302, 303, 307, 308)


class DownloadError(HostError):
    """Nothing usable came from a URL; the message names it."""


def download(
    url: str,
    *,
    body: bytes | None = None,
    content_type: str = "",
    roots: Sequence[x509.Certificate] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> bytes:
    """GET, or POST with a body; the answer's body. A GET follows up to three redirections.

    Args:
        url: ``http://`` or ``https://``.
        body: what to post.
        content_type: of the body.
        roots: whom to trust with https; None means the system's store.
        timeout: seconds for each exchange.

    Raises:
        DownloadError: no connection, a status other than 200, too late, or more than 64 MiB.
    """
    where = url
    for _ in range(MAX_REDIRECTS + 1):
        status, location, data = _exchange(where, body, content_type, roots, timeout)
        if status == 200:
            return data
        if body is not None or status not in _MOVED or not location:
            raise DownloadError(f"{where} answered with status {status}")
        where = urljoin(where, location)
    raise DownloadError(f"{url} redirects more than {MAX_REDIRECTS} times")


def _exchange(
    url: str, body: bytes | None, content_type: str, roots: Sequence[x509.Certificate] | None, timeout: float
) -> tuple[int, str, bytes]:
    headers = {"User-Agent": f"troth/{__version__}", "Connection": "close"}
    try:
        connection, target, more = _connection(url, roots, timeout)
    except ProxyError as error:
        raise DownloadError(f"cannot fetch {url}: {error.message}", hint=error.hint) from error
    headers |= more
    if body is not None:
        headers["Content-Type"] = content_type
    # A socket's time-out starts anew with every byte; the timer bounds the whole exchange.
    late = threading.Event()
    timer = threading.Timer(timeout, _interrupt, (connection, late))
    timer.daemon = True
    try:
        timer.start()
        connection.request("GET" if body is None else "POST", target, body, headers)
        answer = connection.getresponse()
        data = answer.read(MAX_BYTES + 1)
    except ssl.SSLCertVerificationError as error:
        raise DownloadError(f"{url} is not trusted: {error.verify_message}".lower()) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"no answer within {timeout:g} seconds" if late.is_set() or isinstance(error, TimeoutError) else error
        raise DownloadError(f"cannot fetch {url}: {str(reason).lower()}") from error
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():
        raise DownloadError(f"cannot fetch {url}: no answer within {timeout:g} seconds")
    if len(data) > MAX_BYTES:
        raise DownloadError(f"{url} answered with more than {MAX_BYTES} bytes")
    return answer.status, answer.getheader("Location") or "", data


def _connection(
    url: str, roots: Sequence[x509.Certificate] | None, timeout: float
) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """The connection, what to ask it for, and what its proxy wants to hear."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DownloadError(f"invalid URL {url!r}") from error
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise DownloadError(f"cannot fetch {url!r}: expected an http or https URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    proxy = proxy_for(parts.scheme, host, port or (80 if parts.scheme == "http" else 443), os.environ)
    if parts.scheme == "http":
        if proxy is not None:
            whole = urlunsplit(parts._replace(path=parts.path or "/", fragment=""))
            return http.client.HTTPConnection(proxy.host, proxy.port, timeout=timeout), whole, proxy.headers
        return http.client.HTTPConnection(host, port, timeout=timeout), target, {}
    context = ssl.create_default_context(cadata=bundle_to_pem(list(roots)) if roots is not None else None)
    connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    if proxy is not None:
        plain = tunnel(proxy, host, port or 443, timeout)
        try:
            connection.sock = context.wrap_socket(plain, server_hostname=host)
        except (OSError, ValueError) as error:
            plain.close()
            reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
            raise DownloadError(f"cannot fetch {url}: {reason.lower()}") from error
    return connection, target, {}


def _interrupt(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)
