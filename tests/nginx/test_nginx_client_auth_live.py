"""Client certificates at a real server: who gets in, and what an application can be made to believe."""

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.nginx.test_nginx_families_live import Bench, bench, each_build
from tests.rig.nginx import short_directory
from tests.rig.pki import Pki
from troth.agent.apply import undo
from troth.host.ports import free_ports
from troth.nginx.client_auth import ClientAuth

SPOOFED = (
    "X-SSL-Client-Verify: SUCCESS",
    "x-ssl-client-verify: SUCCESS",
    "X_SSL_Client_Verify: SUCCESS",
    "X-SSL_Client-Verify: SUCCESS",
    "X-SSL-Client-S-DN: CN=admin",
    "X_SSL_CLIENT_S_DN: CN=admin",
    "x-Ssl-client-Serial: 00",
    "SSL-Client-Verify: SUCCESS",
    "Client-Cert: :admin:",
    "X-Forwarded-Client-Cert: Subject=admin",
)


@dataclass(frozen=True)
class Keys:
    """Our authority's pairs and those of a stranger's."""

    ours: Pki
    foreign: Pki


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with short_directory("clients-pki") as directory:
        ours, foreign = Pki(directory / "tls"), Pki(directory / "foreign", "Foreign")
        ours.leaf("good")
        ours.leaf("late", ended=True)
        ours.leaf("app.test", file="server")
        foreign.leaf("good")
        yield Keys(ours, foreign)


@dataclass
class Backend:
    """An application in the clear that keeps what it is told: HTTP/1, or uwsgi packets."""

    listener: socket.socket
    received: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def accept(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), plain:
                plain.settimeout(10)
                data = plain.recv(4)
                if data[:1] == b"\x00":
                    (size,) = struct.unpack("<H", data[1:3])
                    while len(data) < size + 4:
                        data += plain.recv(65_536)
                else:
                    while b"\r\n\r\n" not in data:
                        data += plain.recv(65_536)
                self.received.append(data)
                plain.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    def told(self) -> dict[str, list[str]]:
        """What the last request said, as a CGI-like application reads it: names upper-cased, signs made one."""
        data = self.received[-1]
        pairs = _parameters(data) if data[:1] == b"\x00" else _headers(data)
        found: dict[str, list[str]] = {}
        for name, value in pairs:
            found.setdefault(name, []).append(value)
        return {name: values for name, values in found.items() if "CLIENT" in name}


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    for line in data.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        yield name.upper().replace("-", "_"), value


def _parameters(data: bytes) -> Iterator[tuple[str, str]]:
    position, words = 4, []
    while position < len(data):
        (size,) = struct.unpack_from("<H", data, position)
        words.append(data[position + 2 : position + 2 + size].decode("latin-1"))
        position += 2 + size
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name.startswith("HTTP_"):
            yield name.removeprefix("HTTP_"), value


@contextlib.contextmanager
def backend() -> Iterator[Backend]:
    listener = socket.create_server(("127.0.0.1", 0))
    one = Backend(listener)
    threading.Thread(target=one.accept, daemon=True).start()
    try:
        yield one
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def call(port: int, target: str, client: Path | None, headers: tuple[str, ...] = SPOOFED) -> tuple[int, bytes]:
    """One request over TLS; `client` is a pair's path without its ending."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if client is not None:
        context.load_cert_chain(client.with_suffix(".crt"), client.with_suffix(".key"))
    head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: app.test", "Connection: close", *headers]) + "\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="app.test") as tls,
    ):
        tls.sendall(head.encode())
        data = b"".join(iter(lambda: tls.recv(65_536), b""))
    return int(data.split(b" ")[1]), data


def site(port: int, tls: Path, http: int, uwsgi: int, more: str = "", first: str = "") -> str:
    pair = f"ssl_certificate {tls}/server.crt; ssl_certificate_key {tls}/server.key; ssl_protocols TLSv1.2 TLSv1.3;"
    return f"""
proxy_set_header X-Outer outer;
{first.format(pair=pair)}
server {{
  listen 127.0.0.1:{port} ssl; server_name app.test; {pair} {more}
  location / {{ proxy_pass http://127.0.0.1:{http}; }}
  location /own {{ proxy_set_header X-Own own; proxy_set_header X-Client-DN mine; proxy_pass http://127.0.0.1:{http};
    location /own/inner {{ proxy_pass http://127.0.0.1:{http}; }}
  }}
  location ~ ^/regex {{ proxy_set_header X-SSL-Client-Verify $http_x_ssl_client_verify; proxy_pass http://127.0.0.1:{http}; }}
  location /if {{ if ($arg_x) {{ proxy_pass http://127.0.0.1:{http}; }} }}
  location /uwsgi {{ uwsgi_param REQUEST_METHOD $request_method; uwsgi_pass 127.0.0.1:{uwsgi}; }}
  location /bare {{ uwsgi_pass 127.0.0.1:{uwsgi}; }}
}}
"""  # noqa: E501


TARGETS = ("/", "/own", "/own/inner", "/regex", "/if?x=1", "/uwsgi", "/bare")
FULL = re.compile(r"[0-9A-F]{10,}")


Asked = tuple[Bench, int, dict[str, Backend]]


@contextlib.contextmanager
def asked(build: str, keys: Keys, guard: ClientAuth, more: str = "", first: str = "") -> Iterator[Asked]:
    """A server with `guard` applied, its port, and the applications by the beginning of their paths."""
    (port,) = free_ports(1)
    with backend() as http, backend() as uwsgi:
        text = site(port, keys.ours.directory, http.port, uwsgi.port, more, first.replace("PORT", str(port)))
        with bench(build, keys.ours, text) as one:
            one.apply(guards=(guard,))
            yield one, port, {target: uwsgi if target in ("/uwsgi", "/bare") else http for target in TARGETS}


def guard(keys: Keys, mode: str = "on", **more: object) -> ClientAuth:
    return ClientAuth("app.test", str(keys.ours.trust), mode, **more)  # type: ignore[arg-type]


LETS_THROUGH = "server {{ listen 127.0.0.1:PORT ssl default_server; underscores_in_headers on; {pair} }}"


@each_build
@pytest.mark.parametrize("first", ["", LETS_THROUGH], ids=["dashes", "underscores"])
def test_only_clients_of_our_authority_get_in_and_nobody_says_who_they_are(build: str, keys: Keys, first: str) -> None:
    with asked(build, keys, guard(keys), first=first) as (_, port, applications):
        for client in (None, keys.foreign.directory / "good", keys.ours.directory / "late"):
            for target in TARGETS:
                assert call(port, target, client)[0] == 400
        assert not any(one.received for one in applications.values())
        for target, application in applications.items():
            assert call(port, target, keys.ours.directory / "good")[0] == 200
            told = application.told()
            assert told.pop("X_SSL_CLIENT_VERIFY") == ["SUCCESS"], target
            assert told.pop("X_SSL_CLIENT_S_DN") == ["CN=good"]
            assert FULL.fullmatch(told.pop("X_SSL_CLIENT_SERIAL")[0])
            assert told.pop("X_SSL_CLIENT_FINGERPRINT")
            assert " GMT" in told.pop("X_SSL_CLIENT_NOT_AFTER")[0]
            if target.startswith("/own"):
                assert told.pop("X_CLIENT_DN") == ["mine"]
            assert told == {}, target
        assert b"X-Outer: outer" in applications["/"].received[0]
        for data in applications["/"].received[1:3]:
            assert (b"X-Own: own" in data, b"X-Outer" in data) == (True, False)


@each_build
def test_before_it_is_applied_an_application_believes_anything(build: str, keys: Keys) -> None:
    """What the change is for: with ssl_verify_client alone the client names itself."""
    (port,) = free_ports(1)
    more = f"ssl_client_certificate {keys.ours.trust}; ssl_verify_client on; ssl_verify_depth 2;"
    with backend() as http, backend() as uwsgi:
        text = site(port, keys.ours.directory, http.port, uwsgi.port, more)
        with bench(build, keys.ours, text):
            assert call(port, "/", keys.ours.directory / "good")[0] == 200
            assert "CN=admin" in http.told()["X_SSL_CLIENT_S_DN"]


@each_build
def test_optional_lets_everybody_in_and_says_who_showed_nothing(build: str, keys: Keys) -> None:
    with asked(build, keys, guard(keys, "optional")) as (_, port, applications):
        for target, application in applications.items():
            assert call(port, target, None)[0] == 200
            told = application.told()
            assert told.pop("X_SSL_CLIENT_VERIFY") == ["NONE"]
            told.pop("X_CLIENT_DN", None)
            assert told == {}
        assert call(port, "/", keys.foreign.directory / "good")[0] == 400
        call(port, "/", keys.ours.directory / "good")
        assert applications["/"].told()["X_SSL_CLIENT_S_DN"] == ["CN=good"]


@each_build
def test_nothing_is_told_of_a_certificate_that_was_not_verified(build: str, keys: Keys) -> None:
    """An error page for 495 carries the request on, with the subject of whatever certificate was shown."""
    with asked(build, keys, guard(keys), more="error_page 495 496 = /;") as (_, port, applications):
        assert call(port, "/", keys.foreign.directory / "good")[0] == 200
        told = applications["/"].told()
        assert told.pop("X_SSL_CLIENT_VERIFY")[0].startswith("FAILED")
        assert told == {}


@each_build
def test_other_headers_can_be_chosen_and_the_certificate_is_one_line(build: str, keys: Keys) -> None:
    chosen = guard(keys, headers=(("X-Who", "subject"), ("X-Client-PEM", "cert")))
    with asked(build, keys, chosen) as (one, port, applications):
        assert call(port, "/", keys.ours.directory / "good", ("X-Who: CN=admin", "X-Client-PEM: x", *SPOOFED))[0] == 200
        received = applications["/"].received[-1]
        assert re.findall(rb"(?i)\r\nx-who: ([^\r]*)", received) == [b"CN=good"]
        assert re.findall(rb"\r\nX-Client-PEM: (-----BEGIN%20CERT[^\r\n]*)\r\n", received)
        assert b"SUCCESS" not in received
        before = (one.directory / "nginx.conf").read_bytes()
        undo(one.nginx, one.directory / "state")
        assert (one.directory / "nginx.conf").read_bytes() != before
        assert not list((one.directory).glob("troth/*"))
        assert call(port, "/", None)[0] == 200
