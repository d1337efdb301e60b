"""What a TLS server presents: its chain, seen in a handshake that may or may not be verified."""

import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509

from troth.host import HostError
from troth.x509.pem import bundle_to_pem, parse_certificate_der

TIMEOUT_SECONDS = 15.0
PORTS = {"https": 443, "tls": 443, "tcp": 443, "smtps": 465, "ldaps": 636}


class HandshakeError(HostError):
    """A server cannot be reached, or its certificate does not verify."""


@dataclass(frozen=True, slots=True)
class Server:
    """A TLS server named by a URL."""

    host: str
    port: int


def is_url(text: str) -> bool:
    """Whether a command's argument names a server and not a file."""
    return text.partition("://")[0] in PORTS and "://" in text


def parse_server(url: str) -> Server:
    """Read ``https://``, ``tls://`` or ``tcp://`` (443), ``smtps://`` (465) or ``ldaps://`` (636).

    Raises:
        HandshakeError: it is no such URL, or has no host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise HandshakeError(f"invalid URL {url!r}: expected https://HOST[:PORT]") from error
    if parts.scheme not in PORTS or not host:
        raise HandshakeError(f"invalid URL {url!r}: expected https://HOST[:PORT]")
    return Server(host, port or PORTS[parts.scheme])


def presented_chain(
    server: Server,
    *,
    server_name: str = "",
    roots: Sequence[x509.Certificate] | None = None,
    verify: bool = True,
    timeout: float = TIMEOUT_SECONDS,
) -> list[x509.Certificate]:
    """The certificates a server sends, leaf first.

    Args:
        server: where.
        server_name: name to ask for and to verify; the URL's host when empty.
        roots: whom to trust; None means the system's store.
        verify: False accepts anything.
        timeout: seconds for the connection and for each step of the handshake.

    Raises:
        HandshakeError: no connection, no handshake, or not trusted.
    """
    context = _context(roots, verify)
    try:
        with (
            socket.create_connection((server.host, server.port), timeout) as plain,
            context.wrap_socket(plain, server_hostname=server_name or server.host) as tls,
        ):
            return [parse_certificate_der(der, server.host) for der in _chain_of(tls)]
    except ssl.SSLCertVerificationError as error:
        hint = "pass the right --roots, or look without trust: --insecure"
        raise HandshakeError(f"{server.host} is not trusted: {error.verify_message}".lower(), hint=hint) from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        address = f"{server.host}:{server.port}"
        raise HandshakeError(f"cannot make a TLS connection to {address}: {str(reason).lower()}") from error


def _context(roots: Sequence[x509.Certificate] | None, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif roots is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=bundle_to_pem(list(roots)))
    return context


def _chain_of(tls: ssl.SSLSocket) -> list[bytes]:
    """The whole chain where this Python offers it (3.13, and unofficially before), else the leaf."""
    for owner in (tls, getattr(tls, "_sslobj", None)):
        with contextlib.suppress(AttributeError):
            chain = owner.get_unverified_chain()  # type: ignore[union-attr]
            return [
                item if isinstance(item, bytes) else ssl.PEM_cert_to_DER_cert(item.public_bytes()) for item in chain
            ]
    leaf = tls.getpeercert(True)
    return [leaf] if leaf else []


def system_roots() -> list[x509.Certificate]:
    """The certificates of the system's trust store.

    Raises:
        HandshakeError: this system has none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    ders = context.get_ca_certs(binary_form=True)
    if not ders:
        raise HandshakeError("this system has no trusted roots", hint="pass them with --roots FILE")
    roots = []
    for der in ders:
        # Some public roots break RFC 5280 (serial 0); they are not what a private leaf is judged by.
        with contextlib.suppress(ValueError):
            roots.append(x509.load_der_x509_certificate(der))
    return roots
