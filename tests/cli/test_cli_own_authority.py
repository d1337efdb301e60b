"""The guide's commands work the same against our own authority: made, served, used and refused by one program."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.accounts import PASSWORD, PROVISIONER, Account, RunningAuthority, free_port, wait_until_listening
from troth.x509.pem import parse_certificates

MAIN = "from troth.cli.app import main; main()"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAuthority]:
    """A ``troth ca serve`` on loopback."""
    directory, port = tmp_path_factory.mktemp("own"), free_port()
    (directory / "password").write_text(PASSWORD + "\n")
    environment = {**os.environ, "STEPPATH": str(directory)}
    names = ["--name", "Own", "--dns", "localhost,127.0.0.1", "--address", f"127.0.0.1:{port}"]
    secret = str(directory / "password")
    passwords = ["--provisioner", PROVISIONER, "--password-file", secret, "--provisioner-password-file", secret]
    command = [sys.executable, "-c", MAIN, "ca"]
    subprocess.run([*command, "init", *names, *passwords], env=environment, check=True, capture_output=True, timeout=60)
    with (directory / "log").open("wb") as log:
        serve = [*command, "serve", str(directory / "config" / "ca.json"), "--password-file", secret]
        server = subprocess.Popen(serve, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until_listening(port, server, directory / "log")
        yield RunningAuthority(directory, port)
    finally:
        server.terminate()
        server.wait(20)


def serial(path: Path) -> int:
    return parse_certificates(path.read_bytes())[0].serial_number


def test_the_three_commands_then_renewal_and_revocation(stranger: Account, own: RunningAuthority) -> None:
    stranger.good("ca", "bootstrap", "--ca-url", own.url, "--fingerprint", own.fingerprint)
    stranger.good("ca", "certificate", "myuser", "client.crt", "client.key", *own.signing)
    stranger.good("ca", "root", "ca.crt")
    stranger.good("certificate", "verify", "client.crt", "--roots", "ca.crt", "--host", "myuser")
    first = serial(stranger.work / "client.crt")
    stranger.good("ca", "renew", "client.crt", "client.key", "--force")
    second = serial(stranger.work / "client.crt")
    stranger.good("ca", "rekey", "client.crt", "client.key", "--force")
    assert len({first, second, serial(stranger.work / "client.crt")}) == 3
    stranger.good("ca", "revoke", "--cert", "client.crt", "--key", "client.key")
    stranger.refused("ca", "renew", "client.crt", "client.key", "--force")


def test_a_token_works_elsewhere_once(stranger: Account, own: RunningAuthority) -> None:
    where = ("--ca-url", own.url, "--root", str(own.root))
    token = stranger.good("ca", "token", "one.example", *where, *own.signing).out.strip()
    stranger.good("ca", "certificate", "one.example", "a.crt", "a.key", "--token", token)
    said = stranger.refused("ca", "certificate", "one.example", "b.crt", "b.key", "--token", token)
    assert "refused the token" in said and not (stranger.work / "b.crt").exists()
