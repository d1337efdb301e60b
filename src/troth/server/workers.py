"""The serving program: open the port and the database first, then one process or several that share the port."""

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from troth.ca.config import Configuration
from troth.errors import TrothError
from troth.host import clock
from troth.host.systemd import Manager, watchdog_seconds
from troth.server import ServerError
from troth.server.connection import Limits
from troth.server.listener import Listening, serve
from troth.server.log import Log
from troth.server.predecessor import check_imported
from troth.server.reports import READY, RELOADED, PipeReports
from troth.server.state import Loaded, Password, load
from troth.store.sqlite import open_store

MAX_WORKERS = 64
MOST_REPORTS = 4096
# Between reports of a process, where no manager asks for its own.
LONGEST_SILENCE_SECONDS = 60.0
MAX_FILES = 65_536
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Options:
    """How to serve: files, number of processes, and where passwords come from."""

    config: Path
    base: Path
    password: Password
    workers: int = 1
    quiet: bool = False
    limits: Limits = field(default_factory=Limits)


def run(options: Options) -> int:
    """Serve until told to stop; the exit code of the program.

    Raises:
        TrothError: the configuration, a key, the database or the port cannot be used.
    """
    # Until there is something to reload, being told to reload must not end the program.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _allow_many_files()
    started = clock.now()
    remembered = _remember(options.password)

    def reload() -> Loaded:
        return load(options.config, options.base, remembered, started)

    loaded = reload()
    log = Log(loaded.configuration.log_format, options.quiet)
    database = options.base / "troth.sqlite"
    # The schema is made before there are several processes to make it.
    with contextlib.closing(open_store(database)) as store:
        check_imported(loaded.configuration.database, options.config, options.base, store)
    sockets = bind(loaded.configuration.host, loaded.configuration.port, options.workers)
    plain = _bind_plain(loaded.configuration, options.workers)
    listeners = [
        Listening(loaded, reload, one, database, log, two, options.limits)
        for one, two in zip(sockets, plain, strict=True)
    ]
    where = f"{loaded.configuration.host or '0.0.0.0'}:{loaded.configuration.port}"  # noqa: S104 - as configured
    log.event("serving", address=where, workers=options.workers, config=options.config)
    if options.workers == 1:
        seconds = watchdog_seconds()
        uvloop.run(serve(listeners[0], Manager(), seconds / 2 if seconds is not None else None))
        return 0
    return Supervisor(listeners, log, Manager(), watchdog_seconds()).run()


def _allow_many_files() -> None:
    """Every connection is an open file, and the usual soft limit of 1024 is soon reached by clients that do nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _remember(password: Password) -> Password:
    """Ask once: a reload must not prompt."""
    known: dict[str, bytes] = {}

    def ask(name: str) -> bytes:
        if name not in known:
            known[name] = password(name)
        return known[name]

    return ask


def _bind_plain(configuration: Configuration, count: int) -> Sequence[socket.socket | None]:
    """Sockets for what is served without TLS; none unless there are revocation lists to serve."""
    if configuration.insecure is None or configuration.lists is None:
        return [None] * count
    return bind(*configuration.insecure, count, "insecureAddress")


def bind(host: str, port: int, count: int, member: str = "address") -> list[socket.socket]:
    """Listening sockets, one a process. With several, the port is first bound alone, so that it is nobody else's.

    That first one does not listen: who connected to it would be cut off again.

    Raises:
        ServerError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host or (not host and socket.has_dualstack_ipv6()) else socket.AF_INET
    try:
        if count == 1:
            return [_socket(family, host, port, shared=False)]
        _socket(family, host, port, shared=False, listens=False).close()
        return [_socket(family, host, port, shared=True) for _ in range(count)]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ServerError(
            f"cannot listen on {host or '*'}:{port}: {reason}",
            hint=f"stop the other program, or change {member!r} in ca.json",
        ) from error


def _socket(family: socket.AddressFamily, host: str, port: int, *, shared: bool, listens: bool = True) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(host)))
        one.bind((host, port))
        if listens:
            one.listen(1024)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


class Supervisor:
    """Forks one process a listener, passes signals on, and replaces a process that dies.

    The manager is told what holds for all: ready when each is, reloaded when each has, alive while each is.
    """

    def __init__(self, listeners: Sequence[Listening], log: Log, manager: Manager, watchdog: float | None) -> None:
        self._listeners = listeners
        self._log = log
        self._manager = manager
        self._beat = (watchdog or LONGEST_SILENCE_SECONDS) / 4
        self._children: dict[int, _Child] = {}
        self._stopping = False
        self._announced = False
        self._reloading: set[int] = set()
        # Nothing is ever written: a worker reads its end once nobody holds the other, which only we do.
        self._life = os.pipe()

    def run(self) -> int:
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        for listening in self._listeners:
            self._start(listening)
        while self._children:
            self._listen()
            self._reap()
        return 0

    def _forward(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self._manager.reloading()
            self._reloading = set(self._children)
        elif not self._stopping:
            self._stopping = True
            self._manager.stopping()
        for pid in self._children:
            os.kill(pid, number)

    def _listen(self) -> None:
        """Hear what the processes say; an end of file is a process that has ended."""
        pipes = {child.pipe: pid for pid, child in self._children.items()}
        for pipe in select.select(list(pipes), [], [], self._beat)[0]:
            said = os.read(pipe, MOST_REPORTS)
            child = self._children[pipes[pipe]]
            child.heard = time.monotonic()
            child.ready = child.ready or READY in said
            if RELOADED in said:
                self._reloaded(pipes[pipe])
        every = self._children.values()
        if not self._announced and all(child.ready for child in every):
            self._announced = True
            self._manager.ready()
        if all(time.monotonic() - child.heard < 3 * self._beat for child in every):
            self._manager.alive()

    def _reloaded(self, pid: int) -> None:
        if pid in self._reloading:
            self._reloading.discard(pid)
            if not self._reloading:
                self._manager.ready()

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            child = self._children.pop(pid)
            os.close(child.pipe)
            self._reloaded(pid)
            if not self._stopping:
                self._log.failure("worker died and is replaced", pid=pid, status=os.waitstatus_to_exitcode(status))
                self._start(child.listening)

    def _start(self, listening: Listening) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            self._children[pid] = _Child(listening, reading, time.monotonic())
            return
        os.close(reading)
        os.close(self._life[1])
        os.set_blocking(writing, False)
        reports = PipeReports(writing)
        os._exit(_work(lambda: uvloop.run(serve(listening, reports, self._beat, self._life[0])), self._log))


@dataclass
class _Child:
    """A process: what it serves, the pipe it reports through, and when it was last heard."""

    listening: Listening
    pipe: int
    heard: float
    ready: bool = False


def _work(serve_until_stopped: Callable[[], None], log: Log) -> int:
    """A worker's whole life; whatever happens, it must not return into the parent's code."""
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_DFL)
    try:
        serve_until_stopped()
        code = 0
    except TrothError as error:
        log.failure("worker cannot serve", error=error.message)
        code = 1
    except BaseException as error:
        log.failure("worker failed", error=f"{type(error).__name__}: {error}")
        code = 1
    sys.stderr.flush()
    return code
