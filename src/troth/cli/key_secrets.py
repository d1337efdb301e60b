"""The password a private key is written under, and the flags that say there shall be none."""

from pathlib import Path

import click

from troth.cli import flags
from troth.cli.founding import read_password
from troth.errors import UsageError
from troth.host.files import read_file
from troth.host.terminal import ask_new_password
from troth.host.terminal import ask_password as ask_secret
from troth.x509.keys import PrivateKey, PublicKey, parse_private_key

PASSWORD_FILE = click.option("--password-file", metavar="FILE", default="", help="File with the key's password.")
NO_PASSWORD = flags.all_of(
    click.option("--no-password", is_flag=True, help="Write the key unencrypted; needs --insecure."),
    click.option("--insecure", is_flag=True, help="Allow what is not recommended."),
)


def check_no_password(no_password: bool, insecure: bool) -> None:
    """Raises: UsageError: a key shall be written unencrypted and nobody said that this is meant."""
    if no_password and not insecure:
        raise UsageError("--no-password needs --insecure: the key is written unencrypted")


def given_password(password_file: str, question: str, *, flag: str = "--password-file") -> bytes:
    """The password of a file, or of the terminal.

    Raises:
        UsageError: the file or the answer is empty.
        TerminalError: there is no file and nobody to ask.
    """
    password = read_password(password_file) if password_file else ask_secret(question, otherwise=f"give {flag}")
    if not password:
        raise UsageError("password is empty: expected at least one character")
    return password


def new_password(password_file: str, no_password: bool, insecure: bool, path: str) -> bytes | None:
    """What a new key is encrypted with; None for nothing.

    Raises:
        UsageError, TerminalError: as of the two above.
    """
    check_no_password(no_password, insecure)
    if no_password:
        return None
    return chosen_password(password_file, f"Please enter the password to encrypt {path}")


def chosen_password(password_file: str, question: str, *, flag: str = "--password-file") -> bytes:
    """A password to encrypt with: of a file, or typed twice at the terminal.

    Raises:
        UsageError: the file is empty.
        TerminalError: there is no file and nobody to ask.
    """
    if password_file:
        return given_password(password_file, question)
    return ask_new_password(question, otherwise=f"give {flag}")


def read_private_key(path: str, password_file: str, *, flag: str = "--password-file") -> PrivateKey:
    """The private key of a PEM or DER file, its password from a file or the terminal where it is encrypted.

    Raises:
        TrothError: it cannot be read, or the password is wrong.
    """
    data = read_file(Path(path))
    question = f"Please enter the password to decrypt {path}"
    password = given_password(password_file, question, flag=flag) if b"ENCRYPTED" in data else None
    return parse_private_key(data, password, path)


def read_key(path: str, password_file: str) -> PrivateKey | PublicKey:
    """The key of a file, or of stdin for ``-``, in any form; the public one of a certificate or request.

    Raises:
        TrothError: it cannot be read, or the password is wrong.
    """
    from troth.cli.sources import read_source

    return parse_key(read_source(path), path, password_file)


def parse_key(data: bytes, path: str, password_file: str) -> PrivateKey | PublicKey:
    """As `read_key`, of what the file holds.

    Raises:
        TrothError: it is no key, or the password is wrong.
    """
    from troth.ca import key_files

    what = "stdin" if path == "-" else path
    question = f"Please enter the password to decrypt {what}"
    return key_files.parse_key(data, lambda: given_password(password_file, question), what)


def public_half(key: PrivateKey | PublicKey) -> PublicKey:
    """The public key of a key."""
    return key.public_key() if isinstance(key, PrivateKey) else key
