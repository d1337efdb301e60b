"""grpc, uwsgi and stream with real nginx: upstreams receive what they did, and the agent asks each module who it is."""

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.nginx.sites import MODULES
from tests.nginx.test_nginx_corpus import NOW
from tests.rig.nginx import frame, program, programs, short_directory
from tests.rig.pki import Pki
from troth.agent.apply import apply_plan, read_config
from troth.agent.checks import read_facts
from troth.agent.proxy import NginxProxy, ProofError
from troth.host.files import read_file
from troth.host.http import get
from troth.host.nginx import Nginx
from troth.host.ports import free_ports
from troth.host.witness import Shown, Witness
from troth.nginx.client_auth import ClientAuth
from troth.nginx.family import FAMILIES
from troth.nginx.plan import Declaration, Plan, make_plan
from troth.nginx.render import Identity, Witnesses
from troth.x509.keys import parse_private_key
from troth.x509.pem import parse_certificates

BUILDS = sorted(programs())
each_build = pytest.mark.parametrize("build", BUILDS)


@pytest.fixture(scope="module")
def pki() -> Iterator[Pki]:
    with short_directory("families-pki") as directory:
        made = Pki(directory / "tls")
        for name in ("one", "two"):
            made.leaf(name)
        made.leaf("localhost", file="server")
        yield made


@dataclass
class Bench:
    """An nginx with a body in ``http`` and one in ``stream``, and what is declared for it."""

    build: str
    directory: Path
    pki: Pki
    http: str = ""
    stream: str = ""
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def nginx(self) -> Nginx:
        return Nginx(program(self.build), self.directory / "nginx.conf", self.directory)

    def write(self) -> None:
        module = MODULES / "ngx_stream_module.so"
        if self.build == "system" and not module.exists():
            pytest.skip("nginx's ngx_stream_module.so is not installed")
        head = f"load_module {module};\n" if self.build == "system" and self.stream else ""
        if self.stream:
            head += f"stream {{\n{self.stream}}}\n"
        (self.directory / "nginx.conf").write_text(frame(self.directory, self.http, head=head))
        names = [family.witness(name) for family in FAMILIES for name in ("one", "two")]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))

    def identity(self, name: str) -> Identity:
        base = self.pki.directory
        return Identity(name, str(base / f"{name}.crt"), str(base / f"{name}.key"), str(base / "ca.crt"))

    def plan(self, *wanted: Declaration, guards: tuple[ClientAuth, ...] = ()) -> Plan:
        identities = list(dict.fromkeys(one.identity for one in wanted))
        witnesses = Witnesses(str(self.directory / "witness"), self.ports)
        include = f"{self.directory}/troth"
        config, capabilities = read_config(self.nginx), self.nginx.capabilities()
        return make_plan(config, wanted, identities, capabilities, include, witnesses, guards)

    def apply(self, *wanted: Declaration, guards: tuple[ClientAuth, ...] = ()) -> Plan:
        made = self.plan(*wanted, guards=guards)
        apply_plan(made, self.nginx, self.directory / "state", now=NOW)
        assert self.plan(*wanted, guards=guards).empty
        return made

    def proxy(self) -> NginxProxy:
        (self.directory / "witness").mkdir(mode=0o711, exist_ok=True)
        return NginxProxy(self.nginx, (), self.directory / "troth", self.directory / "witness", {})


@contextlib.contextmanager
def bench(build: str, pki: Pki, http: str = "", stream: str = "") -> Iterator[Bench]:
    """A running nginx."""
    with short_directory("families") as directory:
        one = Bench(build, directory, pki, http, stream)
        one.write()
        one.nginx.start()
        try:
            yield one
        finally:
            one.nginx.stop()


@dataclass
class Upstream:
    """A TLS server that keeps what each connection sent; `uwsgi` packets are answered, other bytes are sent back."""

    port: int
    uwsgi: bool
    received: list[bytes] = field(default_factory=list)
    serials: list[str] = field(default_factory=list)

    def serve(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
            tls.settimeout(10)
            certificate = tls.getpeercert()
            self.serials.append(str(certificate["serialNumber"]) if certificate else "")
            if self.uwsgi:
                head = exactly(tls, 4)
                (size,) = struct.unpack("<H", head[1:3])
                self.received.append(head + exactly(tls, size))
                tls.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://localhost/x\r\nContent-Length: 2\r\n\r\nok")
            else:
                while data := tls.recv(65_536):
                    self.received.append(data)
                    tls.sendall(data.upper())


def exactly(tls: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = tls.recv(count - len(data))
        if not piece:
            raise OSError("ended")
        data += piece
    return data


@contextlib.contextmanager
def upstream(pki: Pki, *, uwsgi: bool) -> Iterator[Upstream]:
    """A server that asks for a client certificate and goes on without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.directory / "server.crt", pki.directory / "server.key")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(pki.directory / "ca.crt")
    listener = socket.create_server(("127.0.0.1", 0))
    one = Upstream(listener.getsockname()[1], uwsgi)

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one.serve, args=(plain, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield one
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def serial(pki: Pki, name: str) -> str:
    return f"{read_facts(read_file(pki.directory / f'{name}.crt')).serial:x}".upper()


def told(one: Upstream) -> str:
    return one.serials[-1].lstrip("0")


@each_build
def test_a_uwsgi_upstream_receives_the_same_packet_and_the_client_the_same_answer(build: str, pki: Pki) -> None:
    (port,) = free_ports(1)
    with upstream(pki, uwsgi=True) as server:
        site = (
            f"server {{ listen 127.0.0.1:{port}; server_name app.test; uwsgi_param REQUEST_URI $request_uri;\n"
            f" location / {{ uwsgi_pass suwsgi://localhost:{server.port}; }}\n}}\n"
        )
        with bench(build, pki, site) as one:
            before = get(port, "/a?b=%2F", "app.test"), server.received[-1]
            assert told(server) == ""
            plan = one.apply(Declaration("app.test", "/", one.identity("one")))
            after = get(port, "/a?b=%2F", "app.test"), server.received[-1]
            assert plan.notes == ()
            assert (before[0].status, before[0].body) == (302, b"ok")
            for reply, _ in (before, after):
                reply.headers.pop("date")
            assert before == after
            assert told(server) == serial(pki, "one")


@each_build
def test_a_stream_upstream_receives_the_same_bytes(build: str, pki: Pki) -> None:
    (port,) = free_ports(1)
    with upstream(pki, uwsgi=False) as server:
        text = f"proxy_ssl on;\nserver {{ listen 127.0.0.1:{port}; proxy_pass localhost:{server.port}; }}\n"
        with bench(build, pki, stream=text) as one:
            assert echo(port, b"before \x00\xff") == b"BEFORE \x00\xff"
            plan = one.apply(Declaration("", "", one.identity("one"), listen=str(port)))
            assert plan.notes == ()
            assert echo(port, b"after \x00\xff") == b"AFTER \x00\xff"
            assert server.received == [b"before \x00\xff", b"after \x00\xff"]
            assert told(server) == serial(pki, "one")


def echo(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(data)
        return plain.recv(65_536)


def logged(log: Path, count: int) -> list[str]:
    """The lines of an access log, which nginx writes after it has answered."""
    until = time.monotonic() + 10
    while len(lines := log.read_text().splitlines()) < count and time.monotonic() < until:
        time.sleep(0.02)
    return lines


@each_build
def test_a_grpc_upstream_sees_the_same_name_headers_and_body(build: str, pki: Pki) -> None:
    port, up = free_ports(2)
    log = (
        "log_format all escape=json '$host|$http_host|$request|$http_x_a|$http_te|$ssl_client_serial|$content_length';"
    )
    tls = "ssl_certificate {0}/server.crt; ssl_certificate_key {0}/server.key; ssl_client_certificate {0}/ca.crt;"
    with bench(build, pki, "") as one:
        access = one.directory / "up.log"
        one.http = (
            f"{log}\nserver {{ listen 127.0.0.1:{up} ssl http2; access_log {access} all; ssl_verify_client optional;\n"
            f" ssl_protocols TLSv1.2 TLSv1.3; {tls.format(pki.directory)}\n"
            f" location / {{ add_header X-Up $http_host; return 200 body; }} }}\n"
            f"server {{ listen 127.0.0.1:{port}; server_name app.test; grpc_set_header X-A 'b c';\n"
            f" location / {{ grpc_pass grpcs://localhost:{up}; }} }}\n"
        )
        one.write()
        one.nginx.reload()
        before = get(port, "/pkg.S/M?x=1", "app.test")
        plan = one.apply(Declaration("app.test", "/", one.identity("one")))
        after = get(port, "/pkg.S/M?x=1", "app.test")
        assert before.status == 200
        assert (before.status, before.body) == (after.status, after.body)
        lines = [line.split("|") for line in logged(access, 2)]
        assert lines[0][5] == ""
        assert lines[1][5].lstrip("0") == serial(pki, "one")
        same = [[*line[:5], line[6]] for line in lines]
        if build == "system":
            # 1.22 takes :authority for $host only; that it becomes host is what the note says.
            same = [[one, *rest] for one, _, *rest in same]
        assert same[0] == same[1]
        assert [note.partition(": ")[2] for note in plan.notes] == [
            "the upstream receives its name as host instead of :authority (RFC 9113 §8.3.1)"
        ]


@each_build
def test_two_identities_on_one_stream_upstream_leak_before_and_are_apart_after(build: str, pki: Pki) -> None:
    ports = free_ports(2)
    with upstream(pki, uwsgi=False) as server:
        servers = "".join(
            f"server {{ listen 127.0.0.1:{port}; proxy_pass dbs; proxy_ssl on;\n"
            f" proxy_ssl_certificate {pki.directory}/{name}.crt;\n"
            f" proxy_ssl_certificate_key {pki.directory}/{name}.key; }}\n"
            for port, name in zip(ports, ("one", "two"), strict=True)
        )
        text = f"proxy_ssl_session_reuse on;\nupstream dbs {{ server localhost:{server.port}; }}\n{servers}"
        with bench(build, pki, stream=text) as one:
            wanted = [
                Declaration("", "", one.identity(name), name="localhost", listen=str(port))
                for port, name in zip(ports, ("one", "two"), strict=True)
            ]
            one.apply(*wanted)
            for _ in range(3):
                for port, name in zip(ports, ("one", "two"), strict=True):
                    echo(port, b"x")
                    assert told(server) == serial(pki, name)


@each_build
@pytest.mark.parametrize("module", ["grpc", "uwsgi", "stream"])
def test_the_agent_asks_the_module_that_shows_the_identity(build: str, module: str, pki: Pki) -> None:
    (port,) = free_ports(1)
    scheme = {"grpc": "grpcs", "uwsgi": "suwsgi"}.get(module, "")
    http = f"server {{ listen 127.0.0.1:{port}; location / {{ {module}_pass {scheme}://localhost:1; }} }}\n"
    stream = f"server {{ listen 127.0.0.1:{port}; proxy_pass localhost:1; proxy_ssl on; }}\n"
    with bench(build, pki, "" if module == "stream" else http, stream if module == "stream" else "") as one:
        own = one.directory / "own"
        own.mkdir()
        for name in ("crt", "key"):
            (own / f"c.{name}").write_bytes((pki.directory / f"one.{name}").read_bytes())
        identity = Identity("one", str(own / "c.crt"), str(own / "c.key"), str(pki.directory / "ca.crt"))
        wanted = (
            Declaration("", "", identity, listen=str(port)) if module == "stream" else Declaration("", "/", identity)
        )
        one.apply(wanted)
        proxy = one.proxy()
        first, second = (read_facts(read_file(pki.directory / f"{name}.crt")) for name in ("one", "two"))
        proof = proxy.prove("one", first, 10)
        assert (proof.kind, proof.detail) == (
            "witness",
            f"nginx showed serial {first.serial:x} to the witness by {module}",
        )
        for name in ("crt", "key"):
            # Another inode: nginx 1.27.2 and later keep what has the same one and was changed in the same second.
            (own / "new").write_bytes((pki.directory / f"two.{name}").read_bytes())
            (own / "new").rename(own / f"c.{name}")
        with pytest.raises(ProofError, match=f"by {module}, expected serial {second.serial:x}"):
            proxy.prove("one", second, 1)
        proxy.reload()
        assert proxy.prove("one", second, 10).kind == "witness"


def test_the_witness_answers_every_module(pki: Pki) -> None:
    chain = parse_certificates(read_file(pki.directory / "server.crt"))
    key = parse_private_key(read_file(pki.directory / "server.key"), None, "key")
    with Witness(0, Shown(tuple(chain), key), chain) as witness:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", witness.port)) as plain, context.wrap_socket(plain) as tls:
            tls.sendall(b"\x00\x00\x00\x00")
            assert json.loads(tls.recv(65_536).partition(b"\r\n\r\n")[2])["serial"] == ""
