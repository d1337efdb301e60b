"""Clients that stand still, dribble, promise and do not send, or do not listen: cut off in time, and nothing is kept.

The limits are seconds here where the command's are fifteen; what is measured is the same code.
"""

import asyncio
import contextlib
import itertools
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig.authority import Served, founded
from tests.server.calls import call, sign
from troth.server.connection import Limits

LIMITS = Limits(handshake=1, idle=1, body=1, linger=0.5, grace=2)
# Handshake or idle time, a tenth more, what lingers, the end of TLS, and a machine that is busy.
CUT_OFF_BY = 8.0
DRIBBLE = 0.05
POST = b"POST /sign HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /roots HTTP/1.1\r\nHost: localhost\r\n\r\n"
Chunks = Iterator[bytes]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        one.start_limited(LIMITS)
        yield one
        assert one.process is not None and one.process.poll() is None
        assert "Traceback" not in one.log and "level=error" not in one.log
        assert one.stop() == 0


def dribbled(data: bytes) -> Chunks:
    return (data[index : index + 1] for index in range(len(data)))


def endless(data: bytes) -> Chunks:
    return itertools.repeat(data, 1000)


SLOW: dict[str, Callable[[], Chunks]] = {
    "nothing": lambda: iter(()),
    "half a request line": lambda: iter((b"GET /hea",)),
    "a head without its end": lambda: iter((POST,)),
    "a head, octet by octet": lambda: dribbled(POST + b"X: " + b"y" * 2000),
    "headers without end": lambda: itertools.chain(
        (POST,), (b"X-%d: y\r\n" % n for n in range(60)), dribbled(b"z" * 999)
    ),
    "a body that never comes": lambda: iter((POST + b"Content-Length: 9\r\n\r\n",)),
    "half a body": lambda: iter((POST + b'Content-Length: 90\r\n\r\n{"csr":',)),
    "a body, octet by octet": lambda: itertools.chain((POST + b"Content-Length: 2000\r\n\r\n",), dribbled(b"x" * 2000)),
    "a chunk that never comes": lambda: iter((POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",)),
    "chunks without end": lambda: itertools.chain(
        (POST + b"Transfer-Encoding: chunked\r\n\r\n",), endless(b"1\r\nx\r\n")
    ),
    "a body nobody asked for": lambda: itertools.chain(
        (b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n",), dribbled(b"x" * 2000)
    ),
    "a continuation that is waited for": lambda: iter((POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",)),
    "a request, and half of the next": lambda: iter((GET + GET[:20],)),
}


def cut_off_after(connection: socket.socket, chunks: Chunks) -> float:
    """Seconds until the server has closed, while it is sent one chunk after the other."""
    begun = time.monotonic()
    connection.settimeout(DRIBBLE)
    with contextlib.suppress(ConnectionError, ssl.SSLError, BrokenPipeError):
        while time.monotonic() - begun < 30:
            if chunk := next(chunks, b""):
                connection.sendall(chunk)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    break
    return time.monotonic() - begun


@contextlib.contextmanager
def connected(served: Served) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", served.port), 10)
    with served.tls().wrap_socket(plain, server_hostname="localhost") as connection:
        yield connection


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_client_is_cut_off(served: Served, name: str) -> None:
    with connected(served) as connection:
        assert cut_off_after(connection, SLOW[name]()) < CUT_OFF_BY
    assert call(served, "GET", "/health") == (200, {"status": "ok"})


@pytest.mark.parametrize("name", ["nothing", "half a request line"])
def test_a_client_that_does_not_begin_tls_is_cut_off(served: Served, name: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        assert cut_off_after(connection, SLOW[name]()) < CUT_OFF_BY


def test_a_client_that_does_not_listen_is_cut_off(served: Served) -> None:
    with connected(served) as connection:
        connection.settimeout(1)
        begun = time.monotonic()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            while time.monotonic() - begun < 30:
                with contextlib.suppress(TimeoutError):
                    connection.sendall(GET * 100)
        assert time.monotonic() - begun < CUT_OFF_BY


@pytest.mark.parametrize("sent", [b"", GET, GET[:9], POST + b"Content-Length: 9\r\n\r\nabc"])
def test_a_client_that_closes_its_half_is_not_waited_for(served: Served, sent: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)  # no end of TLS: the octets simply stop
        assert cut_off_after(connection, iter(())) < CUT_OFF_BY


def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    paths = [b"/health", b"/version", b"/nowhere", b"/roots"] * 30
    with connected(served) as connection:
        connection.settimeout(10)
        connection.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        answers = b""
        while answers.count(b"HTTP/1.1 ") < len(paths):
            answers += connection.recv(65536)
    found = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert found == [b"200", b"200", b"404", b"201"] * 30


def memory(served: Served) -> int:
    """Resident memory of the server, KiB."""
    assert served.process is not None
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def open_files(served: Served) -> int:
    assert served.process is not None
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


BAD = [
    b"",
    b"\x00\xff" * 500,
    b"GET /health HT",
    POST + b"Content-Length: 500000\r\n\r\n" + b"x" * 100_000,
    POST + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n" + b"x" * 50_000,
    b"GET /" + b"a" * 30_000 + b" HTTP/1.1\r\n\r\n",
    POST + b"X: " + b"y" * 20_000 + b"\r\n" + b"X: " + b"y" * 20_000,
    GET * 200,
]


async def bad_connections(served: Served, count: int) -> None:
    """That many, fifty at once, each left as it is after what it sends: half of them vanish, half wait."""
    context, places = served.tls(), asyncio.Semaphore(50)

    async def one(number: int) -> None:
        async with places:
            with contextlib.suppress(OSError, TimeoutError):
                plain = number % 5 == 0
                _, writer = await asyncio.open_connection(
                    "127.0.0.1",
                    served.port,
                    ssl=None if plain else context,
                    server_hostname=None if plain else "localhost",
                )
                writer.write(BAD[number % len(BAD)])
                await asyncio.sleep(0.01)
                if number % 2:
                    await asyncio.sleep(LIMITS.idle / 2)
                writer.transport.abort()

    await asyncio.gather(*(one(number) for number in range(count)))


def test_two_thousand_bad_connections_leave_nothing_behind(served: Served) -> None:
    files = open_files(served)
    asyncio.run(bad_connections(served, 500))
    before = memory(served)
    asyncio.run(bad_connections(served, 1500))
    until = time.monotonic() + 20
    while open_files(served) > files + 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert open_files(served) <= files + 2
    assert memory(served) - before < 8_000
    assert sign(served, "afterwards.example")[0] == 201


def test_idle_connections_beyond_the_soft_limit_of_open_files_keep_nobody_out(tmp_path: Path) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    with founded(tmp_path) as served, contextlib.ExitStack() as stack:
        served.start(preexec_fn=few_files)
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 10))
        assert call(served, "GET", "/health") == (200, {"status": "ok"})
        assert served.stop() == 0
