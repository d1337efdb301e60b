"""Certificates made by hand are those that the official program makes, and nothing is made that nobody would accept."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.accounts import Account, program
from tests.x509.authorities import issue
from troth.x509.keys import private_key_to_pem
from troth.x509.pem import der_to_pem, parse_certificates, to_pem
from troth.x509.requests import create_request, request_to_pem

PLAIN = ("--no-password", "--insecure")
WITH_PASSWORD = ("--password-file", "pw")
MAKERS = ("troth", "official")


@pytest.fixture
def home(tmp_path: Path) -> Account:
    """An account that knows no authority, with a password."""
    (tmp_path / "pw").write_text("secret\n")
    return Account(tmp_path)


@pytest.fixture
def authority(home: Account) -> Account:
    """An account with a root of its own, ``root.crt`` and ``root.key``."""
    home.good("certificate", "create", "Root", "root.crt", "root.key", "--profile", "root-ca", *PLAIN)
    return home


def issued_by(name: str) -> tuple[str, ...]:
    return ("--ca", f"{name}.crt", "--ca-key", f"{name}.key", "--ca-password-file", "pw")


def make_all(home: Account, maker: str) -> None:
    """A root, an intermediate, leaves, a request and what is signed for it, all named after who made them."""

    def run(*args: str, out: str = "") -> None:
        done = getattr(home, maker)("certificate", *args)
        assert done.code == 0 and bool(done.out) == bool(out), done
        if out:
            (home.work / out).write_text(done.out)

    create = ("create", "--set", "organization=Example")
    run(*create, "Rööt", f"{maker}.root.crt", f"{maker}.root.key", "--profile", "root-ca", *WITH_PASSWORD)
    root, ca = issued_by(f"{maker}.root"), issued_by(f"{maker}.ca")
    run(*create, "CA", f"{maker}.ca.crt", f"{maker}.ca.key", "--profile", "intermediate-ca", *root, *WITH_PASSWORD)
    names = ("--san", "a", "--san", "10.0.0.7", "--san", "https://x/y", "--san", "a@b", "--kty", "RSA")
    run(*create, "web", f"{maker}.web.crt", f"{maker}.web.key", *ca, *names, *PLAIN, "--bundle", "--not-after", "90m")
    run("create", "", f"{maker}.none.crt", f"{maker}.none.key", *ca, "--san", "only", *PLAIN)
    alone = ("--profile", "self-signed", "--subtle", "--kty", "OKP")
    run("create", "alone", f"{maker}.alone.crt", f"{maker}.alone.key", *alone, *PLAIN)
    run("create", "asked", f"{maker}.csr", f"{maker}.csr.key", "--csr", "--san", "asked", "--san", "::1", *PLAIN)
    signer = (f"{maker}.csr", f"{maker}.root.crt", f"{maker}.root.key", *WITH_PASSWORD)
    run("sign", *signer, "--bundle", out=f"{maker}.signed.crt")
    run("sign", *signer, "--profile", "intermediate-ca", "--not-after", "48h", out=f"{maker}.below.crt")
    run("sign", *signer, "--profile", "csr", out=f"{maker}.csr.crt")
    (home.work / "own.tpl").write_text(TEMPLATE)
    run("sign", *signer, "--template", "own.tpl", "--set", "organization=Example", out=f"{maker}.own.crt")


TEMPLATE = """{
  "subject": {"organization": {{ toJson .Insecure.User.organization }}, "commonName": {{ toJson .Subject.CommonName }}},
  "dnsNames": {{ toJson .Insecure.CR.DNSNames }},
  "serialNumber": "0x1234",
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}"""
MADE = ("root", "ca", "web", "none", "alone", "signed", "below", "csr", "own")


def shown(home: Account, file: str) -> list[str]:
    """OpenSSL's reading without what differs between any two certificates: key, signature, key ids, moments."""
    command = [program("openssl"), "x509", "-in", file, "-noout", "-text", "-certopt", "no_pubkey,no_sigdump,no_serial"]
    done = subprocess.run(command, cwd=home.work, capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in lines if not line.startswith(("Not ",)) and line.count(":") < 19]


def test_both_programs_make_the_same(home: Account) -> None:
    for maker in MAKERS:
        make_all(home, maker)
    for name in MADE:
        ours, theirs = (home.work / f"{maker}.{name}.crt" for maker in MAKERS)
        assert shown(home, ours.name) == shown(home, theirs.name), name
        lengths = [
            [one.not_valid_after_utc - one.not_valid_before_utc for one in parse_certificates(path.read_bytes())]
            for path in (ours, theirs)
        ]
        assert all(abs((a - b).total_seconds()) <= 1 for a, b in zip(*lengths, strict=True)), (name, lengths)
    for maker in MAKERS:
        for other in (home.troth, home.official):
            verified = other("certificate", "verify", f"{maker}.web.crt", "--roots", f"{maker}.root.crt")
            assert verified.code == 0, verified
    assert x509.load_pem_x509_certificate((home.work / "troth.own.crt").read_bytes()).serial_number == 0x1234


@pytest.mark.parametrize(("maker", "other"), [MAKERS, MAKERS[::-1]])
def test_what_one_made_the_other_goes_on_with(home: Account, maker: str, other: str) -> None:
    make_all(home, maker)
    run = getattr(home, other)
    for command in (
        ("create", "x", "x.crt", "x.key", *issued_by(f"{maker}.ca"), *WITH_PASSWORD),
        ("sign", f"{maker}.csr", f"{maker}.ca.crt", f"{maker}.ca.key", *WITH_PASSWORD),
    ):
        done = run("certificate", *command)
        assert done.code == 0, done


def test_files_are_private_and_keys_encrypted(home: Account) -> None:
    make_all(home, "troth")
    for name in ("root.crt", "root.key", "ca.key", "web.key", "csr"):
        assert (home.work / f"troth.{name}").stat().st_mode & 0o777 == 0o600
    assert "ENCRYPTED" in (home.work / "troth.root.key").read_text()
    assert "ENCRYPTED" in (home.work / "troth.ca.key").read_text()


def test_an_existing_key_is_certified(authority: Account) -> None:
    authority.good("crypto", "keypair", "k.pub", "k.key", *WITH_PASSWORD)
    issuer = ("--ca", "root.crt", "--ca-key", "root.key")
    authority.good("certificate", "create", "a", "a.crt", "--key", "k.key", *WITH_PASSWORD, *issuer)
    authority.good("certificate", "create", "a", "b.crt", "--key", "k.pub", "--skip-csr-signature", *issuer)
    a, b = (authority.good("certificate", "key", f"{name}.crt").out for name in "ab")
    assert a == b == (authority.work / "k.pub").read_text()
    assert "is a public key" in authority.refused("certificate", "create", "a", "c.crt", "--key", "k.pub", *issuer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.crt", "a.key"), "missing --ca"),
        (("a.crt", "a.key", "--ca", "root.crt"), "missing --ca-key"),
        (("a.crt", "a.key", "--profile", "self-signed", *PLAIN), "needs --subtle"),
        (("a.crt", "a.key", "--profile", "root-ca", "--no-password"), "needs --insecure"),
        (("a.crt", "a.key", "--profile", "root-ca"), "without a terminal"),
        (("a.crt", "a.key", "--profile", "root-ca", "--ca", "root.crt"), "--ca cannot be used with --profile root-ca"),
        (("a.crt", "a.key", "--profile", "root-ca", "--template", "x"), "cannot be used together"),
        (("a.crt", "a.key", "--profile", "nope"), "expected one of leaf"),
        (("a.crt", "a.key", "--csr", "--not-after", "1h"), "--not-after cannot be used with --csr"),
        (("a.crt", "a.key", "--csr", "--profile", "root-ca"), "--profile cannot be used with --csr"),
        (("a.crt", "a.crt", "--csr"), "same file"),
        (("a.crt",), "KEY_FILE is missing"),
        (("no/a.crt", "no/a.key", "--csr", *PLAIN), "does not exist"),
        (("a.crt", "a.key", "--csr", *PLAIN, "--san", "bücher.example"), "--san xn--bcher-kva.example"),
        (("a.crt", "a.key", "--template", "bad.tpl", *PLAIN), "rand"),
        (("a.crt", "a.key", "--template", "root.crt", *PLAIN), "no JSON"),
        (("a.crt", "a.key", "--ca", "root.crt", "--ca-key", "other.key", *PLAIN), "does not belong"),
        (("a.crt", "a.key", "--ca", "pw", "--ca-key", "root.key", *PLAIN), "contains no certificate"),
        (("a.crt", "a.key", "--ca", ".", "--ca-key", "root.key", *PLAIN), "is a directory"),
        (("a.crt", "a.key", "--ca", "empty", "--ca-key", "empty", *PLAIN), "contains no certificate"),
        (("a.crt", "a.key", "--ca", "leaf.crt", "--ca-key", "leaf.key", *PLAIN), "not a certificate authority"),
        (("a.crt", "a.key", "--ca", "old.crt", "--ca-key", "old.key", *PLAIN), "expired on"),
        (("a.crt", "a.key", "--profile", "root-ca", "--not-after", "-1h", *PLAIN), "is before --not-before"),
        (("a.crt", "a.key", "--profile", "root-ca", "--not-after", "99999999h", *PLAIN), "invalid time"),
        (("a.crt", "a.key", "--profile", "root-ca", "--not-before", "9999-12-31T00:00:00Z", *PLAIN), "calendar"),
        (("a.crt", "a.key", "--profile", "root-ca", "--path-len", "-2", *PLAIN), "expected -1"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(authority: Account, arguments: tuple[str, ...], message: str) -> None:
    end = datetime(2020, 1, 2, tzinfo=UTC)
    old = issue("old", authority=True, start=end - timedelta(days=1), end=end)
    for name, one in (("leaf", issue("leaf")), ("old", old)):
        (authority.work / f"{name}.crt").write_text(to_pem(one.certificate))
        (authority.work / f"{name}.key").write_bytes(private_key_to_pem(one.key))
    (authority.work / "other.key").write_bytes(private_key_to_pem(issue("x").key))
    (authority.work / "empty").write_bytes(b"")
    (authority.work / "bad.tpl").write_text("{{ randAlpha 3 }}")
    assert message in authority.refused("certificate", "create", "subject", *arguments)
    assert not [path for path in authority.work.iterdir() if path.name in ("a.crt", "a.key")]


def test_path_lengths_are_kept(authority: Account) -> None:
    below = ("--profile", "intermediate-ca", *PLAIN)
    authority.good("certificate", "create", "ca", "ca.crt", "ca.key", *below, *issued_by("root"))
    said = authority.refused("certificate", "create", "sub", "sub.crt", "sub.key", *below, *issued_by("ca"))
    assert "path length 0 does not allow path length 0" in said
    authority.good("certificate", "create", "r", "r.crt", "r.csr.key", "--csr", *PLAIN)
    said = authority.refused(
        *("certificate", "sign", "r.crt", "root.crt", "root.key", "--profile", "intermediate-ca", "--path-len", "1")
    )
    assert "expected at most 0" in said


def test_a_request_must_prove_its_key(authority: Account) -> None:
    request = create_request(issue("a").key, "a", ["a"])
    broken = request.public_bytes(Encoding.DER)[:-4] + b"\x01\x02\x03\x04"
    (authority.work / "broken.csr").write_text(der_to_pem(broken, "CERTIFICATE REQUEST"))
    assert "invalid signature" in authority.refused("certificate", "sign", "broken.csr", "root.crt", "root.key")
    for file in ("root.crt", "pw", "root.key"):
        assert "certificate request" in authority.refused("certificate", "sign", file, "root.crt", "root.key")


def test_a_common_name_becomes_a_name_unless_told(authority: Account) -> None:
    (authority.work / "a.csr").write_text(request_to_pem(create_request(issue("a").key, "a.example", [])))
    for flag, count in ((), 1), (("--omit-cn-san",), 0):
        for run in (authority.troth, authority.official):
            done = run("certificate", "sign", "a.csr", "root.crt", "root.key", *flag)
            assert done.code == 0, done
            (authority.work / "a.crt").write_text(done.out)
            assert sum("DNS:a.example" in line for line in shown(authority, "a.crt")) == count


def test_very_many_names(authority: Account) -> None:
    names = [flag for number in range(2000) for flag in ("--san", f"host-{number}.example")]
    authority.good("certificate", "create", "many", "m.crt", "m.key", *issued_by("root"), *PLAIN, *names)
    certificate = parse_certificates((authority.work / "m.crt").read_bytes())[0]
    assert len(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == 2000
