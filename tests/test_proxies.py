"""Which servers are reached by which proxy, and what a proxy may answer."""

import base64
import http.server
import socket
import ssl
import threading
from pathlib import Path

import pytest

from tests.rig.forward_proxy import forwarding
from tests.rig.pki import Pki
from troth.host.download import DownloadError, download
from troth.proxies import MAX_ANSWER_BYTES, Proxy, ProxyError, proxy_for, tunnel
from troth.x509.pem import parse_certificates

VIA = "http://proxy.test:3128"


def via(host: str, no_proxy: str = "", scheme: str = "https", port: int = 443, **variables: str) -> str:
    """The proxy, as text, or nothing."""
    return str(proxy_for(scheme, host, port, {"HTTPS_PROXY": VIA, "NO_PROXY": no_proxy, **variables}) or "")


@pytest.mark.parametrize(
    ("host", "no_proxy", "by_proxy"),
    [
        ("ca.test", "", True),
        ("localhost", "", False),
        ("127.0.0.1", "", False),
        ("127.8.8.8", "", False),
        ("::1", "", False),
        ("CA.test", "ca.TEST", False),
        ("ca.test", "*", False),
        ("ca.test", "other.test, ca.test", False),
        ("ca.test", "test", False),
        ("ca.test", ".test", False),
        ("test", ".test", True),
        ("test", "*.test", True),
        ("ca.test", "*.test", False),
        ("ca.test", "a.test", True),
        ("ca.test", "ca.test:443", False),
        ("ca.test", "ca.test:9000", True),
        ("10.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", False),
        ("10.1.2.3", "10.1.2.3:443", False),
        ("10.1.2.3", "10.1.2.3:80", True),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("2001:db8::7", "2001:db8::/32", False),
        ("2001:db8::7", "[2001:db8::7]:443", False),
        ("2001:db8::7", "[2001:db8::7]:80", True),
        ("ca.test", ",, ,", True),
        ("ca.test", "10.0.0.0/8", True),
    ],
)
def test_no_proxy_means_what_it_means_to_go(host: str, no_proxy: str, by_proxy: bool) -> None:
    assert via(host, no_proxy) == ("proxy.test:3128" if by_proxy else "")


def test_the_variables_are_read_as_go_reads_them() -> None:
    assert via("ca.test", scheme="http", port=80) == ""
    assert via("ca.test", scheme="http", port=80, http_proxy="p.test") == "p.test:80"
    assert via("ca.test", scheme="http", port=80, HTTP_PROXY="p.test", REQUEST_METHOD="GET") == ""
    assert via("ca.test", https_proxy="http://small.test:1") == "proxy.test:3128", "the one in capitals wins"
    assert proxy_for("https", "ca.test", 443, {"https_proxy": "[::1]:3128"}) == Proxy("::1", 3128, "", "https_proxy")
    assert proxy_for("https", "ca.test", 443, {"HTTPS_PROXY": ""}) is None
    known = proxy_for("https", "ca.test", 443, {"HTTPS_PROXY": "http://me:p%40ss@proxy.test"})
    assert known is not None and "p@ss" not in str(known)
    assert known.headers == {"Proxy-Authorization": f"Basic {base64.b64encode(b'me:p@ss').decode()}"}


@pytest.mark.parametrize("value", ["socks5://p.test", "https://p.test", "http://", "http://p.test:x", "ftp://p.test"])
def test_what_is_no_proxy_we_speak_to_is_refused_without_its_password(value: str) -> None:
    with pytest.raises(ProxyError, match=r"^HTTPS_PROXY is not usable: expected http://HOST:PORT$") as refused:
        via("ca.test", HTTPS_PROXY=value.replace("//", "//me:secret@"))
    assert "secret" not in str(refused.value) + str(refused.value.hint)


def of(port: int) -> Proxy:
    return Proxy("127.0.0.1", port, "", "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "does not connect to ca.test:443: 407 Proxy Auth"),
        (b"HTTP/1.1 502 \x1b[31mred\r\n\r\n", r"ca.test:443: 502 \[31mred$"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "it is no HTTP proxy"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "it is no HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n", "it is no HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_ANSWER_BYTES // 6 + 1), "it is no HTTP proxy"),
    ],
)
def test_a_proxy_that_does_not_let_us_through_is_named(answer: bytes, said: str) -> None:
    with forwarding("ca.test", answer=answer) as proxy, pytest.raises(ProxyError, match=said) as refused:
        tunnel(of(proxy.port), "ca.test", 443, 10)
    assert f"proxy 127.0.0.1:{proxy.port}" in refused.value.message
    assert refused.value.hint == "check HTTPS_PROXY, or go straight on: NO_PROXY=ca.test"


def test_a_proxy_that_says_a_little_at_a_time_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            client, _ = listener.accept()
            with client:
                try:
                    while True:
                        client.sendall(b"H")
                        stop.wait(0.05)
                except OSError:
                    pass

        stop = threading.Event()
        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(ProxyError, match=r"did not answer within 0\.5 seconds"):
            tunnel(of(listener.getsockname()[1]), "ca.test", 443, 0.5)


def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ProxyError, match=f"cannot reach proxy 127.0.0.1:{port}: connection refused"):
        tunnel(of(port), "ca.test", 443, 5)


def test_what_the_server_says_first_is_not_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"hello")

        threading.Thread(target=greet, daemon=True).start()
        with forwarding("ca.test") as proxy, tunnel(of(proxy.port), "ca.test", server.getsockname()[1], 10) as stream:
            assert stream.recv(5, socket.MSG_WAITALL) == b"hello"


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{self.path} of {self.headers['Host']}".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_lists_and_answers_of_others_are_fetched_by_the_proxy(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = Pki(tmp_path / "pki")
    pair = pki.leaf("crl.test")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server, forwarding("crl.test") as proxy:
        if scheme == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url.replace("//", "//me:secret@"))
        url = f"{scheme}://crl.test:{server.server_port}/a.crl?b"
        roots = parse_certificates(pki.trust.read_bytes())
        assert download(url, roots=roots) == f"/a.crl?b of crl.test:{server.server_port}".encode()
        assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.heads[0]
        with pytest.raises(DownloadError, match=r"cannot fetch .*//nowhere\.test.*: |answered with status 502"):
            download(f"{scheme}://nowhere.test/", roots=roots)
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", "socks5://p.test")
        with pytest.raises(DownloadError, match=r"_PROXY is not usable: expected http://HOST:PORT"):
            download(url, roots=roots)
        server.shutdown()
