"""``troth certificate bundle``, ``key`` and ``format``: certificates from one file form to another."""

import click

from troth.cli import flags

BUNDLE = """
troth certificate bundle client.crt intermediate_ca.crt bundle.crt
"""
KEY = """
troth certificate key client.crt
troth certificate key client.csr --out client.pub
"""
FORMAT = """
troth certificate format client.crt --out client.der
troth certificate format client.der
"""


@flags.command("bundle", BUNDLE)
@click.argument("crt_file")
@click.argument("ca_file", metavar="CA")
@click.argument("bundle_file")
@flags.FILE_PERMISSIONS
@flags.FORCE
def bundle(crt_file: str, ca_file: str, bundle_file: str, force: bool, **given: str) -> None:
    """Write the first certificate of CRT_FILE and the first of CA into BUNDLE_FILE, 0600 unless --mode says else."""
    from pathlib import Path

    from troth.cli.outputs import file_permissions, may_write
    from troth.cli.sources import named, read_input
    from troth.host.files import write_file
    from troth.host.terminal import note
    from troth.x509.pem import bundle_to_pem, parse_certificates

    firsts = [parse_certificates(read_input(path), named(path))[0] for path in (crt_file, ca_file)]
    wanted = file_permissions(given)
    may_write(bundle_file, force=force, wanted=wanted)
    write_file(Path(bundle_file), bundle_to_pem(firsts).encode(), wanted=wanted)
    note(f"Your certificate has been saved in {bundle_file}.")


@flags.command("key", KEY)
@click.argument("crt_file", metavar="CRT_FILE|-")
@click.option("--out", "--output-file", "out", metavar="FILE", default="", help="Write here instead of to stdout.")
@flags.FILE_PERMISSIONS
@flags.FORCE
def key(crt_file: str, out: str, force: bool, **given: str) -> None:
    """Print the public key of a certificate or request, or the key of a file that holds only a key.

    A private key is printed decrypted.
    """
    from troth.cli.outputs import file_permissions, may_write, put
    from troth.cli.sources import named, read_input
    from troth.host.terminal import note

    text = _key_text(read_input(crt_file), named(crt_file))
    wanted = file_permissions(given, secret="PRIVATE KEY" in text)
    if out:
        may_write(out, force=force, wanted=wanted)
    put(text, out, wanted)
    if out:
        note(f"The public key has been saved in {out}.")


def _key_text(data: bytes, path: str) -> str:
    from troth.cli.key_secrets import given_password
    from troth.x509 import X509Error
    from troth.x509.keys import parse_private_key, parse_public_key, private_key_to_pem, public_pem
    from troth.x509.pem import der_to_pem, parse_blocks

    block = next(iter(parse_blocks(data)), None)
    label = block.label if block is not None else ""
    if block is None and data[:1] != b"\x30":
        raise X509Error(f"{path} is not readable: expected a certificate, request or key, PEM or DER")
    if block is None or "KEY" not in label:
        return der_to_pem(_public_der(data, path), "PUBLIC KEY")
    if "PUBLIC" in label:
        return public_pem(parse_public_key(block.text, path))
    if "PRIVATE" not in label:
        raise X509Error(f"{path} is not a certificate, request or key")
    encrypted = b"ENCRYPTED" in block.text
    password = given_password("", f"Please enter the password to decrypt {path}") if encrypted else None
    pkcs8 = label in ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
    return private_key_to_pem(parse_private_key(block.text, password, path), pkcs8=pkcs8).decode()


def _public_der(data: bytes, path: str) -> bytes:
    from troth.x509 import X509Error
    from troth.x509.keys import spki_of
    from troth.x509.pem import parse_certificates
    from troth.x509.requests import LABELS, parse_request

    if any(f"BEGIN {label}".encode() in data for label in LABELS):
        return spki_of(parse_request(data, path))
    try:
        return spki_of(parse_certificates(data, path)[0])
    except X509Error:
        if data[:1] != b"\x30":
            raise
        return spki_of(parse_request(data, path))


@flags.command("format", FORMAT)
@click.argument("crt_file", metavar="[CRT_FILE|-]", default="-")
@click.option("--out", metavar="FILE", default="", help="Write here instead of to stdout.")
@flags.FILE_PERMISSIONS
@flags.FORCE
def reformat(crt_file: str, out: str, force: bool, **given: str) -> None:
    """Print a certificate or request in the other form: PEM as DER, DER as PEM."""
    import sys
    from pathlib import Path

    from troth.cli.outputs import file_permissions, may_write
    from troth.cli.sources import named, read_input
    from troth.host.files import write_file
    from troth.host.terminal import note

    text, left_out = _other_form(read_input(crt_file), named(crt_file))
    if left_out:
        note(f"Only the first block of {named(crt_file)} is converted; {left_out} more left out.")
    if not out:
        sys.stdout.buffer.write(text)
        return
    wanted = file_permissions(given)
    may_write(out, force=force, wanted=wanted)
    write_file(Path(out), text, wanted=wanted)
    note(f"Your certificate has been saved in {out}.")


def _other_form(data: bytes, path: str) -> tuple[bytes, int]:
    """The first certificate or request in its other form, and how many blocks follow it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from troth.x509 import X509Error
    from troth.x509.pem import parse_blocks, parse_certificates
    from troth.x509.requests import LABELS, parse_request

    blocks = parse_blocks(data)
    form = Encoding.PEM if data[:1] == b"\x30" else Encoding.DER
    if blocks:
        data = blocks[0].text
    if blocks and blocks[0].label in LABELS:
        return parse_request(data, path).public_bytes(form), len(blocks) - 1
    try:
        return parse_certificates(data, path)[0].public_bytes(form), max(0, len(blocks) - 1)
    except X509Error:
        if form is Encoding.DER:
            raise
        return parse_request(data, path).public_bytes(form), 0
