"""``troth ca certificate``: a new key and a certificate for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from troth.cli import flags, foreign

if TYPE_CHECKING:
    from troth.client.authority import Authority, Chain
    from troth.client.provisioners import Provisioner
    from troth.x509.keys import PrivateKey

EXAMPLES = """
troth ca certificate "myuser" client.crt client.key
troth ca certificate internal.example.com internal.crt internal.key --san internal.example.com --san 10.0.0.7
troth ca certificate myuser client.crt client.key --token $TOKEN
troth ca certificate internal.example.com internal.crt internal.key --x5c-cert machine.crt --x5c-key machine.key
troth ca certificate web.default.svc web.crt web.key --k8ssa-token-path /var/run/secrets/token
troth ca certificate jane@example.com jane.crt jane.key --token $IDENTITY_TOKEN --ca-url https://ca.example.com
troth ca certificate internal.example.com internal.crt internal.key --offline --password-file pw
troth ca certificate myuser client.crt client.key --provisioner admin --provisioner-password-file pw --not-after 8h

troth ca certificate jane@example.com jane.crt jane.key --provisioner google
troth ca certificate jane@example.com jane.crt jane.key --provisioner google --console
troth ca certificate internal.example.com internal.crt internal.key --provisioner acme
troth ca certificate internal.example.com internal.crt internal.key --provisioner acme --webroot /var/www/html
troth ca certificate www.example.com www.crt www.key --acme https://acme.example.com/directory --contact ops@example.com
"""


@flags.command("certificate", EXAMPLES)
@click.argument("subject")
@click.argument("crt_file")
@click.argument("key_file")
@flags.SANS
@flags.TOKEN
@flags.PROVISIONER
@flags.X5C
@click.option("--k8ssa-token-path", metavar="FILE", default="", help="Token of a Kubernetes service account.")
@flags.VALIDITY
@flags.KEY_KIND
@flags.SET
@flags.CONSOLE
@flags.ACME
@flags.PAIR_PERMISSIONS
@flags.OFFLINE
@flags.CA
@flags.FORCE
@foreign.ENROLMENT
@foreign.ATTESTED
def certificate(subject: str, crt_file: str, key_file: str, token: str, force: bool, **given: Any) -> None:
    """Make a key, get a certificate for SUBJECT and write the chain to CRT_FILE and the key to KEY_FILE, both 0600.

    With a token nothing else is needed: it names its authority and that authority's root.
    """
    from troth.cli.outputs import may_write, permissions_of
    from troth.cli.owned import complete
    from troth.errors import UsageError
    from troth.host.files import read_file
    from troth.host.pairs import write_pair
    from troth.host.terminal import announce
    from troth.x509.keys import generate_key, private_key_to_pem

    if not subject:
        raise UsageError("the subject is empty: expected a name such as internal.example.com")
    key = generate_key(given["kty"], given["curve"], given["size"])
    if Path(crt_file).parent.is_dir():
        complete(crt_file, key_file)
    permissions = permissions_of(given)
    may_write(crt_file, key_file, force=force, wanted=permissions[0], secret=key_file)
    if given["k8ssa_token_path"]:
        token = token or read_file(Path(given["k8ssa_token_path"]), limit=64 * 1024).decode("ascii", "replace").strip()
    issue = _with_token if token else _with_acme if given["acme_url"] else _with_provisioner
    chain = issue(subject, key, {**given, "token": token})
    write_pair(Path(crt_file), chain.pem.encode(), Path(key_file), private_key_to_pem(key), permissions=permissions)
    announce("Certificate", crt_file)
    announce("Private Key", key_file)


def _with_token(subject: str, key: "PrivateKey", given: dict[str, Any]) -> "Chain":
    from troth.cli.granting import given_token
    from troth.cli.trust import chosen_authority_of_token
    from troth.errors import UsageError
    from troth.host.terminal import announce

    view = given_token(given["token"])
    authority = chosen_authority_of_token(view, given)
    if view.is_service_account or view.is_identity:
        # Who gets which names is the authority's to say; the request names what was asked for.
        announce("CA", authority.url)
        return _sign(authority, given["token"].strip(), key, given, subject, given["sans"] or (subject,))
    if given["sans"]:
        raise UsageError("--san cannot be used with --token: the names are in the token")
    if view.subject.lower() != subject.lower():
        hint = f"use the token's subject, or: troth ca token {subject}"
        raise UsageError(f"subject {subject!r} is not the token's: expected {view.subject!r}", hint=hint)
    announce("CA", authority.url)
    return _sign(authority, given["token"].strip(), key, given, view.subject, view.sans or (view.subject,))


def _with_acme(subject: str, key: "PrivateKey", given: dict[str, Any]) -> "Chain":
    from troth.cli.ordering import order_for_key, place_of_url

    return order_for_key(place_of_url(given), subject, key, given)


def _with_provisioner(subject: str, key: "PrivateKey", given: dict[str, Any]) -> "Chain":
    from troth.cli import trust
    from troth.cli.granting import Chosen, chosen_provisioner

    authority = trust.chosen_authority(given)
    provisioner = chosen_provisioner(authority, Chosen.of(given), flags.hinted_kind(given))
    if provisioner is not None and provisioner.kind == "ACME":
        from troth.cli.ordering import order_for_key, place_of_provisioner

        return order_for_key(place_of_provisioner(authority, provisioner.name), subject, key, given)
    if provisioner is not None and provisioner.kind == "OIDC":
        from troth.cli.identity import identity_token

        token = identity_token(provisioner, console=given["console"])
        # Who gets which names is the authority's to say; the request names what was asked for.
        return _sign(authority, token, key, given, subject, given["sans"] or (subject,))
    return _with_password(authority, provisioner, subject, key, given)


def _with_password(
    authority: "Authority", provisioner: "Provisioner | None", subject: str, key: "PrivateKey", given: dict[str, Any]
) -> "Chain":
    from troth.cli.granting import Chosen, signing_key
    from troth.client.enroll import root_fingerprint
    from troth.client.tokens import request_claims, sign_audience, sign_token, validity
    from troth.host.clock import now

    signer = signing_key(authority, Chosen.of(given), provisioner)
    claims = request_claims(subject, given["sans"], root_fingerprint(authority.roots))
    token = sign_token(signer, sign_audience(authority.url), subject, validity(now()), claims)
    return _sign(authority, token, key, given, subject, given["sans"] or (subject,))


def _sign(
    authority: "Authority",
    token: str,
    key: "PrivateKey",
    given: dict[str, Any],
    subject: str,
    names: Sequence[str],
) -> "Chain":
    """The request carries the token's names, the only ones the authority would accept, where the token has any."""
    from troth.cli.granting import explained, given_token
    from troth.client.transport import NotAnAuthorityError, RefusedError
    from troth.host.clock import now
    from troth.x509.keys import key_matches
    from troth.x509.requests import create_request, request_to_pem

    view = given_token(token)
    request = create_request(key, subject, names)
    try:
        chain = authority.sign(
            request_to_pem(request),
            token,
            not_before=given["not_before"],
            not_after=given["not_after"],
            template_data=flags.template_data(given["sets"], given["set_file"]),
        )
    except RefusedError as error:
        raise explained(error, view, now()) from error
    if not key_matches(chain.leaf, key):
        raise NotAnAuthorityError(f"{authority.url} answered with a certificate for another key")
    return chain
