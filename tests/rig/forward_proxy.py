"""An HTTP proxy on loopback that knows names which nobody else does, and notes what it was asked."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class ForwardProxy:
    """`names` are those it finds on this machine; with an `answer` it says that instead of what was asked for."""

    names: tuple[str, ...]
    answer: bytes = b""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def forwarding(*names: str, answer: bytes = b"") -> Iterator[ForwardProxy]:
    """The proxy, for as long."""
    proxy = ForwardProxy(names, answer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.port = listener.getsockname()[1]
        threading.Thread(target=_accept, args=(proxy, listener), daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def _accept(proxy: ForwardProxy, listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(proxy, client), daemon=True).start()


def _serve(proxy: ForwardProxy, client: socket.socket) -> None:
    with client, contextlib.suppress(OSError, ValueError):
        client.settimeout(20)
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65_536) or b"\r\n\r\n"
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        proxy.asked.append(f"{method} {target}")
        proxy.heads.append(head)
        if proxy.answer:
            client.sendall(proxy.answer)
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        if parts.hostname not in proxy.names:
            client.sendall(b"HTTP/1.1 502 No such host\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", parts.port or 80), 20) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = parts.path + (f"?{parts.query}" if parts.query else "")
                server.sendall(head.replace(target.encode(), path.encode(), 1))
            _both_ways(client, server)


def _both_ways(left: socket.socket, right: socket.socket) -> None:
    while True:
        for one in select.select([left, right], [], [], 20)[0] or [left]:
            data = one.recv(65_536)
            if not data:
                return
            (right if one is left else left).sendall(data)
