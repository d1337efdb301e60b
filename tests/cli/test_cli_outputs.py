"""Inputs and outputs that are no regular files, and keys over files that everybody may read."""

import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.accounts import Account, RunningAuthority
from tests.x509.authorities import issue
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import to_pem
from troth.x509.requests import create_request, request_to_pem

PLAIN = ("--no-password", "--insecure")


@pytest.fixture
def home(tmp_path: Path) -> Account:
    """An account with an authority's pair, a certificate and key, and a request."""
    now = datetime.now(UTC)
    root = issue("root", authority=True, start=now - timedelta(days=1), end=now + timedelta(days=9))
    leaf = issue("leaf", root)
    (tmp_path / "root.crt").write_text(to_pem(root.certificate))
    (tmp_path / "root.key").write_bytes(private_key_to_pem(root.key))
    (tmp_path / "leaf.crt").write_text(to_pem(leaf.certificate))
    (tmp_path / "leaf.key").write_bytes(private_key_to_pem(leaf.key))
    (tmp_path / "leaf.csr").write_text(request_to_pem(create_request(leaf.key, "leaf", [])))
    return Account(tmp_path)


def read_pipe(path: Path) -> tuple[threading.Thread, list[bytes]]:
    """A named pipe and its reader."""
    os.mkfifo(path)
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(path.read_bytes()), daemon=True)
    thread.start()
    return thread, got


def commands(out: str) -> list[tuple[str, ...]]:
    """What writes a file: one command each, to `out`."""
    self_signed = ("--profile", "self-signed", "--subtle", *PLAIN)
    return [
        ("certificate", "create", "m.example", "m.crt", out, *self_signed),
        ("certificate", "key", "leaf.crt", "--out", out),
        ("certificate", "format", "leaf.crt", "--out", out),
        ("certificate", "bundle", "leaf.crt", "root.crt", out),
        ("certificate", "p12", out, "leaf.crt", "leaf.key", *PLAIN),
        ("crypto", "keypair", "k.pub", out, *PLAIN),
        ("crypto", "jwk", "create", "k.pub.json", out, *PLAIN),
        ("crypto", "change-pass", "leaf.key", "--out", out, *PLAIN),
    ]


@pytest.mark.parametrize("number", range(8))
def test_every_output_may_be_a_pipe_with_and_without_force(home: Account, number: int) -> None:
    pipe = home.work / "pipe"
    for force in ((), ("--force",)):
        thread, got = read_pipe(pipe)
        home.good(*commands("pipe")[number], *force)
        thread.join(20)
        assert got and len(got[0]) > 100 and stat.S_ISFIFO(pipe.stat().st_mode)
        pipe.unlink()
        for file in ("m.crt", "k.pub", "k.pub.json"):
            (home.work / file).unlink(missing_ok=True)


def test_dev_null_stays_what_it_is(home: Account) -> None:
    before = Path("/dev/null").stat().st_ino
    for command in commands("/dev/null"):
        home.good(*command, "--force")
    home.good("certificate", "create", "m", "/dev/null", "/dev/null", "--profile", "self-signed", "--subtle", *PLAIN)
    assert Path("/dev/null").stat().st_ino == before and stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_piped_stdout_is_an_output(account: Account, authority: RunningAuthority) -> None:
    assert account.good("ca", "root", "/dev/stdout").out == account.good("ca", "root").out
    chain = account.good("ca", "certificate", "a.example", "/dev/stdout", "a.key", *authority.signing).out
    assert chain.count("BEGIN CERTIFICATE") == 2 and (account.work / "a.key").exists()
    both = account.good("ca", "certificate", "a.example", "/dev/stdout", "/dev/stdout", *authority.signing).out
    assert both.count("BEGIN CERTIFICATE") == 2 and both.count("PRIVATE KEY-----\n") == 2


def test_a_request_may_come_from_stdin(account: Account, home: Account, authority: RunningAuthority) -> None:
    csr, crt = ((home.work / name).read_text() for name in ("leaf.csr", "leaf.crt"))
    assert account.troth("ca", "sign", "-", "s.crt", *authority.signing, stdin=csr).code == 0
    assert (account.work / "s.crt").read_text().count("BEGIN CERTIFICATE") == 2
    signed = home.troth("certificate", "sign", "-", "root.crt", "root.key", stdin=csr)
    assert signed.code == 0 and signed.out.startswith("-----BEGIN CERTIFICATE")
    key = home.good("certificate", "key", "leaf.crt").out
    assert home.troth("certificate", "key", "-", stdin=crt).out == key
    home.good("certificate", "format", "leaf.crt", "--out", "l.der")
    for words in (("-",), ()):
        assert home.troth("certificate", "format", *words, "--out", "s.der", "-f", stdin=crt).code == 0
        assert (home.work / "s.der").read_bytes() == (home.work / "l.der").read_bytes()
    assert home.troth("certificate", "p12", "s.p12", "-", "leaf.key", *PLAIN, stdin=crt).code == 0
    assert home.troth("certificate", "bundle", "-", "root.crt", "b.crt", stdin=crt).code == 0
    nothing = home.troth("certificate", "key", "-")
    assert nothing.code == 1 and nothing.err.startswith("error: stdin is not readable")


def test_a_new_key_over_an_open_file_is_not_everybodys(account: Account, authority: RunningAuthority) -> None:
    for name, command in (
        ("a.key", ("ca", "certificate", "a.example", "a.crt", "a.key", *authority.signing)),
        ("m.key", ("certificate", "create", "m", "m.crt", "m.key", "--profile", "self-signed", "--subtle", *PLAIN)),
        ("k.key", ("crypto", "keypair", "k.pub", "k.key", *PLAIN)),
        ("j.key", ("crypto", "jwk", "create", "j.pub", "j.key", *PLAIN)),
        ("p.key", ("crypto", "change-pass", "a.key", "--out", "p.key", *PLAIN)),
        ("c.key", ("certificate", "key", "a.key", "--out", "c.key")),
        ("n.p12", ("certificate", "p12", "n.p12", "a.crt", "a.key", *PLAIN)),
    ):
        file = account.work / name
        file.write_text("before")
        file.chmod(0o666)
        said = account.good(*command, "--force").err
        assert f"everybody has rights to {name}: they are taken away, as it gets a private key\n" in said
        assert file.stat().st_mode & 0o777 == 0o660 and file.read_bytes() != b"before"
    (account.work / "a.key").chmod(0o644)
    said = account.good("ca", "rekey", "a.crt", "a.key", "--force").err
    assert (account.work / "a.key").stat().st_mode & 0o777 == 0o644 and "everybody" not in said
    (account.work / "b.key").write_text("before")
    (account.work / "b.key").chmod(0o644)
    account.good("ca", "rekey", "a.crt", "a.key", "--out-key", "b.key", "--force")
    assert (account.work / "b.key").stat().st_mode & 0o777 == 0o640


def test_old_algorithms_need_a_password(home: Account) -> None:
    said = home.refused("certificate", "p12", "l.p12", "leaf.crt", "leaf.key", "--legacy", *PLAIN)
    assert "--legacy cannot be used with --no-password" in said and not (home.work / "l.p12").exists()
