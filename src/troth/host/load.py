"""A load of keep-alive connections that never retries and tells a lost request from a connection closed in time.

An HTTP/1.1 server may close an idle connection at any moment; a client that sees the close before it writes just
opens another one, and nothing is lost. A request that was written and not answered in full is lost. Among those, one
on a reused connection that died before a single byte of the answer is a *race*: the server closed while the request
was on its way. nginx below 1.27.4 cannot avoid these on reload; everything else is a proxied failure.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

REQUEST_TIMEOUT = 30.0
MAX_HEADER_BYTES = 65_536


@dataclass(slots=True)
class Tally:
    """What the load has seen so far; times are seconds of the monotonic clock."""

    requests: int = 0
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    races: int = 0
    connections: int = 0
    longest: float = 0.0
    first_seen: dict[str, float] = field(default_factory=dict)
    last_seen: dict[str, float] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Requests answered with an error, cut short, or refused on a fresh connection."""
        return sum(self.failures.values())

    @property
    def lost(self) -> int:
        """Every request that got no good answer, whoever is to blame."""
        return self.failed + self.races


class Lost(Exception):  # noqa: N818 - a verdict, caught within this module
    """A request got no complete answer; `raced` when not a byte came back on a reused connection."""

    def __init__(self, why: str, *, raced: bool = False) -> None:
        super().__init__(why)
        self.raced = raced


class Connection:
    """One keep-alive connection; `request` writes one GET and reads the whole answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.used = False
        self.closing = False

    @property
    def stale(self) -> bool:
        """Whether the server has closed it, seen before writing."""
        return self.closing or self._reader.at_eof() or self._writer.is_closing()

    async def request(self, head: bytes) -> tuple[int, bytes]:
        """Send a request and return (status, body).

        Raises:
            Lost: the answer did not come, or not whole.
        """
        reused, self.used = self.used, True
        try:
            self._writer.write(head)
            await self._writer.drain()
            raw = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise Lost("connection closed without an answer", raced=reused and not error.partial) from error
        except OSError as error:
            raise Lost(f"connection failed: {error.strerror or error}", raced=reused) from error
        lines = raw.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.closing = headers.get("connection", "").lower() == "close"
        try:
            body = await self._body(headers)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Lost("answer cut short") from error
        return int(lines[0].split(" ")[1]), body

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        body = b""
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)
        return body

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True, slots=True)
class Target:
    """Where the load goes: a plain HTTP listener on loopback, a path, and the Host to name."""

    port: int
    path: str
    host: str = "localhost"
    address: str = "127.0.0.1"

    @property
    def head(self) -> bytes:
        return f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode()


class Load:
    """Keep-alive clients that run until stopped; `identify` turns a good body into the identity that was seen."""

    def __init__(self, target: Target, connections: int, identify: Callable[[bytes], str], pause: float = 0.0) -> None:
        self.tally = Tally()
        self._target = target
        self._connections = connections
        self._identify = identify
        self._pause = pause
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let every request in flight finish, then stop."""
        self._stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reached(self, requests: int, timeout: float) -> bool:
        """Wait until so many requests have been made; False when `timeout` seconds pass first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.tally.requests < requests:
                    await asyncio.sleep(0.02)
        return self.tally.requests >= requests

    async def lasting(self, seconds: float) -> None:
        """Let the load go on for a while."""
        await asyncio.sleep(seconds)

    async def _client(self) -> None:
        connection: Connection | None = None
        while not self._stop.is_set():
            if connection is None or connection.stale:
                if connection is not None:
                    connection.close()
                connection = await self._connect()
            if connection is not None and not await self._one(connection):
                connection.close()
                connection = None
            await asyncio.sleep(self._pause)
        if connection is not None:
            connection.close()

    async def _connect(self) -> Connection | None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                streams = await asyncio.open_connection(self._target.address, self._target.port, limit=MAX_HEADER_BYTES)
        except OSError as error:
            self.tally.requests += 1
            self.tally.failures[f"cannot connect: {error.strerror or 'timed out'}"] += 1
            return None
        self.tally.connections += 1
        return Connection(*streams)

    async def _one(self, connection: Connection) -> bool:
        tally = self.tally
        tally.requests += 1
        started = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                status, body = await connection.request(self._target.head)
        except Lost as loss:
            if loss.raced:
                tally.races += 1
            else:
                tally.failures[str(loss)] += 1
            return False
        except TimeoutError:
            tally.failures[f"no answer in {REQUEST_TIMEOUT:.0f} s"] += 1
            return False
        ended = time.monotonic()
        tally.longest = max(tally.longest, ended - started)
        if status != 200:
            tally.failures[f"status {status}"] += 1
            return True
        tally.answered += 1
        seen = self._identify(body)
        tally.first_seen.setdefault(seen, ended)
        # The answer belongs to the moment the request was sent: a slow answer is not an old identity.
        tally.last_seen[seen] = started
        return True
