"""What the upstream receives and what the client gets is the same before and after apply, or the plan names it."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.nginx.sites import CORPUS, Case, lay_out, make_certificates
from tests.nginx.test_nginx_corpus import CASES, NOW, Work
from tests.rig.nginx import program, programs, short_directory
from tests.rig.pki import Pki
from troth.agent.apply import apply_plan
from troth.host.ports import free_ports

# Not run as a daemon, listening with TLS only, in front of something that is not there, or with nothing before it.
NOT_LIVE = re.compile(
    r"^(k8s|npm|ingress|mtls|oauth2|certbot|njs-auth|unix|ipv6|crl|default-port|minio|plain-http-moved|new-|empty-|lua-one"
    r"|variable-cert|certificate-cache|grpc[.]|uwsgi[.]|stream-only|other-|asks-)"
)
LIVE = [case for case in CASES.values() if not case.refusal and not NOT_LIVE.match(case.file)]
PATHS = {
    "regex-location.conf": "/api/v1/",
    "regex-braces.conf": "/u/1234/x",
    "trailing-dollar.conf": "/a/b.cgi",
    "named-location.conf": "/anything/",
    "quoted-words.conf": "/up%20load/",
}
HOSTS = {"regex-location.conf": "a.regex.test", ".three.test": "a.three.test", "_": "any.test", "": "any.test"}
NAMES = ("up.test", "app.internal", "app.default.svc")
HEADERS = (
    "Connection: close",
    "User-Agent: test",
    "X-Forwarded-For: 9.9.9.9",
    "X-Probe: {a;b}",
    "Authorization: Basic YWRtaW46c2VjcmV0",
    "Cookie: c=d",
)
# Of one hop or one request only.
CHANGING = re.compile(rb"(?im)^(connection|date|server|x-request-id): [^\r\n]*\r\n")


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("application-pki") as directory:
        yield make_certificates(directory / "tls")


@dataclass
class Upstream:
    """A TLS server that keeps what it is sent and answers as told by the last path segment."""

    port: int
    pki: Pki
    received: list[bytes] = field(default_factory=list)

    def serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(plain, context), daemon=True).start()

    def _connection(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        try:
            with context.wrap_socket(plain, server_side=True) as stream:
                stream.settimeout(10)
                while head := _head(stream):
                    self.received.append(head)
                    stream.sendall(self._answer(head))
        except OSError:
            pass

    def _answer(self, head: bytes) -> bytes:
        host = f"localhost:{self.port}".encode()
        where = {b"0": b"https://" + host + b"/moved?a=b", b"1": b"/relative", b"2": b"http://other.test/"}
        chosen = where.get(head.split(b" ")[1][-1:], b"https://" + host + b"/v2/deep")
        return (
            b"HTTP/1.1 302 Found\r\nLocation: " + chosen + b"\r\nSet-Cookie: a=b; Path=/; Domain=localhost\r\n"
            b"Content-Type: text/plain\r\nContent-Length: 2\r\nRefresh: 5; url=https://" + host + b"/r\r\n\r\nok"
        )


def _head(stream: ssl.SSLSocket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    while length is not None and len(body) < int(length[1]):
        body += stream.recv(65_536)
    return head + b"\r\n\r\n" + body


@contextmanager
def upstream(port: int, pki: Pki) -> Iterator[Upstream]:
    """On a port while the block runs, with a certificate for all names that the corpus checks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = pki.leaf("localhost", also=NAMES)
    context.load_cert_chain(pair.certificate, pair.key)
    server = Upstream(port, pki)
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=server.serve, args=(listener, context))
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def exchange(work: Work, server: Upstream) -> tuple[list[bytes], list[bytes]]:
    """What the upstream received and what the client got, for a handful of requests."""
    server.received.clear()
    words = work.case.location.split()
    path = PATHS.get(work.case.file, words[-1])
    targets = [f"{path}?k={number}" for number in range(4)]
    if path.endswith("/") and words[0] != "=":
        targets += [f"{path}deep/x%20y/%C3%A9?k=0", f"{path}a//b/../c?k=3&z=%2F"]
    got = [ask(work, "GET", target) for target in targets] + [ask(work, "POST", targets[0], b"a=1&b=2")]
    return [CHANGING.sub(b"", one) for one in server.received], [CHANGING.sub(b"", one) for one in got]


def ask(work: Work, method: str, target: str, body: bytes = b"") -> bytes:
    host = HOSTS.get(work.case.file, HOSTS.get(work.case.server, work.case.server))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", *HEADERS]
    head = "\r\n".join(lines) + "\r\n\r\n"
    with socket.create_connection(("127.0.0.1", work.site.ports[80]), timeout=10) as plain:
        plain.sendall(head.encode() + body)
        return b"".join(iter(lambda: plain.recv(65_536), b""))


@pytest.mark.parametrize("case", LIVE, ids=lambda case: case.file)
@pytest.mark.parametrize("build", sorted(programs()))
def test_the_application_sees_no_difference_that_the_plan_does_not_name(build: str, case: Case, pki: Pki) -> None:
    if build not in case.builds:
        return
    with short_directory("live") as directory:
        site = lay_out(CORPUS / case.file, directory, program(build), pki, case.modules)
        work = Work(case, site, free_ports(1)[0])
        with upstream(work.site.ports[8443], pki) as server:
            work.site.nginx.start()
            try:
                before = exchange(work, server)
                assert any(b" 302 " in answer.split(b"\r\n")[0] for answer in before[1]), before[1]
                plan = work.plan()
                apply_plan(plan, work.site.nginx, work.state, now=NOW)
                after = exchange(work, server)
            finally:
                work.site.nginx.stop()
    assert applied(before[0], plan.notes) == after[0]
    assert before[1] == after[1]


def applied(requests: list[bytes], notes: tuple[str, ...]) -> list[bytes]:
    """The requests with each change that the plan names, as it names it, and no other."""
    for note in notes:
        if named := re.search(r"the upstream receives Host (\S+) instead of ", note):
            host = f"Host: {named[1]}\r\n".encode()
            requests = [re.sub(rb"(?im)^host: [^\r\n]*\r\n", host, one) for one in requests]
        if "HTTP/1.1 instead of 1.0" in note:
            requests = [one.replace(b" HTTP/1.0\r\n", b" HTTP/1.1\r\n", 1) for one in requests]
    return requests
