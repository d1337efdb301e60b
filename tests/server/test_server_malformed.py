"""What no client of ours sends: refused in step's shape, within the time-out, one line in the log and no stack."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.authority import Served, founded

HOST = b"Host: localhost\r\n"
POST = b"POST /sign HTTP/1.1\r\n" + HOST


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        one.start()
        yield one
        assert one.process is not None and one.process.poll() is None
        assert "Traceback" not in one.log
        assert one.stop() == 0


def send(served: Served, data: bytes, patience: float = 30, *, everything: bool = False) -> bytes:
    """The beginning of what comes back, or everything until the server closes."""
    plain = socket.create_connection(("127.0.0.1", served.port), 10)
    with served.tls().wrap_socket(plain, server_hostname="localhost") as connection:
        connection.settimeout(patience)
        with contextlib.suppress(OSError):
            connection.sendall(data)
        answer = b""
        with contextlib.suppress(OSError):
            while (everything or b"\r\n\r\n" not in answer) and (more := connection.recv(65536)):
                answer += more
        return answer


def post(served: Served, path: str, body: bytes) -> bytes:
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    return send(served, b"POST " + path.encode() + b" HTTP/1.1\r\n" + HOST + length + body)


BODIES = {
    "empty": b"",
    "no UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "very deep": b"[" * 100_000,
    "infinite": b"1e999999",
    "a serial of 5000 digits": b'{"serial":"' + b"9" * 5000 + b'"}',
    "NUL": b'{"csr":"\\u0000","ott":"a.b.c"}',
    "half a surrogate pair": b'{"csr":"\\ud800","ott":"\\ud800.b.c"}',
    "members of other types": b'{"csr":[1],"ott":{}}',
}


@pytest.mark.parametrize("path", ["/sign", "/1.0/revoke", "/rekey", "/renew"])
@pytest.mark.parametrize("name", BODIES)
def test_bodies(served: Served, path: str, name: str) -> None:
    answer = post(served, path, BODIES[name])
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert b"application/json" in answer


REQUESTS = {
    "a negative length": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n",
    "two lengths": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunks": b"POST /sign HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a long path": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "2000 headers": b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % n for n in range(2000)) + b"\r\n",
    "an unknown method": b"FOO /health HTTP/1.1\r\n" + HOST + b"\r\n",
    "two kinds of encoding": b"POST /sign HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: gzip, chunked, x\r\n\r\n0\r\n\r\n",
    "a length with a sign": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
    "a length in hexadecimal": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello",
    "a length of 40 digits": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n",
    "a blank before the colon": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello",
    "a folded header": b"POST /sign HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a NUL in a header": b"GET /health HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "line ends without CR": b"GET /health HTTP/1.1\n" + b"Host: x\n\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "chunks of no size": b"POST /sign HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "chunks longer than said": b"POST /sign HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n0\r\n\r\n",
    "packed content": b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_that_are_not_http(served: Served, name: str) -> None:
    answer = send(served, REQUESTS[name])
    assert answer[:12] in (b"HTTP/1.0 400", b"HTTP/1.1 400"), answer[:200]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head
    assert not body or json.loads(body)["status"] == 400


def test_a_request_smuggled_behind_another_is_not_answered(served: Served) -> None:
    inner = b"GET /version HTTP/1.1\r\n" + HOST + b"\r\n"
    both = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(inner) + 5)
    answer = send(served, POST + both + inner, everything=True)
    assert answer.count(b"HTTP/1.") == 1


def test_an_expectation_nobody_can_meet_is_refused_in_the_same_shape(served: Served) -> None:
    answer = send(served, b"GET /health HTTP/1.1\r\n" + HOST + b"Expect: wonders\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b"application/json" in answer


def test_a_body_of_three_megabytes_is_cut_off(served: Served) -> None:
    assert post(served, "/sign", b"x" * 3_000_000)[:12] in (b"HTTP/1.1 413", b"")


@pytest.mark.parametrize(
    "part", [b"", b"GET /health HT", b"POST /sign HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"]
)
def test_a_client_that_stops_in_the_middle_is_cut_off(served: Served, part: bytes) -> None:
    begun = time.monotonic()
    answer = send(served, part)
    assert time.monotonic() - begun < 25
    assert answer[:12] in (b"", b"HTTP/1.1 408")


def memory(served: Served) -> int:
    """Resident memory of the server, KiB."""
    assert served.process is not None
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_memory_stays_flat_under_large_bodies(served: Served) -> None:
    post(served, "/sign", b"y" * 1_000_000)
    before = memory(served)
    for _ in range(40):
        post(served, "/sign", b'{"csr":"' + b"y" * 1_000_000 + b'"}')
    assert memory(served) - before < 20_000
