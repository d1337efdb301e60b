"""Certificates change their file form as the official program changes it."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.accounts import Account, program
from tests.x509.authorities import issue
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import to_pem
from troth.x509.requests import create_request, request_to_pem


@pytest.fixture
def home(tmp_path: Path) -> Account:
    """An account with a certificate, its key and issuer, and a request."""
    root = issue("root", authority=True)
    leaf = issue("leaf", root)
    (tmp_path / "root.crt").write_text(to_pem(root.certificate))
    (tmp_path / "leaf.crt").write_text(to_pem(leaf.certificate))
    (tmp_path / "leaf.key").write_bytes(private_key_to_pem(leaf.key))
    (tmp_path / "leaf.csr").write_text(request_to_pem(create_request(leaf.key, "leaf", [])))
    (tmp_path / "pw").write_text("secret\n")
    return Account(tmp_path)


def test_bundle_key_and_format(home: Account) -> None:
    for run, name in ((home.troth, "ours"), (home.official, "theirs")):
        assert run("certificate", "bundle", "leaf.crt", "root.crt", f"{name}.crt").code == 0
        for file in ("leaf.crt", "leaf.csr"):
            assert run("certificate", "format", file, "--out", f"{name}.{file}.der").code == 0
    for end in ("crt", "leaf.crt.der", "leaf.csr.der"):
        assert (home.work / f"ours.{end}").read_bytes() == (home.work / f"theirs.{end}").read_bytes()
        assert (home.work / f"ours.{end}").stat().st_mode & 0o777 == 0o600
    for command, file in (
        ("key", "leaf.crt"),
        ("key", "leaf.csr"),
        ("key", "leaf.key"),
        ("format", "ours.leaf.crt.der"),
    ):
        assert home.troth("certificate", command, file).out == home.official("certificate", command, file).out
    assert "no certificate" in home.refused("certificate", "format", "leaf.key")


def test_format_converts_the_first_of_a_chain_as_step_does_and_says_so(home: Account) -> None:
    chain = (home.work / "leaf.crt").read_text() + (home.work / "root.crt").read_text()
    (home.work / "chain.crt").write_text(chain)
    said = home.good("certificate", "format", "chain.crt", "--out", "ours.der")
    assert said.err.splitlines()[0] == "Only the first block of chain.crt is converted; 1 more left out."
    assert home.official("certificate", "format", "chain.crt", "--out", "theirs.der").code == 0
    assert (home.work / "ours.der").read_bytes() == (home.work / "theirs.der").read_bytes()


@pytest.mark.parametrize("legacy", [(), ("--legacy",)])
def test_openssl_reads_a_p12(home: Account, legacy: tuple[str, ...]) -> None:
    files = ("a.p12", "leaf.crt", "leaf.key", "--ca", "root.crt")
    home.good("certificate", "p12", *files, "--password-file", "pw", *legacy)
    command = [program("openssl"), "pkcs12", "-in", "a.p12", "-passin", "file:pw", "-nodes"]
    done = subprocess.run(command, cwd=home.work, capture_output=True, text=True, check=False)
    assert done.stdout.count("BEGIN CERTIFICATE") == 2 and done.stdout.count("PRIVATE KEY") == 2, done
    assert "needs --insecure" in home.refused("certificate", "p12", *files, "--no-password", "--force")


def test_one_file_has_the_mode_that_was_asked_for(home: Account) -> None:
    plain = ("--profile", "self-signed", "--subtle", "--no-password", "--insecure")
    assert home.official("certificate", "create", "m.example", "m.crt", "m.key", *plain).code == 0
    (home.work / "m.pw").write_text("secret")
    home.good("certificate", "bundle", "m.crt", "m.crt", "b.crt", "--mode", "644")
    home.good("certificate", "key", "m.crt", "--out", "m.pub", "--mode", "604")
    home.good("certificate", "format", "m.crt", "--out", "m.der", "--mode", "0640")
    home.good("certificate", "p12", "m.p12", "m.crt", "m.key", "--password-file", "m.pw", "--mode", "640")
    modes = [(home.work / name).stat().st_mode & 0o777 for name in ("b.crt", "m.pub", "m.der", "m.p12")]
    assert modes == [0o644, 0o604, 0o640, 0o640]
    for command in (("key", "m.key", "--out", "k.key"), ("p12", "k.p12", "m.crt", "m.key", "--password-file", "m.pw")):
        assert "opens a private key" in home.refused("certificate", *command, "--mode", "644")
    assert not list(home.work.glob("k.*"))
