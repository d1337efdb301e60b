"""One serving process: the event loop, TLS, time-outs, its own certificate's renewal, reload and graceful stop."""

import asyncio
import contextlib
import gc
import logging
import random
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from troth.errors import TrothError
from troth.host import clock
from troth.server.app import create_app, create_plain_app
from troth.server.connection import Connection, Limits, Sweep
from troth.server.identity import Identity
from troth.server.log import Log
from troth.server.reports import Reports
from troth.server.service import Service
from troth.server.state import Loaded
from troth.store.sqlite import SQLiteStore, open_store

PURGE_SECONDS = 300.0
LOOK_SECONDS = 60.0
RETRY_SECONDS = 60.0
BACKLOG = 1024
COLLECT_AFTER_OBJECTS = 20_000

Socket = socket.socket
Reload = Callable[[], Loaded]


@dataclass(frozen=True)
class Listening:
    """What a process needs to serve."""

    loaded: Loaded
    reload: Reload
    socket: Socket
    database: Path
    log: Log
    plain: Socket | None = None
    limits: Limits = field(default_factory=Limits)


async def serve(
    listening: Listening, reports: Reports, beat: float | None = None, supervisor: int | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, finish what was accepted, return.

    Args:
        listening: what to serve, and where.
        reports: hears of the start, of reloads and of the end.
        beat: seconds after each of which it is told that the loop still turns; None: it does not ask.
        supervisor: a pipe that ends with the supervisor, however that ends: then this ends too, and frees the port.

    Raises:
        TrothError: the database cannot be opened.
    """
    store = open_store(listening.database)
    # What is loaded by now stays: the collector need not walk it each time requests have made enough objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    try:
        await _Process(listening, store, reports).run(beat, supervisor)
    finally:
        store.close()


class _Quiet(logging.Handler):
    """What the HTTP library has to say about requests it could not read: one line in our log, no stack."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ConnectionError):  # a client went away
            return
        reason = " ".join(str(error or record.getMessage()).split())
        self._log.refusal("request is not HTTP that can be read", error=reason[:200])


class _Process:
    def __init__(self, listening: Listening, store: SQLiteStore, reports: Reports) -> None:
        self._listening = listening
        self._reports = reports
        self._log = listening.log
        self._identity = Identity(listening.loaded, refused=self._refused)
        self._service = Service(listening.loaded, store, listening.log, self._identity)
        self._store = store
        self._stop = asyncio.Event()
        self._renewal: asyncio.TimerHandle | None = None
        self._sweep = Sweep()
        self._schedule()

    def _refused(self, reason: str) -> None:
        self._log.refusal("client certificate refused in the handshake", error=reason)

    def _abandoned(self, pipe: int) -> None:
        asyncio.get_running_loop().remove_reader(pipe)
        self._log.failure("the supervisor is gone, so this worker ends")
        self._stop.set()

    async def run(self, beat: float | None, supervisor: int | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        if supervisor is not None:
            loop.add_reader(supervisor, self._abandoned, supervisor)
        library = logging.getLogger("aiohttp.server")
        library.handlers, library.propagate = [_Quiet(self._log)], False
        limits, sweep = self._listening.limits, self._sweep
        app = create_app(self._service, self._log, limits)
        runner = web.AppRunner(app, shutdown_timeout=limits.grace, handle_signals=False)
        await runner.setup()
        # A list of before the start may have missed what was recorded, or end while we were down.
        self._service.publish_lists(self._service.authority.started)
        server = await loop.create_server(
            lambda: _connection(runner, loop, limits, sweep),
            sock=self._listening.socket,
            ssl=self._identity.first,
            ssl_handshake_timeout=limits.handshake,
            ssl_shutdown_timeout=limits.linger,
            backlog=BACKLOG,
        )
        plain = await self._serve_plain(self._listening.plain) if self._listening.plain is not None else None
        tasks = [asyncio.create_task(self._purge()), asyncio.create_task(self._publish())]
        # What was accepted may take a minute to finish: until then the manager is told that this goes on.
        beating = asyncio.create_task(self._beat(beat)) if beat is not None else None
        self._reports.ready()
        await self._stop.wait()
        self._reports.stopping()
        self._log.event("stopping: no new connections, finishing what was accepted")
        server.close()
        for task in tasks:
            task.cancel()
        if plain is not None:
            await plain.cleanup()
        await runner.cleanup()
        if beating is not None:
            beating.cancel()
        if self._renewal is not None:
            self._renewal.cancel()

    async def _serve_plain(self, plain: Socket) -> web.AppRunner:
        loop = asyncio.get_running_loop()
        app = create_plain_app(self._service, self._log)
        runner = web.AppRunner(app, handle_signals=False)
        await runner.setup()
        limits, sweep = self._listening.limits, self._sweep
        await loop.create_server(lambda: _connection(runner, loop, limits, sweep), sock=plain, backlog=BACKLOG)
        return runner

    def _schedule(self) -> None:
        """Come back before our own certificate ends."""
        at = self._identity.certificate.renew_at(random.random())  # noqa: S311 - jitter, not a secret
        self._renew_in((at - clock.now()).total_seconds())

    def _renew_in(self, seconds: float) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().call_later(max(1.0, seconds), self._renew)

    def _renew(self) -> None:
        try:
            self._identity.renew()
            self._schedule()
            self._log.event("server certificate renewed")
        except (TrothError, OSError, ValueError, ssl.SSLError) as error:
            self._log.failure("server certificate could not be renewed", error=error)
            self._renew_in(RETRY_SECONDS)

    def _reload(self) -> None:
        """Read everything again; whatever is wrong with it, the old state goes on serving."""
        self._reports.reloading()
        self._read_again()
        self._reports.ready()

    def _read_again(self) -> None:
        old = self._service.loaded
        try:
            loaded = self._listening.reload()
            self._service.replace(loaded)
            try:
                shown = self._identity.prepare(loaded)
                self._service.publish_lists()
            except Exception:
                self._service.replace(old)
                raise
        except (TrothError, OSError, ValueError) as error:
            self._log.failure("configuration not reloaded, the old one goes on serving", error=error)
            return
        self._identity.adopt(shown)
        self._schedule()
        self._log.event("configuration reloaded")

    async def _beat(self, seconds: float) -> None:
        while True:
            self._reports.alive()
            await asyncio.sleep(seconds)

    async def _publish(self) -> None:
        """Make the revocation lists in time; of several processes the first that looks does."""
        while True:
            lists = self._service.loaded.configuration.lists
            period = lists.period.total_seconds() if lists is not None else LOOK_SECONDS
            await asyncio.sleep(min(LOOK_SECONDS, max(1.0, period / 4)))
            if lists is None:
                continue
            try:
                if self._service.publish_lists(clock.now() - lists.period):
                    self._log.event("revocation lists made")
            except TrothError as error:
                self._log.failure("revocation lists could not be made", error=error.message)

    async def _purge(self) -> None:
        while True:
            await asyncio.sleep(PURGE_SECONDS)
            with contextlib.suppress(TrothError):
                self._store.purge_tokens(clock.now())


def _connection(runner: web.AppRunner, loop: asyncio.AbstractEventLoop, limits: Limits, sweep: Sweep) -> Connection:
    if runner.server is None:
        raise RuntimeError("the server is shutting down")
    return Connection(runner.server, loop, limits, sweep)
