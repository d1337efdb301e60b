"""``troth crypto jwk``: JSON web keys (RFC 7517), private ones as flattened JWE."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from troth.cli import flags
from troth.cli.key_secrets import NO_PASSWORD, PASSWORD_FILE

CREATE = """
troth crypto jwk create foo.pub.jwk foo.jwk --password-file pw
troth crypto jwk create foo.pub.jwk foo.jwk --kty RSA --alg PS256
troth crypto jwk create foo.pub.jwk foo.jwk --from-pem foo.key
"""
PUBLIC = """
troth crypto jwk public < foo.jwk
"""
THUMBPRINT = """
troth crypto jwk thumbprint < foo.pub.jwk
"""
ALGORITHMS: dict[str, dict[str, tuple[str, ...]]] = {
    "EC": {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)},
    "RSA": {"": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "OKP": {"Ed25519": ("EdDSA",)},
}


@flags.command("create", CREATE)
@click.argument("public_file")
@click.argument("private_file")
@flags.all_of(
    click.option("--kty", "--type", "kty", metavar="TYPE", default="EC", help="Key type: EC (default), RSA or OKP."),
    click.option("--curve", "--crv", "curve", metavar="NAME", default="", help="P-256, P-384, P-521 or Ed25519."),
    click.option("--size", metavar="BITS", type=int, default=0, help="RSA key size, from 2048."),
)
@click.option(
    "--alg", "--algorithm", "alg", metavar="NAME", default="", help="Signature algorithm, by the kind of key."
)
@click.option("--use", metavar="USE", default="sig", help="What the key is for; sig, the default, is the one served.")
@click.option("--kid", metavar="ID", default="", help="Key id; the RFC 7638 thumbprint unless given.")
@click.option("--from-pem", metavar="FILE", default="", help="Use the key of this PEM file instead of a new one.")
@PASSWORD_FILE
@NO_PASSWORD
@click.option("--subtle", is_flag=True, help="Taken for step's sake.")
@flags.FORCE
def create(public_file: str, private_file: str, **given: Any) -> None:
    """Make a JSON web key: the public half in PUBLIC_FILE, the private one encrypted in PRIVATE_FILE, both 0600."""
    from troth.ca.jwk import public_jwk
    from troth.ca.key_forms import is_private
    from troth.cli.key_secrets import check_no_password, new_password
    from troth.cli.outputs import may_write
    from troth.errors import UsageError
    from troth.host.files import write_file
    from troth.host.permissions import KEPT_SECRET
    from troth.host.terminal import note

    if given["use"] != "sig":
        raise UsageError(f"--use {given['use']!r} is not supported: expected sig")
    check_no_password(given["no_password"], given["insecure"])
    jwk = _made(given)
    _check_algorithm(jwk)
    private = is_private(jwk)
    may_write(public_file, *([private_file] if private else []), force=given["force"], secret=private_file)
    if private:
        password = new_password(given["password_file"], given["no_password"], given["insecure"], private_file)
        write_file(Path(private_file), private_jwk_text(jwk, password).encode(), wanted=KEPT_SECRET)
    write_file(Path(public_file), json.dumps(public_jwk(jwk), indent=2).encode())
    note(f"Your public key has been saved in {public_file}.")
    if private:
        note(f"Your private key has been saved in {private_file}.")


def _made(given: Mapping[str, Any]) -> dict[str, Any]:
    from troth.ca.key_forms import read_jwk, to_jwk
    from troth.cli.key_secrets import given_password
    from troth.errors import UsageError
    from troth.host.files import read_file
    from troth.x509.keys import generate_key

    named = {"use": given["use"], "kid": given["kid"], "alg": given["alg"]}
    path = given["from_pem"]
    if not path:
        if given["kty"] == "oct":
            raise UsageError("symmetric keys are not supported: expected --kty EC, RSA or OKP")
        return to_jwk(generate_key(given["kty"], given["curve"], given["size"]), **named)
    question = f"Please enter the password to decrypt {path}"
    read = read_jwk(read_file(Path(path)), lambda: given_password(given["password_file"], question), path)
    from troth.ca.key_forms import from_jwk

    return to_jwk(from_jwk(read), **named)


def _check_algorithm(jwk: Mapping[str, Any]) -> None:
    from troth.errors import UsageError

    allowed = ALGORITHMS[jwk["kty"]].get(jwk.get("crv", ""), ())
    if jwk["alg"] not in allowed:
        raise UsageError(f"--alg {jwk['alg']!r} does not fit the key: expected {' or '.join(allowed)}")


def private_jwk_text(jwk: Mapping[str, Any], password: bytes | None) -> str:
    """A private JWK as step writes it to a file: plain JSON, or with a password a flattened JWE."""
    from troth.ca.key_forms import flattened_jwe
    from troth.cli.provisioner_keys import encrypted

    return json.dumps(dict(jwk), indent=2) if password is None else flattened_jwe(encrypted(dict(jwk), password))


def from_stdin() -> dict[str, Any]:
    """The JSON web key on stdin, its password asked for where it is encrypted."""
    from troth.ca.key_forms import KeyFormError, read_jwk
    from troth.cli.key_secrets import given_password
    from troth.cli.sources import read_source

    data = read_source("-")
    if not data.strip():
        raise KeyFormError("stdin is empty: expected a JSON web key")
    return read_jwk(data, lambda: given_password("", "Please enter the password to decrypt the key"), "stdin")


@flags.command("public", PUBLIC)
def public() -> None:
    """Print the public half of the JSON web key on stdin."""
    from troth.ca.jwk import public_jwk

    print(json.dumps(public_jwk(from_stdin()), indent=2))


@flags.command("thumbprint", THUMBPRINT)
def thumbprint() -> None:
    """Print the RFC 7638 thumbprint of the JSON web key on stdin."""
    from troth.ca.jwk import thumbprint as print_of

    print(print_of(from_stdin()))
