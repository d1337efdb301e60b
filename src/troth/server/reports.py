"""How a serving process tells that it lives: straight to systemd, or to the supervisor of several through a pipe."""

import contextlib
import os
from typing import Protocol

READY, ALIVE, RELOADED = b"r", b"a", b"l"


class Reports(Protocol):
    """What one process says of itself; `troth.host.systemd.Manager` is one who may hear it."""

    def ready(self) -> None: ...

    def reloading(self) -> None: ...

    def stopping(self) -> None: ...

    def alive(self) -> None: ...


class PipeReports:
    """The reports of a worker, a byte each."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._reloading = False

    def ready(self) -> None:
        self._write(RELOADED if self._reloading else READY)
        self._reloading = False

    def reloading(self) -> None:
        self._reloading = True

    def stopping(self) -> None:
        return None

    def alive(self) -> None:
        self._write(ALIVE)

    def _write(self, report: bytes) -> None:
        # A supervisor that is gone, or so far behind that the pipe is full, is not this process's business.
        with contextlib.suppress(OSError):
            os.write(self._pipe, report)
