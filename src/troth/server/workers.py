"""The serving program: open the port and the database first, then one process or several that share the port."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from troth.ca.config import Configuration
from troth.errors import TrothError
from troth.host import clock
from troth.host.systemd import notify
from troth.server import ServerError
from troth.server.listener import Listening, serve
from troth.server.log import Log
from troth.server.predecessor import check_imported
from troth.server.state import Loaded, Password, load
from troth.store.sqlite import open_store

MAX_WORKERS = 64
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Options:
    """How to serve: files, number of processes, and where passwords come from."""

    config: Path
    base: Path
    password: Password
    workers: int = 1
    quiet: bool = False


def run(options: Options) -> int:
    """Serve until told to stop; the exit code of the program.

    Raises:
        TrothError: the configuration, a key, the database or the port cannot be used.
    """
    # Until there is something to reload, being told to reload must not end the program.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
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
    listeners = [Listening(loaded, reload, one, database, log, two) for one, two in zip(sockets, plain, strict=True)]
    where = f"{loaded.configuration.host or '0.0.0.0'}:{loaded.configuration.port}"  # noqa: S104 - as configured
    log.event("serving", address=where, workers=options.workers, config=options.config)
    if options.workers == 1:
        uvloop.run(serve(listeners[0], lambda: notify("READY=1")))
        return 0
    return Supervisor(listeners, log).run()


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
    """Listening sockets, one a process. With several, the port is first taken alone, so that it is nobody else's.

    Raises:
        ServerError: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host or (not host and socket.has_dualstack_ipv6()) else socket.AF_INET
    try:
        first = _socket(family, host, port, shared=False)
        if count == 1:
            return [first]
        first.close()
        return [_socket(family, host, port, shared=True) for _ in range(count)]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ServerError(
            f"cannot listen on {host or '*'}:{port}: {reason}",
            hint=f"stop the other program, or change {member!r} in ca.json",
        ) from error


def _socket(family: socket.AddressFamily, host: str, port: int, *, shared: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(host)))
        one.bind((host, port))
        one.listen(1024)
        one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


class Supervisor:
    """Forks one process a listener, passes signals on, and replaces a process that dies."""

    def __init__(self, listeners: Sequence[Listening], log: Log) -> None:
        self._listeners = listeners
        self._log = log
        self._children: dict[int, Listening] = {}
        self._stopping = False

    def run(self) -> int:
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        for listening in self._listeners:
            self._start(listening)
        notify("READY=1")
        while self._children:
            self._reap()
        return 0

    def _forward(self, number: int, _: object) -> None:
        self._stopping = self._stopping or number != signal.SIGHUP
        for pid in self._children:
            os.kill(pid, number)

    def _reap(self) -> None:
        pid, status = os.wait()
        listening = self._children.pop(pid, None)
        if listening is None or self._stopping:
            return
        self._log.failure("worker died and is replaced", pid=pid, status=os.waitstatus_to_exitcode(status))
        self._start(listening)

    def _start(self, listening: Listening) -> None:
        pid = os.fork()
        if pid:
            self._children[pid] = listening
            return
        os._exit(_work(lambda: uvloop.run(serve(listening, lambda: None)), self._log))


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
