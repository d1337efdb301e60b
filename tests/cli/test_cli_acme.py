"""``ca certificate`` and ``ca sign`` by ACME, against the official step-ca and against pebble."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.accounts import Account, free_port
from tests.interop import material
from tests.rig.acme import AcmeServer, pebble, step_ca_with_acme
from troth.x509.keys import key_matches, parse_private_key
from troth.x509.names import SubjectNames, alternative_names, common_name
from troth.x509.pem import parse_certificates

# Half of all nonces are refused, authorizations and orders are reused never, validations take up to a second.
ROUGH = {"PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_VA_SLEEPTIME": "1", "PEBBLE_AUTHZREUSE": "0"}


@pytest.fixture(scope="module")
def step_ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeServer]:
    with step_ca_with_acme(tmp_path_factory.mktemp("step-ca")) as server:
        yield server


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AcmeServer]:
    with pebble(tmp_path_factory.mktemp("pebble"), ROUGH) as server:
        yield server


@pytest.fixture
def account(tmp_path: Path, step_ca: AcmeServer) -> Account:
    return Account(tmp_path, {"STEP_CA_URL": step_ca.ca_url, "STEP_ROOT": str(step_ca.root)})


def names(account: Account, file: str = "a.crt") -> tuple[str, SubjectNames]:
    leaf = parse_certificates((account.work / file).read_bytes())[0]
    return common_name(leaf.subject), alternative_names(leaf.extensions)


@pytest.fixture
def webserver(tmp_path: Path, step_ca: AcmeServer) -> Iterator[Path]:
    """A web server where step-ca validates."""
    root = tmp_path / "www"
    root.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", step_ca.validates_at), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield root
    server.shutdown()
    server.server_close()


def test_a_name_and_an_address_are_proven_to_step_ca(account: Account, step_ca: AcmeServer) -> None:
    done = account.good(
        *("ca", "certificate", "localhost", "a.crt", "a.key", "--san", "127.0.0.1", "--provisioner", "acme"),
        *step_ca.standalone,
    )
    assert done.out == ""
    assert names(account) == ("localhost", SubjectNames(("localhost",), (), ("127.0.0.1",)))
    chain = parse_certificates((account.work / "a.crt").read_bytes())
    key = parse_private_key((account.work / "a.key").read_bytes(), None, "a.key")
    assert len(chain) == 2 and key_matches(chain[0], key)
    assert [(account.work / name).stat().st_mode & 0o777 for name in ("a.crt", "a.key")] == [0o600, 0o600]


def test_flags_of_acme_choose_the_provisioner_where_there_are_several(account: Account, step_ca: AcmeServer) -> None:
    account.good("ca", "certificate", "localhost", "a.crt", "a.key", *step_ca.standalone)
    said = account.refused("ca", "certificate", "localhost", "b.crt", "b.key")
    assert "--provisioner or --kid: admin; acme" in said


def test_validity_can_be_asked_for(account: Account, step_ca: AcmeServer) -> None:
    account.good(
        *("ca", "certificate", "localhost", "a.crt", "a.key", "--provisioner", "acme", "--not-after", "7m"),
        *step_ca.standalone,
    )
    leaf = material.load(account.work / "a.crt")[0]
    assert 6 * 60 < material.remaining(leaf) <= 7 * 60


def test_a_web_servers_directory_is_used_and_left_as_it_was(account: Account, webserver: Path) -> None:
    account.good(
        *("ca", "certificate", "localhost", "a.crt", "a.key", "--provisioner", "acme"), "--webroot", str(webserver)
    )
    assert list(webserver.iterdir()) == []
    (webserver / ".well-known").mkdir()
    (webserver / ".well-known" / "security.txt").write_text("mine")
    account.good(
        *("ca", "certificate", "localhost", "b.crt", "b.key", "--provisioner", "acme"), "--webroot", str(webserver)
    )
    assert [path.name for path in (webserver / ".well-known").iterdir()] == ["security.txt"]


def test_a_request_is_signed_by_acme(account: Account, step_ca: AcmeServer) -> None:
    csr = account.work / "own.csr"
    csr.write_text(material.pem(material.request(material.new_key(), "localhost", ("localhost",))))
    account.good("ca", "sign", "own.csr", "a.crt", "--provisioner", "acme", *step_ca.standalone)
    assert names(account) == ("localhost", SubjectNames(("localhost",)))
    said = account.refused("ca", "sign", "own.csr", "b.crt", "--provisioner", "acme", "--san", "x", *step_ca.standalone)
    assert "--san cannot be used with ACME" in said


def test_a_name_that_leads_elsewhere_is_refused_with_what_must_be_reachable(
    account: Account, step_ca: AcmeServer
) -> None:
    elsewhere = ("--http-listen", f"127.0.0.1:{free_port()}")
    said = account.refused("ca", "certificate", "localhost", "a.crt", "a.key", "--provisioner", "acme", *elsewhere)
    assert "could not verify localhost: connection" in said
    assert "hint: the server asks http://localhost/.well-known/acme-challenge/... on port 80" in said
    assert not (account.work / "a.key").exists()


def test_a_wrong_answer_is_refused_at_once(account: Account, webserver: Path) -> None:
    (account.work / "other").mkdir()
    (webserver / ".well-known").mkdir()
    (webserver / ".well-known" / "acme-challenge").write_text("no directory")
    said = account.refused(
        *("ca", "certificate", "localhost", "a.crt", "a.key", "--provisioner", "acme", "--webroot", "other")
    )
    assert "could not verify localhost: " in said
    assert list((account.work / "other").iterdir()) == []


def test_a_port_that_is_taken_is_named(account: Account) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        said = account.refused(
            "ca", "certificate", "localhost", "a.crt", "a.key", "--provisioner", "acme", "--http-listen", listen
        )
    assert f"cannot listen at {listen}: another program listens there\nhint: " in said and "--webroot" in said


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--san", "*.example.com"), "wildcard name '*.example.com' cannot be proven over HTTP"),
        (("--san", "jane@example.com"), "'jane@example.com' cannot be ordered with ACME"),
        (("--san", "under_score.test"), "'under_score.test' is not a domain name"),
        (("--set", "a=b"), "--set and --set-file cannot be used with ACME"),
        (("--webroot", ".", "--standalone"), "--webroot cannot be used with --standalone"),
        (("--webroot", "absent"), "webroot directory absent does not exist"),
        (("--http-listen", "nowhere"), "invalid --http-listen 'nowhere': expected HOST:PORT"),
        (("--attestation-uri", "yubikey:"), "--attestation-uri is not supported"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(account: Account, flags: tuple[str, ...], expected: str) -> None:
    said = account.refused("ca", "certificate", "localhost", "a.crt", "a.key", "--provisioner", "acme", *flags)
    assert expected in said
    assert not (account.work / "a.key").exists()


def test_offline_and_tokens_do_not_go_with_acme(account: Account, step_ca: AcmeServer) -> None:
    url = ("--acme", "https://localhost:1/directory")
    said = account.refused("ca", "certificate", "localhost", "a.crt", "a.key", *url, "--offline")
    assert "--offline cannot be used with ACME" in said
    own = ("--ca-config", str(step_ca.root.parent.parent / "config" / "ca.json"), "--provisioner", "acme")
    said = account.refused("ca", "certificate", "localhost", "a.crt", "a.key", "--offline", *own)
    assert "--offline cannot be used with ACME" in said
    said = account.refused("ca", "token", "localhost", "--provisioner", "acme")
    assert "provisioner 'acme' is of type ACME, which has no tokens" in said


def test_a_command_that_is_ended_takes_its_file_away(account: Account, tmp_path: Path) -> None:
    root = tmp_path / "unserved"
    root.mkdir()
    command = [sys.executable, "-c", "from troth.cli.app import main; main()", "ca", "certificate", "localhost"]
    command += ["a.crt", "a.key", "--provisioner", "acme", "--webroot", str(root)]
    environment = {**os.environ, **account.env, "STEPPATH": str(account.step)}
    process = subprocess.Popen(command, cwd=account.work, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not list(root.rglob("acme-challenge/*")) and time.monotonic() < until:
        time.sleep(0.01)
    [file] = root.rglob("acme-challenge/*")
    assert file.stat().st_mode & 0o777 == 0o644
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert list(root.iterdir()) == []


def test_a_server_that_refuses_nonces_and_validates_slowly_is_put_up_with(tmp_path: Path, rough: AcmeServer) -> None:
    account = Account(tmp_path)
    where = ("--acme", rough.directory, "--root", str(rough.root), "--contact", "ops@example.com")
    account.good("ca", "certificate", "localhost", "a.crt", "a.key", *where, *rough.standalone)
    assert names(account)[1] == SubjectNames(("localhost",))


def test_a_name_that_the_server_never_certifies_is_refused_by_its_name(tmp_path: Path, rough: AcmeServer) -> None:
    account = Account(tmp_path)
    where = ("--acme", rough.directory, "--root", str(rough.root))
    said = account.refused("ca", "certificate", "blocked-domain.example", "a.crt", "a.key", *where, *rough.standalone)
    assert "refused the order for blocked-domain.example: rejectedIdentifier: " in said


def test_a_server_that_is_not_trusted_is_told_nothing(tmp_path: Path, rough: AcmeServer, step_ca: AcmeServer) -> None:
    where = ("--acme", rough.directory, "--root", str(step_ca.root))
    said = Account(tmp_path).refused("ca", "certificate", "localhost", "a.crt", "a.key", *where, *rough.standalone)
    assert "is not trusted" in said and "--root FILE" in said
