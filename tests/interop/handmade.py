"""Section 9.10, the commands that make certificates without an authority: create and sign, read by OpenSSL."""

import json

from tests.interop import material
from tests.interop.matrix import operation
from tests.interop.stage import Side

PLAIN = ("--no-password", "--insecure")


def create(side: Side, subject: str, name: str, *flags: str, code: int = 0) -> None:
    side.run("certificate", "create", subject, f"{name}.crt", f"{name}.key", *flags, code=code)


def hierarchy(side: Side) -> tuple[str, ...]:
    """A root and an intermediate under one password; the flags that sign with the latter."""
    protected = ("--password-file", str(side.password_file))
    create(side, "Root", "root", "--profile", "root-ca", *protected)
    issuer = ("--ca", "root.crt", "--ca-key", "root.key", "--ca-password-file", str(side.password_file))
    create(side, "CA", "ca", "--profile", "intermediate-ca", *issuer, *protected)
    return ("--ca", "ca.crt", "--ca-key", "ca.key", "--ca-password-file", str(side.password_file))


def text_of(side: Side, file: str) -> str:
    return material.openssl("x509", "-in", str(side.work / file), "-noout", "-text")


@operation("9.10", "certificate create: root, intermediate and leaf make a chain")
def create_chain(side: Side) -> None:
    create(side, "web.example", "web", *hierarchy(side), *PLAIN)
    files = [str(side.work / f"{name}.crt") for name in ("root", "ca", "web")]
    material.openssl("verify", "-x509_strict", "-CAfile", files[0], "-untrusted", files[1], files[2])
    assert "pathlen:1" in text_of(side, "root.crt") and "pathlen:0" in text_of(side, "ca.crt")
    assert "DNS:web.example" in text_of(side, "web.crt")


@operation("9.10", "certificate create encrypts the key, 0600")
def create_encrypted(side: Side) -> None:
    hierarchy(side)
    assert "ENCRYPTED" in (side.work / "ca.key").read_text()
    assert (side.work / "ca.key").stat().st_mode & 0o777 == 0o600


@operation("9.10", "certificate create --no-password without --insecure")
def create_careless(side: Side) -> str:
    create(side, "Root", "root", "--profile", "root-ca", "--no-password", code=1)
    assert not (side.work / "root.key").exists()
    return "refuses (exit 1)"


@operation("9.10", "certificate create --csr")
def create_request(side: Side) -> None:
    create(side, "web.example", "web", "--csr", "--san", "a.example", "--san", "10.0.0.7", *PLAIN)
    text = material.openssl("req", "-in", str(side.work / "web.crt"), "-noout", "-text", "-verify")
    assert "DNS:a.example, IP Address:10.0.0.7" in text


@operation("9.10", "certificate create --profile self-signed needs --subtle")
def create_self_signed(side: Side) -> None:
    create(side, "alone", "alone", "--profile", "self-signed", *PLAIN, code=1)
    create(side, "alone", "alone", "--profile", "self-signed", "--subtle", *PLAIN)
    material.openssl("verify", "-CAfile", str(side.work / "alone.crt"), str(side.work / "alone.crt"))


@operation("9.10", "certificate create --template --set")
def create_templated(side: Side) -> None:
    (side.work / "own.tpl").write_text('{"subject": {"organization": {{ toJson .Insecure.User.org }}}}')
    create(side, "web", "web", "--template", "own.tpl", "--set", "org=Example", *hierarchy(side), *PLAIN)
    assert "O = Example" in text_of(side, "web.crt").replace("O=Example", "O = Example")


@operation("9.10", "certificate sign: leaf, with its issuer")
def sign(side: Side) -> None:
    hierarchy(side)
    _, csr = material.write_request(side, "asked.example", ("asked.example",))
    protected = ("--password-file", str(side.password_file))
    text = side.run("certificate", "sign", str(csr), "ca.crt", "ca.key", "--bundle", *protected).out
    (side.work / "signed.crt").write_text(text)
    assert len(material.load(side.work / "signed.crt")) == 2
    assert "DNS:asked.example" in text_of(side, "signed.crt")


@operation("9.10", "certificate sign --profile intermediate-ca below path length 0")
def sign_too_deep(side: Side) -> str:
    hierarchy(side)
    _, csr = material.write_request(side, "sub", ())
    command = ("certificate", "sign", str(csr), "ca.crt", "ca.key", "--profile", "intermediate-ca")
    assert side.run(*command, "--password-file", str(side.password_file), code=1).out == ""
    return "refuses (exit 1)"


@operation("9.10", "certificate bundle, key and format")
def change_form(side: Side) -> None:
    create(side, "web.example", "web", *hierarchy(side), *PLAIN)
    side.run("certificate", "bundle", "web.crt", "ca.crt", "chain.crt")
    chain = (side.work / "chain.crt").read_bytes()
    assert chain == (side.work / "web.crt").read_bytes() + (side.work / "ca.crt").read_bytes()
    assert side.run("certificate", "key", "web.crt").out == material.openssl(
        "x509", "-in", str(side.work / "web.crt"), "-noout", "-pubkey"
    )
    side.run("certificate", "format", "chain.crt", "--out", "web.der")
    material.openssl("x509", "-in", str(side.work / "web.der"), "-inform", "DER", "-noout", "-checkend", "60")
    assert side.run("certificate", "format", "web.der").out == (side.work / "web.crt").read_text()


@operation("9.10", "certificate p12, with a password and without")
def package(side: Side) -> None:
    create(side, "web.example", "web", *hierarchy(side), *PLAIN)
    files = ("web.crt", "web.key", "--ca", "ca.crt")
    side.run("certificate", "p12", "a.p12", *files, "--password-file", str(side.password_file))
    side.run("certificate", "p12", "b.p12", *files, *PLAIN)
    for name, password in (("a.p12", f"file:{side.password_file}"), ("b.p12", "pass:")):
        text = material.openssl("pkcs12", "-in", str(side.work / name), "-passin", password, "-nodes")
        assert text.count("BEGIN CERTIFICATE") == 2 and "PRIVATE KEY" in text
        assert (side.work / name).stat().st_mode & 0o777 == 0o600


@operation("9.12", "crypto keypair of every kind")
def key_pairs(side: Side) -> None:
    for number, kind in enumerate(
        (("EC", "--curve", "P-384"), ("RSA", "--size", "2048"), ("OKP", "--curve", "Ed25519"))
    ):
        public, private = f"{number}.pub", f"{number}.key"
        side.run("crypto", "keypair", public, private, "--kty", *kind, *PLAIN)
        shown = material.openssl("pkey", "-in", str(side.work / private), "-pubout")
        assert shown == (side.work / public).read_text()
        assert (side.work / private).stat().st_mode & 0o777 == 0o600


@operation("9.12", "crypto change-pass: a password set, and taken away")
def change_password(side: Side) -> None:
    side.run("crypto", "keypair", "a.pub", "a.key", "--password-file", str(side.password_file))
    assert "ENCRYPTED" in (side.work / "a.key").read_text()
    side.run("crypto", "change-pass", "a.key", "--out", "open.key", "--password-file", str(side.password_file), *PLAIN)
    shown = material.openssl("pkey", "-in", str(side.work / "open.key"), "-pubout")
    assert shown == (side.work / "a.pub").read_text()


@operation("9.12", "crypto jwk create, public and thumbprint")
def json_web_keys(side: Side) -> None:
    side.run("crypto", "jwk", "create", "a.json", "a.key", "--kty", "EC", "--crv", "P-256", *PLAIN)
    public, private = ((side.work / name).read_text() for name in ("a.json", "a.key"))
    assert json.loads(side.run("crypto", "jwk", "public", stdin=private).out) == json.loads(public)
    thumbprint = side.run("crypto", "jwk", "thumbprint", stdin=public).out.strip()
    assert thumbprint == json.loads(public)["kid"] and len(thumbprint) == 43
