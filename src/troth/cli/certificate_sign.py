"""``troth certificate sign``."""

from typing import Any

import click

from troth.cli import flags

EXAMPLES = """
troth certificate sign web.csr ca.crt ca.key
troth certificate sign web.csr ca.crt ca.key --bundle --not-before -1m --not-after 16h
troth certificate sign other-ca.csr ca.crt ca.key --profile intermediate-ca --path-len 1
troth certificate sign web.csr ca.crt ca.key --template web.tpl --set organization=Example
"""
LEAF, INTERMEDIATE, CSR = "leaf", "intermediate-ca", "csr"


@flags.command("sign", EXAMPLES)
@click.argument("csr_file", metavar="CSR_FILE|-")
@click.argument("crt_file")
@click.argument("key_file")
@click.option("--profile", metavar="NAME", default="", help="leaf (default), intermediate-ca or csr (as requested).")
@click.option("--template", metavar="FILE", default="", help="Certificate template instead of a profile.")
@flags.SET
@click.option("--omit-cn-san", is_flag=True, help="Do not make the common name a name where the request has none.")
@click.option("--password-file", metavar="FILE", default="", help="File with the password of KEY_FILE.")
@click.option("--path-len", metavar="N", type=int, default=0, help="Authorities below an authority; -1: no limit.")
@flags.VALIDITY_FROM_NOW
@click.option("--bundle", is_flag=True, help="Print the issuers in CRT_FILE too.")
def sign(csr_file: str, crt_file: str, key_file: str, **given: Any) -> None:
    """Sign the request CSR_FILE as the issuer whose certificate is CRT_FILE and key KEY_FILE; the certificate is
    printed.

    Leaves live 24 hours, authorities ten years; durations count from now.
    """
    from troth.ca.handmade import DAY, TEN_YEARS, certify, requested_data
    from troth.ca.profile import check_key
    from troth.cli.founding import new_serial
    from troth.cli.handmaking import described, read_issuer, validity
    from troth.cli.sources import named, read_input
    from troth.host import clock
    from troth.x509.pem import bundle_to_pem
    from troth.x509.requests import check_possession, parse_request

    template = _template(given["profile"], given["template"])
    now = clock.now()
    request = parse_request(read_input(csr_file), named(csr_file))
    key = check_key(check_possession(request))
    files = read_issuer(crt_file, key_file, given["password_file"], "--password-file", now)
    data = requested_data(request, key, omit_common_name=given["omit_cn_san"])
    value = described(template, data, given, now)
    length = TEN_YEARS if given["profile"] == INTERMEDIATE else DAY
    window = validity(given, length, now, files.chain[0])
    made = certify(value, key, files.issuer, new_serial(), window)
    print(bundle_to_pem([made, *(files.chain if given["bundle"] else ())]), end="")


def _template(profile: str, file: str) -> str:
    from troth.ca.handmade import AS_REQUESTED, AUTHORITY, REQUESTED_LEAF
    from troth.errors import UsageError

    profiles = {"": REQUESTED_LEAF, LEAF: REQUESTED_LEAF, INTERMEDIATE: AUTHORITY, CSR: AS_REQUESTED}
    if profile and file:
        raise UsageError("--profile and --template cannot be used together")
    if profile not in profiles:
        raise UsageError(f"unknown --profile {profile!r}: expected {LEAF}, {INTERMEDIATE} or {CSR}")
    return profiles[profile]
