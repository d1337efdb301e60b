"""A small HTTP listener for a few requests while a command runs: http-01 answers, the redirection after a login.

It answers GET and HEAD by a function of the path, with time-outs, few threads and small requests, and ends with its
block.
"""

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from troth.host import HostError

REQUEST_SECONDS = 10.0
# What is being answered when the block ends is answered; a connection that only stands there is not waited for.
FAREWELL_SECONDS = 1.0
MAX_CONNECTIONS = 32
MAX_PATH_CHARACTERS = 16 * 1024


class ListenError(HostError):
    """An address cannot be listened at."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


NOT_FOUND = Page(404, b"not found\n")
Route = Callable[[str, str], Page]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int], route: Route, seconds: float) -> None:
        self.address_family = family
        self.route = route
        self._seconds = seconds
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # A socket's time-out starts anew with every byte; the timer bounds a whole request.
        timer = threading.Timer(self._seconds, self.shutdown_request, (request,))
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._places.release()

    def finish(self, seconds: float) -> None:
        """Wait for the answers that are on their way."""
        until = time.monotonic() + seconds
        for _ in range(MAX_CONNECTIONS):
            if not self._places.acquire(timeout=max(0.0, until - time.monotonic())):
                return

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever sent it has gone or speaks no HTTP; there is nobody to tell."""


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server_version = "troth"
    sys_version = ""

    def do_GET(self) -> None:
        server = self.server
        page = NOT_FOUND
        if isinstance(server, _Server) and len(self.path) <= MAX_PATH_CHARACTERS:
            page = server.route(self.path, self.headers.get("Host", ""))
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Connection", "close")
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET  # noqa: N815 - http.server calls it so

    def log_message(self, *_: Any) -> None:
        """Requests carry codes and tokens; none is ever written down."""


@contextlib.contextmanager
def listening(host: str, port: int, route: Route, *, hint: str, seconds: float = REQUEST_SECONDS) -> Iterator[int]:
    """Answer requests for as long as the block runs.

    Args:
        host: an address or name to listen at; empty means every one of this machine.
        port: 0 takes a free one.
        route: path with query, and the Host header, to an answer; called from several threads.
        hint: what to do when the address cannot be had.
        seconds: how long a request with its answer may take.

    Yields:
        The port.

    Raises:
        ListenError: the address cannot be had.
    """
    server = _bound(host, port, route, hint, seconds)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        server.finish(FAREWELL_SECONDS)


def _bound(host: str, port: int, route: Route, hint: str, seconds: float) -> _Server:
    shown = f"{f'[{host}]' if ':' in host else host}:{port}"
    try:
        if not host:
            with contextlib.suppress(OSError):
                return _Server(socket.AF_INET6, ("::", port), route, seconds)
            return _Server(socket.AF_INET, ("0.0.0.0", port), route, seconds)  # noqa: S104 - a validation comes from anywhere
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _Server(family, (str(address[0]), int(address[1])), route, seconds)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else None
        why = {
            errno.EACCES: "it is reserved for root",
            errno.EADDRINUSE: "another program listens there",
        }.get(number or 0, str(error).lower())
        raise ListenError(f"cannot listen at {shown}: {why}", hint=hint) from error


def parse_listen(text: str, what: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``:PORT``, IPv6 in brackets.

    Raises:
        ListenError: it is none.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
        raise ListenError(f"invalid {what} {text!r}: expected HOST:PORT, or :PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
