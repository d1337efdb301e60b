"""``troth crypto key inspect``, ``fingerprint`` and ``public``: what a key in any form is, and its public half."""

from typing import Any

import click

from troth.cli import flags
from troth.cli.key_secrets import PASSWORD_FILE

INSPECT = """
troth crypto key inspect client.key
troth crypto key inspect client.crt
troth crypto key inspect client.key --password-file pw
"""
FINGERPRINT = """
troth crypto key fingerprint client.key
troth crypto key fingerprint client.crt --sha1
troth crypto key fingerprint id_ed25519.pub --ssh
troth crypto key fingerprint client.pub --pkix --format hex
"""
PUBLIC = """
troth crypto key public client.key
troth crypto key public client.crt --out client.pub
"""
KEY_FILE = click.argument("key_file", metavar="[KEY_FILE|-]", default="-")


@flags.command("inspect", INSPECT)
@KEY_FILE
@PASSWORD_FILE
def inspect(key_file: str, password_file: str) -> None:
    """Print the numbers of a key, or of the public key of a certificate or request.

    KEY_FILE is PEM, DER, OpenSSH's or a JSON web key. Of a private key the secret numbers are printed too.
    """
    from troth.cli.key_secrets import read_key
    from troth.x509.key_numbers import key_text

    print(key_text(read_key(key_file, password_file)), end="")


@flags.command("fingerprint", FINGERPRINT)
@KEY_FILE
@click.option("--sha1", is_flag=True, help="SHA-1 in hex: the subject key id of a certificate.")
@click.option("--pkix", is_flag=True, help="Of the whole SubjectPublicKeyInfo, not only its bit string.")
@click.option("--ssh", is_flag=True, help="Of the key in OpenSSH's form.")
@click.option("--raw", is_flag=True, help="Print the bytes themselves, for another program to digest.")
@click.option("--format", "form", metavar="FORMAT", default="", help="As of troth certificate fingerprint.")
@PASSWORD_FILE
def fingerprint(key_file: str, form: str, password_file: str, **given: Any) -> None:
    """Print the fingerprint of a public key: the same for the key, its public half and its certificate."""
    import hashlib
    import sys

    from troth.cli.certificate_fingerprint import encoder
    from troth.cli.key_secrets import read_key
    from troth.errors import UsageError

    if given["pkix"] and given["ssh"]:
        raise UsageError("--pkix and --ssh exclude each other: expected one of them")
    encode = encoder(form or ("hex" if given["sha1"] else "base64"))
    digested = _digested(read_key(key_file, password_file), given["pkix"], given["ssh"])
    if given["raw"]:
        sys.stdout.buffer.write(digested)
    elif given["sha1"]:
        print("SHA1:" + encode(hashlib.sha1(digested, usedforsecurity=False).digest()))
    else:
        print("SHA256:" + encode(hashlib.sha256(digested).digest()))


def _digested(key: Any, pkix: bool, ssh: bool) -> bytes:
    from base64 import b64decode

    from troth.cli.key_secrets import public_half
    from troth.x509.keys import public_bits, public_der
    from troth.x509.openssh import public_line

    public = public_half(key)
    if ssh:
        return b64decode(public_line(public).split()[1])
    return public_der(public) if pkix else public_bits(public)


@flags.command("public", PUBLIC)
@KEY_FILE
@click.option("--out", metavar="FILE", default="", help="Write here instead of to stdout.")
@PASSWORD_FILE
@flags.FILE_PERMISSIONS
@flags.FORCE
def public(key_file: str, out: str, password_file: str, force: bool, **given: str) -> None:
    """Print the public key of a private key, certificate or request, as PEM."""
    from troth.cli.key_secrets import public_half, read_key
    from troth.cli.outputs import file_permissions, may_write, put
    from troth.host.terminal import note
    from troth.x509.keys import public_pem

    text = public_pem(public_half(read_key(key_file, password_file)))
    wanted = file_permissions(given)
    if out:
        may_write(out, force=force, wanted=wanted)
    put(text, out, wanted)
    if out:
        note(f"The public key has been saved in {out}.")
