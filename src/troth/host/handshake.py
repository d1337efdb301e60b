"""One try at a TLS handshake with an upstream, told as what came back: the alert, the chain, the answer."""

import contextlib
import re
import select
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from troth.host.presented import _chain_of
from troth.nginx.diagnosis.situation import (
    CLOSED,
    REFUSED,
    RESET,
    SILENT,
    UNREACHABLE,
    UNRESOLVED,
    Handshake,
)
from troth.x509.pem import bundle_to_pem, parse_certificate_der

TIMEOUT_SECONDS = 3.0
# As long as a server far away may take to judge our certificate.
VERDICT_SECONDS = 0.3
MAX_ANSWER_BYTES = 4096
# OpenSSL's names of alerts, without what stands before ALERT_ (RFC 8446 §6).
ALERTS = {
    "UNEXPECTED_MESSAGE": 10,
    "HANDSHAKE_FAILURE": 40,
    "BAD_CERTIFICATE": 42,
    "UNSUPPORTED_CERTIFICATE": 43,
    "CERTIFICATE_REVOKED": 44,
    "CERTIFICATE_EXPIRED": 45,
    "CERTIFICATE_UNKNOWN": 46,
    "ILLEGAL_PARAMETER": 47,
    "UNKNOWN_CA": 48,
    "ACCESS_DENIED": 49,
    "DECODE_ERROR": 50,
    "DECRYPT_ERROR": 51,
    "PROTOCOL_VERSION": 70,
    "INSUFFICIENT_SECURITY": 71,
    "INTERNAL_ERROR": 80,
    "UNRECOGNIZED_NAME": 112,
    "CERTIFICATE_REQUIRED": 116,
    "NO_APPLICATION_PROTOCOL": 120,
}
_NAMED_ALERT = re.compile(r"ALERT_(\w+)$|TLSV1_(UNRECOGNIZED_NAME)$")


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call and how: `peer` is a host and port or the path of a socket; `name` is empty for no server name.

    `pair` holds the files of certificate and key; `roots` are the authorities by which the chain is judged (empty: it
    is not judged); `host` and `path` are those of the request, `headers` further lines of it. What does not speak HTTP,
    as behind a server of stream, is not to be asked (`asks`): it would wait for words of its own protocol.
    """

    peer: tuple[str, int] | str
    name: str = ""
    pair: tuple[Path, Path] | None = None
    roots: Sequence[x509.Certificate] = ()
    host: str = "localhost"
    path: str = "/"
    headers: tuple[str, ...] = ()
    asks: bool = True


def shake(call: Call, timeout: float = TIMEOUT_SECONDS) -> Handshake:
    """Connect, shake hands, ask for a page; a failure is a result. `timeout` is in seconds for each step."""
    try:
        plain = connect(call.peer, timeout)
    except OSError as error:
        return Handshake(problem=_problem(error))
    context = _context(call)
    with plain:
        try:
            tls = context.wrap_socket(plain, server_hostname=call.name or None)
        except OSError as error:
            return Handshake(True, problem=_problem(error), alert=_alert(error))
        with tls:
            return _ask(call, tls)


def connect(peer: tuple[str, int] | str, timeout: float) -> socket.socket:
    """A connection to a host and port or a Unix socket.

    Raises:
        OSError: there is none.
    """
    if isinstance(peer, tuple):
        return socket.create_connection(peer, timeout)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(timeout)
    try:
        plain.connect(peer)
    except OSError:
        plain.close()
        raise
    return plain


def speaks_http(peer: tuple[str, int] | str, host: str = "localhost", timeout: float = TIMEOUT_SECONDS / 2) -> bool:
    """Whether it answers HTTP without TLS; nginx's 400 to plain HTTP at a TLS port is no such answer."""
    try:
        with connect(peer, timeout) as plain:
            plain.sendall(_request(host, "/"))
            answer = _read(plain)
    except OSError:
        return False
    return answer.startswith(b"HTTP/") and b"HTTPS" not in answer


def verify_live(call: Call, timeout: float = TIMEOUT_SECONDS) -> int | None:
    """OpenSSL's code for the upstream's chain at any depth (0: good); None where no handshake got so far."""
    if not call.roots:
        return None
    context = _context(call)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=bundle_to_pem(list(call.roots)))
        with connect(call.peer, timeout) as plain, context.wrap_socket(plain, server_hostname=call.name or None):
            return 0
    except ssl.SSLCertVerificationError as error:
        return int(error.verify_code)
    except OSError:
        return None


def _context(call: Call) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if call.pair is not None:
        # An encrypted key must not ask on the terminal; a pair that cannot be used is sent as none.
        with contextlib.suppress(OSError):
            context.load_cert_chain(call.pair[0], call.pair[1], password="")
    return context


def _ask(call: Call, tls: ssl.SSLSocket) -> Handshake:
    chain = []
    with contextlib.suppress(Exception):
        chain = [parse_certificate_der(der, "the upstream") for der in _chain_of(tls)]
    alert, problem, answer = None, "", b""
    try:
        answer = _said_first(tls)
        if call.asks:
            tls.sendall(_request(call.host, call.path, call.headers))
            answer += _read(tls)
            problem = "" if answer else CLOSED
    except OSError as error:
        alert, problem = _alert(error), _problem(error)
    found = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})", answer)
    status = int(found[1]) if found else 0
    text = answer.decode("utf-8", "replace")
    return Handshake(True, True, problem, alert, tuple(chain), None, tls.version() or "", status, text)


def _said_first(tls: ssl.SSLSocket) -> bytes:
    """What comes before we write: in TLS 1.3 the word on our certificate does, and a reset would eat it later.

    Tickets come only to those that are let in, so there is no more to wait for after them.
    """
    limit = tls.gettimeout()
    if tls.version() != "TLSv1.3" or not (tls.pending() or select.select([tls], [], [], VERDICT_SECONDS)[0]):
        return b""
    tls.settimeout(0)
    try:
        return tls.recv(MAX_ANSWER_BYTES)
    except ssl.SSLWantReadError:
        return b""
    finally:
        tls.settimeout(limit)


def _request(host: str, path: str, headers: tuple[str, ...] = ()) -> bytes:
    lines = (f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", "User-Agent: troth-doctor", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _read(connection: socket.socket) -> bytes:
    data = b""
    while len(data) < MAX_ANSWER_BYTES:
        part = connection.recv(MAX_ANSWER_BYTES)
        if not part:
            break
        data += part
    return data


def _alert(error: OSError) -> int | None:
    found = _NAMED_ALERT.search(getattr(error, "reason", None) or "")
    return ALERTS.get(found[1] or found[2]) if found else None


def _problem(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "" if _alert(error) is not None else "no TLS" if "WRONG_VERSION" in str(error) else CLOSED
    for kind, word in (
        (ConnectionRefusedError, REFUSED),
        (ConnectionResetError, RESET),
        (BrokenPipeError, RESET),
        (TimeoutError, SILENT),
        (socket.gaierror, UNRESOLVED),
        (FileNotFoundError, UNREACHABLE),
    ):
        if isinstance(error, kind):
            return word
    return UNREACHABLE
