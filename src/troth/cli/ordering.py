"""ACME at the command line: where to order, how to prove names, and what cannot be asked for there."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import quote

from cryptography.x509 import CertificateSigningRequest

from troth.acme.identifiers import Identifier, identifiers_of
from troth.acme.keys import new_account_key
from troth.cli.trust import roots_text, step_directory
from troth.client.acme import Issuance, Publisher, Wanted
from troth.client.acme_session import Session, fetch_directory
from troth.client.authority import Authority, Chain
from troth.client.transport import trusting
from troth.client.web import Pace, system_trust
from troth.durations import parse_time_or_duration
from troth.errors import UsageError
from troth.host.challenges import Webroot, responding
from troth.host.clock import now
from troth.host.ending import orderly_end
from troth.host.listener import parse_listen
from troth.host.terminal import announce
from troth.x509.keys import PrivateKey
from troth.x509.names import alternative_names, common_name
from troth.x509.requests import create_request

DEFAULT_LISTEN = ":80"
MAX_COMMON_NAME = 64  # RFC 5280 appendix A, ub-common-name
LISTEN_HINT = "run it as root, or listen behind a proxy with --http-listen 127.0.0.1:PORT, or use --webroot DIR"
PROVE_HINT = (
    "the server asks http://{name}/.well-known/acme-challenge/... on port 80: the name must lead here, "
    "and port 80 must be reachable from there"
)


class Place:
    """An ACME server: its directory's URL, and whom to trust there."""

    def __init__(self, url: str, trust: SSLContext) -> None:
        self.url = url
        self.trust = trust


def place_of_provisioner(authority: Authority, name: str) -> Place:
    """Where an authority's ACME provisioner is."""
    return Place(f"{authority.url}/acme/{quote(name, safe='')}/directory", trusting(authority.roots))


def place_of_url(given: Mapping[str, Any]) -> Place:
    """``--acme``: trusted through this machine's roots, and through the root file where there is one, as step does."""
    known = given["root"] or step_directory().root_certificate.exists()
    return Place(given["acme_url"], system_trust(roots_text(given["root"]) if known else ""))


def check_order_flags(given: Mapping[str, Any]) -> None:
    """What ACME cannot do is refused and not passed over.

    Raises:
        UsageError: one of those flags is given.
    """
    if given["offline"]:
        hint = "leave --offline out, or choose another provisioner"
        raise UsageError("--offline cannot be used with ACME: the authority itself validates names", hint=hint)
    if given.get("sets") or given.get("set_file"):
        raise UsageError("--set and --set-file cannot be used with ACME: an order carries no template data")
    if given["webroot"] and (given["standalone"] or given["http_listen"]):
        raise UsageError("--webroot cannot be used with --standalone or --http-listen: expected one way to answer")


def order_for_key(place: Place, subject: str, key: PrivateKey, given: Mapping[str, Any]) -> Chain:
    """A certificate for a subject and its alternative names; as with step, the subject is one of the names to prove."""
    wanted = identifiers_of([*given["sans"], subject])
    names = [one.value for one in wanted]
    name = identifiers_of([subject])[0].value
    request = create_request(key, name if len(name) <= MAX_COMMON_NAME else "", names)
    return _order(place, wanted, request, given)


def order_for_request(place: Place, request: CertificateSigningRequest, given: Mapping[str, Any]) -> Chain:
    """A certificate for exactly the names of a request.

    Raises:
        UsageError: more names are asked for.
    """
    if given["sans"]:
        raise UsageError("--san cannot be used with ACME: the names are those of the request")
    names = alternative_names(request.extensions)
    common = common_name(request.subject)
    wanted = identifiers_of([*names.dns, *names.ips, *names.emails, *names.uris, *([common] if common else [])])
    return _order(place, wanted, request, given)


def _order(
    place: Place, wanted: Sequence[Identifier], request: CertificateSigningRequest, given: Mapping[str, Any]
) -> Chain:
    check_order_flags(given)
    start, end = _times(given["not_before"], given["not_after"], now())
    with orderly_end(), _publisher(given) as publisher:
        directory = fetch_directory(place.url, place.trust)
        session = Session(place.url, directory, place.trust, new_account_key())
        announce("ACME", place.url)
        if directory.terms:
            announce("Terms of Service", directory.terms)
        session.open_account(given["contacts"])
        issuance = Issuance(session, Pace(), lambda line: announce("ACME", line), PROVE_HINT)
        return issuance.obtain(Wanted(tuple(wanted), start, end), publisher, request)


@contextlib.contextmanager
def _publisher(given: Mapping[str, Any]) -> Iterator[Publisher]:
    """Made before anything is ordered, so that a port that cannot be had costs nothing."""
    if given["webroot"]:
        yield Webroot(Path(given["webroot"]))
        return
    host, port = parse_listen(given["http_listen"] or DEFAULT_LISTEN, "--http-listen")
    with responding(host, port, hint=LISTEN_HINT) as responder:
        yield responder


def _times(not_before: str, not_after: str, present: datetime) -> tuple[datetime | None, datetime | None]:
    """Durations are from now, and from the start; an order carries times."""
    first, last = parse_time_or_duration(not_before), parse_time_or_duration(not_after)
    start = first if first is None or isinstance(first, datetime) else present + first
    end = last if last is None or isinstance(last, datetime) else (start or present) + last
    return start, end
