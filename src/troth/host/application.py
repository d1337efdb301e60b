"""A small application in the clear that keeps what it is sent: HTTP/1 requests and uwsgi packets, answered with 200."""

import contextlib
import socket
import threading
from types import TracebackType

from troth.host import HostError

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 262_144
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


class Application:
    """Use as a context manager; `received` grows with every request, before it is answered."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> "Application":
        try:
            self._listener = socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise HostError(f"cannot listen on loopback: {reason}") from error
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    @property
    def port(self) -> int:
        assert self._listener is not None
        return int(self._listener.getsockname()[1])

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

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
