"""Sessions and idle connections are kept by peer: places that have one in common share what they negotiated."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice

from troth.nginx.findings.rule import ERROR, WARNING, Hit, Rule, Subject, at, of_places
from troth.nginx.map import Place, upstream_groups

# A place is told of so many others that differ from it and from each other: enough to see it, and never all pairs.
MOST_OTHERS = 3


def _sharing(subject: Subject) -> Iterator[list[Place]]:
    """Places whose connections or sessions serve each other, in the order of the configuration."""
    ordered = sorted(subject.places, key=lambda place: place.key)
    for _, group in groupby(ordered, key=lambda place: place.key):
        places = [place for place in group if "$" not in place.target]
        if len(places) > 1 and not _keeps_connections(places[0], subject):
            places = [place for place in places if place.is_on("ssl_session_reuse", "on")]
        yield places


def _keeps_connections(place: Place, subject: Subject) -> bool:
    """Whether the upstream's idle connections are for every place that talks to it."""
    group = upstream_groups(subject.config).get(place.group.lower())
    keepalive = group.first("keepalive") if group is not None and place.module != "stream" else None
    return keepalive is not None and keepalive.arguments[-1:] != ("local",) and keepalive.arguments[:1] != ("0",)


def _differing(subject: Subject, value: Callable[[Place], str | bool | None]) -> Iterator[tuple[Place, Place]]:
    """Each place with the first ones before it of other values; those without a value are left out."""
    for places in _sharing(subject):
        firsts: dict[str | bool, Place] = {}
        for place in places:
            ours = value(place)
            if ours is None:
                continue
            others = (other for theirs, other in firsts.items() if theirs != ours)
            for other in islice(others, MOST_OTHERS):
                yield place, other
            firsts.setdefault(ours, place)


def _identity(subject: Subject) -> Iterator[Hit]:
    for place, first in _differing(subject, lambda one: one.value("ssl_certificate")):
        ours, theirs = place.value("ssl_certificate"), first.value("ssl_certificate")
        what = f"shares its upstream with {first.where}: {ours or 'no certificate'} here, {theirs or 'none'} there"
        yield Hit(place.where, what, place.family)


def _verification(subject: Subject) -> Iterator[Hit]:
    for place, first in _differing(subject, lambda one: one.is_on("ssl_verify")):
        off = first if place.is_on("ssl_verify") else place
        yield Hit(place.where, f"shares its upstream with {first.where}, and {off.where} does not verify", place.family)


def _trust(subject: Subject) -> Iterator[Hit]:
    for setting in ("ssl_trusted_certificate", "ssl_crl"):
        for place, first in _differing(subject, partial(_checked, setting)):
            ours, theirs = place.value(setting), first.value(setting)
            what = f"shares its upstream with {first.where}: {ours or 'no list'} here, {theirs or 'no list'} there"
            yield at(place, what, setting)
    for place, first in _differing(subject, lambda one: one.name if one.is_on("ssl_verify") else None):
        what = f"shares its upstream with {first.where}: the name {place.name} is checked here, {first.name} there"
        yield at(place, what, "ssl_name")


def _checked(setting: str, place: Place) -> str | None:
    return place.value(setting) if place.is_on("ssl_verify") else None


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
