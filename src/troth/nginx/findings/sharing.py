"""Sessions and idle connections are kept by peer: places that have one in common share what they negotiated."""

from collections.abc import Iterator
from itertools import groupby

from troth.nginx.findings.rule import ERROR, WARNING, Hit, Rule, Subject, at, of_places
from troth.nginx.map import Place, upstream_groups


def _pairs(subject: Subject) -> Iterator[tuple[Place, Place]]:
    """Every place with every earlier one whose connections or sessions it can take over."""
    ordered = sorted(subject.places, key=lambda place: place.key)
    for _, group in groupby(ordered, key=lambda place: place.key):
        places = [place for place in group if "$" not in place.target]
        for index, place in enumerate(places):
            for first in places[:index]:
                if _shares(place, first, subject):
                    yield place, first


def _shares(one: Place, two: Place, subject: Subject) -> bool:
    """Whether a connection or a session of one can serve the other."""
    if one.is_on("ssl_session_reuse", "on") and two.is_on("ssl_session_reuse", "on"):
        return True
    group = upstream_groups(subject.config).get(one.group.lower())
    keepalive = group.first("keepalive") if group is not None and one.module != "stream" else None
    return keepalive is not None and keepalive.arguments[-1:] != ("local",) and keepalive.arguments[:1] != ("0",)


def _identity(subject: Subject) -> Iterator[Hit]:
    for place, first in _pairs(subject):
        ours, theirs = place.value("ssl_certificate"), first.value("ssl_certificate")
        if ours != theirs:
            what = f"shares its upstream with {first.where}: {ours or 'no certificate'} here, {theirs or 'none'} there"
            yield Hit(place.where, what, place.family)


def _verification(subject: Subject) -> Iterator[Hit]:
    for place, first in _pairs(subject):
        if place.is_on("ssl_verify") != first.is_on("ssl_verify"):
            off = first if place.is_on("ssl_verify") else place
            yield Hit(
                place.where, f"shares its upstream with {first.where}, and {off.where} does not verify", place.family
            )


def _trust(subject: Subject) -> Iterator[Hit]:
    for place, first in _pairs(subject):
        if not place.is_on("ssl_verify") or not first.is_on("ssl_verify"):
            continue
        for setting in ("ssl_trusted_certificate", "ssl_crl"):
            ours, theirs = place.value(setting), first.value(setting)
            if ours != theirs:
                what = f"shares its upstream with {first.where}: {ours or 'no list'} here, {theirs or 'no list'} there"
                yield at(place, what, setting)
        if place.name != first.name:
            what = f"shares its upstream with {first.where}: the name {place.name} is checked here, {first.name} there"
            yield at(place, what, "ssl_name")


def _session_reuse(place: Place, _: Subject) -> Iterator[Hit]:
    if place.value("ssl_certificate") and place.is_on("ssl_session_reuse", "on"):
        default = "" if "ssl_session_reuse" in place.settings else ", which is the default"
        yield at(place, f"session reuse is on{default}", "ssl_session_reuse")


_APART = "an upstream{} of its own for each identity and trust, and {family}_ssl_session_reuse off;"

RULES = (
    Rule(
        "shared-identity",
        ERROR,
        "two identities share one upstream",
        "a connection or session opened under one is used for the other: the upstream sees the wrong client",
        _APART,
        _identity,
    ),
    Rule(
        "shared-verification",
        ERROR,
        "one of two places that share an upstream does not verify it",
        "the place that verifies takes over connections that nobody verified",
        _APART,
        _verification,
    ),
    Rule(
        "shared-trust",
        WARNING,
        "places that share an upstream check it differently",
        "a session keeps the outcome of the other's check: a wrong upstream passes (TLS 1.3), or a good one fails "
        "until the next reload (TLS 1.2)",
        _APART,
        _trust,
    ),
    Rule(
        "session-reuse",
        WARNING,
        "sessions with the upstream are resumed",
        "a resumed session goes on under the certificate it began with, renewed, expired or revoked; so it is for "
        "the upstream's",
        "{family}_ssl_session_reuse off; with keep-alive connections, which cost less",
        of_places(_session_reuse),
    ),
)
