"""A server that is slow, silent, chatty, malformed or not an authority costs a bounded wait and one clear error."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from tests.x509.authorities import Issued, issue
from troth.client import ClientError
from troth.client.authority import Authority, fetch_root, normalise_fingerprint
from troth.client.transport import (
    Address,
    AddressError,
    ClientCertificate,
    NotAnAuthorityError,
    RefusedError,
    UnreachableError,
    UntrustedError,
    parse_address,
    present,
    trusting_nobody,
)
from troth.host.clock import now
from troth.host.ports import free_ports
from troth.x509.chains import SERVER_AUTH
from troth.x509.keys import fingerprint, generate_key, private_key_to_pem
from troth.x509.pem import bundle_to_pem, to_pem

NOW = now()
ROOT = issue("root", authority=True, start=NOW.replace(year=NOW.year - 1), end=NOW.replace(year=NOW.year + 1))
SERVER = issue(
    "server",
    ROOT,
    names=("localhost", "127.0.0.1"),
    purposes=(SERVER_AUTH,),
    start=ROOT.certificate.not_valid_before_utc,
    end=ROOT.certificate.not_valid_after_utc,
)
SPAN = (SERVER.certificate.not_valid_before_utc, SERVER.certificate.not_valid_after_utc)
Answer = Callable[[ssl.SSLSocket, str], None]


def request_line(tls: ssl.SSLSocket) -> str:
    """Read one whole request, body included: a close with unread bytes resets the connection and eats the answer."""
    with tls.makefile("rb") as reader:
        line = reader.readline(65536)
        length = 0
        while (header := reader.readline(65536)).strip():
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        reader.read(length)
    return line.decode().rstrip("\r\n")


@contextmanager
def server(answer: Answer, directory: Path, identity: Issued = SERVER) -> Iterator[str]:
    """A TLS server that hands each connection and its request line to `answer`; the value is its URL."""
    (directory / "pair.pem").write_bytes(to_pem(identity.certificate).encode() + private_key_to_pem(identity.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "pair.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as tls:
                    answer(tls, request_line(tls))
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def send(tls: ssl.SSLSocket, body: bytes, status: str = "200 OK") -> None:
    tls.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def answering(value: object, status: str = "200 OK") -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda tls, _: send(tls, body, status)


def authority(url: str, timeout: float = 5.0) -> Authority:
    return Authority.at(url, to_pem(ROOT.certificate), timeout)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://ca.example", "https://ca.example"),
        ("ca.example", "https://ca.example"),
        ("ca.example:9000", "https://ca.example:9000"),
        ("https://ca.example:443/path?query", "https://ca.example"),
        ("https://[::1]:9000", "https://[::1]:9000"),
        (" https://ca.example/ ", "https://ca.example"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert parse_address(text).url == url


@pytest.mark.parametrize(
    "text", ["", "http://ca.example", "https://", "https://ca:0x1", "https://ca:70000", "https://me@ca", "ftp://ca"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_an_answer(tmp_path: Path) -> None:
    with server(answering({"status": "ok"}), tmp_path) as url:
        assert authority(url).health() == "ok"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"text"', b"{", b"\xff\xfe", b"null", b'{"status": "ok"}' + b" " * 5_000_000]
)
def test_something_else_answers(tmp_path: Path, body: bytes) -> None:
    with server(answering(body), tmp_path) as url, pytest.raises(NotAnAuthorityError):
        authority(url).health()


def test_not_http_at_all(tmp_path: Path) -> None:
    with (
        server(lambda tls, _: tls.sendall(b"220 mail\r\n\r\n"), tmp_path) as url,
        pytest.raises(NotAnAuthorityError, match="did not answer with HTTP"),
    ):
        authority(url).health()


def test_a_refusal_keeps_the_authoritys_words_on_one_safe_line(tmp_path: Path) -> None:
    refusal = {"status": 403, "message": "Not\nfor \x1b[31myou."}
    with server(answering(refusal, "403 Forbidden"), tmp_path) as url, pytest.raises(RefusedError) as caught:
        authority(url).health()
    assert caught.value.message == "not for  [31myou" and caught.value.status == 403


@pytest.mark.parametrize(
    "drip", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_server_that_drips_is_cut_off(tmp_path: Path, drip: bytes) -> None:
    """One byte now and then would reset a socket's own time-out for ever."""
    gone = threading.Event()

    def answer(tls: ssl.SSLSocket, _: str) -> None:
        tls.sendall(drip)
        while not gone.wait(0.1):
            if drip:
                tls.sendall(b"x")

    with server(answer, tmp_path) as url:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.5 seconds"):
            authority(url, timeout=0.5).health()
        assert time.monotonic() - began < 3
        gone.set()


def test_a_port_where_nothing_listens() -> None:
    port = free_ports(1)[0]
    with pytest.raises(UnreachableError, match=f"cannot reach https://localhost:{port}: connection refused") as caught:
        authority(f"https://localhost:{port}").health()
    assert caught.value.hint is not None and "troth ca health --ca-url" in caught.value.hint


def test_a_server_of_another_root_or_name_is_not_trusted(tmp_path: Path) -> None:
    with server(answering({}), tmp_path) as url:
        other = Authority.at(url, to_pem(issue("root", authority=True).certificate))
        with pytest.raises(UntrustedError, match="is not trusted"):
            other.health()
    elsewhere = issue("server", ROOT, names=("elsewhere.example",), purposes=(SERVER_AUTH,), start=SPAN[0], end=SPAN[1])
    with server(answering({}), tmp_path, elsewhere) as url, pytest.raises(UntrustedError, match="hostname mismatch"):
        authority(url).health()


def test_a_root_is_believed_only_with_its_fingerprint(tmp_path: Path) -> None:
    """The attacker in the middle answers every fingerprint with a root of his own."""
    evil = issue("root", authority=True)
    with server(answering({"ca": to_pem(evil.certificate)}), tmp_path) as url:
        with pytest.raises(UntrustedError, match="another fingerprint: expected"):
            fetch_root(url, fingerprint(ROOT.certificate))
        assert fetch_root(url, fingerprint(evil.certificate).upper()) == evil.certificate


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "a" * 63, "a" * 65])
def test_fingerprints_that_are_none(text: str) -> None:
    with pytest.raises(UntrustedError, match="expected 64 hexadecimal digits"):
        normalise_fingerprint(text)


def test_every_page_of_provisioners_is_read(tmp_path: Path) -> None:
    pages = {"": (["a", "b"], "01"), "01": (["c"], "02"), "02": (["d"], "")}

    def answer(tls: ssl.SSLSocket, line: str) -> None:
        cursor = line.partition("cursor=")[2].partition("&")[0]
        listed, following = pages[cursor]
        assert "limit=100" in line
        send(tls, json.dumps({"provisioners": [{"name": n} for n in listed], "nextCursor": following}).encode())

    with server(answer, tmp_path) as url:
        assert [entry["name"] for entry in authority(url).provisioners()] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "page",
    [{"provisioners": {}, "nextCursor": ""}, {"provisioners": [1]}, {"provisioners": [], "nextCursor": "\r\nx: y"}],
)
def test_a_malformed_listing(tmp_path: Path, page: object) -> None:
    with server(answering(page), tmp_path) as url:
        if page == {"provisioners": {}, "nextCursor": ""}:
            assert authority(url).provisioners() == []
        else:
            with pytest.raises(NotAnAuthorityError, match="malformed list"):
                authority(url).provisioners()


@pytest.mark.parametrize("answer", [{}, {"certChain": []}, {"certChain": "x"}, {"crt": "junk", "ca": "junk"}])
def test_an_answer_without_certificates(tmp_path: Path, answer: dict[str, object]) -> None:
    with server(answering(answer, "201 Created"), tmp_path) as url, pytest.raises(NotAnAuthorityError):
        authority(url).sign("csr", "token")


def test_chain_or_pair_both_will_do(tmp_path: Path) -> None:
    leaf, issuer = to_pem(SERVER.certificate), to_pem(ROOT.certificate)
    for answer in ({"crt": leaf, "ca": issuer}, {"certChain": [leaf, issuer]}, {"crt": leaf, "ca": None}):
        with server(answering(answer, "201 Created"), tmp_path) as url:
            chain = authority(url).sign("csr", "token")
        assert chain.leaf == SERVER.certificate and chain.pem.startswith(leaf)


def test_a_pair_that_does_not_fit_is_not_presented() -> None:
    certificate = bundle_to_pem([SERVER.certificate]).encode()
    for key in (private_key_to_pem(generate_key()), b"", private_key_to_pem(SERVER.key, b"secret")):
        with pytest.raises(UntrustedError, match="do not fit together"):
            present(trusting_nobody(), ClientCertificate(certificate, key))


def test_threads_share_an_authority(tmp_path: Path) -> None:
    results: list[str] = []
    with server(answering({"status": "ok"}), tmp_path) as url:
        shared = authority(url)
        threads = [threading.Thread(target=lambda: results.append(shared.health())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == ["ok"] * 8


def test_roots_that_are_none() -> None:
    with pytest.raises(UntrustedError, match="expected PEM"):
        Authority(Address("localhost", 1), "nonsense").health()


def test_every_error_is_one_kind() -> None:
    for kind in (AddressError, UnreachableError, UntrustedError, NotAnAuthorityError, RefusedError):
        assert issubclass(kind, ClientError)
    assert isinstance(ROOT.certificate, x509.Certificate)
