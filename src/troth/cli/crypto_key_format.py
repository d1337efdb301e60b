"""``troth crypto key format``: a key from one form to another."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from troth.cli import flags
from troth.cli.crypto_key import KEY_FILE
from troth.cli.key_secrets import NO_PASSWORD, PASSWORD_FILE

FORMAT = """
troth crypto key format client.key --out key.der
troth crypto key format key.der --no-password --insecure
troth crypto key format client.key --pem --pkcs8 --password-file pw --out pkcs8.pem
troth crypto key format client.pub --ssh
troth crypto key format client.pub --jwk
"""
FORMS = ("pem", "der", "ssh", "jwk")


@flags.command("format", FORMAT)
@KEY_FILE
@click.option("--pkcs8", is_flag=True, help="Private EC and RSA keys as PKCS #8, in PEM or DER.")
@click.option("--pem", is_flag=True, help="PEM, which is the default for whatever is not PEM.")
@click.option("--der", is_flag=True, help="DER, which is the default for PEM; private keys are unencrypted in it.")
@click.option("--ssh", is_flag=True, help="OpenSSH's forms; private keys need --no-password.")
@click.option("--jwk", is_flag=True, help="JSON web key; with a password an encrypted one (JWE).")
@click.option(
    "--out", metavar="FILE", default="", help="Write here instead of to stdout; 0600 unless --mode says else."
)
@PASSWORD_FILE
@NO_PASSWORD
@flags.FILE_PERMISSIONS
@flags.FORCE
def reformat(key_file: str, out: str, force: bool, **given: Any) -> None:
    """Print a key in another form: PEM as DER, anything else as PEM, unless a flag says otherwise.

    The password decrypts KEY_FILE and encrypts what is made of it.
    """
    import sys
    from pathlib import Path

    from troth.cli.key_secrets import check_no_password, parse_key
    from troth.cli.outputs import file_permissions, may_write
    from troth.cli.sources import read_source
    from troth.errors import UsageError
    from troth.host.files import write_file
    from troth.host.terminal import note
    from troth.x509.keys import PrivateKey

    asked = [name for name in FORMS if given[name]]
    if len(asked) > 1:
        raise UsageError(f"--{asked[0]} and --{asked[1]} exclude each other: expected one of them")
    check_no_password(given["no_password"], given["insecure"])
    data = read_source(key_file)
    form = asked[0] if asked else "der" if data.startswith(b"-----BEGIN ") else "pem"
    key = parse_key(data, key_file, given["password_file"])
    wanted = file_permissions(given, secret=isinstance(key, PrivateKey))
    if out:
        may_write(out, force=force, wanted=wanted)
    made = _private(key, form, given) if isinstance(key, PrivateKey) else _public(key, form)
    if not out:
        sys.stdout.buffer.write(made)
        return
    write_file(Path(out), made, wanted=wanted)
    note(f"Your key has been saved in {out}.")


def _public(key: Any, form: str) -> bytes:
    from troth.x509.keys import public_der, public_pem
    from troth.x509.openssh import public_line

    if form == "jwk":
        return _bare_jwk(key)
    if form == "ssh":
        return public_line(key) + b"\n"
    return public_pem(key).encode() if form == "pem" else public_der(key)


def _private(key: Any, form: str, given: Mapping[str, Any]) -> bytes:
    from troth.cli.key_secrets import new_password
    from troth.errors import UsageError
    from troth.x509.keys import private_key_to_der, private_key_to_pem
    from troth.x509.openssh import private_block

    def password() -> bytes | None:
        return new_password(given["password_file"], given["no_password"], given["insecure"], "the private key")

    if form == "der":
        return private_key_to_der(key, pkcs8=given["pkcs8"])
    if form == "ssh":
        if not given["no_password"]:
            raise UsageError(
                "--ssh writes a private key without a password only: expected --no-password --insecure",
                hint="encrypt it afterwards: ssh-keygen -p -f FILE",
            )
        return private_block(key)
    return private_key_to_pem(key, password(), pkcs8=given["pkcs8"]) if form == "pem" else _private_jwk(key, password)


def _private_jwk(key: Any, password: Callable[[], bytes | None]) -> bytes:
    import json

    from troth.ca.key_forms import flattened_jwe
    from troth.cli.provisioner_keys import encrypted

    secret, bare = password(), _bare_jwk(key)
    return bare if secret is None else flattened_jwe(encrypted(json.loads(bare), secret)).encode()


def _bare_jwk(key: Any) -> bytes:
    """A key as step formats it: on one line, with neither id nor algorithm."""
    import json

    from troth.ca.key_forms import to_jwk

    members = {name: value for name, value in to_jwk(key).items() if name not in ("kid", "alg")}
    return json.dumps(members, separators=(",", ":")).encode()
