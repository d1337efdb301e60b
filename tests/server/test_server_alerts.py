"""A client whose certificate is refused hears why in TLS, as from step-ca, and the operator's log says so."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.authority import Served, founded
from tests.server.calls import call
from tests.x509.authorities import issue
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import to_pem


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with founded(tmp_path_factory.mktemp("authority")) as one:
        one.start()
        yield one


def stranger(directory: Path) -> Path:
    leaf = issue("stranger", issue("another root", authority=True))
    pair = directory / "stranger"
    pair.write_bytes(to_pem(leaf.certificate).encode() + private_key_to_pem(leaf.key))
    return pair


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_stranger_hears_that_nobody_knows_its_authority(
    served: Served, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = served.tls()
    context.maximum_version = version
    context.load_cert_chain(stranger(tmp_path))
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=10) as plain,
        pytest.raises(ssl.SSLError, match=r"(?i)unknown[ _]ca"),
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"POST /renew HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1)
    assert "client certificate refused in the handshake" in served.log
    assert "unable to get" in served.log
    assert call(served, "GET", "/health")[0] == 200


def test_what_is_not_tls_is_closed_at_once(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=3) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert plain.recv(100) == b""
    assert "Traceback" not in served.log
