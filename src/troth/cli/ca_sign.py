"""``troth ca sign``: a certificate for a request made elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags, foreign

if TYPE_CHECKING:
    from cryptography.x509 import CertificateSigningRequest

    from troth.client.authority import Authority, Chain
    from troth.client.provisioners import Provisioner

EXAMPLES = """
troth ca sign internal.csr internal.crt
troth ca sign internal.csr internal.crt --token $TOKEN
troth ca sign internal.csr internal.crt --not-after 8h --provisioner admin --provisioner-password-file pw
openssl req -new -key internal.key -subj /CN=internal | troth ca sign - internal.crt
troth ca sign internal.csr internal.crt --provisioner acme --webroot /var/www/html
"""


@flags.command("sign", EXAMPLES)
@click.argument("csr_file", metavar="CSR_FILE|-")
@click.argument("crt_file")
@flags.TOKEN
@flags.PROVISIONER
@flags.X5C
@flags.SANS
@flags.VALIDITY
@flags.SET
@flags.CONSOLE
@flags.ACME
@flags.CERT_PERMISSIONS
@flags.OFFLINE
@flags.CA
@flags.FORCE
@foreign.ENROLMENT
def sign(csr_file: str, crt_file: str, token: str, force: bool, **given: Any) -> None:
    """Get a certificate for the request in CSR_FILE (``-``: stdin) and write the chain to CRT_FILE, 0600."""
    from troth.cli.outputs import may_write, permissions_of
    from troth.cli.sources import named, read_input
    from troth.client.transport import NotAnAuthorityError
    from troth.host.files import write_file
    from troth.host.terminal import announce
    from troth.x509.keys import spki_of
    from troth.x509.requests import check_possession, parse_request

    request = parse_request(read_input(csr_file), named(csr_file))
    check_possession(request)
    wanted, _ = permissions_of(given)
    may_write(crt_file, force=force, wanted=wanted)
    given["token"] = token.strip()
    issue = _with_token if token else _with_acme if given["acme_url"] else _with_provisioner
    chain = issue(request, given)
    if spki_of(chain.leaf) != spki_of(request):
        raise NotAnAuthorityError("the authority answered with a certificate for another key")
    write_file(Path(crt_file), chain.pem.encode(), wanted=wanted)
    announce("Certificate", crt_file)


def _with_token(request: "CertificateSigningRequest", given: dict[str, Any]) -> "Chain":
    from troth.cli import trust
    from troth.cli.granting import given_token
    from troth.host.terminal import announce

    view = given_token(given["token"])
    if not (view.is_service_account or view.is_identity):
        _check_subject(request, view.subject, given["sans"])
    authority = trust.chosen_authority_of_token(view, given)
    announce("CA", authority.url)
    return _sign(authority, request, given["token"], given)


def _with_acme(request: "CertificateSigningRequest", given: dict[str, Any]) -> "Chain":
    from troth.cli.ordering import order_for_request, place_of_url

    return order_for_request(place_of_url(given), request, given)


def _with_provisioner(request: "CertificateSigningRequest", given: dict[str, Any]) -> "Chain":
    from troth.cli import trust
    from troth.cli.granting import Chosen, chosen_provisioner

    authority = trust.chosen_authority(given)
    provisioner = chosen_provisioner(authority, Chosen.of(given), flags.hinted_kind(given))
    if provisioner is not None and provisioner.kind == "ACME":
        from troth.cli.ordering import order_for_request, place_of_provisioner

        return order_for_request(place_of_provisioner(authority, provisioner.name), request, given)
    if provisioner is not None and provisioner.kind == "OIDC":
        from troth.cli.identity import identity_token

        return _sign(authority, request, identity_token(provisioner, console=given["console"]), given)
    return _sign(authority, request, _own_token(authority, provisioner, request, given), given)


def _sign(authority: "Authority", request: "CertificateSigningRequest", token: str, given: dict[str, Any]) -> "Chain":
    from troth.cli.granting import explained, given_token
    from troth.client.transport import RefusedError
    from troth.host.clock import now
    from troth.x509.requests import request_to_pem

    try:
        return authority.sign(
            request_to_pem(request),
            token,
            not_before=given["not_before"],
            not_after=given["not_after"],
            template_data=flags.template_data(given["sets"], given["set_file"]),
        )
    except RefusedError as error:
        raise explained(error, given_token(token), now()) from error


def _check_subject(request: "CertificateSigningRequest", subject: str, sans: tuple[str, ...]) -> None:
    from troth.errors import UsageError
    from troth.x509.names import common_name

    name = common_name(request.subject)
    if sans:
        raise UsageError("--san cannot be used with --token: the names are in the token")
    if name.lower() != subject.lower():
        hint = f"use a token for the request: troth ca token {name}"
        raise UsageError(f"the request's common name is not the token's: expected {subject!r}, got {name!r}", hint=hint)


def _own_token(
    authority: "Authority",
    provisioner: "Provisioner | None",
    request: "CertificateSigningRequest",
    given: dict[str, Any],
) -> str:
    """Sign a token that is good for exactly this request."""
    from troth.cli.granting import Chosen, signing_key
    from troth.client.enroll import root_fingerprint
    from troth.client.tokens import request_claims, request_fingerprint, sign_audience, sign_token, validity
    from troth.errors import UsageError
    from troth.host.clock import now
    from troth.x509.names import alternative_names, common_name

    names = alternative_names(request.extensions)
    sans = [*names.dns, *names.emails, *names.ips, *names.uris, *given["sans"]]
    subject = common_name(request.subject) or (sans[0] if sans else "")
    if not subject:
        raise UsageError("the request names nobody: expected a common name or an alternative name")
    signer = signing_key(authority, Chosen.of(given), provisioner)
    sha = root_fingerprint(authority.roots)
    claims = request_claims(subject, list(dict.fromkeys(sans)), sha, confirmation=request_fingerprint(request))
    return sign_token(signer, sign_audience(authority.url), subject, validity(now()), claims)
