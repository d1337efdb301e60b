"""A small application in the clear that keeps what it is sent: HTTP/1 requests and uwsgi packets, answered with 200."""

import contextlib
import socket

from troth.host.listening import Listener

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 262_144
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Application(Listener):
    """Use as a context manager; `received` grows with every request, before it is answered."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_SECONDS)
        with contextlib.suppress(OSError), connection:
            data = b""
            while len(data) < MAX_BYTES and not _complete(data):
                part = connection.recv(65_536)
                if not part:
                    return
                data += part
            self.received.append(data)
            connection.sendall(_ANSWER)


def _complete(data: bytes) -> bool:
    """Whether a request without a body is all there."""
    if data[:1] == b"\0":
        return len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[1:3], "little")
    return b"\r\n\r\n" in data
