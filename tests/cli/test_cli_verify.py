"""``troth certificate verify`` with revocation: our authority's lists, openssl's OCSP responder, and refusals."""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from cryptography import x509

from tests.rig.authority import MAIN, PASSWORD, Served, founded
from tests.rig.ocsp import answering
from tests.server.calls import revoke, sign
from troth.host.ports import free_ports


def verify(*args: str, code: int = 0) -> str:
    command = [sys.executable, "-c", MAIN, "certificate", "verify", *args]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An authority with lists; ``good.crt`` and ``bad.crt`` hold chains, and bad is revoked."""
    with founded(tmp_path_factory.mktemp("verify")) as one:
        raw = json.loads(one.configuration.read_text())
        one.configuration.write_text(json.dumps({**raw, "crl": {"enabled": True, "generateOnRevoke": True}}))
        one.start()
        for name in ("good", "bad"):
            body = sign(one, f"{name}.example")[1]
            (one.directory / f"{name}.crt").write_text("".join(body["certChain"]))
        revoke(one, leaf(one, "bad").serial_number, 1)
        yield one
        one.stop()


def leaf(served: Served, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificates((served.directory / f"{name}.crt").read_bytes())[0]


def test_the_authority_s_list_tells_the_revoked_from_the_others(served: Served) -> None:
    roots, url = str(served.root), f"{served.url}/crl"
    for name in ("good", "bad"):
        verify(str(served.directory / f"{name}.crt"), "--roots", roots)
    out = verify(
        str(served.directory / "good.crt"), "--roots", roots, "--verify-crl", "--crl-endpoint", url, "--verbose"
    )
    assert out == f"certificate is not on revocation list {url}\ncertificate is valid\n"
    for query in ("", "?pem"):
        # Naming a list is asking for it.
        out = verify(str(served.directory / "bad.crt"), "--roots", roots, "--crl-endpoint", url + query, code=1)
        assert "certificate was revoked on" in out
        assert "keyCompromise" in out


def test_without_a_list_or_responder_to_ask_it_fails(served: Served) -> None:
    file, roots = str(served.directory / "good.crt"), ("--roots", str(served.root))
    assert "hint: name one: --crl-endpoint URL" in verify(file, *roots, "--verify-crl", code=1)
    assert "hint: name one: --ocsp-endpoint URL" in verify(file, *roots, "--verify-ocsp", code=1)
    port = free_ports(1)[0]
    assert "cannot fetch" in verify(file, *roots, "--crl-endpoint", f"http://127.0.0.1:{port}/crl", code=1)
    assert "expected an http or https URL" in verify(file, *roots, "--crl-endpoint", "ldap://x/y", code=1)
    assert "answered with status 404" in verify(file, *roots, "--crl-endpoint", f"{served.url}/none", code=1)
    assert "cannot be read" in verify(file, *roots, "--crl-endpoint", f"{served.url}/health", code=1)


def test_the_issuer_given_must_be_the_issuer(served: Served) -> None:
    file, roots = str(served.directory / "good.crt"), ("--roots", str(served.root))
    intermediate = str(served.directory / "certs" / "intermediate_ca.crt")
    verify(file, *roots, "--crl-endpoint", f"{served.url}/crl", "--issuing-ca", intermediate)
    out = verify(file, *roots, "--crl-endpoint", f"{served.url}/crl", "--issuing-ca", str(served.root), code=1)
    assert "did not issue the certificate" in out


@pytest.fixture(scope="module")
def responder(served: Served) -> Iterator[str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    serials = {leaf(served, name).serial_number: name == "bad" for name in ("good", "bad")}
    with answering(served.directory, PASSWORD, served.directory / "ocsp", serials) as url:
        yield url


def test_an_ocsp_responder_tells_the_revoked_from_the_others(served: Served, responder: str) -> None:
    roots = ("--roots", str(served.root), "--ocsp-endpoint", responder)
    out = verify(str(served.directory / "good.crt"), *roots, "--verify-ocsp", "--verbose")
    assert out == f"certificate is good, says {responder}\ncertificate is valid\n"
    out = verify(str(served.directory / "bad.crt"), *roots, code=1)
    assert "certificate was revoked on" in out
    assert "keyCompromise" in out


def test_an_ocsp_responder_that_does_not_know_is_no_proof(served: Served, responder: str) -> None:
    (served.directory / "new.crt").write_text("".join(sign(served, "new.example")[1]["certChain"]))
    out = verify(str(served.directory / "new.crt"), "--roots", str(served.root), "--ocsp-endpoint", responder, code=1)
    assert "does not know the certificate" in out


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Redirects for ever, or to a scheme nobody should follow."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "file:///etc/passwd" if self.path == "/file" else "/again")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_redirections_end_and_stay_with_http(served: Served) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        args = (str(served.directory / "good.crt"), "--roots", str(served.root), "--crl-endpoint")
        assert "redirects more than 3 times" in verify(*args, f"{url}/", code=1)
        assert "expected an http or https URL" in verify(*args, f"{url}/file", code=1)
        server.shutdown()
