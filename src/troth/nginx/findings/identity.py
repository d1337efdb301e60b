"""Which certificate nginx shows, and whether it shows one where one is meant."""

from collections.abc import Iterator

from troth.nginx.findings.rule import ERROR, INFO, WARNING, Hit, Rule, Subject, at, of_places
from troth.nginx.map import FAMILIES, Place, http_servers
from troth.nginx.target import parse_target
from troth.nginx.variables import of_client, possible_values

PAIR = ("ssl_certificate", "ssl_certificate_key")


def _key_alone(place: Place, _: Subject) -> Iterator[Hit]:
    if place.value("ssl_certificate_key") and not place.value("ssl_certificate"):
        yield at(place, "a key is set but no certificate: none is shown", "ssl_certificate_key")


def _split_pair(place: Place, _: Subject) -> Iterator[Hit]:
    pair = [place.settings.get(name) for name in PAIR]
    if pair[0] is None or pair[1] is None or not pair[0].value or pair[0].level == pair[1].level:
        return
    inner = min(pair[0], pair[1], key=lambda one: one.level)
    outer = pair[1] if inner is pair[0] else pair[0]
    yield Hit(inner.where, f"one half of the pair stands here, the other is inherited from {outer.where}", place.family)


def _plain_upstream(subject: Subject) -> Iterator[Hit]:
    for server in http_servers(subject.config):
        for node in server.walk():
            family = node.name.removesuffix("_pass")
            if family not in FAMILIES or node.name == family or not node.arguments or node.parent is None:
                continue
            certificate = node.parent.first(f"{family}_ssl_certificate")
            if certificate is not None and not _may_be_tls(node.arguments[0], family):
                yield Hit(
                    certificate.where, f"a certificate is set, but {node.name} {node.arguments[0]} is not TLS", family
                )


def _may_be_tls(target: str, family: str) -> bool:
    scheme = parse_target(target).scheme
    return scheme == FAMILIES[family] or target.startswith("$")


def _wrong_family(place: Place, _: Subject) -> Iterator[Hit]:
    if place.module == "stream" or place.value("ssl_certificate"):
        return
    for other in set(FAMILIES) - {place.module}:
        line = place.node.first(f"{other}_ssl_certificate")
        if line is not None:
            yield Hit(line.where, f"{line.name} has no effect on {place.module}_pass", place.family)


def _variable_race(place: Place, subject: Subject) -> Iterator[Hit]:
    if _variable(place) and not subject.capabilities.certificate_cache:
        version = subject.capabilities.version_text
        yield at(
            place,
            f"a variable names the pair, and nginx {version} does not read again what does not fit",
            "ssl_certificate",
        )


def _variable_uncached(place: Place, subject: Subject) -> Iterator[Hit]:
    if _variable(place) and subject.capabilities.certificate_cache and "ssl_certificate_cache" not in place.settings:
        yield at(place, "a variable names the pair, and nothing keeps what was read", "ssl_certificate")


def _half_variable(place: Place, _: Subject) -> Iterator[Hit]:
    halves = ["$" in place.value(name) for name in PAIR]
    if any(halves) and not all(halves) and all(place.value(name) for name in PAIR):
        static = PAIR[halves.index(False)]
        yield at(
            place, f"a variable names the other half of the pair, so workers read {place.value(static)} too", static
        )


def _by_request(place: Place, subject: Subject) -> Iterator[Hit]:
    value = place.value("ssl_certificate")
    if "$" not in value or not of_client(subject.config, value) or len(possible_values(subject.config, value)) == 1:
        return
    if place.group or place.is_on("ssl_session_reuse", "on"):
        yield at(
            place,
            f"the request chooses the identity ({value}), and its connections or sessions are shared",
            "ssl_certificate",
        )


def _variable(place: Place) -> bool:
    return any("$" in place.value(name) for name in PAIR)


RULES = (
    Rule(
        "key-without-certificate",
        ERROR,
        "a key is set but no certificate",
        "nginx shows no certificate and does not say so: the upstream answers 400 and this nginx logs nothing",
        "{family}_ssl_certificate beside {family}_ssl_certificate_key",
        of_places(_key_alone),
    ),
    Rule(
        "split-pair",
        WARNING,
        "certificate and key stand on different levels",
        "each is inherited on its own: a change of one pairs it with a key of another identity",
        "{family}_ssl_certificate and {family}_ssl_certificate_key side by side",
        of_places(_split_pair),
    ),
    Rule(
        "plain-upstream",
        ERROR,
        "a client certificate is set for an upstream that is not called over TLS",
        "requests go in the clear, and nginx -t does not even look for the files",
        "https:// (grpcs://, suwsgi://) in {family}_pass",
        _plain_upstream,
    ),
    Rule(
        "wrong-family",
        ERROR,
        "the client certificate is set for another kind of upstream",
        "each kind has directives of its own and ignores the others: no certificate is shown",
        "{family}_ssl_certificate and {family}_ssl_certificate_key",
        of_places(_wrong_family),
    ),
    Rule(
        "variable-race",
        WARNING,
        "a variable names the pair",
        "a handshake may read one old and one new file and answer 500: nginx reads again only from 1.27.4 on",
        "static files and reload; or one file for both, replaced by rename, with error_page 500 to a twin location",
        of_places(_variable_race),
    ),
    Rule(
        "variable-uncached",
        INFO,
        "a variable names the pair, and nothing is cached",
        "both files are read and parsed in every handshake: a quarter more processor time each",
        "{family}_ssl_certificate_cache max=64 valid=10s;",
        of_places(_variable_uncached),
    ),
    Rule(
        "half-variable",
        WARNING,
        "a variable names one half of the pair",
        "both halves are then read by the workers at every handshake: a key for root alone answers 500",
        "a variable in both {family}_ssl_certificate and {family}_ssl_certificate_key, or in none",
        of_places(_half_variable),
    ),
    Rule(
        "identity-by-request",
        ERROR,
        "the request chooses the identity, and connections are shared",
        "connections and sessions are kept by peer and not by certificate: one tenant is seen as the other",
        "{family}_ssl_session_reuse off; and an upstream{} of its own for each identity",
        of_places(_by_request),
    ),
)
