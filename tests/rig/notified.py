"""A socket in the role of systemd's: what a service says of itself, in order."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Notified:
    """`said` holds every message so far, as lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._socket.settimeout(0.1)

    @property
    def environment(self) -> dict[str, str]:
        """For a service whose manager waits two seconds for a sign of life."""
        return {**os.environ, "NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "2000000"}

    def hear(self) -> None:
        """Take what was said by now."""
        try:
            while True:
                self.said += self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            pass

    def wait_for(self, line: str, count: int = 1, seconds: float = 40) -> None:
        """Until a line that begins so was said so many times."""
        until = time.monotonic() + seconds
        while self.count(line) < count:
            assert time.monotonic() < until, f"{line} was not said {count} times: {self.said}"
            self.hear()

    def count(self, line: str) -> int:
        return sum(one.startswith(line) for one in self.said)

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def notified(path: Path) -> Iterator[Notified]:
    found = Notified(path)
    try:
        yield found
    finally:
        found.close()
