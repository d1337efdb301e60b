"""The witness reports the very certificate a client showed, and why it refused one; also to a real nginx's workers."""

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.nginx import get, program, programs, running, short_directory
from tests.rig.pki import CLIENT, SERVER, Pair, Pki
from troth.host import HostError
from troth.host.ports import free_ports
from troth.host.witness import Seen, Shown, Witness


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory("witness") as path:
        yield path


@pytest.fixture
def pki(directory: Path) -> Pki:
    return Pki(directory / "pki")


@pytest.fixture
def shown(pki: Pki) -> Shown:
    pair = pki.leaf("up.test", file="up", purposes=(SERVER,))
    return Shown(pair.chain, pair.private)


def client_context(pki: Pki, pair: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.trust))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def ask(port: int, context: ssl.SSLContext, times: int = 1) -> list[Seen]:
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.settimeout(5)
        with context.wrap_socket(plain, server_hostname="up.test") as tls:
            answers = []
            for _ in range(times):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: up.test\r\n\r\n")
                body = b""
                while not body.endswith(b"}"):
                    more = tls.recv(65536)
                    assert more, f"the witness closed after {body!r}"
                    body += more
                answers.append(Seen(**json.loads(body.partition(b"\r\n\r\n")[2])))
            return answers


def test_it_reports_serial_subject_and_how_the_connection_was_made(pki: Pki, shown: Shown) -> None:
    pair = pki.leaf("client")
    with Witness(0, shown, [pki.root]) as witness:
        first, second = ask(witness.port, client_context(pki, pair), times=2)
    assert first == second
    assert int(first.serial) == pair.serial
    assert (first.subject, first.protocol, first.server_name) == ("CN=client", "TLSv1.3", "up.test")
    assert first.cipher.startswith("TLS_")
    assert not first.resumed
    assert witness.seen == [first]


def test_a_client_without_a_certificate_is_told_so_or_refused_when_one_is_required(pki: Pki, shown: Shown) -> None:
    with Witness(0, shown, [pki.root]) as witness:
        assert ask(witness.port, client_context(pki, None))[0].serial == ""
    with Witness(0, shown, [pki.root], required=True) as strict:
        with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
            ask(strict.port, client_context(pki, None))
        assert strict.wait_for(1, 5)
        assert "did not return a certificate" in strict.seen[0].refused


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "certificate has expired (10)"),
        ("server-only", "unsuitable certificate purpose (26)"),
        ("foreign", "unable to get local issuer certificate (20)"),
        ("leaf-only", "unable to get local issuer certificate (20)"),
    ],
)
def test_a_bad_client_certificate_is_refused_for_its_own_reason(
    directory: Path, pki: Pki, shown: Shown, name: str, why: str
) -> None:
    pair = {
        "expired": lambda: pki.leaf("client", ended=True),
        "server-only": lambda: pki.leaf("client", purposes=(SERVER,)),
        "foreign": lambda: Pki(directory / "other", "Other").leaf("client"),
        "leaf-only": lambda: pki.leaf("client", leaf_only=True),
    }[name]()
    with Witness(0, shown, [pki.root], required=True) as witness:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            ask(witness.port, client_context(pki, pair))
        assert witness.wait_for(1, 5)
    assert witness.seen == [Seen(refused=why)]


def test_any_certificate_may_vouch_for_clients(pki: Pki, shown: Shown) -> None:
    pair = pki.leaf("client", purposes=(CLIENT,), leaf_only=True)
    with Witness(0, shown, [pair.chain[0]], required=True) as witness:
        assert int(ask(witness.port, client_context(pki, pair))[0].serial) == pair.serial


def test_a_silent_or_speechless_client_does_not_keep_others_waiting(pki: Pki, shown: Shown) -> None:
    with Witness(0, shown, [pki.root]) as witness, socket.create_connection(("127.0.0.1", witness.port)) as silent:
        silent.send(b"GET / HTTP/1.0\r\n\r\n")
        with socket.create_connection(("127.0.0.1", witness.port)):
            assert ask(witness.port, client_context(pki, None))[0].serial == ""


def test_its_key_is_never_a_file(directory: Path, pki: Pki, shown: Shown) -> None:
    before = set(directory.rglob("*"))
    with Witness(directory / "w.sock", shown, [pki.root]):
        new = set(directory.rglob("*")) - before
        assert new == {directory / "w.sock"}
    assert not (directory / "w.sock").exists()


def test_an_address_that_cannot_be_used_is_one_clear_error(directory: Path, pki: Pki, shown: Shown) -> None:
    with (
        pytest.raises(HostError, match=r"witness cannot listen on .*no such file or directory"),
        Witness(directory / "missing" / "w.sock", shown, [pki.root]),
    ):
        pass


def test_a_socket_left_behind_is_no_hindrance(directory: Path, pki: Pki, shown: Shown) -> None:
    path = directory / "w.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with Witness(path, shown, [pki.root]), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("build", sorted(programs()))
def test_nginx_s_own_workers_reach_it_through_a_unix_socket(
    build: str, directory: Path, pki: Pki, shown: Shown
) -> None:
    binary, port, pair = program(build), free_ports(1)[0], pki.leaf("client")
    path = directory / "w.sock"
    body = (
        f"    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass https://unix:{path}:;\n"
        f"    proxy_ssl_certificate {pair.certificate}; proxy_ssl_certificate_key {pair.key};\n"
        f"    proxy_ssl_protocols TLSv1.2 TLSv1.3; }} }}\n"
    )
    with Witness(path, shown, [pki.root]), running(binary, directory, body):
        status, answer = get(port)
    assert status == 200
    assert int(json.loads(answer)["serial"]) == pair.serial
