"""Whether the upstream's certificate is checked, for which name, and against which authority."""

import re
from collections.abc import Iterator

from troth.nginx.findings.rule import ERROR, WARNING, Hit, Rule, Subject, at, of_places
from troth.nginx.map import Place
from troth.nginx.target import host_of, is_address
from troth.nginx.variables import of_client

PUBLIC_BUNDLES = re.compile(r"/etc/ssl/certs(/|$)|/etc/ssl/cert\.pem|/etc/pki/|/usr/share/ca-certificates|ca-bundle")


def _off(place: Place, _: Subject) -> Iterator[Hit]:
    if not place.is_on("ssl_verify") and not place.value("ssl_trusted_certificate"):
        yield at(place, "the upstream's certificate is not checked", "ssl_verify")


def _trust_unused(place: Place, _: Subject) -> Iterator[Hit]:
    if not place.is_on("ssl_verify") and place.value("ssl_trusted_certificate"):
        yield at(
            place, "an authority is named, but the upstream's certificate is not checked", "ssl_trusted_certificate"
        )


def _crl_unused(place: Place, _: Subject) -> Iterator[Hit]:
    if not place.is_on("ssl_verify") and place.value("ssl_crl"):
        yield at(place, "a revocation list is named, but the upstream's certificate is not checked", "ssl_crl")


def _name_is_group(place: Place, _: Subject) -> Iterator[Hit]:
    is_group = place.group and place.name.lower() == place.group.lower()
    if place.is_on("ssl_verify") and is_group and "." not in place.name:
        yield at(place, f"the name checked is that of the upstream group, {place.group!r}", "ssl_name")


def _name_is_address(place: Place, _: Subject) -> Iterator[Hit]:
    name = place.name
    if place.is_on("ssl_verify") and name and "$" not in name and "://" not in name and is_address(host_of(name)):
        yield at(place, f"the name checked is the address {name}", "ssl_name")


def _name_from_client(place: Place, subject: Subject) -> Iterator[Hit]:
    if place.is_on("ssl_verify") and "ssl_name" in place.settings and of_client(subject.config, place.name):
        yield at(place, f"the name checked is {place.name}, which who sends the request chooses", "ssl_name")


def _name_empty(place: Place, _: Subject) -> Iterator[Hit]:
    if place.is_on("ssl_verify") and "ssl_name" in place.settings and not place.name:
        yield at(place, "the name checked is empty", "ssl_name")


def _name_is_uri(place: Place, _: Subject) -> Iterator[Hit]:
    if place.is_on("ssl_verify") and "://" in place.name:
        yield at(
            place,
            f"the name checked is the URI {place.name}, of which nginx compares {place.name.partition(':')[0]!r}",
            "ssl_name",
        )


def _depth_zero(place: Place, _: Subject) -> Iterator[Hit]:
    if place.is_on("ssl_verify") and place.value("ssl_verify_depth", "1") == "0":
        yield at(place, "verify depth 0 allows no intermediate certificate", "ssl_verify_depth")


def _public_trust(place: Place, _: Subject) -> Iterator[Hit]:
    trust = place.value("ssl_trusted_certificate")
    if place.is_on("ssl_verify") and place.value("ssl_certificate") and PUBLIC_BUNDLES.search(trust):
        yield at(place, f"the upstream is trusted by the public authorities of {trust}", "ssl_trusted_certificate")


_CHECK = "{family}_ssl_verify on; {family}_ssl_trusted_certificate /path/ca.crt; {family}_ssl_name upstream.example;"
_NAME = "{family}_ssl_name upstream.example;"

RULES = (
    Rule(
        "verify-off",
        ERROR,
        "the upstream's certificate is not checked",
        "anyone on the way can answer in its place, and is shown the client certificate",
        _CHECK,
        of_places(_off),
    ),
    Rule(
        "trust-unused",
        ERROR,
        "an authority is named, but nothing is checked against it",
        "the default is off: the upstream may show any certificate at all",
        "{family}_ssl_verify on;",
        of_places(_trust_unused),
    ),
    Rule(
        "crl-unused",
        WARNING,
        "a revocation list is named, but nothing is checked against it",
        "nginx ignores the list without a word where verification is off",
        "{family}_ssl_verify on;",
        of_places(_crl_unused),
    ),
    Rule(
        "name-is-group",
        ERROR,
        "the name checked is that of an upstream group",
        "no certificate has it: every request ends with 502, upstream SSL certificate does not match",
        _NAME,
        of_places(_name_is_group),
    ),
    Rule(
        "name-is-address",
        ERROR,
        "the name checked is an IP address",
        "nginx compares DNS names only, IP addresses in a certificate never match: every request ends with 502",
        _NAME,
        of_places(_name_is_address),
    ),
    Rule(
        "name-from-client",
        ERROR,
        "who sends the request chooses the name that is checked",
        "whoever holds any certificate of the authority can be passed off as the upstream",
        _NAME,
        of_places(_name_from_client),
    ),
    Rule(
        "name-empty",
        ERROR,
        "the name checked is empty",
        "no certificate matches: every request ends with 502",
        _NAME,
        of_places(_name_empty),
    ),
    Rule(
        "name-is-uri",
        ERROR,
        "the name checked is a URI",
        "nginx cuts it at the colon and compares DNS names only: SPIFFE names cannot match",
        _NAME,
        of_places(_name_is_uri),
    ),
    Rule(
        "depth-zero",
        WARNING,
        "verify depth 0",
        "the depth counts intermediates: a chain with one fails, and the log says what it says for a wrong authority",
        "{family}_ssl_verify_depth 2;",
        of_places(_depth_zero),
    ),
    Rule(
        "public-trust",
        WARNING,
        "the upstream is trusted by public authorities",
        "any of them can issue for its name: behind mutual TLS stands an authority of one's own",
        "{family}_ssl_trusted_certificate /path/ca.crt; with the root of the upstream's authority alone",
        of_places(_public_trust),
    ),
)
