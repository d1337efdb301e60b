"""``troth ca revoke``: a certificate that shall not be renewed any more."""

from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags

if TYPE_CHECKING:
    from troth.client.authority import Authority

EXAMPLES = """
troth ca revoke 308893286343609293989051180431574390766
troth ca revoke 308893286343609293989051180431574390766 --token $TOKEN --reasonCode keyCompromise
troth ca revoke --cert client.crt --key client.key --reason "laptop lost"
troth ca revoke --cert client.crt --key client.key --offline --ca-config /etc/step-ca/config/ca.json
"""


@flags.command("revoke", EXAMPLES)
@click.argument("serial", required=False, default="")
@click.option("--cert", metavar="FILE", default="", help="The certificate to revoke; it speaks for itself.")
@click.option("--key", "key_file", metavar="FILE", default="", help="Its key.")
@click.option("--reason", metavar="TEXT", default="", help="Why, in words.")
@click.option("--reasonCode", "reason_code", metavar="CODE", default="", help="RFC 5280 reason, 0 to 10 or its name.")
@flags.TOKEN
@flags.PROVISIONER
@flags.OFFLINE
@flags.CA
def revoke(serial: str, cert: str, key_file: str, reason: str, reason_code: str, **given: Any) -> None:
    """Revoke the certificate with this SERIAL (decimal, or 0x and hexadecimal), or the one in --cert with its --key.

    Revocation is passive: the certificate cannot be renewed, and ends when it expires.
    """
    from troth.errors import UsageError
    from troth.host.terminal import note
    from troth.x509.revocation import parse_reason
    from troth.x509.serials import parse_serial

    code = parse_reason(reason_code)
    if bool(serial) == bool(cert):
        hint = "run: troth ca revoke --help"
        raise UsageError("expected either a serial number, or --cert and --key", hint=hint)
    if bool(cert) != bool(key_file):
        raise UsageError("--cert and --key belong together")
    if cert and given["token"]:
        raise UsageError("--token cannot be used with --cert: the certificate speaks for itself")
    why = {"reason": reason, "reason_code": code}
    number = _by_certificate(cert, key_file, why, given) if cert else _by_token(parse_serial(serial), why, given)
    note(f"Certificate with Serial Number {number} has been revoked.")


def _by_certificate(cert: str, key_file: str, why: dict[str, Any], given: dict[str, Any]) -> int:
    from troth.cli import trust
    from troth.cli.owned import read_pair

    pair = read_pair(cert, key_file, given["password_file"] or given["provisioner_password_file"])
    authority = trust.chosen_authority(given)
    authority.revoke(pair.leaf.serial_number, certificate=pair.presented, **why)
    return pair.leaf.serial_number


def _by_token(serial: int, why: dict[str, Any], given: dict[str, Any]) -> int:
    from troth.cli import trust
    from troth.cli.granting import explained, given_token
    from troth.client.transport import RefusedError
    from troth.errors import UsageError
    from troth.host.clock import now

    token = given["token"].strip()
    if token:
        view = given_token(token)
        authority = trust.chosen_authority_of_token(view, given)
    else:
        authority = trust.chosen_authority(given)
        token = _own_token(authority, serial, given)
        view = given_token(token)
    if view.subject != str(serial):
        hint = f"make one: troth ca token {serial} --revoke"
        raise UsageError(f"the token is for another certificate: expected {serial}, got {view.subject!r}", hint=hint)
    try:
        authority.revoke(serial, token=token, **why)
    except RefusedError as error:
        if error.status == 401:
            raise explained(error, view, now()) from error
        raise
    return serial


def _own_token(authority: "Authority", serial: int, given: dict[str, Any]) -> str:
    from troth.cli.granting import Chosen, password_file, signing_key
    from troth.client.enroll import root_fingerprint
    from troth.client.tokens import revoke_audience, sign_token, validity
    from troth.host.clock import now

    key = signing_key(authority, Chosen(given["provisioner"], given["kid"], password_file(given)))
    claims = {"sha": root_fingerprint(authority.roots)}
    return sign_token(key, revoke_audience(authority.url), str(serial), validity(now()), claims)
