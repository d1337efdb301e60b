"""HTTPS_PROXY, HTTP_PROXY and NO_PROXY as Go's programs, and so step, read them (golang.org/x/net/http/httpproxy)."""

import base64
import contextlib
import ipaddress
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from troth.errors import TrothError

MAX_ANSWER_BYTES = 65_536
_PORTS = {"http": 80, "https": 443}


class ProxyError(TrothError):
    """The proxy that the environment names cannot be used, or does not let us through."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that speaks plain HTTP to us; `credentials` are what Basic takes, or empty. `variable` named it."""

    host: str
    port: int
    credentials: str
    variable: str

    @property
    def headers(self) -> dict[str, str]:
        """What identifies us to the proxy."""
        return {"Proxy-Authorization": f"Basic {self.credentials}"} if self.credentials else {}

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def proxy_for(scheme: str, host: str, port: int, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy by which a server is reached; None for straight on, always so for this machine.

    Args:
        scheme: ``http`` or ``https``.
        host: name or address, without brackets.
        port: of the server.
        environment: where the variables are; the one in capitals wins.

    Raises:
        ProxyError: the variable's value is no proxy that we can speak to.
    """
    variable, value = _named(f"{scheme}_proxy", environment)
    if scheme == "http" and environment.get("REQUEST_METHOD"):
        return None  # under CGI the variable may be a client's header
    if not value or _is_excluded(host.lower(), port, _named("no_proxy", environment)[1]):
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        proxy_host, proxy_port = parts.hostname, parts.port
    except ValueError:
        parts, proxy_host, proxy_port = urlsplit(""), None, None
    if parts.scheme != "http" or not proxy_host:
        raise ProxyError(
            f"{variable} is not usable: expected http://HOST:PORT", hint=f"or go straight on: NO_PROXY={host}"
        )
    credentials = ""
    if parts.username is not None:
        plain = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = base64.b64encode(plain.encode()).decode()
    return Proxy(proxy_host, proxy_port or _PORTS["http"], credentials, variable)


def _named(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    for one in (name.upper(), name):
        if environment.get(one):
            return one, environment[one]
    return name.upper(), ""


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    address = None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), host, address, port) for entry in no_proxy.split(","))


def _matches(entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    """One entry of NO_PROXY: ``*``, an address, a network, or a domain, each but the first with a port perhaps."""
    if entry in ("", "*"):
        return entry == "*"
    with contextlib.suppress(ValueError):
        network = ipaddress.ip_network(entry, strict=False)
        return address is not None and address in network
    name, wanted_port = entry, ""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        wanted_port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, wanted_port = entry.partition(":")
    if wanted_port and wanted_port != str(port):
        return False
    with contextlib.suppress(ValueError):
        wanted = ipaddress.ip_address(name)
        return address == wanted
    name = name.removeprefix("*")
    return bool(name) and (host == name or host.endswith(name if name.startswith(".") else f".{name}"))


def tunnel(proxy: Proxy, host: str, port: int, timeout: float) -> socket.socket:
    """A connection to a server through the proxy's CONNECT (RFC 9110 §9.3.6).

    Args:
        timeout: seconds for the proxy to connect, and again for its answer.

    Raises:
        ProxyError: the proxy cannot be reached, refuses, or does not answer as one.
    """
    server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {server} HTTP/1.1", f"Host: {server}", *(f"{n}: {v}" for n, v in proxy.headers.items())]
    hint = f"check {proxy.variable}, or go straight on: NO_PROXY={host}"
    try:
        connection = socket.create_connection((proxy.host, proxy.port), timeout)
        try:
            connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii", "replace"))
            status, reason = _answered(connection, time.monotonic() + timeout)
            if status != 200:
                raise ProxyError(f"proxy {proxy} does not connect to {server}: {status} {reason}".rstrip(), hint=hint)
            connection.settimeout(timeout)
        except BaseException:
            connection.close()
            raise
    except TimeoutError as error:
        raise ProxyError(f"proxy {proxy} did not answer within {timeout:g} seconds", hint=hint) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProxyError(f"cannot reach proxy {proxy}: {reason[:1].lower() + reason[1:]}", hint=hint) from error
    return connection


def _answered(connection: socket.socket, until: float) -> tuple[int, str]:
    """Status and reason; read byte by byte, for what follows the head is the server's."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        byte = connection.recv(1)
        if not byte or len(head) >= MAX_ANSWER_BYTES:
            raise OSError("it is no HTTP proxy")
        head += byte
    version, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(status) != 3 or not (status.isascii() and status.isdigit()):
        raise OSError("it is no HTTP proxy")
    return int(status), "".join(char for char in reason[:100] if char.isprintable())
