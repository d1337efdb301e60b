"""Upstreams that are no nginx, in threads of their own: strict ones that refuse in the handshake, and broken ones.

Each is a context manager over the directory of certificates, and gives the port that it listens on.
"""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from troth.host.ports import free_ports

Upstream = Callable[[Path], AbstractContextManager[int]]
DONE = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
TIMEOUT = 10.0


@contextmanager
def accepting(handle: Callable[[socket.socket], None], kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """Every connection is handled in a thread; what it raises is the client's business."""
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        threading.Thread(target=_accept, args=(listener, handle), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_one, args=(connection, handle), daemon=True).start()


def _one(connection: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    connection.settimeout(TIMEOUT)
    with connection, contextlib.suppress(OSError):
        handle(connection)


def strict(
    *, tls12: bool = False, lists: bool = False, alert: int = 0, required: bool = True,
    answer: bytes | None = DONE,
) -> Upstream:  # fmt: skip
    """Python's ssl, which is OpenSSL: it refuses clients by an alert.

    `alert` is sent whatever the client shows, and never lost to a reset; without an `answer` it hangs up instead.
    """

    @contextmanager
    def run(directory: Path) -> Iterator[int]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "server.crt", directory / "server.key")
        context.load_verify_locations(directory / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_NONE
        if tls12:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if lists:
            context.load_verify_locations(directory / "theirs.pem")
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        if alert:
            context.sni_callback = lambda *_: alert

        def handle(plain: socket.socket) -> None:
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as tls:
                try:
                    tls.do_handshake()
                except ssl.SSLError:
                    _part(tls)
                    return
                data = b""
                while b"\r\n\r\n" not in data:
                    data += tls.recv(4096) or b"\r\n\r\n"
                if answer is not None:
                    tls.sendall(answer)
                    _part(tls.unwrap())

        with accepting(handle) as port:
            yield port

    return run


def _part(connection: socket.socket) -> None:
    """Read what the client still writes: closing over unread bytes resets, and what was sent would be lost."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(1)
    while connection.recv(4096):
        pass


def simple(handle: Callable[[socket.socket], None]) -> Upstream:
    @contextmanager
    def run(_: Path) -> Iterator[int]:
        with accepting(handle) as port:
            yield port

    return run


def _waits(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _hangs_up(connection: socket.socket) -> None:
    connection.recv(4096)


def _resets(connection: socket.socket) -> None:
    connection.recv(4096)
    _abort(connection)


def _abort(connection: socket.socket) -> None:
    """To be closed by a reset (socket(7), SO_LINGER)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _line_by_line(connection: socket.socket) -> None:
    """An HTTP server that waits for the end of the request's header, which a handshake never has."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(4096) or b"\r\n\r\n"
    if data.startswith(b"GET "):
        connection.sendall(DONE)


waiting = simple(_waits)
hanging_up = simple(_hangs_up)
resetting = simple(_resets)
http_alone = simple(_line_by_line)


@contextmanager
def full(_: Path) -> Iterator[int]:
    """Its queue of connections is full: the kernel drops further ones, as a firewall would."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _number in range(4):
            waiting_one = stack.enter_context(socket.socket())
            waiting_one.setblocking(False)
            waiting_one.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


@contextmanager
def signing_with_rsa_only(directory: Path) -> Iterator[int]:
    """OpenSSL's own server; it lets in clients with RSA keys alone."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl on this machine")
    (port,) = free_ports(1)
    files = ["-cert", "server.crt", "-cert_chain", "server.crt", "-key", "server.key", "-CAfile", "ca.crt"]
    only = ["-Verify", "3", "-verify_return_error", "-client_sigalgs", "RSA-PSS+SHA256", "-www", "-quiet"]
    command = [program, "s_server", "-accept", f"127.0.0.1:{port}", *files, *only]
    process = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until_listening(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _until_listening(port: int) -> None:
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


def through_a_box(upstream: Upstream) -> Upstream:
    """A box on the way, which rewrites the server name in the handshake."""

    @contextmanager
    def run(directory: Path) -> Iterator[int]:
        with upstream(directory) as behind:

            def handle(front: socket.socket) -> None:
                with socket.create_connection(("127.0.0.1", behind), TIMEOUT) as back:
                    back.sendall(front.recv(16384).replace(b"up.test", b"UP.test"))
                    threading.Thread(target=_pump, args=(back, front), daemon=True).start()
                    _pump(front, back)

            with accepting(handle) as port:
                yield port

    return run


def counted(upstream: Upstream) -> Upstream:
    """Behind a counter: the size of all that a client sent is appended to ``sent``, a line for each connection."""

    @contextmanager
    def run(directory: Path) -> Iterator[int]:
        with upstream(directory) as behind:

            def handle(front: socket.socket) -> None:
                sent = 0
                with socket.create_connection(("127.0.0.1", behind), TIMEOUT) as back:
                    threading.Thread(target=_pump, args=(back, front), daemon=True).start()
                    with contextlib.suppress(OSError):
                        while data := front.recv(16384):
                            sent += len(data)
                            back.sendall(data)
                with (directory.parent / "sent").open("a") as file:
                    file.write(f"{sent}\n")

            with accepting(handle) as port:
                yield port

    return run


def ill_at_first(count: int, upstream: Upstream) -> Upstream:
    """So many connections are cut, then it is well."""

    @contextmanager
    def run(directory: Path) -> Iterator[int]:
        left = iter(range(count))
        with upstream(directory) as behind:

            def handle(front: socket.socket) -> None:
                if next(left, None) is not None:
                    _resets(front)
                    return
                with socket.create_connection(("127.0.0.1", behind), TIMEOUT) as back:
                    threading.Thread(target=_pump, args=(back, front), daemon=True).start()
                    _pump(front, back)

            with accepting(handle) as port:
                yield port

    return run


def losing_an_alert(upstream: Upstream) -> Upstream:
    """The first connection is reset when the client has shown itself (TLS 1.3): the answer to that is lost."""

    @contextmanager
    def run(directory: Path) -> Iterator[int]:
        first = iter((True,))
        with upstream(directory) as behind:

            def handle(front: socket.socket) -> None:
                with socket.create_connection(("127.0.0.1", behind), TIMEOUT) as back:
                    back.sendall(front.recv(16384))
                    threading.Thread(target=_pump, args=(back, front), daemon=True).start()
                    if next(first, False):
                        front.recv(1)
                        _abort(front)
                        front.close()
                    else:
                        _pump(front, back)

            with accepting(handle) as port:
                yield port

    return run


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(16384):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def names_nobody(_: Path) -> Iterator[int]:
    """A name server that knows no name (RFC 1035 §4.1.1: code 3)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    query, client = server.recvfrom(512)
                    server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        ended.set()
        thread.join()
