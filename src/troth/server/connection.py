"""One client's connection: how long it may stand still, how much it may send, and what it hears of its faults."""

import asyncio
import gc
from dataclasses import dataclass

from aiohttp import web

from troth.server.answers import refusal_before_handling

MAX_HEADERS = 64
# A renewal token carries its chain in a header.
MAX_FIELD_BYTES = 32 * 1024
SWEEP_AFTER = 64
_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a client may take, and that the end of the server may.

    `idle` is for everything but a body: the wait for a request, its head however it dribbles in, and an answer that is
    not taken. `linger` is how long what follows a refused body is read, so that the refusal arrives.
    """

    handshake: float = 10.0
    idle: float = 15.0
    body: float = 15.0
    linger: float = 5.0
    grace: float = 60.0


class Sweep:
    """Clears away what lost connections leave: small cycles that hold large buffers, too few for the collector to come.

    It comes once as many are lost as are open, so that each costs the same however many there are.
    """

    def __init__(self) -> None:
        self._lost = 0

    def after(self, still_open: int) -> None:
        """One connection is lost."""
        self._lost += 1
        if self._lost >= max(SWEEP_AFTER, still_open):
            self._lost = 0
            gc.collect()


class Connection(web.RequestHandler):
    """aiohttp's, which is cut off when nothing comes of it for `Limits.idle`, and a tenth of that more at most."""

    __slots__ = ("_limits", "_look", "_seen", "_still", "_sweep")

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop, limits: Limits, sweep: Sweep) -> None:
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limits.idle,
            lingering_time=limits.linger,
            max_headers=MAX_HEADERS,
            max_field_size=MAX_FIELD_BYTES,
            # Bodies are JSON as it is: what is packed may be a thousand times larger than it looks.
            auto_decompress=False,
        )
        self._limits, self._sweep = limits, sweep
        self._seen = self._still = 0
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._look = self._loop.call_later(self._limits.idle / _LOOKS, self._watch)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        still_open = len(self._manager.connections) if self._manager is not None else 0
        super().connection_lost(exc)
        self._sweep.after(still_open)

    def _watch(self) -> None:
        """Whether something came of the connection since the last look: a request, or work on one."""
        transport = self.transport
        if transport is None:
            return
        moved = self._current_request is not None or self._request_count != self._seen
        self._still, self._seen = 0 if moved else self._still + 1, self._request_count
        if self._still >= _LOOKS:
            transport.abort()
            return
        self._look = self._loop.call_later(self._limits.idle / _LOOKS, self._watch)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the library found wrong before there was a request, in the shape of every other error."""
        super().handle_error(request, status, exc, message)
        said = f"request is not HTTP that can be read: {' '.join((message or '').split())[:200]}"
        return refusal_before_handling(status, said if status == 400 else "the request could not be completed")
