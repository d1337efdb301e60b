"""``troth certificate inspect``."""

from typing import Any

import click

from troth.cli import flags

EXAMPLES = """
troth certificate inspect client.crt
troth certificate inspect --short --bundle client.crt
troth certificate inspect --format json client.crt
troth certificate inspect https://ca.internal:9000 --roots root_ca.crt
troth certificate inspect - < client.crt
"""
FORMATS = ("text", "json", "pem")


@flags.command("inspect", EXAMPLES)
@click.argument("source", metavar="[FILE|URL|-]", default="-")
@click.option("--format", "form", metavar="FORMAT", default="text", help="text (default), json or pem.")
@click.option("--bundle", is_flag=True, help="All certificates of the source, not only the first.")
@click.option("--short", is_flag=True, help="A few lines.")
@flags.REMOTE
def inspect(source: str, form: str, bundle: bool, short: bool, roots: str, servername: str, insecure: bool) -> None:
    """Print a certificate or a certificate request. Local files are shown, not verified.

    SOURCE is a PEM or DER file, - for stdin, or the URL of a TLS server.
    """
    from troth.errors import UsageError

    if form not in FORMATS:
        raise UsageError(f"unknown --format {form!r}: expected one of {', '.join(FORMATS)}")
    if short and form != "text":
        raise UsageError(f"--short cannot be used with --format {form}")
    holders = _holders(source, roots, servername, insecure)
    shown = holders if bundle else holders[:1]
    if form == "json":
        _print_json(shown, bundle)
    else:
        print("".join(_form(holder, form, short) for holder in shown), end="")


def _holders(source: str, roots: str, servername: str, insecure: bool) -> list[Any]:
    """Certificates, or the one request when there is no certificate."""
    from troth.cli.sources import certificates_of, read_source
    from troth.host.presented import is_url
    from troth.x509 import X509Error
    from troth.x509.pem import parse_certificates
    from troth.x509.requests import LABELS, parse_request

    if is_url(source):
        return list(certificates_of(source, roots, servername, insecure))
    data, what = read_source(source), "stdin" if source == "-" else source
    if any(f"BEGIN {label}".encode() in data for label in LABELS):
        return [parse_request(data, what)]
    try:
        return list(parse_certificates(data, what))
    except X509Error:
        if data[:1] != b"\x30":
            raise
        return [parse_request(data, what)]


def _form(holder: Any, form: str, short: bool) -> str:
    from cryptography.x509 import CertificateSigningRequest

    from troth.x509.pem import to_pem
    from troth.x509.requests import request_to_pem
    from troth.x509.text import certificate_text, request_text, short_text

    if short:
        return short_text(holder)
    if isinstance(holder, CertificateSigningRequest):
        return request_to_pem(holder) if form == "pem" else request_text(holder)
    return to_pem(holder) if form == "pem" else certificate_text(holder)


def _print_json(holders: list[Any], bundle: bool) -> None:
    import json

    from cryptography.x509 import Certificate

    from troth.x509.json_form import certificate_json, request_json

    values = [certificate_json(h) if isinstance(h, Certificate) else request_json(h) for h in holders]
    print(json.dumps(values if bundle else values[0], indent=2, ensure_ascii=False))
