"""``troth ca token``: a one-time token, for somebody who has no provisioner password."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags, foreign

if TYPE_CHECKING:
    from troth.client.provisioners import Provisioner
    from troth.client.tokens import Validity

EXAMPLES = """
troth ca token internal.example.com
troth ca token internal.example.com --san internal.example.com --san 10.0.0.7 --not-after 10m
troth ca token internal.example.com --cnf-file internal.csr
troth ca token 4182942735723476587534 --revoke
troth ca token internal.example.com --x5c-cert machine.crt --x5c-key machine.key
troth ca token internal.example.com --offline
troth ca token jane@example.com --provisioner google
troth ca token internal.example.com --renew --x5c-cert internal.crt --x5c-key internal.key
"""


@flags.command("token", EXAMPLES)
@click.argument("subject")
@flags.SANS
@flags.PROVISIONER
@click.option("--key", "key_file", metavar="FILE", default="", help="Sign with this provisioner key: JWK, JWE or PEM.")
@click.option("--revoke", "for_revoke", is_flag=True, help="A token that revokes; SUBJECT is the serial number.")
@click.option("--renew", "for_renew", is_flag=True, help="A token that renews; needs --x5c-cert and --x5c-key.")
@flags.X5C
@click.option("--not-before", metavar="TIME", default="", help="When the token starts: RFC 3339, or a duration.")
@click.option("--not-after", metavar="TIME", default="", help="When the token ends: RFC 3339, or a duration from now.")
@click.option("--cnf", metavar="FINGERPRINT", default="", help="Good only for the request with this fingerprint.")
@click.option("--cnf-file", metavar="FILE", default="", help="Good only for the request in this file.")
@flags.SET
@flags.CONSOLE
@click.option("--output-file", metavar="FILE", default="", help="Write the token to a file, born 0600.")
@flags.OFFLINE
@flags.CA
@flags.FORCE
@foreign.TOKENS
def token(subject: str, output_file: str, force: bool, **given: Any) -> None:
    """Make a one-time token for SUBJECT and print it.

    Whoever holds it gets one certificate for the names in it, within the next five minutes.
    """
    from troth.cli.outputs import may_write, put
    from troth.host.clock import now

    if output_file:
        may_write(output_file, force=force)
    span = _span(given["not_before"], given["not_after"], now())
    text = _renewal(given, span) if given["for_renew"] else _one_time(subject, given, span)
    put(text + "\n", output_file)


def _span(not_before: str, not_after: str, now: datetime) -> "Validity":
    from troth.client.tokens import validity
    from troth.durations import parse_time_or_duration

    def moment(text: str, base: datetime) -> datetime | None:
        value = parse_time_or_duration(text)
        return value if value is None or isinstance(value, datetime) else base + value

    start = moment(not_before, now)
    return validity(now, start, moment(not_after, start or now))


def _one_time(subject: str, given: dict[str, Any], span: "Validity") -> str:
    from troth.cli import trust
    from troth.cli.granting import Chosen, chosen_provisioner, detached_key, signing_key
    from troth.client.enroll import root_fingerprint
    from troth.client.tokens import request_claims, revoke_audience, sign_audience, sign_token

    _check_flags(given)
    # A key, its name and its id are all there is to know about a provisioner: no ca.json is needed then.
    detached = given["offline"] and all(given[name] for name in ("key_file", "provisioner", "kid", "ca_url"))
    authority = trust.authority(given["ca_url"], given["root"]) if detached else trust.chosen_authority(given)
    user = flags.template_data(given["sets"], given["set_file"])
    confirmation = _confirmation(given["cnf"], given["cnf_file"])
    chosen = Chosen.of(given)
    provisioner = None if detached else chosen_provisioner(authority, chosen, flags.hinted_kind(given))
    if provisioner is not None and provisioner.kind != "JWK":
        return _of_another(provisioner, given)
    key = detached_key(chosen) if detached else signing_key(authority, chosen, provisioner)
    sha = root_fingerprint(authority.roots)
    if given["for_revoke"]:
        return sign_token(key, revoke_audience(authority.url), _decimal(subject), span, {"sha": sha})
    claims = request_claims(subject, given["sans"], sha, confirmation=confirmation, user=user)
    return sign_token(key, sign_audience(authority.url), subject, span, claims)


def _of_another(provisioner: "Provisioner", given: dict[str, Any]) -> str:
    """An identity token: the provider makes it, so nothing can be put into it here."""
    from troth.cli.identity import identity_token
    from troth.errors import UsageError

    if provisioner.kind == "ACME":
        hint = f"get the certificate itself: troth ca certificate SUBJECT CRT KEY --provisioner {provisioner.name}"
        raise UsageError(f"provisioner {provisioner.name!r} is of type ACME, which has no tokens", hint=hint)
    own = {"--san": "sans", "--cnf": "cnf", "--cnf-file": "cnf_file", "--not-before": "not_before"}
    own |= {"--not-after": "not_after", "--set": "sets", "--set-file": "set_file", "--key": "key_file"}
    wrong = next((flag for flag, name in own.items() if given[name]), None)
    if wrong is not None:
        hint = "leave it out; names and template data can be given to: troth ca certificate"
        message = f"{wrong} cannot be used with provisioner {provisioner.name!r}: its identity provider makes the token"
        raise UsageError(message, hint=hint)
    return identity_token(provisioner, console=given["console"])


def _decimal(serial: str) -> str:
    """The authority compares with the decimal form; what is no number is its to refuse, as with step's tokens."""
    from troth.x509.serials import SerialError, parse_serial

    try:
        return str(parse_serial(serial))
    except SerialError:
        return serial


def _check_flags(given: dict[str, Any]) -> None:
    from troth.errors import UsageError

    if given["for_revoke"] and given["sans"]:
        raise UsageError("--san cannot be used with --revoke: a serial number has no names")
    if given["cnf"] and given["cnf_file"]:
        raise UsageError("--cnf and --cnf-file cannot be used together")


def _confirmation(fingerprint: str, file: str) -> str:
    if not file:
        return fingerprint
    from troth.client.tokens import request_fingerprint
    from troth.host.files import read_file
    from troth.x509.requests import parse_request

    return request_fingerprint(parse_request(read_file(Path(file)), file))


def _renewal(given: dict[str, Any], span: "Validity") -> str:
    from troth.cli import trust
    from troth.cli.granting import password_file
    from troth.cli.owned import read_pair
    from troth.client.tokens import renewal_token
    from troth.errors import UsageError

    if not given["x5c_cert"] or not given["x5c_key"]:
        raise UsageError("--renew needs --x5c-cert and --x5c-key: expected the certificate to renew and its key")
    pair = read_pair(given["x5c_cert"], given["x5c_key"], password_file(given))
    return renewal_token(pair.key, pair.chain, trust.required_url(given["ca_url"]), span, "/1.0/renew")
