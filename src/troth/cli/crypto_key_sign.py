"""``troth crypto key sign`` and ``verify``: signatures of files."""

from typing import Any

import click

from troth.cli import flags
from troth.cli.key_secrets import PASSWORD_FILE

SIGN = """
troth crypto key sign --key client.key report.txt
echo "a message" | troth crypto key sign --key client.key
troth crypto key sign --key rsa.key --pss --alg sha512 report.txt
"""
VERIFY = """
troth crypto key verify --key client.pub --signature "MEUCIQ..." report.txt
troth crypto key verify --key client.crt --sig "MEUCIQ..." report.txt
troth crypto key verify --key rsa.pub --pss --alg sha512 --sig "pX3v..." report.txt
"""
FILE = click.argument("file", metavar="[FILE|-]", default="-")
ALG = "RSA: sha224, sha256 (default), sha384, sha512, sha512-224, sha512-256; sha1 and md5 are broken."
SCHEME = flags.all_of(
    click.option("--alg", metavar="NAME", default="", help=ALG),
    click.option("--pss", is_flag=True, help="RSA-PSS instead of PKCS #1 v1.5."),
)


@flags.command("sign", SIGN)
@FILE
@click.option("--key", metavar="FILE", default="", help="The private key.")
@SCHEME
@click.option("--raw", is_flag=True, help="Print the bytes instead of base64.")
@PASSWORD_FILE
def sign(file: str, key: str, alg: str, pss: bool, raw: bool, password_file: str) -> None:
    """Print the signature of a file or of stdin, as base64."""
    import base64
    import sys

    from troth.cli.key_secrets import read_key
    from troth.cli.sources import read_source
    from troth.errors import UsageError
    from troth.x509.keys import PrivateKey
    from troth.x509.messages import hash_of, sign_message

    if not key:
        raise UsageError("--key is missing: expected the file of a private key")
    hash_of(alg)
    read = read_key(key, password_file)
    if not isinstance(read, PrivateKey):
        raise UsageError(f"{key} holds no private key: expected one to sign with")
    signature = sign_message(read, read_source(file), alg, pss=pss)
    if raw:
        sys.stdout.buffer.write(signature)
    else:
        print(base64.b64encode(signature).decode())


@flags.command("verify", VERIFY)
@FILE
@click.option("--key", metavar="FILE", default="", help="The public key, or a certificate with it.")
@click.option("--signature", "--sig", "signature", metavar="BASE64", default="", help="The signature.")
@SCHEME
def verify(file: str, key: str, signature: str, alg: str, pss: bool) -> None:
    """Print true and exit 0 when the signature is of this key and this file, else exit 1."""
    from troth.cli.key_secrets import public_half, read_key
    from troth.cli.sources import read_source
    from troth.errors import UsageError
    from troth.x509.messages import hash_of, message_fits

    if not key:
        raise UsageError("--key is missing: expected the file of a public key")
    hash_of(alg)
    given = _decoded(signature)
    public: Any = public_half(read_key(key, ""))
    if not message_fits(public, given, read_source(file), alg, pss=pss):
        name = "stdin" if file == "-" else file
        raise UsageError(f"signature is not one of {name} by {key}: another key, file, --alg or --pss made it")
    print("true")


def _decoded(signature: str) -> bytes:
    import base64
    import binascii

    from troth.errors import UsageError

    if not signature:
        raise UsageError("--signature is missing: expected what troth crypto key sign printed")
    try:
        return base64.b64decode("".join(signature.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("--signature is not base64: expected what troth crypto key sign printed") from error
