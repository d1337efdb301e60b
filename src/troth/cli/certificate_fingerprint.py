"""``troth certificate fingerprint``."""

from collections.abc import Callable

import click

from troth.cli import flags

EXAMPLES = """
troth certificate fingerprint root_ca.crt
troth certificate fingerprint --bundle client.crt
troth certificate fingerprint --format base64-url-raw root_ca.crt
troth certificate fingerprint https://ca.internal:9000 --insecure
"""


@flags.command("fingerprint", EXAMPLES)
@click.argument("source", metavar="[FILE|URL|-]", default="-")
@click.option("--bundle", is_flag=True, help="All certificates of the source, one line each.")
@click.option(
    *("--format", "form"),
    metavar="FORMAT",
    default="hex",
    help="hex (default), base64, base64-url, base64-raw, base64-url-raw or emoji.",
)
@click.option("--sha1", is_flag=True, help="SHA-1 instead of SHA-256; needs --insecure.")
@flags.REMOTE
def fingerprint(source: str, bundle: bool, form: str, sha1: bool, roots: str, servername: str, insecure: bool) -> None:
    """Print the SHA-256 of a certificate: what bootstrap compares."""
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding

    from troth.cli.sources import certificates_of
    from troth.errors import UsageError

    encode = encoder(form)
    if sha1 and not insecure:
        raise UsageError("--sha1 needs --insecure: SHA-1 is broken")
    certificates = certificates_of(source, roots, servername, insecure)
    for number, certificate in enumerate(certificates if bundle else certificates[:1]):
        der = certificate.public_bytes(Encoding.DER)
        digest = hashlib.sha1(der, usedforsecurity=False) if sha1 else hashlib.sha256(der)
        print(f"{number}: {encode(digest.digest())}" if bundle else encode(digest.digest()))


def encoder(form: str) -> Callable[[bytes], str]:
    """What writes a digest as ``--format`` says.

    Raises:
        UsageError: there is no such format.
    """
    from troth.errors import UsageError

    encode = _encoders().get(form)
    if encode is None:
        raise UsageError(f"unknown --format {form!r}: expected one of {', '.join(_encoders())}")
    return encode


def _encoders() -> dict[str, Callable[[bytes], str]]:
    from base64 import b64encode, urlsafe_b64encode

    from troth.x509.emojisum import pictures

    return {
        "hex": bytes.hex,
        "base64": lambda data: b64encode(data).decode(),
        "base64-url": lambda data: urlsafe_b64encode(data).decode(),
        "base64-raw": lambda data: b64encode(data).decode().rstrip("="),
        "base64-url-raw": lambda data: urlsafe_b64encode(data).decode().rstrip("="),
        "emoji": pictures,
    }
