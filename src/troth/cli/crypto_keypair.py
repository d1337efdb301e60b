"""``troth crypto keypair`` and ``troth crypto change-pass``: private keys in PEM, and their passwords."""

from collections.abc import Callable
from pathlib import Path

import click

from troth.cli import flags
from troth.cli.key_secrets import NO_PASSWORD, PASSWORD_FILE

KEYPAIR = """
troth crypto keypair foo.pub foo.key --password-file pw
troth crypto keypair foo.pub foo.key --kty RSA --size 4096
troth crypto keypair foo.pub foo.key --no-password --insecure
troth crypto keypair foo.pub foo.key --from-jwk foo.jwk
"""
CHANGE = """
troth crypto change-pass foo.key
troth crypto change-pass foo.key --password-file old --new-password-file new --force
troth crypto change-pass foo.jwk --no-password --insecure --out plain.jwk
"""


@flags.command("keypair", KEYPAIR)
@click.argument("pub_file")
@click.argument("priv_file")
@flags.KEY_KIND
@click.option("--from-jwk", metavar="FILE", default="", help="Write this JSON web key as PEM; no new key is made.")
@PASSWORD_FILE
@NO_PASSWORD
@flags.FORCE
def keypair(
    pub_file: str,
    priv_file: str,
    kty: str,
    curve: str,
    size: int,
    from_jwk: str,
    password_file: str,
    no_password: bool,
    insecure: bool,
    force: bool,
) -> None:
    """Make a key pair: the public key in PUB_FILE, the private one in PRIV_FILE, both PEM and 0600."""
    from troth.cli.key_secrets import check_no_password, given_password, new_password
    from troth.cli.outputs import may_write
    from troth.host.files import read_file, write_file
    from troth.host.permissions import KEPT_SECRET
    from troth.host.terminal import note
    from troth.x509.keys import PrivateKey, generate_key, private_key_to_pem, public_pem

    check_no_password(no_password, insecure)
    if from_jwk:
        from troth.ca.key_forms import from_jwk as native
        from troth.ca.key_forms import read_jwk

        question = f"Please enter the password to decrypt {from_jwk}"
        read = native(read_jwk(read_file(Path(from_jwk)), lambda: given_password(password_file, question), from_jwk))
        if not isinstance(read, PrivateKey):
            may_write(pub_file, force=force)
            write_file(Path(pub_file), public_pem(read).encode())
            note(f"Your public key has been saved in {pub_file}.")
            return
        key = read
    else:
        key = generate_key(kty, curve, size)
    may_write(pub_file, priv_file, force=force, secret=priv_file)
    password = new_password(password_file, no_password, insecure, priv_file)
    write_file(Path(priv_file), private_key_to_pem(key, password), wanted=KEPT_SECRET)
    write_file(Path(pub_file), public_pem(key.public_key()).encode())
    note(f"Your public key has been saved in {pub_file}.")
    note(f"Your private key has been saved in {priv_file}.")


@flags.command("change-pass", CHANGE)
@click.argument("key_file")
@click.option("--out", "--output-file", "out", metavar="FILE", default="", help="Write here and leave KEY_FILE alone.")
@click.option("--password-file", metavar="FILE", default="", help="File with the present password.")
@click.option("--new-password-file", metavar="FILE", default="", help="File with the new password.")
@NO_PASSWORD
@flags.FORCE
def change_pass(
    key_file: str,
    out: str,
    password_file: str,
    new_password_file: str,
    no_password: bool,
    insecure: bool,
    force: bool,
) -> None:
    """Change or remove the password of a private key, PEM or JSON web key; without --out KEY_FILE is replaced."""
    from troth.cli.key_secrets import check_no_password, chosen_password, given_password
    from troth.cli.outputs import may_write
    from troth.host.files import read_file, write_file
    from troth.host.permissions import KEPT, KEPT_SECRET
    from troth.host.terminal import note

    check_no_password(no_password, insecure)
    data = read_file(Path(key_file))

    def old() -> bytes:
        return given_password(password_file, f"Please enter the password to decrypt {key_file}")

    def new() -> bytes | None:
        if no_password:
            return None
        question = f"Please enter the password to encrypt {out or key_file}"
        return chosen_password(new_password_file, question, flag="--new-password-file")

    wanted = KEPT_SECRET if out and out != key_file else KEPT  # in place it keeps the rights that it has
    may_write(out or key_file, force=force, wanted=wanted)
    write_file(Path(out or key_file), _rewritten(data, key_file, old, new), wanted=wanted)
    note(f"Your key has been saved in {out or key_file}.")


def _rewritten(data: bytes, path: str, old: Callable[[], bytes], new: Callable[[], bytes | None]) -> bytes:
    """The same key in the same form under another password."""
    from troth.ca.key_forms import as_compact_jwe, is_private, read_jwk
    from troth.cli.crypto_jwk import private_jwk_text
    from troth.errors import UsageError
    from troth.x509.keys import parse_private_key, private_key_to_pem

    if as_compact_jwe(data) is not None or data.lstrip().startswith(b"{"):
        jwk = read_jwk(data, old, path)
        if not is_private(jwk):
            raise UsageError(f"{path} is a public key: expected the private one")
        return private_jwk_text(jwk, new()).encode()
    encrypted = b"ENCRYPTED" in data
    key = parse_private_key(data, old() if encrypted else None, path)
    pkcs8 = b"BEGIN PRIVATE KEY" in data or b"BEGIN ENCRYPTED PRIVATE KEY" in data
    return private_key_to_pem(key, new(), pkcs8=pkcs8)
