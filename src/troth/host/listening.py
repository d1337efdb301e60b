"""What every small server of ours does: listen, serve each connection in a thread of its own, and be gone after it."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from troth.host import HostError


class Listener:
    """Use as a context manager. What is served is up to `_serve`, and where to `_listen`."""

    _socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._socket = self._listen()
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    @property
    def port(self) -> int:
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    def _listen(self) -> socket.socket:
        """Any free port of loopback. Raises: HostError: there is none."""
        try:
            return socket.create_server(("127.0.0.1", 0))
        except OSError as error:
            raise HostError(f"cannot listen on loopback: {(error.strerror or str(error)).lower()}") from error

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        raise NotImplementedError
