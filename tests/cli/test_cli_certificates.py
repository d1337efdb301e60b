"""Certificates are shown and judged as the official program shows and judges them; the exit code is the answer."""

import json
import subprocess
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cli.accounts import Account, RunningAuthority, program
from tests.x509.authorities import NOW, issue
from troth.cli.certificate_needs_renewal import any_due
from troth.errors import TrothError
from troth.x509.keys import generate_key
from troth.x509.pem import to_pem
from troth.x509.requests import create_request, request_to_pem


@pytest.fixture
def holder(account: Account, authority: RunningAuthority) -> Account:
    """An account with certificates of several kinds, a request, and the root."""
    flags = ("--san", "x.example", "--san", "10.0.0.1", *authority.signing)
    account.good("ca", "certificate", "x.example", "ec.crt", "ec.key", *flags)
    account.good("ca", "certificate", "x.example", "rsa.crt", "rsa.key", "--kty", "RSA", *flags)
    account.good("ca", "root", "root.crt")
    (account.work / "r.csr").write_text(request_to_pem(create_request(generate_key(), "r", ["r.example", "1.2.3.4"])))
    return account


@pytest.mark.parametrize("form", [(), ("--short",), ("--format", "pem")])
def test_inspect_prints_what_step_prints(holder: Account, form: tuple[str, ...]) -> None:
    for file in ("ec.crt", "rsa.crt", "root.crt", "r.csr"):
        ours, theirs = (run("certificate", "inspect", *form, file) for run in (holder.troth, holder.official))
        assert (ours.code, ours.out.split("\n")) == (0, theirs.out.split("\n")), file


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: str(curve.name))
def test_inspect_prints_short_coordinates_as_step_does(holder: Account, curve: ec.EllipticCurve) -> None:
    """One key in 128 has a coordinate that begins with a zero octet, and step leaves that out."""
    octets = (curve.key_size + 7) // 8
    keys = (ec.derive_private_key(value, curve) for value in range(1, 4000))
    short = next(key for key in keys if key.public_key().public_numbers().x.bit_length() <= 8 * (octets - 1))
    (holder.work / "short.csr").write_text(request_to_pem(create_request(short, "r", ["r.example"])))
    ours, theirs = (run("certificate", "inspect", "short.csr") for run in (holder.troth, holder.official))
    assert (ours.code, ours.out.split("\n")) == (0, theirs.out.split("\n"))


def test_inspect_bundle(holder: Account) -> None:
    ours, theirs = (run("certificate", "inspect", "--bundle", "ec.crt") for run in (holder.troth, holder.official))
    assert ours.out == theirs.out and ours.out.count("Certificate:") == 2


def test_inspect_json_is_a_part_of_steps(holder: Account) -> None:
    for file in ("ec.crt", "root.crt"):
        ours, theirs = (
            json.loads(run("certificate", "inspect", "--format", "json", file).out)
            for run in (holder.troth, holder.official)
        )
        for form in (ours, theirs):
            form["names"] = sorted(form.get("names", []))  # a Go map's order: step's differs from run to run
        assert {key: theirs.get(key) for key in ours if key not in ("subject_key_info", "signature")} == {
            key: value for key, value in ours.items() if key not in ("subject_key_info", "signature")
        }
        assert ours["signature"]["value"] == theirs["signature"]["value"]


def test_inspect_reads_stdin_and_servers(holder: Account, authority: RunningAuthority) -> None:
    text = (holder.work / "ec.crt").read_text()
    piped = holder.troth("certificate", "inspect", "--short", "-", stdin=text)
    assert piped.out == holder.good("certificate", "inspect", "--short", "ec.crt").out
    remote = holder.good("certificate", "inspect", "--short", authority.url, "--roots", "root.crt").out
    assert "Step Online CA" in remote
    assert "is not trusted" in holder.refused("certificate", "inspect", authority.url)
    assert holder.good("certificate", "inspect", "--short", authority.url, "--insecure").out == remote


def test_inspect_refuses_what_it_cannot_show(holder: Account) -> None:
    assert "contains no certificate" in holder.refused("certificate", "inspect", "ec.key")
    assert "unknown --format 'xml'" in holder.refused("certificate", "inspect", "ec.crt", "--format", "xml")
    assert "cannot be used with" in holder.refused("certificate", "inspect", "ec.crt", "--short", "--format", "json")


@pytest.mark.parametrize(
    "flags", [(), ("--bundle",), ("--format", "base64-url-raw"), ("--format", "emoji"), ("--sha1", "--insecure")]
)
def test_fingerprints(holder: Account, flags: tuple[str, ...]) -> None:
    ours, theirs = (run("certificate", "fingerprint", *flags, "ec.crt") for run in (holder.troth, holder.official))
    assert ours == theirs and ours.code == 0
    assert "--sha1 needs --insecure" in holder.refused("certificate", "fingerprint", "--sha1", "ec.crt")


def test_verify(holder: Account, authority: RunningAuthority) -> None:
    assert holder.good("certificate", "verify", "ec.crt", "--roots", "root.crt").out == ""
    holder.good("certificate", "verify", "ec.crt", "--roots", str(authority.directory / "certs"), "--host", "10.0.0.1")
    assert "it names x.example" in holder.refused(
        "certificate", "verify", "ec.crt", "--roots", "root.crt", "--host", "y"
    )
    (holder.work / "foreign.crt").write_text(to_pem(issue("foreign", authority=True).certificate))
    assert "unknown authority" in holder.refused("certificate", "verify", "ec.crt", "--roots", "foreign.crt")
    holder.good("certificate", "verify", authority.url, "--roots", "root.crt")
    assert "error:" in holder.refused("certificate", "verify", authority.url)


def test_what_we_verify_openssl_verifies(holder: Account) -> None:
    command = [program("openssl"), "verify", "-CAfile", "root.crt", "-untrusted", "ec.crt", "ec.crt"]
    done = subprocess.run(command, cwd=holder.work, capture_output=True, text=True, check=False)
    assert done.stdout == "ec.crt: OK\n", done


@pytest.mark.parametrize(
    "arguments",
    [
        ("ec.crt",),
        ("ec.crt", "--expires-in", "25h"),
        ("ec.crt", "--expires-in", "0%"),
        ("ec.crt", "--expires-in", "1h"),
        ("ec.crt", "--bundle"),
        ("absent.crt",),
        ("ec.key",),
        ("ec.crt", "--expires-in", "x"),
        ("ec.crt", "--expires-in", "101%"),
        ("ec.crt", "--nonsense"),
        (),
    ],
)
def test_needs_renewal_answers_as_step_does(holder: Account, arguments: tuple[str, ...]) -> None:
    ours, theirs = (run("certificate", "needs-renewal", *arguments) for run in (holder.troth, holder.official))
    assert (ours.code, ours.out) == (theirs.code, theirs.out)


def test_needs_renewal_in_words(holder: Account) -> None:
    due = holder.good("certificate", "needs-renewal", "ec.crt", "--expires-in", "25h", "--verbose")
    assert due.out == "certificate needs renewal\n"
    fresh = holder.troth("certificate", "needs-renewal", "ec.crt", "-v")
    assert (fresh.code, fresh.out, fresh.err) == (1, "", "certificate does not need renewal\n")


def test_the_share_of_a_life() -> None:
    certificate = issue("x", start=NOW, end=NOW + timedelta(hours=100)).certificate
    for hours, due in ((0, False), (65, False), (67, True), (99, True), (101, True)):
        assert any_due([certificate], "66%", NOW + timedelta(hours=hours)) == due, hours
    assert any_due([certificate], "10h", NOW + timedelta(hours=90)) and not any_due([certificate], "9h", NOW)
    for text in ("%", "-1%", "101%", "1.5%", "", "h"):
        with pytest.raises(TrothError):
            any_due([certificate], text, NOW)
