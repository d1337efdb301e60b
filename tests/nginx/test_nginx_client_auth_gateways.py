"""Applications behind FastCGI, SCGI and gRPC are told who came by nginx alone, whatever headers the client sends."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.nginx.test_nginx_client_auth_live import FULL, SPOOFED, Keys, backend, call, guard, keys
from tests.nginx.test_nginx_families_live import bench, each_build, exactly
from troth.host.ports import free_ports

__all__ = ["keys"]
BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6  # FastCGI 1.0 §8
Parameters = dict[str, list[str]]
Speak = Callable[[socket.socket], tuple[Iterator[tuple[str, str]], bytes]]


def _length(data: bytes, at: int) -> tuple[int, int]:
    """The length of a name or value, and where the next thing stands (FastCGI 1.0 §3.4)."""
    if data[at] < 128:
        return data[at], at + 1
    return int.from_bytes(data[at : at + 4], "big") & 0x7FFFFFFF, at + 4


def _pairs(data: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(data):
        name, at = _length(data, at)
        value, at = _length(data, at)
        yield data[at : at + name].decode(), data[at + name : at + name + value].decode()
        at += name + value


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content


def fastcgi(plain: socket.socket) -> tuple[Iterator[tuple[str, str]], bytes]:
    """A responder: the parameters of a request, and the answer (FastCGI 1.0 §6.2)."""
    parameters, kind, content = b"", BEGIN, b"begin"
    while kind != STDIN or content:
        _, kind, _, size, padding = struct.unpack(">BBHHBx", exactly(plain, 8))
        content = exactly(plain, size + padding)[:size]
        parameters += content if kind == PARAMS else b""
    answer = _record(STDOUT, b"Content-Type: text/plain\r\n\r\nok") + _record(STDOUT, b"")
    return _pairs(parameters), answer + _record(END, bytes(8))


def scgi(plain: socket.socket) -> tuple[Iterator[tuple[str, str]], bytes]:
    """The headers of a request, a netstring of names and values that end in zero bytes, and the answer."""
    size = b""
    while (digit := exactly(plain, 1)) != b":":
        size += digit
    words = exactly(plain, int(size) + 1)[:-2].decode().split("\0")
    return zip(words[::2], words[1::2], strict=True), b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nok"


@contextlib.contextmanager
def gateway(speak: Speak) -> Iterator[tuple[int, list[Parameters]]]:
    """An application's port, and what it is told about clients by each request."""
    told: list[Parameters] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), plain:
                plain.settimeout(10)
                found: Parameters = {}
                pairs, answer = speak(plain)
                for name, value in pairs:
                    if "CLIENT" in name:
                        found.setdefault(name, []).append(value)
                told.append(found)
                plain.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], told
        listener.shutdown(socket.SHUT_RDWR)


def server(port: int, keys: Keys, lines: str) -> str:
    tls = keys.ours.directory
    return (
        f"server {{ listen 127.0.0.1:{port} ssl; server_name app.test; ssl_protocols TLSv1.2 TLSv1.3;\n"
        f"ssl_certificate {tls}/server.crt; ssl_certificate_key {tls}/server.key;\n"
        f"underscores_in_headers on;\nlocation / {{ {lines} }}\n}}\n"
    )


def assert_ours(found: Parameters, prefix: str) -> None:
    """What nginx says of a verified client, once each, and nothing that the client said."""
    assert found.pop(f"{prefix}X_SSL_CLIENT_VERIFY") == ["SUCCESS"]
    assert found.pop(f"{prefix}X_SSL_CLIENT_S_DN") == ["CN=good"]
    (serial,) = found.pop(f"{prefix}X_SSL_CLIENT_SERIAL")
    assert FULL.fullmatch(serial)
    assert len(found.pop(f"{prefix}X_SSL_CLIENT_FINGERPRINT")) == 1
    assert len(found.pop(f"{prefix}X_SSL_CLIENT_NOT_AFTER")) == 1
    assert found == {}


@each_build
@pytest.mark.parametrize("speak", [fastcgi, scgi])
def test_a_client_cannot_name_itself_to_a_gateway(build: str, speak: Speak, keys: Keys) -> None:
    (port,), good = free_ports(1), keys.ours.directory / "good"
    module = speak.__name__
    with gateway(speak) as (app, told):
        lines = f"{module}_param REQUEST_METHOD $request_method; {module}_pass 127.0.0.1:{app};"
        with bench(build, keys.ours, server(port, keys, lines)) as one:
            assert call(port, "/", None)[0] == 200
            spoofed = told.pop()
            assert "SUCCESS" in spoofed["HTTP_X_SSL_CLIENT_VERIFY"], "what the change is for"
            one.apply(guards=(guard(keys),))
            assert call(port, "/", None)[0] == 400
            assert told == []
            assert call(port, "/", good)[0] == 200
            assert_ours(told.pop(), "HTTP_")


@each_build
def test_a_client_cannot_name_itself_over_grpc(build: str, keys: Keys) -> None:
    """The gRPC server is an nginx that hands on every header it got, repeated ones too."""
    (port, middle), good = free_ports(2), keys.ours.directory / "good"
    with backend() as app:
        text = server(port, keys, f"grpc_pass grpc://127.0.0.1:{middle};") + (
            f"server {{ listen 127.0.0.1:{middle} http2; underscores_in_headers on;\n"
            f"location / {{ proxy_pass http://127.0.0.1:{app.port}; }} }}\n"
        )
        with bench(build, keys.ours, text) as one:
            assert call(port, "/pkg.S/M", None)[0] == 200
            assert "SUCCESS" in app.told()["X_SSL_CLIENT_VERIFY"], "what the change is for"
            one.apply(guards=(guard(keys),))
            seen = len(app.received)
            assert call(port, "/pkg.S/M", None, SPOOFED)[0] == 400
            assert len(app.received) == seen
            assert call(port, "/pkg.S/M", good)[0] == 200
            assert_ours(app.told(), "")
